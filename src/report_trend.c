/*
 * report_trend.c
 *		SQL function that tells which cities post more than expected.
 *
 * A city's share of all posts is expected to be what it was at the same time of
 * earlier days and weeks (baselines); the posts of all other cities, times that
 * share, are its expectation, so that what moves all cities moves no city.
 * doc/trends.md has the method.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "compat.h"
#include "report.h"
#include "spi.h"
#include "stream.h"
#include "trend_score.h"

PG_FUNCTION_INFO_V1(evn_report_trending_cities);
PG_FUNCTION_INFO_V1(evn_report_trend_score);
PG_FUNCTION_INFO_V1(evn_report_trend_p_value);

enum
{
	ARG_STREAM,
	ARG_AT,
	ARG_SPAN,
	ARG_N,
	ARG_MIN_TWEETS,
	ARG_MIN_RATIO,
	ARG_MAX_FDR,
	ARG_COVERED,
	ARG_CITIES
};

#define NDAYS	   6
#define NWEEKS	   4
#define NRECENT	   3
#define NBASELINES (NDAYS + NWEEKS + NRECENT)
#define NEVALS	   2 /* the window, and the one before it */

#define DAY_WEIGHT		 0.5
#define RECENT_WEIGHT	 0.25
#define ENOUGH			 2	 /* baselines of days and weeks; with fewer, recent ones are used too */
#define STAY_SCORE		 2.0 /* a trend lasts while the score is above this */
#define LARGE_SHARE		 0.5 /* the rest is no measure for a city with more than this */
#define PSEUDO_POSTS	 0.25 /* of a city without history */
#define PRIOR_DISPERSION 0.05
#define PRIOR_WINDOWS	 10 /* how many baselines of its own outweigh the others' dispersion */

typedef struct City
{
	int32  city_id;
	char   status;
	double tweets[NEVALS];
	double base[NEVALS][NBASELINES];
} City;

#define SH_PREFIX			  trend
#define SH_ELEMENT_TYPE		  City
#define SH_KEY_TYPE			  int32
#define SH_KEY				  city_id
#define SH_HASH_KEY(table, k) murmurhash32((uint32) (k))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE			  static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* an earlier window like the one that is judged */
typedef struct Baseline
{
	int64  shift; /* so long before */
	double weight;
	bool   usable[NEVALS];
	double total[NEVALS];
} Baseline;

typedef struct Span
{
	int64 since;
	int64 until;
} Span;

typedef struct Trend
{
	EvnReportSource source;
	EvnReportCities cities;
	Span			windows[NEVALS];
	Baseline		baselines[NBASELINES];
	bool			covered_only;
	List		   *complete; /* Span: all was consumed */
	int64			first;	  /* bucket there is */
	trend_hash	   *hash;
	double			totals[NEVALS];
	double			dispersion[NEVALS];
	int				reading; /* the window whose rows are read */
	MemoryContext	context;
} Trend;

/* what is found about a city in one window */
typedef struct Finding
{
	const City *city;
	double		expected;
	double		share;
	double		score;
	double		p;
	double		q;
	int			baselines;
	bool		enters;
	bool		stays;
} Finding;

/* ---- what was consumed */

static void
note_span(void *state, const Datum *values, const bool *nulls)
{
	Trend		 *trend = state;
	MemoryContext old = MemoryContextSwitchTo(trend->context);
	Span		 *span = palloc(sizeof(Span));

	span->since = DatumGetTimestampTz(values[0]);
	span->until = DatumGetTimestampTz(values[1]);
	trend->complete = lappend(trend->complete, span);
	MemoryContextSwitchTo(old);
}

static void
find_complete(Trend *trend, int64 since, int64 until)
{
	evn_report_each(&trend->source,
					psprintf("SELECT c.span_start, c.span_end FROM evilnet.coverage(%u, %s, %s) c"
							 " WHERE c.state = 'complete'",
							 trend->source.stream, evn_report_time(since), evn_report_time(until)),
					0, NULL, NULL, NULL, note_span, trend);
}

