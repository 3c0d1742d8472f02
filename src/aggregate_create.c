/*
 * aggregate_create.c
 *		The objects of a continuous aggregate.
 *
 * For an aggregate NAME there are, in one schema: NAME_query, the
 * defining query as a view; NAME_slots, the table of partial results; and
 * NAME, the view that merges the slots.  They go with the stream's table, and
 * with the view NAME.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "aggregate_create.h"
#include "aggregate_query.h"
#include "compat.h"
#include "spi.h"

typedef struct Names
{
	char *view; /* quoted and qualified */
	char *query;
	char *slots;
	char *plain; /* of the view, as given */
	Oid	  schema;
} Names;

static char *
qualified(const Names *names, const char *suffix)
{
	if (strlen(names->plain) + strlen(suffix) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG), errmsg("name \"%s\" is too long", names->plain),
				 errhint("Use at most %d bytes.", (int) (NAMEDATALEN - 1 - strlen("_slots")))));
	return quote_qualified_identifier(get_namespace_name(names->schema),
									  psprintf("%s%s", names->plain, suffix));
}

static Oid
relation_oid(const Names *names, const char *suffix)
{
	return get_relname_relid(psprintf("%s%s", names->plain, suffix), names->schema);
}

/* The table of partial results; see the reasons for its indexes in README.md. */
static void
create_storage(const Names *names, const EvnAggregateQuery *query)
{
	const char	  *bucket = query->columns[query->bucket].name;
	StringInfoData keys;
	StringInfoData sql;

	initStringInfo(&keys);
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", names->slots);
	for (int i = 0; i < query->ncolumns; i++)
	{
		appendStringInfo(&sql, "%s %s, ", query->columns[i].name, query->columns[i].type);
		if (query->columns[i].is_key && i != query->bucket)
			appendStringInfo(&keys, "%s, ", query->columns[i].name);
	}
	appendStringInfo(&sql, "%s int NOT NULL) PARTITION BY RANGE (%s)", EVN_SLOT_COLUMN, bucket);
	evn_spi_exec(sql.data, SPI_OK_UTILITY);
	/* keys may be null, and nulls are one group */
	evn_spi_execf(SPI_OK_UTILITY, "CREATE UNIQUE INDEX ON %s (%s, %s%s) NULLS NOT DISTINCT",
				  names->slots, bucket, keys.data, EVN_SLOT_COLUMN);
	/* the series of one group; of keys only, so that counting stays a HOT update */
	if (keys.len > 0)
		evn_spi_execf(SPI_OK_UTILITY, "CREATE INDEX ON %s (%s%s)", names->slots, keys.data, bucket);
	evn_spi_execf(
		SPI_OK_UTILITY,
		"COMMENT ON TABLE %s IS 'partial results of a continuous aggregate, one row per group and worker'",
		names->slots);
}

/* The view to read: slots merged, emptied groups left out. */
static void
create_view(const Names *names, const EvnAggregateQuery *query)
{
	StringInfoData keys;
	StringInfoData sql;

	initStringInfo(&keys);
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE VIEW %s AS SELECT ", names->view);
	for (int i = 0; i < query->ncolumns - 1; i++)
	{
		const EvnAggregateColumn *column = &query->columns[i];
		const char				 *comma = i == 0 ? "" : ", ";

		if (column->is_key)
		{
			appendStringInfo(&sql, "%ss.%s", comma, column->name);
			appendStringInfo(&keys, "%ss.%s", keys.len == 0 ? "" : ", ", column->name);
		}
		else
			appendStringInfo(
				&sql, "%s%s AS %s", comma,
				evn_aggregate_fill(column->read, "{column}", psprintf("s.%s", column->name)),
				column->name);
	}
	appendStringInfo(&sql, " FROM %s s GROUP BY %s HAVING pg_catalog.sum(s.%s) > 0", names->slots,
					 keys.data, EVN_ROWS_COLUMN);
	evn_spi_exec(sql.data, SPI_OK_UTILITY);
	evn_spi_execf(
		SPI_OK_UTILITY, "COMMENT ON VIEW %s IS %s", names->view,
		quote_literal_cstr(psprintf(
			"continuous aggregate, kept up to date by evilnet; its query is %s", names->query)));
	evn_spi_execf(SPI_OK_UTILITY, "COMMENT ON VIEW %s IS %s", names->query,
				  quote_literal_cstr(
					  psprintf("the query of continuous aggregate %s: counts anew", names->view)));
}

