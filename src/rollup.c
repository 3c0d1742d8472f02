/*
 * rollup.c
 *		Roll-ups of a stream.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "rollup.h"
#include "spi.h"

static const char rollups_query[] =
	"SELECT aggregate::pg_catalog.oid, storage::pg_catalog.oid,"
	" (extract(epoch FROM rollup) * 1000000)::pg_catalog.int8,"
	" coalesce(greatest(built_from, results_since), '-infinity')"
	" FROM evilnet.continuous_aggregate"
	" WHERE stream = $1 AND rollup IS NOT NULL AND enabled"
	" AND built_from IS DISTINCT FROM 'infinity' AND replaces IS NULL ORDER BY rollup, level";

List *
evn_rollup_list(Oid stream, bool now)
{
	Oid			  types[1] = {OIDOID};
	Datum		  values[1] = {ObjectIdGetDatum(stream)};
	MemoryContext caller = CurrentMemoryContext;
	List		 *rollups = NIL;
	uint64		  n;
	EvnSpi		  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	n = now ? evn_spi_exec_args(rollups_query, 1, types, values, NULL, SPI_OK_SELECT)
			: evn_spi_read(rollups_query, 1, types, values, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);
		EvnRollup	 *rollup = palloc(sizeof(EvnRollup));

		rollup->view = DatumGetObjectId(evn_spi_value(i, 1));
		rollup->storage = DatumGetObjectId(evn_spi_value(i, 2));
		rollup->width = DatumGetInt64(evn_spi_value(i, 3));
		rollup->since = DatumGetTimestampTz(evn_spi_value(i, 4));
		rollup->has_authors = get_attnum(rollup->storage, "authors") != InvalidAttrNumber;
		rollups = lappend(rollups, rollup);
		MemoryContextSwitchTo(old);
	}
	evn_spi_end(&spi);
	return rollups;
}

char *
evn_rollup_hll_schema(void)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			  extension = get_extension_oid("hll", true);
	char		 *schema;
	EvnSpi		  spi;

	if (!OidIsValid(extension))
		return NULL;
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_SELECT,
				  "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e"
				  " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.oid = %u",
				  extension);
	schema = MemoryContextStrdup(caller, TextDatumGetCString(evn_spi_value(0, 1)));
	evn_spi_end(&spi);
	return schema;
}

/* Over a roll-up: partial results merge into the same of longer buckets. */
static char *
query_over_rollup(const EvnRollup *base, const char *width)
{
	char *hll = base->has_authors ? evn_rollup_hll_schema() : NULL;
	char *authors = hll == NULL ? "" : psprintf(", %s.hll_union_agg(authors) AS authors", hll);

	return psprintf("SELECT evilnet.time_bucket(%s, bucket) AS bucket, city_id,"
					" evilnet.total(tweets) AS tweets, evilnet.total(retweets) AS retweets%s"
					" FROM %s GROUP BY 1, 2",
					quote_literal_cstr(width), authors, evn_spi_qualified_name(base->view));
}

static char *
query_over_table(Oid stream, const char *width)
{
	char *hll = evn_rollup_hll_schema();
	char *authors =
		hll == NULL
			? ""
			: psprintf(", %s.hll_add_agg(%s.hll_hash_bigint(author_id)) AS authors", hll, hll);

	return psprintf("SELECT evilnet.time_bucket(%s, created_at) AS bucket, city_id,"
					" pg_catalog.count(*) AS tweets,"
					" pg_catalog.count(*) FILTER (WHERE kind = 'retweet') AS retweets%s"
					" FROM %s GROUP BY 1, 2",
					quote_literal_cstr(width), authors, evn_spi_qualified_name(stream));
}

char *
evn_rollup_query(Oid stream, const char *width, const List *rollups)
{
	if (rollups == NIL)
		return query_over_table(stream, width);
	return query_over_rollup(linitial(rollups), width);
}
