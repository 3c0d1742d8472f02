/*
 * report_window.h
 *		The windows of a report: tumbling, hopping and cumulative, by clock and
 *		calendar of a time zone, and the earlier ones they are compared with.
 *
 * Raises for arguments that make no windows; palloc's in the current context.
 */
#ifndef EVN_REPORT_WINDOW_H
#define EVN_REPORT_WINDOW_H

#include "utils/timestamp.h"

typedef enum EvnCompare
{
	EVN_COMPARE_NONE,
	EVN_COMPARE_PREVIOUS, /* as many windows just before */
	EVN_COMPARE_DAY,	  /* the same local time a day before */
	EVN_COMPARE_WEEK
} EvnCompare;

typedef struct EvnWindowRequest
{
	Interval   *width;
	Interval   *slide; /* NULL: as wide, so that they follow each other */
	bool		cumulative;
	const char *timezone;
	int64		since; /* windows start in [since, until) */
	int64		until;
	bool		whole; /* else the first one holds since, wherever it starts */
	EvnCompare	compare;
} EvnWindowRequest;

/* [starts[i], ends[i]), both ascending */
typedef struct EvnWindows
{
	int	   n;
	int64 *starts;
	int64 *ends;
	bool   overlap;			/* a time may be in several */
	int64 *compared_starts; /* NULL without comparison */
	int64 *compared_ends;
} EvnWindows;

extern void evn_report_windows(EvnWindows *windows, const EvnWindowRequest *request);

/* What the edges of n windows are multiples of, microseconds; 0 when there are none. */
extern int64 evn_report_windows_grain(int n, const int64 *starts, const int64 *ends);

#endif /* EVN_REPORT_WINDOW_H */
