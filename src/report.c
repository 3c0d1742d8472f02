/*
 * report.c
 *		What the reports have in common.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "report.h"
#include "rollup.h"
#include "spi.h"

void
evn_report_require(FunctionCallInfo fcinfo, int n, const char *const *names)
{
	for (int i = 0; i < n; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"%s\" must not be null", names[i])));
}

void
evn_report_check_span(TimestampTz since, TimestampTz until)
{
	if (since > until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"since\" must not be later than \"until\""),
				 errdetail("\"since\" is %s, \"until\" is %s.", pstrdup(timestamptz_to_str(since)),
						   pstrdup(timestamptz_to_str(until))),
				 errhint("By default \"since\" is an hour ago and \"until\" is now.")));
}

static Oid
owner_of(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid		  owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* hll's functions stand where its type does. */
static void
find_hll(EvnReportSource *source, const EvnRollup *rollup)
{
	Oid input;
	Oid ioparam;

	source->hll_type = get_atttype(rollup->storage, get_attnum(rollup->storage, "authors"));
	getTypeInputInfo(source->hll_type, &input, &ioparam);
	source->hll_schema = get_namespace_name(get_func_namespace(input));
}

void
evn_report_open(EvnReportSource *source, Oid stream)
{
	char	  *name = get_rel_name(stream);
	EvnRollup *finest;

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", stream)));
	source->stream = stream;
	source->rollups = evn_rollup_list(stream, false);
	if (source->rollups == NIL)
		ereport(
			ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not a stream with counts per city", name),
			 errhint(
				 "evilnet.stat_stream lists the streams; evilnet.create_rollup('%s', '1 minute') counts a stream per city.",
				 name)));
	finest = linitial(source->rollups);
	if (pg_class_aclcheck(finest->view, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, get_rel_name(finest->view));
	source->owner = owner_of(finest->view);
	source->has_authors = finest->has_authors;
	if (source->has_authors)
		find_hll(source, finest);
}

const char *
evn_report_authors(const EvnReportSource *source, const char *column)
{
	const char *schema;

	if (!source->has_authors)
		return "NULL::pg_catalog.int8";
	schema = quote_identifier(source->hll_schema);
	return psprintf("pg_catalog.round(%s.hll_cardinality(%s.hll_union_agg(%s)))::pg_catalog.int8",
					schema, schema, column);
}

char *
evn_report_time(int64 ts)
{
	return psprintf("'%s'::pg_catalog.timestamptz", timestamptz_to_str(ts));
}

/* ---- rows */

typedef struct RowsQuery
{
	StringInfoData sql;
	bool		   authors;
	const char	  *condition;
} RowsQuery;

static void
append_rows(RowsQuery *query, const EvnRollup *rollup, int64 since, int64 until)
{
	if (query->sql.len > 0)
		appendStringInfoString(&query->sql, " UNION ALL ");
	appendStringInfo(&query->sql,
					 "SELECT s.bucket, s.city_id, s.tweets, s.retweets%s FROM %s s"
					 " WHERE s.bucket >= %s AND s.bucket < %s%s",
					 query->authors ? ", s.authors" : "", evn_spi_qualified_name(rollup->storage),
					 evn_report_time(since), evn_report_time(until), query->condition);
}

/* the first multiple of width from ts on, the last one up to ts; buckets begin at 2000-01-01 UTC */
static int64
align_up(int64 ts, int64 width)
{
	int64 rest;

	if (TIMESTAMP_NOT_FINITE(ts))
		return ts;
	rest = ts % width;
	if (rest == 0)
		return ts;
	return rest > 0 ? ts - rest + width : ts - rest;
}

static int64
align_down(int64 ts, int64 width)
{
	int64 up = align_up(ts, width);

	return up == ts ? ts : up - width;
}

/*
 * Whole buckets of roll-up number i in the middle, finer ones at both ends.
 * Whatever is older than the minutes that are kept has only coarse buckets.
 */
static void
compose(RowsQuery *query, const EvnReportSource *source, int i, int64 since, int64 until,
		int64 grain)
{
	const EvnRollup *rollup = list_nth(source->rollups, i);
	int64			 first;
	int64			 last;

	if (since >= until)
		return;
	if (i == 0)
	{
		append_rows(query, rollup, since, until);
		return;
	}
	first = align_up(Max(since, rollup->since), rollup->width);
	last = align_down(until, rollup->width);
	if (grain % rollup->width != 0 || first >= last)
	{
		compose(query, source, i - 1, since, until, grain);
		return;
	}
	compose(query, source, i - 1, since, first, grain);
	append_rows(query, rollup, first, last);
	compose(query, source, i - 1, last, until, grain);
}

char *
evn_report_rows(const EvnReportSource *source, int64 since, int64 until, int64 grain, bool authors,
				const char *condition)
{
	RowsQuery query = {.authors = authors && source->has_authors, .condition = condition};

	initStringInfo(&query.sql);
	compose(&query, source, list_length(source->rollups) - 1, since, until, grain);
	/* an empty span */
	if (query.sql.len == 0)
		append_rows(&query, linitial(source->rollups), since, until);
	return query.sql.data;
}

