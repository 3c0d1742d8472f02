/*
 * report_counts.c
 *		SQL functions that count posts per window and city.
 *
 * One query reads the partial counts; report_cells.c puts them together per
 * window and city.  A plan that groups would build an hll for each group, 128 kB,
 * though most groups are of one row.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"

#include "compat.h"
#include "report.h"
#include "report_cells.h"
#include "report_window.h"
#include "rollup.h"
#include "spi.h"

PG_FUNCTION_INFO_V1(evn_report_city_counts);
PG_FUNCTION_INFO_V1(evn_report_city_series);

/* arguments of both functions; the last one of the second only */
enum
{
	ARG_STREAM,
	ARG_WIDTH,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_CITIES,
	ARG_SLIDE = ARG_CITIES + 8,
	ARG_CUMULATIVE,
	ARG_TIMEZONE,
	ARG_FILL,
	ARG_COMPARE
};

#define LOCAL_ZONE "local"

/* filled gaps come easily: a month by the minute of 5,000 cities is 216 million */
#define MAX_ROWS INT64CONST(10000000)

/* a span that is worth finding out where the buckets are */
#define LONG_SPAN (INT64CONST(60) * USECS_PER_DAY)

/* the windows of cities of one zone, and the state of each in evilnet.coverage */
typedef struct Zone
{
	char	  *name;
	EvnWindows windows;
	int		  *coverage; /* by window: index into coverage_states, the worst */
	int		  *compared_coverage;
} Zone;

typedef struct CityInfo
{
	int32 city_id;
	bool  known; /* to the gazetteer */
	Datum name;
	Datum country_code;
	Datum country;
	Zone *zone;
} CityInfo;

typedef enum Fill
{
	FILL_NOT,
	FILL_ZERO,
	FILL_NULL,
	FILL_LAST
} Fill;

typedef struct Report
{
	EvnReportSource	 source;
	EvnReportCities	 cities;
	EvnWindowRequest request;
	List			*zones; /* Zone: one, or with the cities' own zones many */
	int				 nwindows;
	bool			 local;
	Fill			 fill;
	EvnCells		*cells;
	EvnCells		*compared; /* NULL without comparison */
	CityInfo		*infos;	   /* by city_id */
	int				 ninfos;
} Report;

/* ---- arguments */

static const char *
one_of(FunctionCallInfo fcinfo, int argument, const char *name, const char *const *allowed)
{
	char *value;

	if (PG_ARGISNULL(argument))
		return NULL;
	value = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	for (int i = 0; allowed[i] != NULL; i++)
		if (strcmp(allowed[i], value) == 0)
			return allowed[i];
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"%s\" must not be \"%s\"", name, value),
					errhint("It is one of \"%s\", \"%s\" and \"%s\", or null.", allowed[0],
							allowed[1], allowed[2])));
}

static EvnCompare
compare_argument(FunctionCallInfo fcinfo)
{
	static const char *const allowed[] = {"previous", "day", "week", NULL};
	const char				*value;

	if (PG_NARGS() <= ARG_COMPARE)
		return EVN_COMPARE_NONE;
	value = one_of(fcinfo, ARG_COMPARE, "compare", allowed);
	if (value == NULL)
		return EVN_COMPARE_NONE;
	return value == allowed[0]	 ? EVN_COMPARE_PREVIOUS
		   : value == allowed[1] ? EVN_COMPARE_DAY
								 : EVN_COMPARE_WEEK;
}

/* Widen [since, until) by the buckets of a roll-up. */
static void
include_buckets(const Report *report, const EvnRollup *rollup, int64 *since, int64 *until)
{
	bool   isnull;
	Datum  first;
	Datum  last;
	EvnSpi spi;

	evn_spi_begin(&spi, report->source.owner);
	evn_spi_read(psprintf("SELECT pg_catalog.min(bucket), pg_catalog.max(bucket) FROM %s",
						  evn_spi_qualified_name(rollup->storage)),
				 0, NULL, NULL, NULL);
	first = evn_spi_value_or_null(0, 1, &isnull);
	last = evn_spi_value_or_null(0, 2, &isnull);
	evn_spi_end(&spi);
	if (isnull)
		return;
	*since = Min(*since, DatumGetTimestampTz(first));
	*until = Max(*until, DatumGetTimestampTz(last) + rollup->width);
}

