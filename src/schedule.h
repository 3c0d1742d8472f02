/*
 * schedule.h
 *		What pg_cron runs for streams.
 */
#ifndef EVN_SCHEDULE_H
#define EVN_SCHEDULE_H

#include "postgres_ext.h"

/*
 * Have the last day of an aggregate refreshed by that schedule, under its
 * default name; empty for never.  Needs a transaction; raises, also without
 * pg_cron.
 */
extern void evn_schedule_set_refresh(Oid view, const char *schedule);

#endif /* EVN_SCHEDULE_H */