/* ---- cities */

typedef struct CityArgument
{
	const char *name;
	Oid			type;
	const char *condition; /* over evilnet.city c; parameters by these numbers */
	const char *known;	   /* which of the gazetteer an element n of a list means, or NULL */
} CityArgument;

#define DISTANCE_KM \
	"2 * 6371.0088 * pg_catalog.asin(pg_catalog.sqrt(least(1, (pg_catalog.sind((c.lat - p.lat) / 2)) ^ 2" \
	" + pg_catalog.cosd(p.lat) * pg_catalog.cosd(c.lat) * (pg_catalog.sind((c.lon - p.lon) / 2)) ^ 2)))"

#define IS_COUNTRY(n) \
	"(pg_catalog.upper(" n ") = c.country_code OR pg_catalog.lower(" n \
	") = pg_catalog.lower(c.country))"
/* ON, Ontario, CA-ON, CA-Ontario */
#define IS_REGION(n) \
	"(pg_catalog.lower(" n ") IN (pg_catalog.lower(c.region), pg_catalog.lower(c.region_code)," \
	" pg_catalog.lower(c.country_code || '-' || c.region)," \
	" pg_catalog.lower(c.country_code || '-' || c.region_code)))"

enum
{
	CITIES,
	COUNTRIES,
	REGIONS,
	BOX,
	NEAR,
	RADIUS,
	MIN_POPULATION,
	MAX_POPULATION,
	NARGUMENTS
};

static const CityArgument arguments[NARGUMENTS] = {
	{"city", TEXTARRAYOID,
	 "c.city_id IN (SELECT f.city_id FROM pg_catalog.unnest($1) n CROSS JOIN LATERAL evilnet.find_city(n) f)",
	 "SELECT FROM evilnet.find_city(n) c"},
	{"country", TEXTARRAYOID,
	 "EXISTS (SELECT FROM pg_catalog.unnest($2) n WHERE " IS_COUNTRY("n") ")",
	 "SELECT FROM evilnet.city c WHERE " IS_COUNTRY("n")},
	{"region", TEXTARRAYOID,
	 "EXISTS (SELECT FROM pg_catalog.unnest($3) n WHERE " IS_REGION("n") ")",
	 "SELECT FROM evilnet.city c WHERE " IS_REGION("n")},
	/* west, south, east, north; west of the date line to the east of it when west > east */
	{"box", FLOAT8ARRAYOID,
	 "c.lat BETWEEN ($4)[2] AND ($4)[4] AND CASE WHEN ($4)[1] <= ($4)[3]"
	 " THEN c.lon BETWEEN ($4)[1] AND ($4)[3] ELSE c.lon >= ($4)[1] OR c.lon <= ($4)[3] END",
	 NULL},
	{"near", TEXTOID,
	 "EXISTS (SELECT FROM (SELECT f.lon, f.lat FROM evilnet.find_city($5) f LIMIT 1) p"
	 " WHERE " DISTANCE_KM " <= $6)",
	 NULL},
	{"radius_km", FLOAT8OID, NULL, NULL},
	{"min_population", INT8OID, "c.population >= $7", NULL},
	{"max_population", INT8OID, "c.population <= $8 AND c.population > 0", NULL},
};

/* Each name must be one of the gazetteer's: a typing error must not look like no posts. */
static void
require_known(Datum names, const CityArgument *argument)
{
	Oid	  types[1] = {TEXTARRAYOID};
	Datum name;
	bool  isnull;

	if (evn_spi_read(psprintf("SELECT n FROM pg_catalog.unnest($1) n"
							  " WHERE NOT EXISTS (%s) LIMIT 1",
							  argument->known),
					 1, types, &names, NULL) == 0)
		return;
	name = evn_spi_value_or_null(0, 1, &isnull);
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("%s \"%s\" is not in the gazetteer", argument->name,
						   isnull ? "NULL" : TextDatumGetCString(name)),
					errhint("Look it up in evilnet.city.")));
}

static void
check_box(Datum value)
{
	ArrayType *box = DatumGetArrayTypeP(value);
	float8	  *edges = (float8 *) ARR_DATA_PTR(box);

	if (ARR_NDIM(box) != 1 || ARR_DIMS(box)[0] != 4 || array_contains_nulls(box) ||
		!(edges[1] <= edges[3]) || !(edges[0] >= -180 && edges[0] <= 180) ||
		!(edges[2] >= -180 && edges[2] <= 180))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"box\" must be {west, south, east, north} in degrees"),
				 errhint("A box over the 180th meridian has a west greater than its east.")));
}

