/*
 * oauth.c
 *		A token for the id and secret of an app.
 *
 * It is asked for each time a source begins, and kept in memory only: a token
 * that the network takes no longer makes the source begin anew.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "api_call.h"
#include "oauth.h"
#include "worker.h"

#define WAIT_MS 60000

static void
close_http(void *arg)
{
	evn_http_close(arg);
}

/* Its connections end with the current context. */
static EvnHttp *
open_http(void)
{
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	EvnHttp				  *http = evn_http_open();

	if (http == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	callback->func = close_http;
	callback->arg = http;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return http;
}

/* The token in an answer; NULL for none, or for what cannot be one, as it could not be in a header. */
static char *
read_token(const char *answer)
{
	List *rows = evn_api_call_read("SELECT $1->>'access_token'", answer, NULL);
	char *token = ((char **) linitial(rows))[0];

	for (const char *c = token; c != NULL && *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return NULL;
	return token;
}

static char *
ask(const EvnFeedServer *server)
{
	EvnApiRequest request = {.body = "grant_type=client_credentials",
							 .is_form = true,
							 .client_id = server->client_id,
							 .client_secret = server->client_secret};
	EvnHttp		 *http = open_http();
	EvnApiCall	  call;
	EvnApiRefusal refusal;
	char		 *token = NULL;

	evn_api_call_begin(&call, http, server, server->api->token_path, &request);
	while (!evn_api_call_serve(&call))
	{
		evn_http_wait(http, WAIT_MS);
		if (MyBackendType == B_BG_WORKER)
			evn_worker_check_interrupts();
		CHECK_FOR_INTERRUPTS();
	}
	snprintf(refusal.error, sizeof(refusal.error), "there is none in its answer");
	if (evn_api_call_ok(&call, &refusal))
		token = read_token(call.body.data);
	if (token == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("could not get a token from \"%s\": %s", server->url, refusal.error),
						errhint("Check client_id and client_secret of the user mapping.")));
	evn_api_call_end(&call);
	return token;
}

void
evn_oauth_get_token(EvnFeedServer *server)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;

	if (server->bearer != NULL || server->client_id == NULL)
		return;
	context = AllocSetContextCreate(caller, "evilnet token", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(context);
	server->bearer = MemoryContextStrdup(caller, ask(server));
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
