/*
 * report_counts.c
 *		SQL functions that count posts per window and city.
 *
 * One query reads the partial counts; they are put together per window and city
 * here.  A plan that groups would build an hll for each group, 128 kB, though
 * most groups are of one row.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "lib/qunique.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"

#include "compat.h"
#include "report.h"
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

/* the windows of cities of one zone, and the state of each in evilnet.coverage */
typedef struct Zone
{
	char	  *name;
	EvnWindows windows;
	int		  *coverage; /* by window: index into coverage_states, the worst */
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

/* posts of a city in a window */
typedef struct CellKey
{
	int32 city_id;
	int32 window;
} CellKey;

typedef struct Cell
{
	CellKey			key;
	int64			tweets;
	int64			retweets;
	struct varlena *sketch; /* of authors, or NULL */
	int64			authors;
	char			status;
} Cell;

#define SH_PREFIX		cells
#define SH_ELEMENT_TYPE Cell
#define SH_KEY_TYPE		CellKey
#define SH_KEY			key
#define SH_HASH_KEY(table, key) \
	hash_combine(murmurhash32((uint32) (key).city_id), murmurhash32((uint32) (key).window))
#define SH_EQUAL(table, a, b) ((a).city_id == (b).city_id && (a).window == (b).window)
#define SH_SCOPE			  static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

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
	bool			 local;
	Fill			 fill;
	bool			 series;
	cells_hash		*cells;
	cells_hash		*compared; /* NULL without comparison */
	CityInfo		*infos;	   /* by city_id */
	int				 ninfos;
	FmgrInfo		 unite; /* of hll, when authors are counted */
	FmgrInfo		 cardinality;
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
	evn_spi_execf(SPI_OK_SELECT, "SELECT pg_catalog.min(bucket), pg_catalog.max(bucket) FROM %s",
				  evn_spi_qualified_name(rollup->storage));
	first = evn_spi_value_or_null(0, 1, &isnull);
	last = evn_spi_value_or_null(0, 2, &isnull);
	evn_spi_end(&spi);
	if (isnull)
		return;
	*since = Min(*since, DatumGetTimestampTz(first));
	*until = Max(*until, DatumGetTimestampTz(last) + rollup->width);
}

/* A span without end is that of the buckets that are there. */
static void
bound_span(Report *report)
{
	EvnWindowRequest *request = &report->request;
	int64			  since = DT_NOEND;
	int64			  until = DT_NOBEGIN;
	ListCell		 *cell;

	if (!TIMESTAMP_NOT_FINITE(request->since) && !TIMESTAMP_NOT_FINITE(request->until))
		return;
	foreach(cell, report->source.rollups)
		include_buckets(report, lfirst(cell), &since, &until);
	if (TIMESTAMP_IS_NOBEGIN(request->since))
	{
		request->since = since;
		request->whole = false;
	}
	if (TIMESTAMP_IS_NOEND(request->until))
		request->until = until;
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
	n = evn_spi_exec_args("SELECT DISTINCT coalesce(c.timezone, 'UTC') FROM evilnet.city c"
						  " WHERE $1 IS NULL OR c.city_id = ANY ($1)",
						  1, types, values, report->cities.all ? "n" : " ", SPI_OK_SELECT);
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
		const int64		 *starts = compared ? windows->compared_starts : windows->starts;
		const int64		 *ends = compared ? windows->compared_ends : windows->ends;
		int64			  edges;

		if (windows->n == 0)
			continue;
		*since = Min(*since, starts[0]);
		*until = Max(*until, ends[windows->n - 1]);
		edges = evn_report_windows_grain(windows->n, starts, ends);
		*grain = evn_report_windows_grain(1, grain, &edges);
	}
	if (*since > *until)
		*since = *until = 0;
}

/* ---- counting */