/*
 * The view is the aggregate: query and storage are parts of it, which cannot be
 * dropped alone.  All three go with the stream's table.
 */
void
evn_aggregate_depend(Oid stream, Oid view, Oid query, Oid storage)
{
	evn_stream_depend(query, RelationRelationId, view, DEPENDENCY_INTERNAL);
	evn_stream_depend(storage, RelationRelationId, view, DEPENDENCY_INTERNAL);
	evn_stream_depend(view, RelationRelationId, stream, DEPENDENCY_AUTO);
	evn_stream_depend(query, RelationRelationId, stream, DEPENDENCY_AUTO);
	evn_stream_depend(storage, RelationRelationId, stream, DEPENDENCY_AUTO);
}

static void
write_catalog(const EvnAggregateSpec *spec, const EvnAggregateSource *source, Oid view, Oid query,
			  Oid storage)
{
	Oid	   types[8] = {OIDOID, OIDOID, OIDOID, OIDOID, OIDOID, BOOLOID, BOOLOID, OIDOID};
	char   nulls[8] = "        ";
	Datum  values[8];
	EvnSpi spi;

	values[0] = ObjectIdGetDatum(view);
	values[1] = ObjectIdGetDatum(source->stream);
	values[2] = ObjectIdGetDatum(source->relid);
	values[3] = ObjectIdGetDatum(query);
	values[4] = ObjectIdGetDatum(storage);
	values[5] = BoolGetDatum(spec->complete);
	values[6] = BoolGetDatum(spec->notify);
	values[7] = ObjectIdGetDatum(spec->replaces);
	nulls[7] = OidIsValid(spec->replaces) ? ' ' : 'n';
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.continuous_aggregate"
		" (aggregate, stream, source, query, storage, built_from, notify, replaces, level)"
		" SELECT $1, $2, $3, $4, $5, CASE WHEN NOT $6 THEN 'infinity'::pg_catalog.timestamptz END,"
		" $7, $8, coalesce((SELECT level + 1 FROM evilnet.continuous_aggregate"
		" WHERE aggregate::pg_catalog.oid = $3), 0)",
		8, types, values, nulls, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

static void
fill_names(Names *names, Oid schema, const char *name)
{
	names->plain = pstrdup(name);
	names->schema = schema;
	names->view = qualified(names, "");
	names->query = qualified(names, "_query");
	names->slots = qualified(names, "_slots");
}

Oid
evn_aggregate_create(const EvnAggregateSpec *spec)
{
	EvnAggregateQuery *query;
	Names			   names;
	Oid				   view;
	Oid				   query_view;
	Oid				   storage;
	EvnSpi			   spi;

	fill_names(&names, spec->schema, spec->name);
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_UTILITY, "CREATE VIEW %s AS %s", names.query, spec->sql);
	CommandCounterIncrement();
	query_view = relation_oid(&names, "_query");
	query = evn_aggregate_query_read(query_view);
	create_storage(&names, query);
	create_view(&names, query);
	view = relation_oid(&names, "");
	storage = relation_oid(&names, "_slots");
	evn_aggregate_depend(query->source.stream, view, query_view, storage);
	write_catalog(spec, &query->source, view, query_view, storage);
	evn_spi_end(&spi);
	CommandCounterIncrement();
	return view;
}

