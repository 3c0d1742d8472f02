/*
 * report_cells.h
 *		Posts per city and cell of a report's grid of time, and the windows that
 *		cells make.
 *
 * What a window costs does not depend on how much it overlaps others: counts
 * are summed and sketches united cell by cell, not window by window.  Lives in
 * the memory context that is current when it is created.
 */
#ifndef EVN_REPORT_CELLS_H
#define EVN_REPORT_CELLS_H

#include "report_window.h"

typedef struct EvnCounts
{
	int64 tweets;
	int64 retweets;
	int64 authors; /* 0 when they are not counted */
} EvnCounts;

/* a window with posts in it */
typedef struct EvnWindowCounts
{
	int32	  city_id;
	int32	  window;
	EvnCounts counts;
} EvnWindowCounts;

typedef struct EvnWindowList
{
	EvnWindowCounts *items;
	int64			 n;
	int64			 capacity;
} EvnWindowList;

typedef struct EvnCells EvnCells;

/* hll_schema: where the functions of hll_type are; NULL: authors are not counted. */
extern EvnCells *evn_report_cells_create(const char *hll_schema, Oid hll_type);

/* Add posts of a city to a cell; authors is a sketch, or 0 for none. */
extern void evn_report_cells_add(EvnCells *cells, int32 city_id, int cell, int64 tweets,
								 int64 retweets, Datum authors);

/* The cities with posts, ascending. */
extern int32 *evn_report_cells_cities(const EvnCells *cells, int *n);

/* Append the windows of a city with posts, ascending; raises above limit of them. */
extern void evn_report_cells_windows(EvnCells *cells, int32 city_id, const EvnWindows *windows,
									 int64 limit, EvnWindowList *list);

/* The report would have more than limit rows. */
extern void evn_report_cells_too_many(int64 limit);

#endif /* EVN_REPORT_CELLS_H */
