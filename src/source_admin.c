/*
 * source_admin.c
 *		SQL functions that create, drop, start and stop sources.
 *
 * Catalog rows are written with the rights of evilnet's owner after the
 * caller's were checked.  Workers follow the catalog: a trigger on it has the
 * launcher told at commit.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "fdw_servers.h"
#include "http_servers.h"
#include "oauth.h"
#include "shmem.h"
#include "spi.h"
#include "stream.h"

/* of every source, see source.c */
#define BUDGET_PARAMS "monthly_posts monthly_spend price"

PG_FUNCTION_INFO_V1(evn_source_admin_create);
PG_FUNCTION_INFO_V1(evn_source_admin_check);
PG_FUNCTION_INFO_V1(evn_source_admin_alter);
PG_FUNCTION_INFO_V1(evn_source_admin_drop);
PG_FUNCTION_INFO_V1(evn_source_admin_pause);
PG_FUNCTION_INFO_V1(evn_source_admin_resume);
PG_FUNCTION_INFO_V1(evn_source_admin_slots);

/* arguments of create_source, in their order */
enum
{
	ARG_NAME,
	ARG_SERVER,
	ARG_ENDPOINT,
	ARG_PARAMS,
	ARG_TO_SERVER,
	ARG_TOPIC,
	ARG_TO_STREAM,
	ARG_IF_NOT_EXISTS,
	NARGS
};

/* ---- create_source */

static void
check_nulls(FunctionCallInfo fcinfo)
{
	static const char *const names[NARGS] = {[ARG_NAME] = "name",
											 [ARG_SERVER] = "server",
											 [ARG_ENDPOINT] = "endpoint",
											 [ARG_PARAMS] = "params",
											 [ARG_IF_NOT_EXISTS] = "if_not_exists"};

	for (int i = 0; i < NARGS; i++)
		if (names[i] != NULL && PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"%s\" must not be null", names[i])));
}

/* Either a topic or a stream, and one that the user may write to. */
static void
check_destination(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(ARG_TO_SERVER) != PG_ARGISNULL(ARG_TOPIC) ||
		PG_ARGISNULL(ARG_TO_SERVER) == PG_ARGISNULL(ARG_TO_STREAM))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a source goes either to a topic or to a stream"),
						errhint("Give \"to_server\" and \"topic\", or else \"to_stream\".")));
	if (!PG_ARGISNULL(ARG_TO_STREAM))
	{
		evn_stream_require_owned(PG_GETARG_OID(ARG_TO_STREAM));
		return;
	}
	evn_stream_check_topic(text_to_cstring(PG_GETARG_TEXT_PP(ARG_TOPIC)));
	(void) evn_fdw_servers_get(NameStr(*PG_GETARG_NAME(ARG_TO_SERVER)), GetUserId());
}

static bool
exists(Datum name)
{
	Oid	   types[1] = {TEXTOID};
	bool   found;
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	found = evn_spi_exec_args("SELECT FROM evilnet.source WHERE name = $1", 1, types, &name, NULL,
							  SPI_OK_SELECT) > 0;
	evn_spi_end(&spi);
	return found;
}

static void
write_source(FunctionCallInfo fcinfo)
{
	Oid	   types[8] = {TEXTOID, NAMEOID, TEXTOID, JSONBOID, NAMEOID, TEXTOID, REGCLASSOID, OIDOID};
	Datum  values[8];
	char   nulls[8];
	EvnSpi spi;

	memset(nulls, ' ', sizeof(nulls));
	for (int i = ARG_NAME; i <= ARG_TO_STREAM; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	values[7] = ObjectIdGetDatum(GetUserId());
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.source (name, server, endpoint, params, to_server, topic, to_stream, owner)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		8, types, values, nulls, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

static bool
is_listed(const JsonbValue *name, const char *names)
{
	for (const char *next = names; *next != '\0'; next += strspn(next, " "))
	{
		size_t len = strcspn(next, " ");

		if ((int) len == name->val.string.len && memcmp(next, name->val.string.val, len) == 0)
			return true;
		next += len;
	}
	return false;
}

/* A parameter that is misspelt would be missing without a word. */
static void
check_names(const EvnFeedApi *api, const Jsonb *params)
{
	const char	  *of_api = api->params == NULL ? "" : api->params;
	JsonbIterator *iterator = JsonbIteratorInit(unconstify(JsonbContainer *, &params->root));
	JsonbValue	   value;

	for (JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true); token != WJB_DONE;
		 token = JsonbIteratorNext(&iterator, &value, true))
		if (token == WJB_KEY && !is_listed(&value, of_api) && !is_listed(&value, BUDGET_PARAMS))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("sources of \"%s\" have no parameter \"%.*s\"", api->name,
								   value.val.string.len, value.val.string.val),
							errhint("They have: %s%s%s.", of_api, of_api[0] == '\0' ? "" : " ",
									BUDGET_PARAMS)));
}

