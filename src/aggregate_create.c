/*
 * aggregate_create.c
 *		The objects of a continuous aggregate.
 *
 * For an aggregate NAME there are, in the stream's schema: NAME_query, the
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

static void
create_storage(const Names *names, const EvnAggregateQuery *query)
{
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
	appendStringInfo(&sql, "%s int NOT NULL) PARTITION BY RANGE (%s)", EVN_SLOT_COLUMN,
					 query->columns[query->bucket].name);
	evn_spi_exec(sql.data, SPI_OK_UTILITY);
	/* keys may be null, and nulls are one group */
	evn_spi_execf(SPI_OK_UTILITY, "CREATE UNIQUE INDEX ON %s (%s, %s%s) NULLS NOT DISTINCT",
				  names->slots, query->columns[query->bucket].name, keys.data, EVN_SLOT_COLUMN);
	evn_spi_execf(
		SPI_OK_UTILITY,
		"COMMENT ON TABLE %s IS 'partial results of continuous aggregate %s, one row per group and worker'",
		names->slots, names->plain);
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
write_catalog(Oid view, Oid stream, Oid query, Oid storage)
{
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_INSERT,
				  "INSERT INTO evilnet.continuous_aggregate (aggregate, stream, query, storage)"
				  " VALUES (%u, %u, %u, %u)",
				  view, stream, query, storage);
	evn_spi_end(&spi);
}

static void
create_objects(const Names *names, Oid stream, const char *sql)
{
	EvnAggregateQuery *query;
	EvnSpi			   spi;

	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_UTILITY, "CREATE VIEW %s AS %s", names->query, sql);
	CommandCounterIncrement();
	query = evn_aggregate_query_read(relation_oid(names, "_query"), stream);
	create_storage(names, query);
	create_view(names, query);
	evn_spi_end(&spi);
}

Oid
evn_aggregate_create(Oid stream, const char *name, const char *sql)
{
	Names names = {0};
	Oid	  view;
	Oid	  query;
	Oid	  storage;

	names.plain = pstrdup(name);
	names.schema = get_rel_namespace(stream);
	names.view = qualified(&names, "");
	names.query = qualified(&names, "_query");
	names.slots = qualified(&names, "_slots");
	create_objects(&names, stream, sql);
	view = relation_oid(&names, "");
	query = relation_oid(&names, "_query");
	storage = relation_oid(&names, "_slots");
	evn_aggregate_depend(stream, view, query, storage);
	write_catalog(view, stream, query, storage);
	return view;
}