static bool
is_complete(const Trend *trend, int64 since, int64 until)
{
	ListCell *cell;

	if (!trend->covered_only)
		return since >= trend->first;
	foreach(cell, trend->complete)
	{
		const Span *span = lfirst(cell);

		if (span->since <= since && span->until >= until)
			return true;
	}
	return false;
}

/* ---- windows and baselines */

static int64
hour_floor(int64 ts)
{
	return evn_stream_partition_start(ts, USECS_PER_HOUR);
}

static int64
hour_ceil(int64 ts)
{
	int64 floor = hour_floor(ts);

	return floor == ts ? ts : floor + USECS_PER_HOUR;
}

static void
place_baselines(Trend *trend)
{
	int64 span = trend->windows[0].until - trend->windows[0].since;
	int	  n = 0;

	for (int i = 1; i <= NDAYS; i++)
		trend->baselines[n++] = (Baseline) {.shift = i * USECS_PER_DAY, .weight = DAY_WEIGHT};
	for (int i = 1; i <= NWEEKS; i++)
		trend->baselines[n++] = (Baseline) {.shift = i * 7 * USECS_PER_DAY, .weight = 1};
	/* not the window before: what began there would be its own expectation */
	for (int i = 1; i <= NRECENT; i++)
		trend->baselines[n++] = (Baseline) {.shift = (i + 1) * span, .weight = RECENT_WEIGHT};
}

/* Baselines are read by the hour, so all hours they touch must have been consumed. */
static void
choose_baselines(Trend *trend)
{
	for (int e = 0; e < NEVALS; e++)
	{
		int found = 0;

		for (int k = 0; k < NBASELINES; k++)
		{
			Baseline *baseline = &trend->baselines[k];

			baseline->usable[e] =
				(k < NDAYS + NWEEKS || found < ENOUGH) &&
				is_complete(trend, hour_floor(trend->windows[e].since - baseline->shift),
							hour_ceil(trend->windows[e].until - baseline->shift));
			found += baseline->usable[e];
		}
	}
}

/* ---- counting */

static City *
get_city(Trend *trend, int32 city_id)
{
	bool  found;
	City *city = trend_insert(trend->hash, city_id, &found);

	if (!found)
	{
		memset(city->tweets, 0, sizeof(city->tweets));
		memset(city->base, 0, sizeof(city->base));
	}
	return city;
}

/* A row (bucket, city_id, tweets) of the window that is read. */
static void
count_current(void *state, const Datum *values, const bool *nulls)
{
	Trend *trend = state;

	get_city(trend, DatumGetInt32(values[1]))->tweets[trend->reading] += DatumGetInt64(values[2]);
}

/* How much of the hour lies in [since, until). */
static double
overlap(int64 hour, int64 since, int64 until)
{
	int64 low = Max(hour, since);
	int64 high = Min(hour + USECS_PER_HOUR, until);

	return high <= low ? 0 : (double) (high - low) / USECS_PER_HOUR;
}

/* A row of some earlier hour: it may be part of several baselines. */
static void
count_earlier(void *state, const Datum *values, const bool *nulls)
{
	Trend *trend = state;
	int64  hour = hour_floor(DatumGetTimestampTz(values[0]));
	City  *city = get_city(trend, DatumGetInt32(values[1]));
	double tweets = DatumGetInt64(values[2]);

	for (int e = 0; e < NEVALS; e++)
		for (int k = 0; k < NBASELINES; k++)
			if (trend->baselines[k].usable[e])
				city->base[e][k] +=
					tweets * overlap(hour, trend->windows[e].since - trend->baselines[k].shift,
									 trend->windows[e].until - trend->baselines[k].shift);
}

static void
read_rows(Trend *trend, const char *rows, EvnReportRow row)
{
	evn_report_each(&trend->source,
					psprintf("SELECT s.bucket, s.city_id, s.tweets FROM (%s) s", rows), 0, NULL,
					NULL, NULL, row, trend);
}

static int
compare_spans(const void *a, const void *b)
{
	const Span *x = a;
	const Span *y = b;

	return (x->since > y->since) - (x->since < y->since);
}