/* Raise unless the user may have such a source; its server. */
static EvnFeedServer *
check_source(const char *name, Oid userid, const char *endpoint, const Jsonb *params)
{
	EvnFeedServer *server = evn_http_servers_get(name, userid);

	if (!JB_ROOT_IS_OBJECT(params))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be a JSON object", "params")));
	check_names(server->api, params);
	server->api->check(endpoint, params);
	evn_source_check_budget(params);
	return server;
}

Datum
evn_source_admin_create(PG_FUNCTION_ARGS)
{
	char *name;

	evn_shmem_require();
	check_nulls(fcinfo);
	name = text_to_cstring(PG_GETARG_TEXT_PP(ARG_NAME));
	if (name[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("a source needs a name")));
	(void) check_source(NameStr(*PG_GETARG_NAME(ARG_SERVER)), GetUserId(),
						text_to_cstring(PG_GETARG_TEXT_PP(ARG_ENDPOINT)),
						PG_GETARG_JSONB_P(ARG_PARAMS));
	check_destination(fcinfo);
	if (!exists(PG_GETARG_DATUM(ARG_NAME)))
		write_source(fcinfo);
	else if (PG_GETARG_BOOL(ARG_IF_NOT_EXISTS))
		ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("source \"%s\" already exists, skipping", name)));
	else
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("source \"%s\" already exists", name),
				 errhint("Use if_not_exists => true to leave it as it is.")));
	PG_RETURN_VOID();
}

/* ---- check_source */

static void
put_change(ReturnSetInfo *result, const EvnFeedChange *change)
{
	const char *const texts[4] = {change->action, change->value, change->tag, change->problem};
	Datum			  values[4];
	bool			  nulls[4];

	for (int i = 0; i < 4; i++)
	{
		nulls[i] = texts[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(texts[i]);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
evn_source_admin_check(PG_FUNCTION_ARGS)
{
	char		  *endpoint = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Jsonb		  *params = PG_GETARG_JSONB_P(2);
	EvnFeedServer *server =
		check_source(NameStr(*PG_GETARG_NAME(0)), GetUserId(), endpoint, params);
	List	 *changes = NIL;
	ListCell *cell;

	if (server->api->dry_run != NULL)
	{
		evn_oauth_get_token(server);
		changes = server->api->dry_run(endpoint, params, server);
	}
	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, changes)
		put_change((ReturnSetInfo *) fcinfo->resultinfo, lfirst(cell));
	return (Datum) 0;
}

/* ---- alter, drop, pause, resume */

/* The source's number; 0 when there is none and that is no error.  Raises unless the user may do it. */
static int32
find_source(text *name, bool operator_may, bool missing_ok)
{
	Oid	   types[1] = {TEXTOID};
	Datum  values[1] = {PointerGetDatum(name)};
	int32  id = 0;
	Oid	   owner = InvalidOid;
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_exec_args("SELECT source_id, owner::pg_catalog.oid FROM evilnet.source"
						  " WHERE name = $1 FOR UPDATE",
						  1, types, values, NULL, SPI_OK_SELECT) > 0)
	{
		id = DatumGetInt32(evn_spi_value(0, 1));
		owner = DatumGetObjectId(evn_spi_value(0, 2));
	}
	evn_spi_end(&spi);
	if (id == 0 && !missing_ok)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("source \"%s\" does not exist", text_to_cstring(name))));
	if (id != 0 && !has_privs_of_role(GetUserId(), owner) &&
		!(operator_may && evn_stream_is_operator()))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of source \"%s\"", text_to_cstring(name))));
	return id;
}

static void
change(int32 id, int expected, const char *sql)
{
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(expected, "%s WHERE source_id = %d", sql, id);
	evn_spi_end(&spi);
}

