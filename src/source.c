/*
 * source.c
 *		One source as its catalog row says.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "compat.h"
#include "source.h"
#include "spi.h"

static char *
text_or_null(int column)
{
	bool  isnull;
	Datum value = evn_spi_value_or_null(0, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static Jsonb *
jsonb_or_null(int column)
{
	bool  isnull;
	Datum value = evn_spi_value_or_null(0, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

static EvnSource *
make_source(int32 id)
{
	EvnSource *source = palloc0(sizeof(EvnSource));
	bool	   isnull;

	source->id = id;
	source->owner = DatumGetObjectId(evn_spi_value(0, 1));
	source->name = text_or_null(2);
	source->server = text_or_null(3);
	source->endpoint = text_or_null(4);
	source->params = jsonb_or_null(5);
	source->to_server = text_or_null(6);
	source->topic = text_or_null(7);
	source->to_stream = DatumGetObjectId(evn_spi_value_or_null(0, 8, &isnull));
	if (isnull)
		source->to_stream = InvalidOid;
	source->cursor = jsonb_or_null(9);
	return source;
}

EvnSource *
evn_source_load(int32 id)
{
	MemoryContext caller = CurrentMemoryContext;
	EvnSource	 *source = NULL;
	EvnSpi		  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_execf(
			SPI_OK_SELECT,
			"SELECT s.owner::pg_catalog.oid, s.name, s.server::pg_catalog.text, s.endpoint,"
			" s.params, s.to_server::pg_catalog.text, s.topic, s.to_stream::pg_catalog.oid,"
			" p.cursor FROM evilnet.source s LEFT JOIN evilnet.source_position p"
			" USING (source_id) WHERE s.source_id = %d AND s.enabled"
			" AND s.home = evilnet.home()",
			id) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		source = make_source(id);
		MemoryContextSwitchTo(old);
	}
	evn_spi_end(&spi);
	return source;
}

char *
evn_source_param(const Jsonb *params, const char *key)
{
	JsonbValue	value;
	JsonbValue *found = getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &params->root),
													 key, strlen(key), &value);

	if (found == NULL || found->type == jbvNull)
		return NULL;
	switch (found->type)
	{
		case jbvString:
			return pnstrdup(found->val.string.val, found->val.string.len);
		case jbvNumeric:
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(found->val.numeric)));
		case jbvBool:
			return pstrdup(found->val.boolean ? "true" : "false");
		default:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("parameter \"%s\" must be a text, a number or a boolean", key)));
	}
}

void
evn_source_advance(const EvnSource *source, Jsonb *cursor, int64 messages, int64 bytes)
{
	Oid	   types[4] = {INT4OID, JSONBOID, INT8OID, INT8OID};
	Datum  values[4] = {Int32GetDatum(source->id), PointerGetDatum(cursor), Int64GetDatum(messages),
						Int64GetDatum(bytes)};
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.source_position AS p (source_id, cursor, messages, bytes)"
		" SELECT s.source_id, $2, $3, $4 FROM evilnet.source s WHERE s.source_id = $1"
		" ON CONFLICT (source_id) DO UPDATE SET cursor = coalesce($2, p.cursor), messages = p.messages OPERATOR(pg_catalog.+) $3,"
		" bytes = p.bytes OPERATOR(pg_catalog.+) $4, updated_at = pg_catalog.now()",
		4, types, values, cursor == NULL ? " n  " : NULL, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

void
evn_source_set_aside(const EvnSource *source, Jsonb *cursor, const char *reason,
					 const char *payload, size_t len)
{
	Oid	   types[4] = {INT4OID, JSONBOID, TEXTOID, BYTEAOID};
	Datum  values[4] = {Int32GetDatum(source->id), PointerGetDatum(cursor),
						CStringGetTextDatum(reason),
						PointerGetDatum(cstring_to_text_with_len(payload, len))};
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.source_dead_letter (source_id, cursor, reason, payload)"
		" SELECT s.source_id, $2, $3, $4 FROM evilnet.source s WHERE s.source_id = $1",
		4, types, values, cursor == NULL ? " n  " : NULL, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

void
evn_source_stop(const EvnSource *source, const char *reason)
{
	Oid	   types[2] = {INT4OID, TEXTOID};
	Datum  values[2] = {Int32GetDatum(source->id), (Datum) 0};
	EvnSpi spi;

	if (reason != NULL)
		values[1] = CStringGetTextDatum(reason);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"UPDATE evilnet.source SET enabled = false, stop_reason = $2,"
		" finished_at = CASE WHEN $2 IS NULL THEN pg_catalog.now() END WHERE source_id = $1",
		2, types, values, reason == NULL ? " n" : NULL, SPI_OK_UPDATE);
	evn_spi_end(&spi);
}
