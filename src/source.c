/*
 * source.c
 *		One source as its catalog row says.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "source.h"
#include "spi.h"

/* the first day of the month, at $2 */
#define MONTH "pg_catalog.date_trunc('month', $2 AT TIME ZONE 'UTC')"
/* messages of a month */
#define BUDGET \
	"(s.params->>'monthly_posts')::pg_catalog.numeric, (s.params->>'monthly_spend')::pg_catalog.numeric" \
	" / (s.params->>'price')::pg_catalog.numeric"

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
	source->budget = Max(DatumGetInt64(evn_spi_value(0, 10)), 0);
	source->month_end = DatumGetTimestampTz(evn_spi_value(0, 11));
	return source;
}

EvnSource *
evn_source_load(int32 id)
{
	MemoryContext caller = CurrentMemoryContext;
	EvnSource	 *source = NULL;
	Oid			  types[2] = {INT4OID, TIMESTAMPTZOID};
	Datum		  values[2] = {Int32GetDatum(id), TimestampTzGetDatum(evn_clock_now())};
	EvnSpi		  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_exec_args(
			"SELECT s.owner::pg_catalog.oid, s.name, s.server::pg_catalog.text, s.endpoint,"
			" s.params, s.to_server::pg_catalog.text, s.topic, s.to_stream::pg_catalog.oid,"
			" p.cursor, floor(least(" BUDGET ", 9223372036854775807))::pg_catalog.int8"
			" - CASE WHEN p.month = " MONTH " THEN p.month_messages ELSE 0 END,"
			" (" MONTH " + interval '1 month') AT TIME ZONE 'UTC'"
			" FROM evilnet.source s LEFT JOIN evilnet.source_position p USING (source_id)"
			" WHERE s.source_id = $1 AND s.enabled AND s.home = evilnet.home() AND NOT EXISTS"
			" (SELECT FROM evilnet.stream t WHERE t.stream = s.to_stream AND NOT t.enabled)",
			2, types, values, NULL, SPI_OK_SELECT) > 0)
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

int
evn_source_param_int(const Jsonb *params, const char *key, int least, int most, int missing)
{
	char *text = evn_source_param(params, key);
	char *end;
	long  number;

	if (text == NULL)
		return missing;
	errno = 0;
	number = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number < least || number > most)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" must be a whole number between %d and %d", key,
							   least, most)));
	return (int) number;
}

/* NaN where there is no number. */
static double
number_param(const Jsonb *params, const char *key)
{
	char  *text = evn_source_param(params, key);
	char  *end;
	double number;

	if (text == NULL)
		return NAN;
	number = strtod(text, &end);
	/* what SQL reads as well: no hexadecimal digits, no blanks */
	if (end == text || text[strspn(text, "0123456789+-.eE")] != '\0' || *end != '\0' ||
		!(number > 0) || isinf(number))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" must be a number above 0", key)));
	return number;
}

void
evn_source_check_budget(const Jsonb *params)
{
	double spend = number_param(params, "monthly_spend");
	double price = number_param(params, "price");

	(void) number_param(params, "monthly_posts");
	if (!isnan(spend) && isnan(price))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"monthly_spend\" needs parameter \"price\""),
						errhint("It is the price of one post.")));
}

void
evn_source_advance(const EvnSource *source, Jsonb *cursor, const EvnSourceCounts *counts)
{
	Oid	   types[6] = {INT4OID, TIMESTAMPTZOID, JSONBOID, INT8OID, INT8OID, INT8OID};
	Datum  values[6] = {Int32GetDatum(source->id),	  TimestampTzGetDatum(evn_clock_now()),
						PointerGetDatum(cursor),	  Int64GetDatum(counts->messages),
						Int64GetDatum(counts->bytes), Int64GetDatum(counts->duplicates)};
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.source_position AS p"
		" (source_id, month, cursor, messages, bytes, duplicates, month_messages)"
		" SELECT s.source_id, " MONTH ", $3, $4, $5, $6, $4 FROM evilnet.source s"
		" WHERE s.source_id = $1"
		" ON CONFLICT (source_id) DO UPDATE SET cursor = coalesce($3, p.cursor),"
		" messages = p.messages + $4, bytes = p.bytes + $5, duplicates = p.duplicates + $6,"
		" month_messages = CASE WHEN p.month = excluded.month THEN p.month_messages ELSE 0 END + $4,"
		" month = excluded.month, updated_at = pg_catalog.now()",
		6, types, values, cursor == NULL ? "  n   " : NULL, SPI_OK_INSERT);
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
evn_source_note_gap(const EvnSource *source, TimestampTz since, TimestampTz until,
					const char *reason)
{
	Oid	   types[4] = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum  values[4] = {Int32GetDatum(source->id), TimestampTzGetDatum(since),
						TimestampTzGetDatum(until), CStringGetTextDatum(reason)};
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.source_gap (source_id, since, until, reason)"
		" SELECT s.source_id, $2, $3, $4 FROM evilnet.source s WHERE s.source_id = $1",
		4, types, values, NULL, SPI_OK_INSERT);
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
