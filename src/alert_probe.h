/*
 * alert_probe.h
 *		What an aggregate's storage holds for the groups that a batch changed.
 *
 * Needs a transaction and raises on error.
 */
#ifndef EVN_ALERT_PROBE_H
#define EVN_ALERT_PROBE_H

#include "continuous_aggregate.h"

/*
 * All slots' rows of the groups in the aggregate's delta, one index search per
 * group and partition; *desc becomes the description of the rows.  The caller
 * ends the tuplestore.
 */
extern Tuplestorestate *evn_alert_probe_groups(const EvnAggregate *aggregate, TupleDesc *desc);

#endif /* EVN_ALERT_PROBE_H */
