/*
 * window.h
 *		Time buckets.
 *
 * Pure C: times are microseconds since 2000-01-01 UTC.
 */
#ifndef EVN_WINDOW_H
#define EVN_WINDOW_H

#include "c.h"

/* Monday 2000-01-03 00:00 UTC: buckets of weeks begin on Mondays */
#define EVN_WINDOW_ORIGIN (INT64CONST(2) * 24 * 3600 * 1000000)

/* start of the bucket of width microseconds (more than 0) that ts falls into;
 * ts itself where that is below the range of int64 */
extern int64 evn_window_start(int64 width, int64 ts);

#endif /* EVN_WINDOW_H */
