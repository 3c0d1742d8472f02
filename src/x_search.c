/*
 * x_search.c
 *		What X's recent search finds after an id.
 *
 * Pages come newest first.  Each post becomes an envelope as the streams send
 * it, with what it refers to of the page's includes.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "clock.h"
#include "compat.h"
#include "x_search.h"

#define PATH	  "/2/tweets/search/recent"
#define PAGE_SIZE 100

struct EvnXSearch
{
	EvnHttp				*http;
	const EvnFeedServer *server;
	char				*first_page;
	EvnApiCall			 call;
	long
		refused; /* status of the last refusal, 0 after an answer: the page is to be asked for again */
	List *found; /* char *, not handed out yet */
	char *next_token;
	bool  is_answered;
	int64 ahead_us; /* the network's clock, by its last answer */
};

static void
ask(EvnXSearch *search)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfoString(&path, search->first_page);
	if (search->next_token != NULL)
	{
		appendStringInfoString(&path, "&next_token=");
		evn_api_call_encode(&path, search->next_token);
	}
	evn_api_call_begin(&search->call, search->http, search->server, path.data, NULL);
	pfree(path.data);
}

EvnXSearch *
evn_x_search_begin(EvnHttp *http, const EvnFeedServer *server, const char *query,
				   const char *fields, int64 since_id)
{
	EvnXSearch	  *search = palloc0(sizeof(EvnXSearch));
	StringInfoData path;

	search->http = http;
	search->server = server;
	initStringInfo(&path);
	appendStringInfo(&path, PATH "?max_results=%d&since_id=" INT64_FORMAT "&%s&query=", PAGE_SIZE,
					 since_id, fields);
	evn_api_call_encode(&path, query);
	search->first_page = path.data;
	ask(search);
	return search;
}

void
evn_x_search_end(EvnXSearch *search)
{
	if (search->call.transfer != NULL)
		evn_api_call_end(&search->call);
	list_free_deep(search->found);
	pfree(search->first_page);
	if (search->next_token != NULL)
		pfree(search->next_token);
	pfree(search);
}

const char *
evn_x_search_peek(EvnXSearch *search)
{
	return search->found == NIL ? NULL : linitial(search->found);
}

void
evn_x_search_take(EvnXSearch *search)
{
	pfree(linitial(search->found));
	search->found = list_delete_first(search->found);
}

static List *
read_rows(const char *answer)
{
	return evn_api_call_read(
		"SELECT $1 #>> '{meta,next_token}', CASE WHEN d IS NOT NULL THEN pg_catalog.concat('{\"data\":', d, ',\"includes\":',"
		" pg_catalog.json_build_object('places', (SELECT pg_catalog.json_agg(p)"
		"  FROM pg_catalog.json_array_elements($1 #> '{includes,places}') p"
		"  WHERE p->>'id' = d #>> '{geo,place_id}'),"
		" 'users', (SELECT pg_catalog.json_agg(u)"
		"  FROM pg_catalog.json_array_elements($1 #> '{includes,users}') u"
		"  WHERE u->>'id' = d->>'author_id')), '}') END"
		" FROM (SELECT) page LEFT JOIN"
		" pg_catalog.json_array_elements(coalesce($1->'data', '[]'::pg_catalog.json)) d ON true",
		answer, NULL);
}

/* What is kept of a page is copied: the search may go on for as long as the source. */
static void
keep_page(EvnXSearch *search, const char *answer)
{
	MemoryContext page =
		AllocSetContextCreate(CurrentMemoryContext, "evilnet page", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(page);
	List		 *rows = read_rows(answer);
	ListCell	 *cell;

	MemoryContextSwitchTo(old);
	if (search->next_token != NULL)
		pfree(search->next_token);
	search->next_token = NULL;
	foreach(cell, rows)
	{
		char **row = lfirst(cell);

		if (search->next_token == NULL && row[0] != NULL)
			search->next_token = pstrdup(row[0]);
		if (row[1] != NULL)
			search->found = lappend(search->found, pstrdup(row[1]));
	}
	MemoryContextDelete(page);
}

/* An answer is complete. */
static EvnXProgress
read_page(EvnXSearch *search, EvnApiRefusal *refusal)
{
	MemoryContext old = CurrentMemoryContext;

	search->refused = 0;
	if (evn_http_status(search->call.transfer) != 0)
	{
		search->is_answered = true;
		search->ahead_us = evn_api_call_server_time(search->call.transfer) - evn_clock_now();
	}
	if (!evn_api_call_ok(&search->call, refusal))
	{
		search->refused = Max(refusal->status, 1);
		evn_api_call_end(&search->call);
		return EVN_X_REFUSED;
	}
	MemoryContextSwitchTo(GetMemoryChunkContext(search));
	keep_page(search, search->call.body.data);
	evn_api_call_end(&search->call);
	MemoryContextSwitchTo(old);
	return search->found == NIL && search->next_token == NULL ? EVN_X_DONE : EVN_X_UNDER_WAY;
}

EvnXProgress
evn_x_search_serve(EvnXSearch *search, EvnApiRefusal *refusal)
{
	MemoryContext old;

	if (search->call.transfer != NULL)
		return evn_api_call_serve(&search->call) ? read_page(search, refusal) : EVN_X_UNDER_WAY;
	if (search->refused == 0 && search->next_token == NULL)
		return EVN_X_DONE;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(search));
	ask(search);
	MemoryContextSwitchTo(old);
	return EVN_X_UNDER_WAY;
}

bool
evn_x_search_waits(const EvnXSearch *search)
{
	return search->call.transfer != NULL;
}

bool
evn_x_search_is_hopeless(const EvnXSearch *search)
{
	return search->refused == 400;
}

bool
evn_x_search_ahead_us(const EvnXSearch *search, int64 *ahead_us)
{
	if (search->is_answered)
		*ahead_us = search->ahead_us;
	return search->is_answered;
}
