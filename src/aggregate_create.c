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
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

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
		const EvnAggregateColumn *column = &query->columns[i];

		appendStringInfo(&sql, "%s %s", column->name, column->type);
		if (OidIsValid(column->collation) && column->collation != get_typcollation(column->type_id))
			appendStringInfo(&sql, " COLLATE %s", generate_collation_name(column->collation));
		appendStringInfoString(&sql, ", ");
		if (column->is_key && i != query->bucket)
			appendStringInfo(&keys, "%s, ", column->name);
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
	EvnAggregateMerged merged = evn_aggregate_query_merged(query, "s", false);

	evn_spi_execf(SPI_OK_UTILITY,
				  "CREATE VIEW %s AS SELECT %s FROM %s s GROUP BY %s"
				  " HAVING evilnet.total(s.%s) > 0",
				  names->view, merged.columns, names->slots, merged.keys, EVN_ROWS_COLUMN);
	evn_stream_grant_read(names->view);
	evn_spi_execf(SPI_OK_UTILITY,
				  "COMMENT ON VIEW %s IS 'continuous aggregate, kept up to date by evilnet'",
				  names->view);
	evn_spi_execf(SPI_OK_UTILITY,
				  "COMMENT ON VIEW %s IS 'query of a continuous aggregate: counts anew'",
				  names->query);
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
depend_aggregates(Oid relid)
{
	evn_spi_execf(SPI_OK_SELECT,
				  "SELECT aggregate::pg_catalog.oid, query::pg_catalog.oid, storage::pg_catalog.oid"
				  " FROM evilnet.continuous_aggregate WHERE stream = %u",
				  relid);
	for (uint64 i = 0; i < SPI_processed; i++)
		evn_aggregate_depend(relid, DatumGetObjectId(evn_spi_value(i, 1)),
							 DatumGetObjectId(evn_spi_value(i, 2)),
							 DatumGetObjectId(evn_spi_value(i, 3)));
}

static bool
is_at_home(Oid relid)
{
	EvnSpi spi;
	bool   at_home;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	at_home =
		evn_spi_execf(SPI_OK_SELECT,
					  "SELECT FROM evilnet.stream WHERE stream = %u AND home = evilnet.home()",
					  relid) > 0;
	evn_spi_end(&spi);
	return at_home;
}

void
evn_aggregate_restore_dependencies(Oid relid)
{
	EvnStream	  *stream;
	ForeignServer *server;
	EvnSpi		   spi;

	if (is_at_home(relid))
		return;
	stream = evn_stream_load(relid);
	server = stream->server == NULL ? NULL : GetForeignServerByName(stream->server, true);
	if (server != NULL)
		evn_stream_depend(relid, ForeignServerRelationId, server->serverid, DEPENDENCY_NORMAL);
	if (OidIsValid(stream->deletes))
		evn_stream_depend(stream->deletes, RelationRelationId, relid, DEPENDENCY_INTERNAL);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	depend_aggregates(relid);
	evn_spi_end(&spi);
	CommandCounterIncrement();
}

static void
write_catalog(const EvnAggregateSpec *spec, const EvnAggregateSource *source, Oid view, Oid query,
			  Oid storage)
{
	Oid	   types[9] = {OIDOID, OIDOID, OIDOID, OIDOID, OIDOID, BOOLOID, BOOLOID, OIDOID, TEXTOID};
	char   nulls[] = "         ";
	Datum  values[9];
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
	values[8] = spec->rollup == NULL ? (Datum) 0 : CStringGetTextDatum(spec->rollup);
	nulls[8] = spec->rollup == NULL ? 'n' : ' ';
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.continuous_aggregate"
		" (aggregate, stream, source, query, storage, built_from, notify, replaces, rollup, level)"
		" SELECT $1, $2, $3, $4, $5, CASE WHEN NOT $6 THEN 'infinity'::pg_catalog.timestamptz END,"
		" $7, $8, $9::pg_catalog.interval, coalesce((SELECT level + 1 FROM evilnet.continuous_aggregate"
		" WHERE aggregate::pg_catalog.oid = $3), 0)",
		9, types, values, nulls, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

static void
require_free(const Names *names)
{
	static const char *const suffixes[] = {"", "_query", "_slots"};

	for (int i = 0; i < lengthof(suffixes); i++)
		if (OidIsValid(relation_oid(names, suffixes[i])))
			ereport(
				ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s%s\" already exists", names->plain, suffixes[i]),
				 errdetail(
					 "A continuous aggregate \"%s\" is made of relations \"%s\", \"%s_query\" and \"%s_slots\".",
					 names->plain, names->plain, names->plain, names->plain),
				 errhint("Choose another name.")));
}

