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
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "compat.h"
#include "fdw_servers.h"
#include "http_servers.h"
#include "http_stream.h"

#define CONNECT_TIMEOUT_MS 10000

PG_FUNCTION_INFO_V1(evn_http_servers_validate);

/* ---- options */

static void
check_api(const char *value)
{
	if (evn_feed_api(value) == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errhidestmt(true),
						errmsg("invalid option \"api\": no such API \"%s\"", value),
						errhint("It is one of: %s.", evn_feed_api_names())));
}

static void
check_url(const char *value)
{
	size_t len = strlen(value);

	/* a password in it would be there for all to read */
	if ((strncmp(value, "https://", 8) != 0 && strncmp(value, "http://", 7) != 0 &&
		 strncmp(value, "wss://", 6) != 0 && strncmp(value, "ws://", 5) != 0) ||
		value[len - 1] == '/' || strpbrk(value, "@?#") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errhidestmt(true),
				 errmsg("invalid option \"url\""),
				 errhint("Write https://host or https://host:port, without user, query or slash at "
						 "the end.")));
}

static void
check_proxy(const char *value)
{
	if (strchr(value, '@') != NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errhidestmt(true),
						errmsg("option \"proxy\" must not hold a user and password")));
}

static void
check_file(const char *value)
{
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errhidestmt(true),
						errmsg("permission denied to set option \"%s\"", "ca_file"),
						errdetail("It names a file that the server reads."),
						errhint("Only members of pg_read_server_files may set it.")));
}

static void
check_timeout(const char *value)
{
	int ms = pg_strtoint32(value);

	if (ms < 1 || ms > 600000)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errhidestmt(true),
						errmsg("option \"connect_timeout\" must be between 1 and 600000 "
							   "milliseconds")));
}

static void
check_secret(const char *value)
{
	if (value[0] == '\0' || strpbrk(value, "\r\n") != NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errhidestmt(true),
						errmsg("the token, id or secret is empty or has line ends")));
}

static const struct
{
	const char *name;
	Oid			catalog;
	void (*check)(const char *value);
} known_options[] = {
	{"api", ForeignServerRelationId, check_api},
	{"url", ForeignServerRelationId, check_url},
	{"proxy", ForeignServerRelationId, check_proxy},
	{"ca_file", ForeignServerRelationId, check_file},
	{"connect_timeout", ForeignServerRelationId, check_timeout},
	{"bearer_token", UserMappingRelationId, check_secret},
	{"client_id", UserMappingRelationId, check_secret},
	{"client_secret", UserMappingRelationId, check_secret},
};

static void
check_option(const char *name, const char *value, Oid catalog)
{
	for (int i = 0; i < lengthof(known_options); i++)
		if (known_options[i].catalog == catalog && strcmp(known_options[i].name, name) == 0)
		{
			known_options[i].check(value);
			return;
		}
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errhidestmt(true),
					errmsg("invalid option \"%s\"", name),
					errhint("Servers of evilnet_http take api, url, proxy, ca_file and "
							"connect_timeout, user mappings take bearer_token, or client_id and "
							"client_secret.")));
}

static const char *
find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

static void
check_websocket(const EvnFeedApi *api, const char *url)
{
	if (api->websocket && !evn_http_has_websocket())
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errhidestmt(true),
						errmsg("api \"%s\" needs a libcurl that reads WebSockets", api->name),
						errdetail("This is libcurl %s, without them.", evn_http_version()),
						errhint("Debian 13 has one; any from 7.86 on can be built with them.")));
	if (url != NULL && api->websocket != (strncmp(url, "ws", 2) == 0))
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errhidestmt(true),
						errmsg("invalid option \"url\" for api \"%s\"", api->name),
						errhint("Write %s://host.", api->websocket ? "wss" : "https")));
}

/* What the API asks of a server's options, each of which is valid. */
static void
check_for_api(const EvnFeedApi *api, List *options)
{
	if (api->reads_files && list_length(options) > 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errhidestmt(true),
						errmsg("a server of api \"%s\" takes no other option", api->name)));
	check_websocket(api, find_option(options, "url"));
	if (!api->reads_files && api->url == NULL && find_option(options, "url") == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND), errhidestmt(true),
						errmsg("option \"url\" is required for api \"%s\"", api->name),
						errhint("There is no server that has all of it: write whose it is, as in "
								"https://host.")));
}

Datum
evn_http_servers_validate(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	const char *api = find_option(options, "api");
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		check_option(option->defname, defGetString(option), catalog);
	}
	if ((find_option(options, "client_id") == NULL) !=
		(find_option(options, "client_secret") == NULL))
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND), errhidestmt(true),
						errmsg("options \"client_id\" and \"client_secret\" go together")));
	if (catalog == ForeignServerRelationId && api == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND), errhidestmt(true),
						errmsg("option \"api\" is required"),
						errhint("It is one of: %s.", evn_feed_api_names())));
	if (api != NULL)
		check_for_api(evn_feed_api(api), options);
	PG_RETURN_VOID();
}

/* ---- servers */

static EvnFeedServer *
make_server(const ForeignServer *server, Oid userid)
{
	EvnFeedServer *made = palloc0(sizeof(EvnFeedServer));
	List		  *mapping = evn_fdw_servers_mapping(server->serverid, userid);
	const char	  *timeout = find_option(server->options, "connect_timeout");

	made->api = evn_feed_api(find_option(server->options, "api"));
	made->url = find_option(server->options, "url");
	if (made->url == NULL)
		made->url = made->api->url;
	made->proxy = find_option(server->options, "proxy");
	made->ca_file = find_option(server->options, "ca_file");
	made->bearer = find_option(mapping, "bearer_token");
	made->client_id = find_option(mapping, "client_id");
	made->client_secret = find_option(mapping, "client_secret");
	made->connect_timeout_ms = timeout == NULL ? CONNECT_TIMEOUT_MS : pg_strtoint32(timeout);
	return made;
}

EvnFeedServer *
evn_http_servers_get(const char *name, Oid userid)
{
	ForeignServer	   *server = GetForeignServerByName(name, false);
	ForeignDataWrapper *wrapper = GetForeignDataWrapper(server->fdwid);
	EvnFeedServer	   *made;

	if (strcmp(wrapper->fdwname, "evilnet_http") != 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("server \"%s\" is not of foreign data wrapper evilnet_http", name)));
	if (!evn_may_use_server(server->serverid, userid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);
	made = make_server(server, userid);
	if (made->client_id != NULL && made->api->token_path == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("api \"%s\" gives no tokens to apps", made->api->name),
			 errhint(
				 "Set bearer_token in the user mapping instead of client_id and client_secret.")));
	if (made->api->reads_files && !has_privs_of_role(userid, ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read files of the server"),
				 errhint("Only members of pg_read_server_files may have a source of archives.")));
	return made;
}
