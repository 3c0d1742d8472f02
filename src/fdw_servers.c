/*
 * fdw_servers.c
 *		The evilnet_kafka foreign data wrapper.
 *
 * Errors hide the statement from the log (errhidestmt): it may hold a secret.
 * Option names and values are librdkafka's own and judged by it; who may set
 * what is ours: secrets in user mappings only, nothing that breaks exactly
 * once or runs code, files only by those who may read files of the server.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "compat.h"
#include "fdw_servers.h"
#include "shmem.h"

#define BOOTSTRAP "bootstrap.servers"

PG_FUNCTION_INFO_V1(evn_fdw_servers_validate);
PG_FUNCTION_INFO_V1(evn_fdw_servers_broker_address);

static bool
is_embedded(const char *name, const char *value)
{
	return strcmp(name, BOOTSTRAP) == 0 && strcmp(value, EVN_KAFKA_EMBEDDED) == 0;
}

/* A mapping tells who connects; where to, a token's endpoint included, is the server's owner's to say. */
static bool
tells_who(const char *name)
{
	return strstr(name, ".url") == NULL && (strncmp(name, "sasl.", strlen("sasl.")) == 0 ||
											strncmp(name, "ssl.", strlen("ssl.")) == 0);
}

static void
check_kind(const char *name, Oid catalog)
{
	EvnKafkaPropertyKind kind = evn_kafka_config_kind(name);

	if (kind == EVN_KAFKA_REFUSED)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errhidestmt(true),
						errmsg("property \"%s\" cannot be set", name),
						errdetail("%s", evn_kafka_config_refusal(name))));
	if (kind == EVN_KAFKA_SECRET && catalog == ForeignServerRelationId)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errhidestmt(true),
						errmsg("property \"%s\" is a secret and cannot be set on a server", name),
						errhint("Set it in CREATE USER MAPPING.")));
	if (kind == EVN_KAFKA_PLAIN && catalog == UserMappingRelationId && !tells_who(name))
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errhidestmt(true),
			 errmsg("property \"%s\" cannot be set in a user mapping", name),
			 errhint(
				 "Set it on the server; user mappings take secrets and properties that begin with sasl. or ssl., but no URL.")));
}

static void
check_file(const char *name)
{
	if (evn_kafka_config_reads_file(name) &&
		!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errhidestmt(true),
						errmsg("permission denied to set property \"%s\"", name),
						errdetail("It names a file that the server reads."),
						errhint("Only members of pg_read_server_files may set it.")));
}

static void
check_option(const char *name, const char *value, Oid catalog)
{
	EvnKafkaError error = {0};

	check_kind(name, catalog);
	check_file(name);
	if (!is_embedded(name, value) && !evn_kafka_config_check(name, value, &error))
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errhidestmt(true),
						errmsg("invalid option \"%s\": %s", name, error.message),
						errhint("Options of evilnet_kafka are properties of librdkafka.")));
}

Datum
evn_fdw_servers_validate(PG_FUNCTION_ARGS)
{
	List	 *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid		  catalog = PG_GETARG_OID(1);
	bool	  has_bootstrap = false;
	ListCell *cell;

	if (catalog == ForeignTableRelationId)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("evilnet_kafka has no foreign tables"),
						errhint("Use evilnet.create_stream to read a topic into a table.")));
	if (catalog == ForeignDataWrapperRelationId && options != NIL)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errhidestmt(true),
						errmsg("evilnet_kafka takes options on servers and user mappings only")));
	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		check_option(option->defname, defGetString(option), catalog);
		if (strcmp(option->defname, BOOTSTRAP) == 0 && defGetString(option)[0] != '\0')
			has_bootstrap = true;
	}
	if (catalog == ForeignServerRelationId && !has_bootstrap)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND), errhidestmt(true),
			 errmsg("option \"%s\" is required", BOOTSTRAP),
			 errhint(
				 "Give the brokers as 'host:port,host:port', or 'embedded' for the embedded broker.")));
	PG_RETURN_VOID();
}

Datum
evn_fdw_servers_broker_address(PG_FUNCTION_ARGS)
{
	char address[EVN_ADDRESS_LEN];

	if (evn_shared == NULL || !evn_shmem_broker_address(address))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(address));
}

ForeignServer *
evn_fdw_servers_get(const char *name, Oid userid)
{
	ForeignServer	   *server = GetForeignServerByName(name, false);
	ForeignDataWrapper *wrapper = GetForeignDataWrapper(server->fdwid);

	if (strcmp(wrapper->fdwname, "evilnet_kafka") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is not of foreign data wrapper evilnet_kafka", name)));
	if (!evn_may_use_server(server->serverid, userid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);
	return server;
}

/* Unlike with GetUserMapping, none is no error. */
List *
evn_fdw_servers_mapping(Oid serverid, Oid userid)
{
	HeapTuple tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid),
									  ObjectIdGetDatum(serverid));
	List	 *options = NIL;
	Datum	  datum;
	bool	  isnull;

	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		return NIL;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return options;
}

static char *
embedded_address(void)
{
	char address[EVN_ADDRESS_LEN];

	evn_shmem_require();
	if (!evn_shmem_broker_address(address))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the embedded broker is not running"),
			 errhint(
				 "Turn it on: ALTER SYSTEM SET evilnet.embedded_broker = on; SELECT pg_reload_conf();")));
	return pstrdup(address);
}

EvnKafkaOption *
evn_fdw_servers_options(ForeignServer *server, Oid userid, int *noptions)
{
	List *list =
		list_concat(list_copy(server->options), evn_fdw_servers_mapping(server->serverid, userid));
	EvnKafkaOption *options = palloc(sizeof(EvnKafkaOption) * (list_length(list) + 1));
	ListCell	   *cell;
	int				n = 0;

	foreach(cell, list)
	{
		DefElem *option = lfirst_node(DefElem, cell);
		char	*value = defGetString(option);

		if (is_embedded(option->defname, value))
		{
			value = embedded_address();
			/* a topic of the embedded broker is there as soon as somebody asks for it */
			options[n++] = (EvnKafkaOption) {"allow.auto.create.topics", "true"};
		}
		options[n++] = (EvnKafkaOption) {pstrdup(option->defname), pstrdup(value)};
	}
	*noptions = n;
	return options;
}