/* The hours of all baselines, each once. */
static void
read_baselines(Trend *trend)
{
	Span		   spans[NEVALS * NBASELINES];
	int			   n = 0;
	StringInfoData sql;

	for (int e = 0; e < NEVALS; e++)
		for (int k = 0; k < NBASELINES; k++)
			if (trend->baselines[k].usable[e])
				spans[n++] =
					(Span) {hour_floor(trend->windows[e].since - trend->baselines[k].shift),
							hour_ceil(trend->windows[e].until - trend->baselines[k].shift)};
	if (n == 0)
		return;
	qsort(spans, n, sizeof(Span), compare_spans);
	initStringInfo(&sql);
	for (int i = 0; i < n; i++)
	{
		Span span = spans[i];

		for (; i + 1 < n && spans[i + 1].since <= span.until; i++)
			span.until = Max(span.until, spans[i + 1].until);
		appendStringInfo(
			&sql, "%s%s", sql.len == 0 ? "" : " UNION ALL ",
			evn_report_rows(&trend->source, span.since, span.until, USECS_PER_HOUR, false, ""));
	}
	read_rows(trend, sql.data, count_earlier);
}

static void
sum_up(Trend *trend)
{
	trend_iterator iterator;
	City		  *city;

	trend_start_iterate(trend->hash, &iterator);
	while ((city = trend_iterate(trend->hash, &iterator)) != NULL)
		for (int e = 0; e < NEVALS; e++)
		{
			trend->totals[e] += city->tweets[e];
			for (int k = 0; k < NBASELINES; k++)
				trend->baselines[k].total[e] += city->base[e][k];
		}
}

/* ---- judging */

/* The city's weighted posts in the baselines, those of all, and their weight. */
static void
weigh(const Trend *trend, const City *city, int e, double *posts, double *all, double *weight)
{
	*posts = *all = *weight = 0;
	for (int k = 0; k < NBASELINES; k++)
	{
		const Baseline *baseline = &trend->baselines[k];

		if (!baseline->usable[e] || baseline->total[e] <= 0)
			continue;
		*posts += baseline->weight * city->base[e][k];
		*all += baseline->weight * baseline->total[e];
		*weight += baseline->weight;
	}
}

static double
share_of(const Trend *trend, const City *city, int e, double *posts, double *weight)
{
	double all;

	weigh(trend, city, e, posts, &all, weight);
	return (*posts + PSEUDO_POSTS) / (all + PSEUDO_POSTS);
}

/*
 * By the method of moments: how much more the baselines of a city vary than
 * Poisson.  One far out counts as what is just about possible, so that bursts of
 * the past do not blind.
 */
static void
add_dispersion(const Trend *trend, const City *city, int e, double dispersion, double *excess,
			   double *square)
{
	double posts;
	double weight;
	double share = share_of(trend, city, e, &posts, &weight);

	for (int k = 0; k < NBASELINES; k++)
	{
		const Baseline *baseline = &trend->baselines[k];
		double			expected = baseline->total[e] * share;
		double			deviation = city->base[e][k] - expected;
		double			limit = 9 * (expected + dispersion * expected * expected);

		if (!baseline->usable[e] || baseline->total[e] <= 0)
			continue;
		*excess += Min(deviation * deviation, limit) - expected;
		*square += expected * expected;
	}
}

/* The dispersion all cities have in common. */
static void
estimate_dispersion(Trend *trend, int e)
{
	double dispersion = PRIOR_DISPERSION;

	/* the second time with a better idea of what is possible */
	for (int round = 0; round < 2; round++)
	{
		double		   excess = 0;
		double		   square = 0;
		trend_iterator iterator;
		City		  *city;

		trend_start_iterate(trend->hash, &iterator);
		while ((city = trend_iterate(trend->hash, &iterator)) != NULL)
			add_dispersion(trend, city, e, dispersion, &excess, &square);
		if (square > 0)
			dispersion = Max(excess / square, PRIOR_DISPERSION / 5);
	}
	trend->dispersion[e] = dispersion;
}