void
evn_aggregate_drop(Oid view, bool cascade)
{
	EvnSpi spi;

	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_UTILITY, "DROP VIEW %s %s", evn_spi_qualified_name(view),
				  cascade ? "CASCADE" : "RESTRICT");
	evn_spi_end(&spi);
	CommandCounterIncrement();
}

static void
rename_relation(const char *kind, Oid relid, const char *name)
{
	evn_spi_execf(SPI_OK_UTILITY, "ALTER %s %s RENAME TO %s", kind, evn_spi_qualified_name(relid),
				  quote_identifier(name));
}

/* The storage's partitions are named after it. */
static void
rename_partitions(Oid storage, const char *base)
{
	SPITupleTable *leaves;
	uint64		   nleaves;

	nleaves = evn_spi_execf(
		SPI_OK_SELECT,
		"SELECT c.oid, pg_catalog.substring(c.relname::pg_catalog.text, '_p[0-9]{8}(?:_[0-9]{4})?$')"
		" FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
		" WHERE i.inhparent = %u",
		storage);
	leaves = SPI_tuptable;
	for (uint64 i = 0; i < nleaves; i++)
	{
		char *suffix = SPI_getvalue(leaves->vals[i], leaves->tupdesc, 2);
		bool  isnull;
		Oid	  leaf = DatumGetObjectId(SPI_getbinval(leaves->vals[i], leaves->tupdesc, 1, &isnull));

		if (suffix != NULL) /* one that the user attached has a name of its own */
			rename_relation(
				"TABLE", leaf,
				psprintf("%.*s%s",
						 pg_mbcliplen(base, strlen(base), NAMEDATALEN - 1 - (int) strlen(suffix)),
						 base, suffix));
	}
}

void
evn_aggregate_rename(Oid view, const char *name)
{
	Names  names;
	Oid	   query;
	Oid	   storage;
	EvnSpi spi;

	fill_names(&names, get_rel_namespace(view), name); /* raises when it is too long */
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_SELECT,
				  "SELECT query::pg_catalog.oid, storage::pg_catalog.oid"
				  " FROM evilnet.continuous_aggregate WHERE aggregate = %u",
				  view);
	query = DatumGetObjectId(evn_spi_value(0, 1));
	storage = DatumGetObjectId(evn_spi_value(0, 2));
	evn_spi_end(&spi);
	evn_spi_begin(&spi, InvalidOid);
	rename_relation("VIEW", view, name);
	rename_relation("VIEW", query, psprintf("%s_query", name));
	rename_relation("TABLE", storage, psprintf("%s_slots", name));
	rename_partitions(storage, psprintf("%s_slots", name));
	evn_spi_end(&spi);
	CommandCounterIncrement();
}

void
evn_aggregate_take_place(const EvnStream *stream, Oid view)
{
	Oid	   userid;
	int	   sec_context;
	Oid	   replaced = InvalidOid;
	bool   isnull;
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(
		SPI_OK_UPDATE_RETURNING,
		"WITH old AS (SELECT replaces FROM evilnet.continuous_aggregate WHERE aggregate = %u)"
		" UPDATE evilnet.continuous_aggregate a SET replaces = NULL FROM old"
		" WHERE a.aggregate = %u RETURNING old.replaces::pg_catalog.oid",
		view, view);
	if (SPI_processed == 1)
	{
		Datum value = evn_spi_value_or_null(0, 1, &isnull);

		replaced = isnull ? InvalidOid : DatumGetObjectId(value);
	}
	evn_spi_end(&spi);
	if (!OidIsValid(replaced))
		return;
	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(stream->owner, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	if (get_rel_name(replaced) != NULL) /* dropped meanwhile: then the name is free */
	{
		char *name = get_rel_name(replaced);

		evn_aggregate_drop(replaced, false);
		evn_aggregate_rename(view, name);
	}
	SetUserIdAndSecContext(userid, sec_context);
}