/* At most this long, whatever the zone. */
static int64
longest(const Interval *width)
{
	double days = width->day + 31.0 * width->month;

	/* a width that is too long is refused later */
	return (int64) Min(width->time + days * 25 * USECS_PER_HOUR, 1e18);
}

/*
 * Empty windows are shown only where gaps are filled, or counted on from one to
 * the next; so a long span can be cut to that of the buckets.
 */
static bool
may_cut_span(const Report *report)
{
	const EvnWindowRequest *request = &report->request;

	/* either may be infinite */
	return report->fill == FILL_NOT && !request->cumulative &&
		   request->compare != EVN_COMPARE_PREVIOUS &&
		   (double) request->until - (double) request->since > LONG_SPAN;
}

/* A span without end, or longer than needed, is that of the buckets that are there. */
static void
bound_span(Report *report)
{
	EvnWindowRequest *request = &report->request;
	bool			  cut = may_cut_span(report);
	int64			  since = DT_NOEND;
	int64			  until = DT_NOBEGIN;
	ListCell		 *cell;

	if (!cut && !TIMESTAMP_NOT_FINITE(request->since) && !TIMESTAMP_NOT_FINITE(request->until))
		return;
	foreach(cell, report->source.rollups)
		include_buckets(report, lfirst(cell), &since, &until);
	if (TIMESTAMP_IS_NOBEGIN(request->since))
	{
		request->since = since;
		request->whole = false;
	}
	else if (cut)
		request->since = Max(request->since, since - longest(request->width));
	if (cut || TIMESTAMP_IS_NOEND(request->until))
		request->until = Min(request->until, until);
	/* there may be none, or all of them on the other side */
	if (TIMESTAMP_NOT_FINITE(request->since) || TIMESTAMP_NOT_FINITE(request->until) ||
		request->since > request->until)
		request->since = request->until = 0;
}

static void
read_arguments(Report *report, FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"stream", "width", "since", "until"};
	static const char *const fills[] = {"zero", "null", "last", NULL};
	const char				*fill;

	evn_report_require(fcinfo, lengthof(names), names);
	if (PG_ARGISNULL(ARG_CUMULATIVE) || PG_ARGISNULL(ARG_TIMEZONE))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null",
							   PG_ARGISNULL(ARG_CUMULATIVE) ? "cumulative" : "timezone")));
	evn_report_check_span(PG_GETARG_TIMESTAMPTZ(ARG_SINCE), PG_GETARG_TIMESTAMPTZ(ARG_UNTIL));
	report->request.width = PG_GETARG_INTERVAL_P(ARG_WIDTH);
	report->request.slide = PG_ARGISNULL(ARG_SLIDE) ? NULL : PG_GETARG_INTERVAL_P(ARG_SLIDE);
	report->request.cumulative = PG_GETARG_BOOL(ARG_CUMULATIVE);
	if (report->request.cumulative && report->request.slide != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cumulative windows have no slide"),
						errhint("Each is \"width\" longer than the one before.")));
	report->request.since = PG_GETARG_TIMESTAMPTZ(ARG_SINCE);
	report->request.until = PG_GETARG_TIMESTAMPTZ(ARG_UNTIL);
	report->request.whole = true;
	report->request.compare = compare_argument(fcinfo);
	report->request.timezone = text_to_cstring(PG_GETARG_TEXT_PP(ARG_TIMEZONE));
	report->local = strcmp(report->request.timezone, LOCAL_ZONE) == 0;
	fill = one_of(fcinfo, ARG_FILL, "fill", fills);
	report->fill = fill == NULL		  ? FILL_NOT
				   : fill == fills[0] ? FILL_ZERO
				   : fill == fills[1] ? FILL_NULL
									  : FILL_LAST;
	evn_report_open(&report->source, PG_GETARG_OID(ARG_STREAM));
	evn_report_cities(&report->cities, fcinfo, ARG_CITIES, 1);
	bound_span(report);
}

/* ---- windows */

