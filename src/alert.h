/*
 * alert.h
 *		Conditions over the groups of aggregates: what enters and leaves them.
 *
 * A group, all keys but the time bucket, is on or off for an alert.  It enters
 * with the first bucket that satisfies the condition, and leaves with a bucket
 * that is over and no longer does.  Conditions are SQL expressions, and run
 * with the rights of the stream's owner; one that fails disables its alert and
 * nothing else.
 *
 * Everything needs a transaction.
 */
#ifndef EVN_ALERT_H
#define EVN_ALERT_H

#include "continuous_aggregate.h"
#include "spi.h"

/*
 * Let the groups enter that the batch at hand changed: those of the deltas,
 * which are merged already.  Runs as the stream's owner.
 */
extern void evn_alert_judge_batch(EvnAggregates *aggregates);

/*
 * Let the groups leave that the last finished bucket holds quiet or not at all,
 * and those enter that no batch could see alone, as several workers counted
 * them at the same moment.  Runs as the stream's owner; nothing else that locks
 * the stream may follow in the transaction.
 */
extern void evn_alert_maintain(EvnAggregates *aggregates);

/* Raise unless the expressions can be judged; leave may be NULL.  Runs as the current user. */
extern void evn_alert_try(const EvnAggregate *aggregate, const char *condition, const char *leave);

/* evn_spi_begin with all settings pinned that change what expressions say, or how values read. */
extern void evn_alert_begin(EvnSpi *spi, Oid userid);

/* what expressions call the row of the aggregate in their subqueries */
#define EVN_ALERT_ROW "r"

#endif /* EVN_ALERT_H */
