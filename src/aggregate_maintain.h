/*
 * aggregate_maintain.h
 *		What is done to aggregates now and then: dropping buckets that are past
 *		their retention, folding the slots of buckets that are over, and judging
 *		alerts by the buckets that are over.
 */
#ifndef EVN_AGGREGATE_MAINTAIN_H
#define EVN_AGGREGATE_MAINTAIN_H

#include "stream.h"

/*
 * One round for the aggregates of a stream.  Needs a transaction; locks the
 * stream as continuous_aggregate.h says while it folds; what somebody reads at
 * the moment is not dropped but left to the next round.
 */
extern void evn_aggregate_maintain(const EvnStream *stream);

#endif /* EVN_AGGREGATE_MAINTAIN_H */