static void
fill_names(Names *names, Oid schema, const char *name)
{
	if (*name == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
						errmsg("name of a continuous aggregate must not be empty")));
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
	require_free(&names);
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
rename_partitions(Oid storage)
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

		/* one that the user attached has a name of its own; one that is cut may have the new one */
		if (suffix != NULL &&
			strcmp(get_rel_name(leaf), evn_stream_partition_name(storage, suffix)) != 0)
			rename_relation("TABLE", leaf, evn_stream_partition_name(storage, suffix));
	}
}

void
evn_aggregate_rename(Oid view, const char *name)
{
	Names			   names;
	EvnAggregateSource parts;
	EvnSpi			   spi;

	fill_names(&names, get_rel_namespace(view), name);
	require_free(&names);
	evn_aggregate_require(view, &parts);
	evn_spi_begin(&spi, InvalidOid);
	rename_relation("VIEW", view, name);
	rename_relation("VIEW", parts.query, psprintf("%s_query", name));
	rename_relation("TABLE", parts.storage, psprintf("%s_slots", name));
	CommandCounterIncrement();
	rename_partitions(parts.storage);
	evn_spi_end(&spi);
	CommandCounterIncrement();
}

/* Lock what a swap changes, unless somebody uses it: readers are not to be waited for. */
static bool
lock_parts(Oid view)
{
	EvnAggregateSource parts;

	evn_aggregate_require(view, &parts);
	return ConditionalLockRelationOid(view, AccessExclusiveLock) &&
		   ConditionalLockRelationOid(parts.query, AccessExclusiveLock) &&
		   ConditionalLockRelationOid(parts.storage, AccessExclusiveLock);
}

/* What the user gave to the old view goes to the new one: rights and comment. */
static void
inherit_from(Oid replaced, Oid view)
{
	char		  *name = evn_spi_qualified_name(view);
	SPITupleTable *commands;
	uint64		   ncommands;

	ncommands = evn_spi_execf(
		SPI_OK_SELECT,
		"SELECT pg_catalog.format('GRANT %%s ON %%s TO %%s%%s', a.privilege_type, %s,"
		" CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,"
		" CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"
		" FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a"
		" WHERE c.oid = %u AND a.grantee <> c.relowner"
		" UNION ALL SELECT pg_catalog.format('COMMENT ON VIEW %%s IS %%L', %s,"
		" pg_catalog.obj_description(%u, 'pg_class'))",
		quote_literal_cstr(name), replaced, quote_literal_cstr(name), replaced);
	commands = SPI_tuptable;
	for (uint64 i = 0; i < ncommands; i++)
		evn_spi_exec(SPI_getvalue(commands->vals[i], commands->tupdesc, 1), SPI_OK_UTILITY);
}

static void
take_options(Oid replaced, Oid view)
{
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_UPDATE,
				  "UPDATE evilnet.continuous_aggregate a SET replaces = NULL,"
				  " retention = coalesce((SELECT o.retention FROM evilnet.continuous_aggregate o"
				  "  WHERE o.aggregate = %u), a.retention)"
				  " WHERE a.aggregate = %u",
				  replaced, view);
	evn_spi_execf(SPI_OK_UPDATE, "UPDATE evilnet.alert SET aggregate = %u WHERE aggregate = %u",
				  view, replaced);
	evn_spi_end(&spi);
}

bool
evn_aggregate_take_place(const EvnStream *stream, Oid view, Oid replaced)
{
	char	   *name = get_rel_name(replaced);
	EvnActingAs before;
	EvnSpi		spi;

	if (name == NULL) /* dropped meanwhile: the new one keeps the name it has */
	{
		take_options(replaced, view);
		return true;
	}
	if (!lock_parts(replaced) || !lock_parts(view))
		return false;
	take_options(replaced, view);
	evn_spi_act_as(&before, stream->owner, false);
	evn_spi_begin(&spi, InvalidOid);
	inherit_from(replaced, view);
	evn_spi_end(&spi);
	evn_aggregate_drop(replaced, false);
	evn_aggregate_rename(view, name);
	evn_spi_act_as_before(&before);
	return true;
}