/* The city's own dispersion, drawn towards the common one; and what is not known of its share. */
static double
dispersion_of(const Trend *trend, const City *city, int e, double posts, double weight)
{
	double common = trend->dispersion[e];
	double excess = 0;
	double square = 0;
	double others = trend->totals[e] - city->tweets[e];
	double own = common;

	add_dispersion(trend, city, e, common, &excess, &square);
	if (square > 1)
		own =
			(PRIOR_WINDOWS * common + weight * Max(excess / square, 0)) / (PRIOR_WINDOWS + weight);
	own = Max(own, common / 2);
	return own * (1 + 1 / weight) + 1 / (posts + 2 * PSEUDO_POSTS) + 1 / Max(others, 1);
}

static void
judge(const Trend *trend, const City *city, int e, Finding *finding)
{
	double posts;
	double weight;
	double others = trend->totals[e] - city->tweets[e];

	memset(finding, 0, sizeof(Finding));
	finding->city = city;
	finding->share = share_of(trend, city, e, &posts, &weight);
	for (int k = 0; k < NBASELINES; k++)
		finding->baselines += trend->baselines[k].usable[e] && trend->baselines[k].total[e] > 0;
	if (finding->share > LARGE_SHARE)
		finding->expected = posts / weight;
	else
		finding->expected = others * finding->share / (1 - finding->share);
	finding->expected = Max(finding->expected, 1e-6);
	finding->score = evn_trend_score(city->tweets[e], finding->expected,
									 dispersion_of(trend, city, e, posts, weight));
	finding->p = evn_trend_p_value(finding->score);
}

static int
compare_p(const void *a, const void *b)
{
	const Finding *x = a;
	const Finding *y = b;

	if (x->p != y->p)
		return x->p < y->p ? -1 : 1;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return (x->city->city_id > y->city->city_id) - (x->city->city_id < y->city->city_id);
}

/* Benjamini and Hochberg: the smallest rate of false discoveries at which it is one. */
static void
adjust(Finding *findings, int n)
{
	double q = 1;

	qsort(findings, n, sizeof(Finding), compare_p);
	for (int i = n - 1; i >= 0; i--)
	{
		q = Min(q, findings[i].p * n / (i + 1));
		findings[i].q = q;
	}
}

/* All cities judged by window e, the most surprising first. */
static Finding *
find(Trend *trend, int e, FunctionCallInfo fcinfo, int *n)
{
	Finding		  *findings = palloc(sizeof(Finding) * (trend->hash->members + 1));
	double		   usable = 0;
	trend_iterator iterator;
	City		  *city;

	*n = 0;
	for (int k = 0; k < NBASELINES; k++)
		if (trend->baselines[k].usable[e])
			usable += trend->baselines[k].total[e];
	if (usable <= 0 || !is_complete(trend, trend->windows[e].since, trend->windows[e].until))
		return findings;
	estimate_dispersion(trend, e);
	trend_start_iterate(trend->hash, &iterator);
	while ((city = trend_iterate(trend->hash, &iterator)) != NULL)
		if (city->city_id != 0)
			judge(trend, city, e, &findings[(*n)++]);
	adjust(findings, *n);
	for (int i = 0; i < *n; i++)
	{
		Finding *finding = &findings[i];
		double	 tweets = finding->city->tweets[e];

		finding->enters = tweets >= PG_GETARG_INT64(ARG_MIN_TWEETS) &&
						  tweets >= PG_GETARG_FLOAT8(ARG_MIN_RATIO) * finding->expected &&
						  finding->q <= PG_GETARG_FLOAT8(ARG_MAX_FDR);
	}
	return findings;
}

/* What entered with the window before stays while it is still out of the ordinary. */
static void
carry_over(Finding *findings, int n, const Finding *before, int nbefore)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < nbefore && findings[i].score >= STAY_SCORE; j++)
			if (before[j].enters && before[j].city == findings[i].city)
				findings[i].stays = true;
}

/* ---- arguments */