static void
add_zone(Report *report, char *name)
{
	Zone *zone = palloc(sizeof(Zone));

	zone->name = name;
	report->request.timezone = name;
	evn_report_windows(&zone->windows, &report->request);
	report->nwindows += zone->windows.n;
	/* the cities' own zones are a few hundred */
	if (report->nwindows > EVN_REPORT_MAX_WINDOWS)
		evn_report_windows_too_many();
	report->zones = lappend(report->zones, zone);
}

/* The zones that the report's cities are in; where none is known, UTC. */
static void
add_local_zones(Report *report)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			  types[1] = {INT4ARRAYOID};
	Datum		  values[1] = {report->cities.ids};
	uint64		  n;
	EvnSpi		  spi;

	evn_spi_begin(&spi, InvalidOid);
	n = evn_spi_read("SELECT DISTINCT coalesce(c.timezone, 'UTC') FROM evilnet.city c"
					 " WHERE $1 IS NULL OR c.city_id = ANY ($1)",
					 1, types, values, report->cities.all ? "n" : " ");
	for (uint64 i = 0; i < n; i++)
	{
		char		 *name = TextDatumGetCString(evn_spi_value(i, 1));
		MemoryContext old = MemoryContextSwitchTo(caller);

		add_zone(report, pstrdup(name));
		MemoryContextSwitchTo(old);
	}
	evn_spi_end(&spi);
	if (report->zones == NIL)
		add_zone(report, "UTC");
}

/* What all windows of all zones span, and what their edges are multiples of. */
static void
span_of(const Report *report, bool compared, int64 *since, int64 *until, int64 *grain)
{
	ListCell *cell;

	*since = DT_NOEND;
	*until = DT_NOBEGIN;
	*grain = 0;
	foreach(cell, report->zones)
	{
		const EvnWindows *windows = &((Zone *) lfirst(cell))->windows;
		const int64		 *edges = compared ? windows->compared : windows->edges;

		if (windows->n == 0)
			continue;
		*since = Min(*since, edges[0]);
		*until = Max(*until, edges[windows->ncells]);
		*grain = evn_report_edges_grain(*grain, edges, windows->ncells + 1);
	}
	if (*since > *until)
		*since = *until = 0;
}

/* ---- counting */

typedef struct Counting
{
	Report	 *report;
	EvnCells *cells;
	bool	  compared;
} Counting;

/* How many of the ascending times are not later than ts. */
static int
count_until(const int64 *times, int n, int64 ts)
{
	int low = 0;

	while (n > low)
	{
		int middle = low + (n - low) / 2;

		if (times[middle] <= ts)
			low = middle + 1;
		else
			n = middle;
	}
	return low;
}

/* A row (bucket, city_id, tweets, retweets, zone, authors) of partial counts. */
static void
count_row(void *state, const Datum *values, const bool *nulls)
{
	Counting		 *counting = state;
	const Report	 *report = counting->report;
	const Zone		 *zone = list_nth(report->zones, DatumGetInt32(values[4]));
	const EvnWindows *windows = &zone->windows;
	int				  cell = count_until(counting->compared ? windows->compared : windows->edges,
						   windows->ncells + 1, DatumGetTimestampTz(values[0])) -
			   1;

	/* the span is that of all zones */
	if (cell < 0 || cell >= windows->ncells)
		return;
	evn_report_cells_add(counting->cells, DatumGetInt32(values[1]), cell, DatumGetInt64(values[2]),
						 DatumGetInt64(values[3]),
						 report->source.has_authors && !nulls[5] ? values[5] : (Datum) 0);
}

/* The zones by number, as a relation. */
static char *
zone_numbers(const Report *report)
{
	StringInfoData sql;
	ListCell	  *cell;

	initStringInfo(&sql);
	foreach(cell, report->zones)
		appendStringInfo(&sql, "%s(%s, %d)", sql.len == 0 ? "VALUES " : ", ",
						 quote_literal_cstr(((Zone *) lfirst(cell))->name),
						 foreach_current_index(cell));
	return sql.data;
}