typedef struct Counting
{
	Report		 *report;
	cells_hash	 *cells;
	bool		  compared;
	MemoryContext context;
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

static void
add_authors(const Report *report, Cell *cell, Datum authors)
{
	struct varlena *before = cell->sketch;

	if (before == NULL)
		cell->sketch = (struct varlena *) DatumGetPointer(datumCopy(authors, false, -1));
	else
	{
		cell->sketch = (struct varlena *) DatumGetPointer(
			FunctionCall2((FmgrInfo *) &report->unite, PointerGetDatum(before), authors));
		pfree(before);
	}
}

/* A row (bucket, city_id, tweets, retweets, zone, authors) of partial counts. */
static void
count_row(void *state, const Datum *values, const bool *nulls)
{
	Counting		 *counting = state;
	const Zone		 *zone = list_nth(counting->report->zones, DatumGetInt32(values[4]));
	const EvnWindows *windows = &zone->windows;
	const int64		 *starts = counting->compared ? windows->compared_starts : windows->starts;
	const int64		 *ends = counting->compared ? windows->compared_ends : windows->ends;
	int64			  bucket = DatumGetTimestampTz(values[0]);
	int				  last = count_until(starts, windows->n, bucket);
	MemoryContext	  old = MemoryContextSwitchTo(counting->context);

	for (int i = count_until(ends, windows->n, bucket); i < last; i++)
	{
		CellKey key = {DatumGetInt32(values[1]), i};
		bool	found;
		Cell   *cell = cells_insert(counting->cells, key, &found);

		if (!found)
		{
			cell->tweets = cell->retweets = 0;
			cell->sketch = NULL;
		}
		cell->tweets += DatumGetInt64(values[2]);
		cell->retweets += DatumGetInt64(values[3]);
		if (counting->report->source.has_authors && !nulls[5])
			add_authors(counting->report, cell, values[5]);
	}
	MemoryContextSwitchTo(old);
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

static cells_hash *
count_cells(Report *report, bool compared)
{
	Counting counting = {
		.report = report,
		.cells = cells_create(CurrentMemoryContext, 1024, NULL),
		.compared = compared,
		.context = CurrentMemoryContext,
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

/* hll's functions are found where its type is. */
static void
find_hll(Report *report)
{
	List *unite = list_make2(makeString(pstrdup(report->source.hll_schema)),
							 makeString(pstrdup("hll_union")));
	List *cardinality = list_make2(makeString(pstrdup(report->source.hll_schema)),
								   makeString(pstrdup("hll_cardinality")));
	Oid	  types[2] = {report->source.hll_type, report->source.hll_type};

	fmgr_info(LookupFuncName(unite, 2, types, false), &report->unite);
	fmgr_info(LookupFuncName(cardinality, 1, types, false), &report->cardinality);
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

/* The cities to show, each once: those with posts, and those asked for by name. */
static Datum
shown_cities(Report *report)
{
	ArrayType	  *named = report->cities.all ? NULL : DatumGetArrayTypeP(report->cities.named);
	int			   nnamed = named == NULL ? 0 : ArrayGetNItems(ARR_NDIM(named), ARR_DIMS(named));
	int32		  *ids = palloc(sizeof(int32) * (report->cells->members + nnamed + 1));
	int			   n = 0;
	Datum		  *datums;
	cells_iterator iterator;
	Cell		  *cell;

	if (report->fill != FILL_NOT && nnamed > 0)
	{
		memcpy(ids, ARR_DATA_PTR(named), sizeof(int32) * nnamed);
		n = nnamed;
	}
	cells_start_iterate(report->cells, &iterator);
	while ((cell = cells_iterate(report->cells, &iterator)) != NULL)
		if (cell->tweets > 0)
			ids[n++] = cell->key.city_id;
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

static CityInfo *
find_city(const Report *report, int32 city_id)
{
	return bsearch(&city_id, report->infos, report->ninfos, sizeof(CityInfo), compare_ids);
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

/* A span (start, end, state): windows that it meets are no better. */
static void
cover_windows(void *state, const Datum *values, const bool *nulls)
{
	Report	 *report = state;
	int64	  since = DatumGetTimestampTz(values[0]);
	int64	  until = DatumGetTimestampTz(values[1]);
	int		  rank = coverage_rank(values[2]);
	ListCell *cell;

	foreach(cell, report->zones)
	{
		Zone			 *zone = lfirst(cell);
		const EvnWindows *windows = &zone->windows;

		for (int i = count_until(windows->ends, windows->n, since);
			 i < windows->n && windows->starts[i] < until; i++)
			zone->coverage[i] = Max(zone->coverage[i], rank);
	}
}

static void
find_coverage(Report *report)
{
	int64	  since;
	int64	  until;
	int64	  grain;
	ListCell *cell;

	foreach(cell, report->zones)
	{
		Zone *zone = lfirst(cell);

		zone->coverage = palloc0(sizeof(int) * Max(zone->windows.n, 1));
	}
	span_of(report, false, &since, &until, &grain);
	evn_report_each(
		&report->source,
		psprintf("SELECT c.span_start, c.span_end, c.state FROM evilnet.coverage(%u, %s, %s) c",
				 report->source.stream, evn_report_time(since), evn_report_time(until)),
		0, NULL, NULL, NULL, cover_windows, report);
}

/* ---- rows */

typedef struct Row
{
	const CityInfo *city;
	int				window;
	int64			start; /* of the window */
	int64			end;
	Cell			counts; /* tweets -1: none */
} Row;

typedef struct Rows
{
	Row *rows;
	int	 n;
} Rows;

static int64
count_authors(const Report *report, const Cell *cell)
{
	if (cell->sketch == NULL)
		return 0;
	return (int64) rint(DatumGetFloat8(
		FunctionCall1((FmgrInfo *) &report->cardinality, PointerGetDatum(cell->sketch))));
}

static void
add_row(const Report *report, Rows *rows, const CityInfo *city, int window, const Cell *cell)
{
	Row *row = &rows->rows[rows->n++];

	row->city = city;
	row->window = window;
	row->start = city->zone->windows.starts[window];
	row->end = city->zone->windows.ends[window];
	if (cell != NULL)
	{
		row->counts = *cell;
		row->counts.authors = count_authors(report, cell);
		return;
	}
	row->counts.tweets = -1;
	if (report->fill == FILL_ZERO && city->zone->coverage[window] == 0)
		row->counts.tweets = row->counts.retweets = row->counts.authors = 0;
	else if (report->fill == FILL_LAST && window > 0)
		row->counts = rows->rows[rows->n - 2].counts;
}

static const Cell *
find_cell(cells_hash *cells, int32 city_id, int window)
{
	CellKey		key = {city_id, window};
	const Cell *cell = cells_lookup(cells, key);

	return cell != NULL && cell->tweets > 0 ? cell : NULL;
}

/* Every window of every city, or only those with posts. */
static void
collect_rows(const Report *report, Rows *rows)
{
	int64 n = 0;

	for (int i = 0; i < report->ninfos; i++)
		n += report->infos[i].zone->windows.n;
	if (report->fill == FILL_NOT)
		n = report->cells->members;
	rows->rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Row) * (n + 1));
	if (report->fill == FILL_NOT)
	{
		cells_iterator iterator;
		Cell		  *cell;

		cells_start_iterate(report->cells, &iterator);
		while ((cell = cells_iterate(report->cells, &iterator)) != NULL)
			if (cell->tweets > 0)
				add_row(report, rows, find_city(report, cell->key.city_id), cell->key.window, cell);
		return;
	}
	for (int i = 0; i < report->ninfos; i++)
		for (int w = 0; w < report->infos[i].zone->windows.n; w++)
			add_row(report, rows, &report->infos[i], w,
					find_cell(report->cells, report->infos[i].city_id, w));
}

/* By time, then the most posts first. */
static int
compare_counts(const void *a, const void *b)
{
	const Row *x = a;
	const Row *y = b;
	int		   result = compare_int64(x->start, y->start);

	if (result == 0)
		result = compare_int64(x->end, y->end);
	if (result == 0)
		result = compare_int64(y->counts.tweets, x->counts.tweets);
	return result != 0 ? result : compare_int64(x->city->city_id, y->city->city_id);
}

/* City by city, by name, then by time. */
static int
compare_series(const void *a, const void *b)
{
	const Row *x = a;
	const Row *y = b;
	int		   result = compare_int64(y->city->known, x->city->known);

	if (result == 0 && x->city->known)
		result = DatumGetInt32(
			DirectFunctionCall2Coll(bttextcmp, C_COLLATION_OID, x->city->name, y->city->name));
	if (result == 0)
		result = compare_int64(x->city->city_id, y->city->city_id);
	return result != 0 ? result : compare_int64(x->window, y->window);
}

static void
put_counts(const Report *report, const Cell *counts, Datum *values, bool *nulls)
{
	nulls[0] = nulls[1] = nulls[2] = counts == NULL || counts->tweets < 0;
	if (nulls[0])
		return;
	values[0] = Int64GetDatum(counts->tweets);
	values[1] = Int64GetDatum(counts->retweets);
	values[2] = Int64GetDatum(counts->authors);
	nulls[2] = !report->source.has_authors;
}

static void
put_compared(const Report *report, const Row *row, Datum *values, bool *nulls)
{
	const Cell *cell;
	Cell		counts;

	nulls[0] = nulls[1] = nulls[2] = nulls[3] = true;
	if (report->compared == NULL)
		return;
	values[0] = TimestampTzGetDatum(row->city->zone->windows.compared_starts[row->window]);
	nulls[0] = false;
	cell = find_cell(report->compared, row->city->city_id, row->window);
	if (cell == NULL)
		return;
	counts = *cell;
	counts.authors = count_authors(report, cell);
	put_counts(report, &counts, &values[1], &nulls[1]);
}

static void
put_rows(const Report *report, const Rows *rows, ReturnSetInfo *result)
{
	Datum states[lengthof(coverage_states)];

	for (int i = 0; i < lengthof(coverage_states); i++)
		states[i] = CStringGetTextDatum(coverage_states[i]);
	for (int i = 0; i < rows->n; i++)
	{
		const Row  *row = &rows->rows[i];
		const Zone *zone = row->city->zone;
		Datum		values[14] = {0};
		bool		nulls[14] = {0};

		values[0] = TimestampTzGetDatum(row->start);
		values[1] = TimestampTzGetDatum(row->end);
		values[2] = Int32GetDatum(row->city->city_id);
		values[3] = row->city->name;
		values[4] = row->city->country_code;
		values[5] = row->city->country;
		nulls[3] = nulls[4] = nulls[5] = !row->city->known;
		put_counts(report, &row->counts, &values[6], &nulls[6]);
		values[9] = states[zone->coverage[row->window]];
		if (report->series)
			put_compared(report, row, &values[10], &nulls[10]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

static void
run_report(FunctionCallInfo fcinfo, bool series)
{
	Report report = {0};
	Rows   rows = {0};

	read_arguments(&report, fcinfo);
	report.series = series;
	if (report.local)
		add_local_zones(&report);
	else
		add_zone(&report, pstrdup(report.request.timezone));
	InitMaterializedSRF(fcinfo, 0);
	if (report.source.has_authors)
		find_hll(&report);
	report.cells = count_cells(&report, false);
	if (report.request.compare != EVN_COMPARE_NONE)
		report.compared = count_cells(&report, true);
	load_cities(&report);
	find_coverage(&report);
	collect_rows(&report, &rows);
	qsort(rows.rows, rows.n, sizeof(Row), series ? compare_series : compare_counts);
	put_rows(&report, &rows, (ReturnSetInfo *) fcinfo->resultinfo);
}

Datum
evn_report_city_counts(PG_FUNCTION_ARGS)
{
	run_report(fcinfo, false);
	return (Datum) 0;
}

Datum
evn_report_city_series(PG_FUNCTION_ARGS)
{
	run_report(fcinfo, true);
	return (Datum) 0;
}
