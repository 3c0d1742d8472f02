/*
 * retention.h
 *		Dropping what is past its retention: partitions of a stream's posts and of
 *		its aggregates.
 *
 * Needs a transaction, in which what is dropped stays locked; runs as the
 * stream's owner and raises on error.
 */
#ifndef EVN_RETENTION_H
#define EVN_RETENTION_H

#include "continuous_aggregate.h"

/*
 * Drop whole partitions that ended before the retention of their table.  What
 * somebody reads at the moment, and posts that something still needs, are left
 * to the next round.
 */
extern void evn_retention_apply(EvnAggregates *aggregates);

#endif /* EVN_RETENTION_H */