static EvnCells *
count_cells(Report *report, bool compared)
{
	Counting counting = {
		.report = report,
		.cells = evn_report_cells_create(report->source.hll_schema, report->source.hll_type),
		.compared = compared,
	};
	Oid			types[1] = {INT4ARRAYOID};
	Datum		values[1] = {report->cities.ids};
	const char *authors = report->source.has_authors ? ", s.authors" : "";
	char	   *rows;
	int64		since;
	int64		until;
	int64		grain;

	span_of(report, compared, &since, &until, &grain);
	rows = evn_report_rows(&report->source, since, until, grain, true, report->cities.condition);
	if (report->local)
		rows = psprintf("SELECT s.bucket, s.city_id, s.tweets, s.retweets, z.zone%s FROM (%s) s"
						" LEFT JOIN evilnet.city c USING (city_id)"
						" JOIN (%s) z(name, zone) ON z.name = coalesce(c.timezone, 'UTC')",
						authors, rows, zone_numbers(report));
	else
		rows = psprintf("SELECT s.bucket, s.city_id, s.tweets, s.retweets, 0%s FROM (%s) s",
						authors, rows);
	evn_report_each(&report->source, rows, 1, types, values, report->cities.all ? "n" : NULL,
					count_row, &counting);
	return counting.cells;
}

/* ---- cities */

static inline int
compare_int64(int64 a, int64 b)
{
	return (a > b) - (a < b);
}

static int
compare_ids(const void *a, const void *b)
{
	return compare_int64(*(const int32 *) a, *(const int32 *) b);
}

/*
 * The cities to show, each once: those with posts; and where gaps are filled,
 * those with posts in the period before, and those asked for by name.
 */