static void
check_near(FunctionCallInfo fcinfo, int first)
{
	Datum name = PG_GETARG_DATUM(first + NEAR);
	Oid	  types[1] = {TEXTOID};

	if (PG_ARGISNULL(first + RADIUS) || !(PG_GETARG_FLOAT8(first + RADIUS) >= 0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"radius_km\" must be at least 0")));
	if (evn_spi_read("SELECT FROM evilnet.find_city($1)", 1, types, &name, NULL) == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("city \"%s\" is not in the gazetteer", TextDatumGetCString(name)),
						errhint("Look it up in evilnet.city.")));
}

static void
check_cities(FunctionCallInfo fcinfo, int first)
{
	for (int i = 0; i < NARGUMENTS; i++)
		if (!PG_ARGISNULL(first + i) && arguments[i].known != NULL)
			require_known(PG_GETARG_DATUM(first + i), &arguments[i]);
	if (!PG_ARGISNULL(first + BOX))
		check_box(PG_GETARG_DATUM(first + BOX));
	if (!PG_ARGISNULL(first + NEAR))
		check_near(fcinfo, first);
}

void
evn_report_cities(EvnReportCities *cities, FunctionCallInfo fcinfo, int first, int number)
{
	MemoryContext  caller = CurrentMemoryContext;
	StringInfoData sql;
	Oid			   types[NARGUMENTS];
	Datum		   values[NARGUMENTS];
	char		   nulls[NARGUMENTS + 1] = "        ";
	MemoryContext  old;
	EvnSpi		   spi;

	cities->condition = "";
	cities->ids = cities->named = (Datum) 0;
	cities->all = true;
	initStringInfo(&sql);
	appendStringInfoString(&sql,
						   "SELECT coalesce(pg_catalog.array_agg(c.city_id), '{}'),"
						   " ARRAY(SELECT f.city_id FROM pg_catalog.unnest($1) n CROSS JOIN LATERAL"
						   " (SELECT f.city_id FROM evilnet.find_city(n) f LIMIT 1) f)"
						   " FROM evilnet.city c WHERE true");
	for (int i = 0; i < NARGUMENTS; i++)
	{
		types[i] = arguments[i].type;
		values[i] = PG_GETARG_DATUM(first + i);
		nulls[i] = PG_ARGISNULL(first + i) ? 'n' : ' ';
		if (PG_ARGISNULL(first + i) || arguments[i].condition == NULL)
			continue;
		cities->all = false;
		appendStringInfo(&sql, " AND %s", arguments[i].condition);
	}
	if (cities->all)
		return;
	evn_spi_begin(&spi, InvalidOid);
	check_cities(fcinfo, first);
	evn_spi_read(sql.data, NARGUMENTS, types, values, nulls);
	old = MemoryContextSwitchTo(caller);
	cities->ids = datumCopy(evn_spi_value(0, 1), false, -1);
	cities->named = datumCopy(evn_spi_value(0, 2), false, -1);
	cities->condition = psprintf(" AND s.city_id = ANY ($%d)", number);
	MemoryContextSwitchTo(old);
	evn_spi_end(&spi);
}

/* ---- running */

/* gives each row to a function */
typedef struct RowReceiver
{
	DestReceiver dest;
	EvnReportRow row;
	void		*state;
} RowReceiver;

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;

	slot_getallattrs(slot);
	receiver->row(receiver->state, slot->tts_values, slot->tts_isnull);
	return true;
}

static void
start_rows(DestReceiver *self, int operation, TupleDesc tupdesc)
{
}

static void
end_rows(DestReceiver *self)
{
}

static void
run(const EvnReportSource *source, const char *sql, int nargs, Oid *types, Datum *values,
	const char *nulls, DestReceiver *dest)
{
	SPIExecuteOptions options = {0};
	SPIPlanPtr		  plan;
	EvnSpi			  spi;

	evn_spi_begin(&spi, source->owner);
	plan = SPI_prepare(sql, nargs, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	options.params = makeParamList(nargs);
	for (int i = 0; i < nargs; i++)
	{
		ParamExternData *param = &options.params->params[i];

		param->value = values[i];
		param->isnull = nulls != NULL && nulls[i] == 'n';
		param->pflags = PARAM_FLAG_CONST;
		param->ptype = types[i];
	}
	options.read_only = true;
	options.dest = dest;
	if (SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "report failed: %s", sql);
	evn_spi_end(&spi);
}

void
evn_report_each(const EvnReportSource *source, const char *sql, int nargs, Oid *types,
				Datum *values, const char *nulls, EvnReportRow row, void *state)
{
	RowReceiver receiver = {
		.dest = {receive_row, start_rows, end_rows, end_rows, DestNone},
		.row = row,
		.state = state,
	};

	run(source, sql, nargs, types, values, nulls, &receiver.dest);
}

void
evn_report_return(FunctionCallInfo fcinfo, const EvnReportSource *source, const char *sql,
				  int nargs, Oid *types, Datum *values, const char *nulls)
{
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);

	InitMaterializedSRF(fcinfo, 0);
	SetTuplestoreDestReceiverParams(dest, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult,
									CurrentMemoryContext, false, NULL, NULL);
	run(source, sql, nargs, types, values, nulls, dest);
	dest->rDestroy(dest);
}
