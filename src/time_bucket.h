/*
 * time_bucket.h
 *		Time buckets: of clock time, of days and of months, in any time zone.
 *
 * Times are timestamptz: microseconds since 2000-01-01 UTC.
 */
#ifndef EVN_TIME_BUCKET_H
#define EVN_TIME_BUCKET_H

#include "pgtime.h"
#include "utils/timestamp.h"

typedef enum EvnTimeBucketGrid
{
	EVN_GRID_CLOCK,	 /* what the local clock shows, in microseconds */
	EVN_GRID_DAYS,	 /* local dates, 23 to 25 hours long; also in microseconds */
	EVN_GRID_MONTHS, /* local months, counted from 2000-01 */
} EvnTimeBucketGrid;

/* Buckets of one width, origin and zone; a plain value, good for the life of the process. */
typedef struct EvnTimeBucket
{
	EvnTimeBucketGrid grid;
	int64			  width;  /* in units of the grid */
	int64			  origin; /* on the grid, from 0 to below width */
	pg_tz			 *zone;	  /* NULL: the UTC offset never changes */
	int64			  offset; /* that offset */
} EvnTimeBucket;

/* Raises when the arguments make no buckets; origin NULL is the default, timezone NULL is UTC. */
extern void evn_time_bucket_init(EvnTimeBucket *bucket, const Interval *width, const int64 *origin,
								 const char *timezone);

/*
 * Start of the bucket that holds ts.  The first bucket starts with the range
 * of timestamptz; an infinite ts gives itself.
 */
extern int64 evn_time_bucket_start(const EvnTimeBucket *bucket, int64 ts);

/*
 * Start of the bucket after the one that starts at start; infinity after the
 * last one.  An infinite start gives itself.
 */
extern int64 evn_time_bucket_next(const EvnTimeBucket *bucket, int64 start);

/* Whether every bucket of whole is made of whole buckets of part. */
extern bool evn_time_bucket_composes(const EvnTimeBucket *whole, const EvnTimeBucket *part);

#endif /* EVN_TIME_BUCKET_H */