static void
check_arguments(FunctionCallInfo fcinfo, int64 span)
{
	if (PG_GETARG_INTERVAL_P(ARG_SPAN)->month != 0 || span < USECS_PER_MINUTE ||
		span > USECS_PER_DAY || span % USECS_PER_MINUTE != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"span\" must be whole minutes, a day at most, not \"%s\"",
							   evn_stream_interval_text(PG_GETARG_INTERVAL_P(ARG_SPAN)))));
	if (PG_GETARG_INT32(ARG_N) < 0 || PG_GETARG_INT64(ARG_MIN_TWEETS) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" is too small",
							   PG_GETARG_INT32(ARG_N) < 0 ? "n" : "min_tweets")));
	if (!(PG_GETARG_FLOAT8(ARG_MIN_RATIO) >= 1) ||
		!(PG_GETARG_FLOAT8(ARG_MAX_FDR) > 0 && PG_GETARG_FLOAT8(ARG_MAX_FDR) < 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"min_ratio\" must be at least 1, \"max_fdr\" between 0 and 1")));
}

/* A single time that SQL gives; the end of time when it is null. */
static int64
query_time(const Trend *trend, const char *sql)
{
	bool   isnull;
	Datum  value;
	EvnSpi spi;

	evn_spi_begin(&spi, trend->source.owner);
	evn_spi_read(sql, 0, NULL, NULL, NULL);
	value = evn_spi_value_or_null(0, 1, &isnull);
	evn_spi_end(&spi);
	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

/* The windows; false when nothing was read up to now. */
static bool
place_windows(Trend *trend, FunctionCallInfo fcinfo, int64 span)
{
	int64 until =
		PG_ARGISNULL(ARG_AT)
			? query_time(trend, psprintf("SELECT evilnet.watermark(%u)", trend->source.stream))
			: PG_GETARG_TIMESTAMPTZ(ARG_AT);

	if (TIMESTAMP_NOT_FINITE(until))
		return false;
	until = evn_stream_partition_start(until, USECS_PER_MINUTE);
	trend->windows[0] = (Span) {until - span, until};
	trend->windows[1] = (Span) {until - 2 * span, until - span};
	return true;
}

/* ---- rows */

static void
put_finding(const Trend *trend, const Finding *finding, const Datum *names, ReturnSetInfo *result)
{
	Datum  values[17];
	bool   nulls[17] = {0};
	double tweets = finding->city->tweets[0];
	double share = tweets / Max(trend->totals[0], 1);

	values[0] = Int32GetDatum(finding->city->city_id);
	for (int i = 0; i < 3; i++)
	{
		values[1 + i] = names[i];
		nulls[1 + i] = names[i] == (Datum) 0;
	}
	values[4] = CStringGetTextDatum(finding->enters ? "trending" : "staying");
	values[5] = Int64GetDatum((int64) tweets);
	values[6] = Float8GetDatum(finding->expected);
	values[7] = Float8GetDatum(tweets / finding->expected);
	values[8] = Float8GetDatum(finding->score);
	values[9] = Float8GetDatum(finding->p);
	values[10] = Float8GetDatum(finding->q);
	values[11] = Float8GetDatum(share);
	values[12] = Float8GetDatum(finding->share);
	values[13] = Int32GetDatum(finding->baselines);
	values[14] = TimestampTzGetDatum(trend->windows[0].since);
	values[15] = TimestampTzGetDatum(trend->windows[0].until);
	values[16] = CStringGetTextDatum(psprintf(
		"%.0f posts where %.1f were expected: %.2f %% of all posts, %.2f %% in %d earlier windows",
		tweets, finding->expected, share * 100, finding->share * 100, finding->baselines));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

typedef struct Names
{
	Datum		  values[3];
	MemoryContext context;
} Names;

static void
note_names(void *state, const Datum *values, const bool *nulls)
{
	Names		 *names = state;
	MemoryContext old = MemoryContextSwitchTo(names->context);

	for (int i = 0; i < 3; i++)
		names->values[i] = datumCopy(values[i], false, -1);
	MemoryContextSwitchTo(old);
}

static bool
is_wanted(const Trend *trend, int32 city_id)
{
	ArrayType *ids = trend->cities.all ? NULL : DatumGetArrayTypeP(trend->cities.ids);
	int32	  *values;

	if (ids == NULL)
		return true;
	values = (int32 *) ARR_DATA_PTR(ids);
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)); i++)
		if (values[i] == city_id)
			return true;
	return false;
}

