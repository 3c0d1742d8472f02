/*
 * gazetteer.c
 *		The city index of this database: built from the tables of the gazetteer,
 *		kept for the process, rebuilt after they change.
 *
 * Statement triggers on the tables send a relcache invalidation, which reaches
 * every process at commit; the next caller rebuilds.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#include "gazetteer.h"
#include "spi.h"

PG_FUNCTION_INFO_V1(evn_gazetteer_changed);
PG_FUNCTION_INFO_V1(evn_gazetteer_resolve_city);
PG_FUNCTION_INFO_V1(evn_gazetteer_name_key);

/* rows fetched at a time */
#define FETCH_ROWS 10000

static const char *const gazetteer_tables[] = {"area", "area_alias", "city", "city_alias"};

static EvnCityIndex *current_index = NULL;
static bool			 current_is_stale = true;
static Oid			 gazetteer_relids[lengthof(gazetteer_tables)];

static void
on_relcache_invalidation(Datum arg, Oid relid)
{
	int i;

	for (i = 0; i < (int) lengthof(gazetteer_tables); i++)
		if (relid == InvalidOid || relid == gazetteer_relids[i])
			current_is_stale = true;
}

/* Know the tables before they are read, so that no change is missed. */
static void
watch_tables(void)
{
	static bool registered = false;
	Oid			schema = get_namespace_oid("evilnet", false);
	int			i;

	if (!registered)
		CacheRegisterRelcacheCallback(on_relcache_invalidation, (Datum) 0);
	registered = true;
	for (i = 0; i < (int) lengthof(gazetteer_tables); i++)
		gazetteer_relids[i] = get_relname_relid(gazetteer_tables[i], schema);
}

/* A column of a fetched row; absent when null */
static EvnText
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	EvnText result = {NULL, 0};
	bool	isnull;
	Datum	value = SPI_getbinval(tuple, desc, column, &isnull);

	if (!isnull)
	{
		struct varlena *unpacked = PG_DETOAST_DATUM_PACKED(value);

		result.data = VARDATA_ANY(unpacked);
		result.len = (int32) VARSIZE_ANY_EXHDR(unpacked);
	}
	return result;
}

static bool
add_city_row(EvnCityIndex *index, HeapTuple tuple, TupleDesc desc)
{
	bool	isnull;
	EvnCity city;

	city.city_id = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull));
	city.name = text_column(tuple, desc, 2);
	city.ascii_name = text_column(tuple, desc, 3);
	city.country_code = text_column(tuple, desc, 4);
	city.country = text_column(tuple, desc, 5);
	city.region = text_column(tuple, desc, 6);
	city.region_code = text_column(tuple, desc, 7);
	city.lon = DatumGetFloat8(SPI_getbinval(tuple, desc, 8, &isnull));
	city.lat = DatumGetFloat8(SPI_getbinval(tuple, desc, 9, &isnull));
	city.population = DatumGetInt64(SPI_getbinval(tuple, desc, 10, &isnull));
	city.section = DatumGetBool(SPI_getbinval(tuple, desc, 11, &isnull));
	return evn_city_index_add_city(index, &city);
}

static bool
add_city_alias_row(EvnCityIndex *index, HeapTuple tuple, TupleDesc desc)
{
	bool  isnull;
	int32 city_id = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull));

	return evn_city_index_add_alias(index, city_id, text_column(tuple, desc, 2));
}

static bool
add_area_alias_row(EvnCityIndex *index, HeapTuple tuple, TupleDesc desc)
{
	return evn_city_index_add_area(index, text_column(tuple, desc, 1), text_column(tuple, desc, 2),
								   text_column(tuple, desc, 3));
}

static void
out_of_memory(void)
{
	ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
					errdetail("Failed while building the index of cities.")));
}

typedef bool (*AddRow)(EvnCityIndex *index, HeapTuple tuple, TupleDesc desc);

/* Feed the rows of a query to add, some at a time. */
static void
add_rows(EvnCityIndex *index, const char *sql, AddRow add)
{
	Portal portal;

	portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, false, CURSOR_OPT_NO_SCROLL);
	for (;;)
	{
		uint64 i;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (i = 0; i < SPI_processed; i++)
			if (!add(index, SPI_tuptable->vals[i], SPI_tuptable->tupdesc))
				out_of_memory();
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
}

static void
fill_index(EvnCityIndex *index)
{
	add_rows(index,
			 "SELECT city_id, name, ascii_name, country_code, country, region, region_code,"
			 " lon, lat, population, section FROM evilnet.city",
			 add_city_row);
	add_rows(index, "SELECT city_id, alias FROM evilnet.city_alias", add_city_alias_row);
	add_rows(index,
			 "SELECT l.country_code, a.code, l.alias"
			 " FROM evilnet.area_alias l JOIN evilnet.area a USING (country_code, admin1)",
			 add_area_alias_row);
	if (!evn_city_index_finish(index))
		out_of_memory();
}

static EvnCityIndex *
build_index(void)
{
	EvnCityIndex *index = evn_city_index_create();

	PG_TRY();
	{
		EvnSpi spi;

		if (index == NULL)
			out_of_memory();
		evn_spi_begin(&spi, InvalidOid);
		fill_index(index);
		evn_spi_end(&spi);
	}
	PG_CATCH();
	{
		current_is_stale = true;
		evn_city_index_free(index);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return index;
}

const EvnCityIndex *
evn_gazetteer_get(void)
{
	EvnCityIndex *rebuilt;

	if (!current_is_stale)
		return current_index;
	watch_tables();
	/* a change while it is read, or an error, makes it stale again */
	current_is_stale = false;
	rebuilt = build_index();
	evn_city_index_free(current_index);
	current_index = rebuilt;
	return current_index;
}

/* Statement trigger of the gazetteer's tables */
Datum
evn_gazetteer_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "gazetteer_changed")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}

static EvnText
text_argument(FunctionCallInfo fcinfo, int argument)
{
	EvnText result = {NULL, 0};

	if (!PG_ARGISNULL(argument))
	{
		text *value = PG_GETARG_TEXT_PP(argument);

		result.data = VARDATA_ANY(value);
		result.len = (int32) VARSIZE_ANY_EXHDR(value);
	}
	return result;
}

/* resolve_city(place, country_code, lon, lat, profile) */
Datum
evn_gazetteer_resolve_city(PG_FUNCTION_ARGS)
{
	TupleDesc	 desc;
	EvnCityHints hints = {.place = text_argument(fcinfo, 0),
						  .country_code = text_argument(fcinfo, 1),
						  .has_point = !PG_ARGISNULL(2) && !PG_ARGISNULL(3),
						  .profile = text_argument(fcinfo, 4)};
	EvnCityMatch match;
	Datum		 values[2];
	bool		 nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (hints.has_point)
	{
		hints.lon = PG_GETARG_FLOAT8(2);
		hints.lat = PG_GETARG_FLOAT8(3);
	}
	match = evn_city_index_resolve(evn_gazetteer_get(), &hints);
	values[0] = Int32GetDatum(match.city_id);
	values[1] = CStringGetTextDatum(evn_city_source_name(match.source));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* name_key(name): the same for names that differ only in case, diacritics and punctuation */
Datum
evn_gazetteer_name_key(PG_FUNCTION_ARGS)
{
	uint64 key = evn_city_name_key(text_argument(fcinfo, 0));

	if (key == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) key);
}
