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

#define EVN_REPORT_MAX_WINDOWS 10000000

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

/*
 * Window i begins with cell i, cumulative ones with the first, and ends with
 * cell i + steps - 1; cell c is [edges[c], edges[c + 1]).
 */
typedef struct EvnWindows
{
	int	   n;
	int	   steps;
	bool   cumulative; /* steps is 1 then */
	int	   ncells;
	int64 *edges;	 /* ascending */
	int64 *compared; /* the edges of the cells that these are compared with, or NULL */
} EvnWindows;

static inline int
evn_report_window_first(const EvnWindows *windows, int window)
{
	return windows->cumulative ? 0 : window;
}

extern void evn_report_windows(EvnWindows *windows, const EvnWindowRequest *request);

/* The report would have more than EVN_REPORT_MAX_WINDOWS windows. */
extern void evn_report_windows_too_many(void);

/* What n edges and grain are multiples of, microseconds; 0 when there are none. */
extern int64 evn_report_edges_grain(int64 grain, const int64 *edges, int n);

#endif /* EVN_REPORT_WINDOW_H */
