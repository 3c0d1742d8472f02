/*
 * report_window.c
 *		The windows of a report.
 *
 * All windows lie between edges of one grid, that of the slide: a window is some
 * steps of it long.  So a day is 23 to 25 hours long where the clock jumps, and
 * windows always meet.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "report_window.h"
#include "stream.h"
#include "time_bucket.h"

#define MAX_WINDOWS 100000

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
	if (whole.width / grid->width > MAX_WINDOWS)
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

static int
count_windows(const EvnTimeBucket *grid, int64 first, int64 until)
{
	int n = 0;

	for (int64 edge = first; edge < until; edge = evn_time_bucket_next(grid, edge))
		if (n++ == MAX_WINDOWS)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("the report has more than %d windows", MAX_WINDOWS),
							errhint("Choose a longer width or slide, or a shorter span of time.")));
	return n;
}

/* n windows from the edge on; a cumulative one begins where the first does. */
static void
place_windows(const EvnTimeBucket *grid, int64 edge, int steps, bool cumulative, int n,
			  int64 *starts, int64 *ends)
{
	int64 start = edge;
	int64 end = edge;

	for (int i = 0; i < steps; i++)
		end = evn_time_bucket_next(grid, end);
	for (int i = 0; i < n; i++)
	{
		starts[i] = cumulative ? edge : start;
		ends[i] = end;
		start = evn_time_bucket_next(grid, start);
		end = evn_time_bucket_next(grid, end);
	}
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
	Datum local =
		DirectFunctionCall2(timestamptz_zone, PointerGetDatum(zone), TimestampTzGetDatum(ts));

	local = TimestampGetDatum(DatumGetTimestamp(local) - days * USECS_PER_DAY);
	return DatumGetTimestampTz(DirectFunctionCall2(timestamp_zone, PointerGetDatum(zone), local));
}

static void
place_compared(EvnWindows *windows, const EvnWindowRequest *request, const EvnTimeBucket *grid,
			   int steps)
{
	text *zone = cstring_to_text(request->timezone);
	int	  days = request->compare == EVN_COMPARE_DAY ? 1 : 7;

	windows->compared_starts = palloc(sizeof(int64) * Max(windows->n, 1));
	windows->compared_ends = palloc(sizeof(int64) * Max(windows->n, 1));
	if (windows->n == 0)
		return;
	if (request->compare == EVN_COMPARE_PREVIOUS)
	{
		place_windows(grid, go_back(grid, windows->starts[0], windows->n), steps,
					  request->cumulative, windows->n, windows->compared_starts,
					  windows->compared_ends);
		return;
	}
	for (int i = 0; i < windows->n; i++)
	{
		windows->compared_starts[i] = days_before(windows->starts[i], days, zone);
		windows->compared_ends[i] = days_before(windows->ends[i], days, zone);
	}
	/* a local time that did not exist that day is placed late; it is empty */
	for (int i = windows->n - 2; i >= 0; i--)
	{
		windows->compared_starts[i] =
			Min(windows->compared_starts[i], windows->compared_starts[i + 1]);
		windows->compared_ends[i] = Min(windows->compared_ends[i], windows->compared_ends[i + 1]);
	}
}

void
evn_report_windows(EvnWindows *windows, const EvnWindowRequest *request)
{
	EvnTimeBucket	 grid;
	EvnWindowRequest whole = *request;
	int64			 first;
	int				 steps;

	if (whole.slide == NULL)
		whole.slide = whole.width;
	evn_time_bucket_init(&grid, whole.slide, NULL, whole.timezone);
	steps = count_steps(&grid, &whole);
	first = whole.whole ? edge_from(&grid, whole.since) : evn_time_bucket_start(&grid, whole.since);
	windows->n = count_windows(&grid, first, whole.until);
	windows->starts = palloc(sizeof(int64) * Max(windows->n, 1));
	windows->ends = palloc(sizeof(int64) * Max(windows->n, 1));
	windows->overlap = steps > 1 || whole.cumulative;
	windows->compared_starts = windows->compared_ends = NULL;
	place_windows(&grid, first, steps, whole.cumulative, windows->n, windows->starts,
				  windows->ends);
	if (whole.compare != EVN_COMPARE_NONE)
		place_compared(windows, &whole, &grid, steps);
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
evn_report_windows_grain(int n, const int64 *starts, const int64 *ends)
{
	int64 grain = 0;

	for (int i = 0; i < n; i++)
		grain = common_divisor(common_divisor(grain, starts[i]), ends[i]);
	return grain;
}
