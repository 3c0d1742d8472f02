/*
 * aggregate_admin.h
 *		What the functions for streams do to continuous aggregates.
 */
#ifndef EVN_AGGREGATE_ADMIN_H
#define EVN_AGGREGATE_ADMIN_H

#include "datatype/timestamp.h"

/*
 * Pause or resume the aggregate of a view, with those that read it; false when
 * the relation is no aggregate.  Resuming builds them anew.  Needs a
 * transaction; raises unless the current user owns the stream.
 */
extern bool evn_aggregate_admin_set_enabled(Oid view, bool enabled);

/* How long an aggregate's buckets are kept; false when the relation is no aggregate. */
extern bool evn_aggregate_admin_set_retention(Oid view, Interval *retention);

#endif /* EVN_AGGREGATE_ADMIN_H */