Datum
evn_source_admin_alter(PG_FUNCTION_ARGS)
{
	int32		  id = find_source(PG_GETARG_TEXT_PP(0), false, false);
	Jsonb		 *params = PG_GETARG_JSONB_P(1);
	MemoryContext caller = CurrentMemoryContext;
	Oid			  types[2] = {INT4OID, JSONBOID};
	Datum		  values[2] = {Int32GetDatum(id), JsonbPGetDatum(params)};
	EvnSpi		  spi;
	MemoryContext old;
	Oid			  owner;
	char		 *server;
	char		 *endpoint;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	(void) evn_spi_exec_args("UPDATE evilnet.source SET params = $2 WHERE source_id = $1"
							 " RETURNING owner::pg_catalog.oid, server::pg_catalog.text, endpoint",
							 2, types, values, NULL, SPI_OK_UPDATE_RETURNING);
	old = MemoryContextSwitchTo(caller);
	owner = DatumGetObjectId(evn_spi_value(0, 1));
	server = TextDatumGetCString(evn_spi_value(0, 2));
	endpoint = TextDatumGetCString(evn_spi_value(0, 3));
	MemoryContextSwitchTo(old);
	evn_spi_end(&spi);
	(void) check_source(server, owner, endpoint, params);
	PG_RETURN_VOID();
}

Datum
evn_source_admin_drop(PG_FUNCTION_ARGS)
{
	text *name = PG_GETARG_TEXT_PP(0);
	int32 id = find_source(name, false, PG_GETARG_BOOL(1));

	if (id == 0)
		ereport(NOTICE, (errmsg("source \"%s\" does not exist, skipping", text_to_cstring(name))));
	else
		change(id, SPI_OK_DELETE, "DELETE FROM evilnet.source");
	PG_RETURN_VOID();
}

Datum
evn_source_admin_pause(PG_FUNCTION_ARGS)
{
	change(find_source(PG_GETARG_TEXT_PP(0), true, false), SPI_OK_UPDATE,
		   "UPDATE evilnet.source SET enabled = false");
	PG_RETURN_VOID();
}

Datum
evn_source_admin_resume(PG_FUNCTION_ARGS)
{
	change(find_source(PG_GETARG_TEXT_PP(0), true, false), SPI_OK_UPDATE,
		   "UPDATE evilnet.source SET enabled = true, stop_reason = NULL, finished_at = NULL,"
		   " home = evilnet.home()");
	PG_RETURN_VOID();
}

/* ---- statistics */

/* Row security decides whose sources are seen. */
static bool
is_seen(int32 id)
{
	EvnSpi spi;
	bool   seen;

	evn_spi_begin(&spi, InvalidOid);
	seen = evn_spi_execf(SPI_OK_SELECT, "SELECT FROM evilnet.source WHERE source_id = %d", id) > 0;
	evn_spi_end(&spi);
	return seen;
}

static void
put_slot(ReturnSetInfo *result, const EvnWorkerSlot *slot)
{
	Datum values[11];
	bool  nulls[11] = {0};

	values[0] = Int32GetDatum((int32) slot->stream);
	values[1] = CStringGetTextDatum(evn_shmem_state_name(slot->state));
	values[2] = Int32GetDatum(slot->pid);
	nulls[2] = slot->pid == 0;
	values[3] = Float8GetDatum(slot->rows_per_second);
	values[4] = TimestampTzGetDatum(slot->source.connected_at);
	nulls[4] = slot->source.connected_at == 0;
	values[5] = TimestampTzGetDatum(slot->source.received_at);
	nulls[5] = slot->source.received_at == 0;
	values[6] = Int64GetDatum(Max(slot->source.connections - 1, 0));
	values[7] = Int64GetDatum(slot->source.rate_left);
	nulls[7] = slot->source.rate_left < 0;
	values[8] = TimestampTzGetDatum(slot->source.rate_reset_at);
	nulls[8] = slot->source.rate_reset_at == 0;
	values[9] = CStringGetTextDatum(slot->last_error);
	values[10] = TimestampTzGetDatum(slot->last_error_at);
	nulls[9] = nulls[10] = slot->last_error_at == 0;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
evn_source_admin_slots(PG_FUNCTION_ARGS)
{
	EvnWorkerSlot *slots;
	int			   nslots;

	InitMaterializedSRF(fcinfo, 0);
	slots = evn_shmem_slots(&nslots);
	for (int i = 0; i < nslots; i++)
		if (slots[i].number == EVN_FETCHER && is_seen((int32) slots[i].stream))
			put_slot((ReturnSetInfo *) fcinfo->resultinfo, &slots[i]);
	return (Datum) 0;
}