static Datum
shown_cities(Report *report)
{
	ArrayType *named = report->cities.all || report->fill == FILL_NOT
						   ? NULL
						   : DatumGetArrayTypeP(report->cities.named);
	int		   nnamed = named == NULL ? 0 : ArrayGetNItems(ARR_NDIM(named), ARR_DIMS(named));
	int		   ncompared = 0;
	int		   n;
	int32	  *ids = evn_report_cells_cities(report->cells, &n);
	int32	  *compared = NULL;
	Datum	  *datums;

	if (report->compared != NULL && report->fill != FILL_NOT)
		compared = evn_report_cells_cities(report->compared, &ncompared);
	ids = repalloc(ids, sizeof(int32) * (n + nnamed + ncompared + 1));
	if (nnamed > 0)
		memcpy(ids + n, ARR_DATA_PTR(named), sizeof(int32) * nnamed);
	if (ncompared > 0)
		memcpy(ids + n + nnamed, compared, sizeof(int32) * ncompared);
	n += nnamed + ncompared;
	qsort(ids, n, sizeof(int32), compare_ids);
	n = qunique(ids, n, sizeof(int32), compare_ids);
	datums = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
		datums[i] = Int32GetDatum(ids[i]);
	return PointerGetDatum(construct_array(datums, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

typedef struct Loading
{
	Report		 *report;
	MemoryContext context;
} Loading;

static void
load_city(void *state, const Datum *values, const bool *nulls)
{
	Loading		 *loading = state;
	Report		 *report = loading->report;
	CityInfo	 *info = &report->infos[report->ninfos++];
	MemoryContext old = MemoryContextSwitchTo(loading->context);

	info->city_id = DatumGetInt32(values[0]);
	info->known = !nulls[1];
	if (info->known)
	{
		info->name = datumCopy(values[1], false, -1);
		info->country_code = datumCopy(values[2], false, -1);
		info->country = datumCopy(values[3], false, -1);
	}
	info->zone = list_nth(report->zones, DatumGetInt32(values[4]));
	MemoryContextSwitchTo(old);
}

static void
load_cities(Report *report)
{
	Loading	   loading = {.report = report, .context = CurrentMemoryContext};
	Oid		   types[1] = {INT4ARRAYOID};
	Datum	   values[1] = {shown_cities(report)};
	char	  *zone = "0";
	char	  *join = "";
	ArrayType *shown;

	if (report->local)
	{
		zone = "z.zone";
		join = psprintf(" JOIN (%s) z(name, zone) ON z.name = coalesce(c.timezone, 'UTC')",
						zone_numbers(report));
	}
	/* one by one: there are far fewer than the gazetteer has */
	shown = DatumGetArrayTypeP(values[0]);
	report->infos =
		palloc(sizeof(CityInfo) * (ArrayGetNItems(ARR_NDIM(shown), ARR_DIMS(shown)) + 1));
	evn_report_each(
		&report->source,
		psprintf(
			"SELECT n.city_id, c.name, c.country_code, c.country, %s FROM pg_catalog.unnest($1)"
			" n(city_id) LEFT JOIN LATERAL (SELECT * FROM evilnet.city c WHERE c.city_id = n.city_id"
			" OFFSET 0) c ON true%s ORDER BY 1",
			zone, join),
		1, types, values, NULL, load_city, &loading);
}

/* ---- coverage */

static const char *const coverage_states[] = {"complete", "pending", "unknown", "lost"};

static int
coverage_rank(Datum state)
{
	char *name = TextDatumGetCString(state);
	int	  rank = 0;

	while (rank < lengthof(coverage_states) - 1 && strcmp(coverage_states[rank], name) != 0)
		rank++;
	return rank;
}

typedef struct Covering
{
	Report *report;
	bool	compared;
} Covering;

/* A span (start, end, state): windows that it meets are no better. */
static void
cover_windows(void *state, const Datum *values, const bool *nulls)
{
	Covering *covering = state;
	int64	  since = DatumGetTimestampTz(values[0]);
	int64	  until = DatumGetTimestampTz(values[1]);
	int		  rank = coverage_rank(values[2]);
	ListCell *cell;

	foreach(cell, covering->report->zones)
	{
		Zone			 *zone = lfirst(cell);
		const EvnWindows *windows = &zone->windows;
		const int64		 *edges = covering->compared ? windows->compared : windows->edges;
		int				 *coverage = covering->compared ? zone->compared_coverage : zone->coverage;

		for (int i = count_until(edges + windows->steps, windows->n, since);
			 i < windows->n && edges[evn_report_window_first(windows, i)] < until; i++)
			coverage[i] = Max(coverage[i], rank);
	}
}

static void
find_coverage(Report *report, bool compared)
{
	Covering  covering = {.report = report, .compared = compared};
	int64	  since;
	int64	  until;
	int64	  grain;
	ListCell *cell;

	foreach(cell, report->zones)
	{
		Zone *zone = lfirst(cell);
		int	 *coverage = palloc0(sizeof(int) * Max(zone->windows.n, 1));

		if (compared)
			zone->compared_coverage = coverage;
		else
			zone->coverage = coverage;
	}
	span_of(report, compared, &since, &until, &grain);
	evn_report_each(
		&report->source,
		psprintf("SELECT c.span_start, c.span_end, c.state FROM evilnet.coverage(%u, %s, %s) c",
				 report->source.stream, evn_report_time(since), evn_report_time(until)),
		0, NULL, NULL, NULL, cover_windows, &covering);
}

/* ---- rows */

/* nobody knows, or the report does not say */
static const EvnCounts no_counts = {.tweets = -1};
static const EvnCounts zero_counts = {0};

typedef struct Row
{
	int64			start; /* of the window */
	int64			end;
	EvnCounts		counts;
	const CityInfo *city;
	int				window;
} Row;

/* By time, then the most posts first. */
static inline int
compare_rows(const Row *a, const Row *b)
{
	int result = compare_int64(a->start, b->start);

	if (result == 0)
		result = compare_int64(a->end, b->end);
	if (result == 0)
		result = compare_int64(b->counts.tweets, a->counts.tweets);
	return result != 0 ? result : compare_int64(a->city->city_id, b->city->city_id);
}

#define ST_SORT			 sort_rows
#define ST_ELEMENT_TYPE	 Row
#define ST_COMPARE(a, b) compare_rows(a, b)
#define ST_SCOPE		 static
#define ST_DEFINE
#include "lib/sort_template.h"

/* City by city, by name. */
static int
compare_names(const void *a, const void *b)
{
	const CityInfo *x = *(CityInfo *const *) a;
	const CityInfo *y = *(CityInfo *const *) b;
	int				result = compare_int64(y->known, x->known);

	if (result == 0 && x->known)
		result =
			DatumGetInt32(DirectFunctionCall2Coll(bttextcmp, C_COLLATION_OID, x->name, y->name));
	return result != 0 ? result : compare_int64(x->city_id, y->city_id);
}

/* What is said of a window without posts, after one with those counts. */
static const EvnCounts *
fill_counts(const Report *report, int coverage, const EvnCounts *before)
{
	if (report->fill == FILL_ZERO && coverage == 0)
		return &zero_counts;
	return report->fill == FILL_LAST ? before : &no_counts;
}

static Row
make_row(const CityInfo *city, int window, const EvnCounts *counts)
{
	const EvnWindows *windows = &city->zone->windows;
	Row				  row = {.city = city, .window = window, .counts = *counts};

	row.start = windows->edges[evn_report_window_first(windows, window)];
	row.end = windows->edges[window + windows->steps];
	return row;
}

/* The rows of a city, given its windows with posts; returns how many. */
static int
fill_city(const Report *report, const CityInfo *city, const EvnWindowCounts *posts, int nposts,
		  Row *rows)
{
	const EvnCounts *before = &no_counts;
	int				 n = 0;

	if (report->fill == FILL_NOT)
	{
		for (; n < nposts; n++)
			rows[n] = make_row(city, posts[n].window, &posts[n].counts);
		return n;
	}
	for (int next = 0; n < city->zone->windows.n; n++)
	{
		if (next < nposts && posts[next].window == n)
			before = &posts[next++].counts;
		else
			before = fill_counts(report, city->zone->coverage[n], before);
		rows[n] = make_row(city, n, before);
	}
	return n;
}

/* How many rows there are, given how many windows have posts. */
static int64
count_rows(const Report *report, int64 nposts)
{
	int64 n = 0;

	if (report->fill == FILL_NOT)
		return nposts;
	for (int i = 0; i < report->ninfos; i++)
		n += report->infos[i].zone->windows.n;
	if (n > MAX_ROWS)
		evn_report_cells_too_many(MAX_ROWS);
	return n;
}

static void
put_counts(const Report *report, const EvnCounts *counts, Datum *values, bool *nulls)
{
	nulls[0] = nulls[1] = nulls[2] = counts->tweets < 0;
	if (nulls[0])
		return;
	values[0] = Int64GetDatum(counts->tweets);
	values[1] = Int64GetDatum(counts->retweets);
	values[2] = Int64GetDatum(counts->authors);
	nulls[2] = !report->source.has_authors;
}

/* A result set, and what goes into it with every row. */
typedef struct Output
{
	const Report  *report;
	ReturnSetInfo *result;
	Datum		   states[lengthof(coverage_states)];
} Output;

static void
start_output(Output *output, const Report *report, FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, 0);
	output->report = report;
	output->result = (ReturnSetInfo *) fcinfo->resultinfo;
	for (int i = 0; i < lengthof(coverage_states); i++)
		output->states[i] = CStringGetTextDatum(coverage_states[i]);
}

/* compared: of the window it is compared with, or NULL */
static void
put_row(const Output *output, const Row *row, const EvnCounts *compared)
{
	const CityInfo	 *city = row->city;
	const EvnWindows *windows = &city->zone->windows;
	Datum			  values[14] = {0};
	bool			  nulls[14] = {0};

	CHECK_FOR_INTERRUPTS();
	values[0] = TimestampTzGetDatum(row->start);
	values[1] = TimestampTzGetDatum(row->end);
	values[2] = Int32GetDatum(city->city_id);
	values[3] = city->name;
	values[4] = city->country_code;
	values[5] = city->country;
	nulls[3] = nulls[4] = nulls[5] = !city->known;
	put_counts(output->report, &row->counts, &values[6], &nulls[6]);
	values[9] = output->states[city->zone->coverage[row->window]];
	nulls[10] = compared == NULL;
	if (compared != NULL)
		values[10] =
			TimestampTzGetDatum(windows->compared[evn_report_window_first(windows, row->window)]);
	put_counts(output->report, compared == NULL ? &no_counts : compared, &values[11], &nulls[11]);
	tuplestore_putvalues(output->result->setResult, output->result->setDesc, values, nulls);
}

/* ---- city_counts */

static void
put_by_time(const Report *report, const Output *output)
{
	EvnWindowList posts = {0};
	int64		 *first = palloc(sizeof(int64) * (report->ninfos + 1));
	int64		  n = 0;
	Row			 *rows;

	for (int i = 0; i < report->ninfos; i++)
	{
		first[i] = posts.n;
		evn_report_cells_windows(report->cells, report->infos[i].city_id,
								 &report->infos[i].zone->windows, MAX_ROWS, &posts);
	}
	first[report->ninfos] = posts.n;
	rows = MemoryContextAllocHuge(CurrentMemoryContext,
								  sizeof(Row) * (count_rows(report, posts.n) + 1));
	for (int i = 0; i < report->ninfos; i++)
		n += fill_city(report, &report->infos[i], posts.items + first[i],
					   (int) (first[i + 1] - first[i]), rows + n);
	sort_rows(rows, n);
	for (int64 i = 0; i < n; i++)
		put_row(output, &rows[i], NULL);
}

/* ---- city_series */

/* The windows of one city; the lists are used for each. */
typedef struct CitySeries
{
	EvnWindowList posts;
	EvnWindowList compared;
	Row			 *rows;
} CitySeries;

/* The earlier counts of a window; next: the first of them that is not before it. */
static const EvnCounts *
compared_counts(const Report *report, const CitySeries *series, const Row *row, int64 *next)
{
	while (*next < series->compared.n && series->compared.items[*next].window < row->window)
		(*next)++;
	if (*next < series->compared.n && series->compared.items[*next].window == row->window)
		return &series->compared.items[*next].counts;
	if (report->fill == FILL_ZERO && row->city->zone->compared_coverage[row->window] == 0)
		return &zero_counts;
	return &no_counts;
}

static int64
put_city(const Report *report, const Output *output, const CityInfo *city, CitySeries *series)
{
	const EvnWindows *windows = &city->zone->windows;
	int64			  next = 0;
	int				  n;

	series->posts.n = series->compared.n = 0;
	evn_report_cells_windows(report->cells, city->city_id, windows, MAX_ROWS, &series->posts);
	if (report->compared != NULL)
		evn_report_cells_windows(report->compared, city->city_id, windows, MAX_ROWS,
								 &series->compared);
	n = fill_city(report, city, series->posts.items, (int) series->posts.n, series->rows);
	for (int i = 0; i < n; i++)
		put_row(output, &series->rows[i],
				report->compared == NULL
					? NULL
					: compared_counts(report, series, &series->rows[i], &next));
	return n;
}

static void
put_by_city(const Report *report, const Output *output)
{
	CityInfo **cities = palloc(sizeof(CityInfo *) * (report->ninfos + 1));
	CitySeries series = {0};
	int		   most = 0;
	int64	   n = 0;

	(void) count_rows(report, 0);
	for (int i = 0; i < report->ninfos; i++)
	{
		cities[i] = &report->infos[i];
		most = Max(most, cities[i]->zone->windows.n);
	}
	qsort(cities, report->ninfos, sizeof(CityInfo *), compare_names);
	series.rows = palloc(sizeof(Row) * (most + 1));
	for (int i = 0; i < report->ninfos; i++)
	{
		n += put_city(report, output, cities[i], &series);
		if (n > MAX_ROWS)
			evn_report_cells_too_many(MAX_ROWS);
	}
}

/* ---- */

static void
prepare_report(Report *report, FunctionCallInfo fcinfo)
{
	read_arguments(report, fcinfo);
	if (report->local)
		add_local_zones(report);
	else
		add_zone(report, pstrdup(report->request.timezone));
	report->cells = count_cells(report, false);
	find_coverage(report, false);
	if (report->request.compare != EVN_COMPARE_NONE)
	{
		report->compared = count_cells(report, true);
		find_coverage(report, true);
	}
	load_cities(report);
}

Datum
evn_report_city_counts(PG_FUNCTION_ARGS)
{
	Report report = {0};
	Output output;

	prepare_report(&report, fcinfo);
	start_output(&output, &report, fcinfo);
	put_by_time(&report, &output);
	return (Datum) 0;
}

Datum
evn_report_city_series(PG_FUNCTION_ARGS)
{
	Report report = {0};
	Output output;

	prepare_report(&report, fcinfo);
	start_output(&output, &report, fcinfo);
	put_by_city(&report, &output);
	return (Datum) 0;
}
