/*
 * http_servers.c
 *		The evilnet_http foreign data wrapper.
 *
 * Errors hide the statement from the log (errhidestmt): it may hold a secret.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "compat.h"
#include "http_servers.h"

PG_FUNCTION_INFO_V1(evn_http_servers_validate);

static void
check_api(const char *name)
{
	if (evn_feed_api(name) == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errhidestmt(true),
						errmsg("invalid option \"api\": no such API \"%s\"", name),
						errhint("It is one of: %s.", evn_feed_api_names())));
}

Datum
evn_http_servers_validate(PG_FUNCTION_ARGS)
{
	List	 *options = untransformRelOptions(PG_GETARG_DATUM(0));
	bool	  has_api = false;
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (PG_GETARG_OID(1) != ForeignServerRelationId || strcmp(option->defname, "api") != 0)
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errhidestmt(true),
							errmsg("invalid option \"%s\"", option->defname),
							errhint("A server of evilnet_http takes option \"api\".")));
		check_api(defGetString(option));
		has_api = true;
	}
	if (PG_GETARG_OID(1) == ForeignServerRelationId && !has_api)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND), errhidestmt(true),
						errmsg("option \"api\" is required"),
						errhint("It is one of: %s.", evn_feed_api_names())));
	PG_RETURN_VOID();
}

static const char *
server_option(const ForeignServer *server, const char *name)
{
	ListCell *cell;

	foreach(cell, server->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

const EvnFeedApi *
evn_http_servers_api(const char *name, Oid userid)
{
	ForeignServer	   *server = GetForeignServerByName(name, false);
	ForeignDataWrapper *wrapper = GetForeignDataWrapper(server->fdwid);
	const EvnFeedApi   *api;

	if (strcmp(wrapper->fdwname, "evilnet_http") != 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("server \"%s\" is not of foreign data wrapper evilnet_http", name)));
	if (!evn_may_use_server(server->serverid, userid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);
	api = evn_feed_api(server_option(server, "api"));
	if (api->reads_files && !has_privs_of_role(userid, ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read files of the server"),
				 errhint("Only members of pg_read_server_files may have a source of archives.")));
	return api;
}