static void
put_findings(const Trend *trend, const Finding *findings, int n, int limit, ReturnSetInfo *result)
{
	for (int i = 0; i < n && limit > 0; i++)
	{
		Names names = {.context = CurrentMemoryContext};

		if (!(findings[i].enters || findings[i].stays) ||
			!is_wanted(trend, findings[i].city->city_id))
			continue;
		evn_report_each(&trend->source,
						psprintf("SELECT c.name, c.country_code, c.country FROM evilnet.city c"
								 " WHERE c.city_id = %d",
								 findings[i].city->city_id),
						0, NULL, NULL, NULL, note_names, &names);
		put_finding(trend, &findings[i], names.values, result);
		limit--;
	}
}

Datum
evn_report_trending_cities(PG_FUNCTION_ARGS)
{
	Trend	 trend = {.context = CurrentMemoryContext};
	int64	 span;
	Finding *findings;
	Finding *before;
	int		 n;
	int		 nbefore;

	if (PG_ARGISNULL(ARG_STREAM))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", "stream")));
	for (int i = ARG_SPAN; i < ARG_CITIES; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("only \"at\" and filters may be null")));
	span = evn_stream_interval_us(PG_GETARG_INTERVAL_P(ARG_SPAN));
	check_arguments(fcinfo, span);
	InitMaterializedSRF(fcinfo, 0);
	evn_report_open(&trend.source, PG_GETARG_OID(ARG_STREAM));
	evn_report_cities(&trend.cities, fcinfo, ARG_CITIES, 1);
	trend.covered_only = PG_GETARG_BOOL(ARG_COVERED);
	if (!place_windows(&trend, fcinfo, span))
		return (Datum) 0;
	place_baselines(&trend);
	if (trend.covered_only)
		find_complete(&trend, hour_floor(trend.windows[1].since - NWEEKS * 7 * USECS_PER_DAY),
					  trend.windows[0].until);
	else
		trend.first = query_time(
			&trend, psprintf("SELECT pg_catalog.min(bucket) FROM (%s) s",
							 evn_report_rows(&trend.source, DT_NOBEGIN, DT_NOEND, 0, false, "")));
	choose_baselines(&trend);
	trend.hash = trend_create(CurrentMemoryContext, 1024, NULL);
	for (trend.reading = 0; trend.reading < NEVALS; trend.reading++)
		read_rows(&trend,
				  evn_report_rows(&trend.source, trend.windows[trend.reading].since,
								  trend.windows[trend.reading].until, 0, false, ""),
				  count_current);
	read_baselines(&trend);
	sum_up(&trend);
	findings = find(&trend, 0, fcinfo, &n);
	before = find(&trend, 1, fcinfo, &nbefore);
	carry_over(findings, n, before, nbefore);
	put_findings(&trend, findings, n, PG_GETARG_INT32(ARG_N), (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

/* ---- the score itself, for queries of one's own */

Datum
evn_report_trend_score(PG_FUNCTION_ARGS)
{
	double observed = PG_GETARG_FLOAT8(0);
	double expected = PG_GETARG_FLOAT8(1);
	double dispersion = PG_GETARG_FLOAT8(2);

	if (!(observed >= 0) || !(expected > 0) || !(dispersion >= 0) || isinf(observed) ||
		isinf(expected) || isinf(dispersion))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "\"observed\" and \"dispersion\" must be at least 0, \"expected\" above 0, all finite")));
	PG_RETURN_FLOAT8(evn_trend_score(observed, expected, dispersion));
}

Datum
evn_report_trend_p_value(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(evn_trend_p_value(PG_GETARG_FLOAT8(0)));
}
