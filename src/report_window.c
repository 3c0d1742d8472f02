/*
 * report_window.c
 *		The windows of a report.
 *
 * All windows lie between edges of one grid, that of the slide: a window is some
 * of its cells long.  So a day is 23 to 25 hours long where the clock jumps, and
 * windows always meet.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "report_window.h"
#include "stream.h"
#include "time_bucket.h"

/* How many slides a window is long. */
static int
count_steps(const EvnTimeBucket *grid, const EvnWindowRequest *request)
{
	EvnTimeBucket whole;

	evn_time_bucket_init(&whole, request->width, NULL, request->timezone);
	if (whole.grid == EVN_GRID_CLOCK && whole.width % USECS_PER_MINUTE != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"width\" must be whole minutes, days or months, not \"%s\"",
						evn_stream_interval_text(request->width)),
				 errhint("Posts are counted by the minute.")));
	if (grid->grid != whole.grid || whole.width % grid->width != 0 ||
		(grid->grid == EVN_GRID_CLOCK && grid->width % USECS_PER_MINUTE != 0))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"width\" must be a whole multiple of \"slide\""),
			 errdetail("\"width\" is %s, \"slide\" is %s.",
					   evn_stream_interval_text(request->width),
					   evn_stream_interval_text(request->slide)),
			 errhint(
				 "Days and months are no number of minutes; write 24 hours for a day by the clock.")));
	if (whole.width / grid->width > EVN_REPORT_MAX_WINDOWS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a window of %s every %s is too many windows",
							   evn_stream_interval_text(request->width),
							   evn_stream_interval_text(request->slide))));
	return (int) (whole.width / grid->width);
}

/* The first edge that is not before ts. */
static int64
edge_from(const EvnTimeBucket *grid, int64 ts)
{
	int64 start = evn_time_bucket_start(grid, ts);

	return start == ts ? ts : evn_time_bucket_next(grid, start);
}

void
evn_report_windows_too_many(void)
{
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("the report has more than %d windows", EVN_REPORT_MAX_WINDOWS),
					errhint("Choose a longer width or slide, or a shorter span of time.")));
}

static int
count_windows(const EvnTimeBucket *grid, int64 first, int64 until)
{
	int n = 0;

	for (int64 edge = first; edge < until; edge = evn_time_bucket_next(grid, edge))
	{
		CHECK_FOR_INTERRUPTS();
		if (n++ == EVN_REPORT_MAX_WINDOWS)
			evn_report_windows_too_many();
	}
	return n;
}

/* The edges of n cells from the given one on. */
static int64 *
place_cells(const EvnTimeBucket *grid, int64 edge, int n)
{
	int64 *edges = palloc(sizeof(int64) * (n + 1));

	edges[0] = edge;
	for (int i = 0; i < n; i++)
		edges[i + 1] = evn_time_bucket_next(grid, edges[i]);
	return edges;
}

static int64
go_back(const EvnTimeBucket *grid, int64 edge, int n)
{
	while (n-- > 0)
		edge = evn_time_bucket_start(grid, edge - 1);
	return edge;
}

/* So many days earlier by the local clock. */
static int64
days_before(int64 ts, int days, text *zone)
{
	Datum local;

	if (TIMESTAMP_NOT_FINITE(ts))
		return ts;
	local = DirectFunctionCall2(timestamptz_zone, PointerGetDatum(zone), TimestampTzGetDatum(ts));
	local = TimestampGetDatum(DatumGetTimestamp(local) - days * USECS_PER_DAY);
	return DatumGetTimestampTz(DirectFunctionCall2(timestamp_zone, PointerGetDatum(zone), local));
}

static int64 *
place_compared(const EvnWindows *windows, const EvnWindowRequest *request,
			   const EvnTimeBucket *grid)
{
	text  *zone = cstring_to_text(request->timezone);
	int	   days = request->compare == EVN_COMPARE_DAY ? 1 : 7;
	int64 *edges;

	if (request->compare == EVN_COMPARE_PREVIOUS)
		return place_cells(grid, go_back(grid, windows->edges[0], windows->n), windows->ncells);
	edges = palloc(sizeof(int64) * (windows->ncells + 1));
	for (int i = 0; i <= windows->ncells; i++)
		edges[i] = days_before(windows->edges[i], days, zone);
	/* a local time that did not exist that day is placed late; its cell is empty */
	for (int i = windows->ncells - 1; i >= 0; i--)
		edges[i] = Min(edges[i], edges[i + 1]);
	return edges;
}

void
evn_report_windows(EvnWindows *windows, const EvnWindowRequest *request)
{
	EvnTimeBucket	 grid;
	EvnWindowRequest whole = *request;
	int64			 first;

	if (whole.slide == NULL)
		whole.slide = whole.width;
	evn_time_bucket_init(&grid, whole.slide, NULL, whole.timezone);
	windows->steps = count_steps(&grid, &whole);
	windows->cumulative = whole.cumulative;
	first = whole.whole ? edge_from(&grid, whole.since) : evn_time_bucket_start(&grid, whole.since);
	windows->n = count_windows(&grid, first, whole.until);
	windows->ncells = windows->n == 0 ? 0 : windows->n + windows->steps - 1;
	windows->edges = place_cells(&grid, first, windows->ncells);
	windows->compared =
		whole.compare == EVN_COMPARE_NONE ? NULL : place_compared(windows, &whole, &grid);
}

static int64
common_divisor(int64 a, int64 b)
{
	while (b != 0)
	{
		int64 rest = a % b;

		a = b;
		b = rest;
	}
	return a < 0 ? -a : a;
}

int64
evn_report_edges_grain(int64 grain, const int64 *edges, int n)
{
	for (int i = 0; i < n; i++)
		grain = common_divisor(grain, edges[i]);
	return grain;
}
