/*
 * feed_x.c
 *		The X API v2: filtered, sample and compliance streams, and recent search.
 *
 * A stream does not remember where its client was.  What was posted while no
 * connection was open is searched for from the last id on, with the stream open
 * again, and the cursor stays where it was until that is done.  What can be
 * found neither so nor by the stream's own backfill is recorded as a gap.
 *
 * A source of recent search is the same without a stream: a gap that is
 * searched for again and again.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "feed_x.h"
#include "flat_post.h"
#include "live_stream.h"
#include "tweet_decode.h"
#include "worker.h"
#include "x_search.h"

#define FIELDS \
	"tweet.fields=author_id,created_at,entities,geo,lang,referenced_tweets" \
	"&expansions=author_id,geo.place_id&place.fields=country_code,full_name,geo" \
	"&user.fields=location"

#define ARENA_BLOCK (64 * 1024)
/* X sends at least a line end every 20 seconds, which may take a moment to come here */
#define STALL_US INT64CONST(20900000)
/* search finds a post half a minute after it was posted */
#define SEARCH_LAG_US (INT64CONST(40) * USECS_PER_SEC)
/* posts come in about the order of their ids: so much of what came last is asked for again */
#define OVERLAP_US	   (INT64CONST(60) * USECS_PER_SEC)
#define SEARCH_SECONDS 60 /* from one search to the next */
/* the last seven days are searched, less what may pass until the network reads the request */
#define SEARCH_REACH_US (7 * USECS_PER_DAY - USECS_PER_MINUTE)
/* an id that is said to be of a later time than now is no post's */
#define MAX_AHEAD_US	USECS_PER_MINUTE
#define NOTICE_PAUSE_US USECS_PER_MINUTE /* in the log */
#define DRY_RUN_WAIT_MS 60000
#define MAX_BACKFILL	5 /* minutes */

/* Ids hold the milliseconds since then. */
#define SNOWFLAKE_SHIFT 22
#define SNOWFLAKE_EPOCH (INT64CONST(1288834974657) * 1000 - UNIX_EPOCH_US)
#define UNIX_EPOCH_US	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

typedef struct Endpoint
{
	const char *name;
	const char *path;		/* NULL: nothing but search */
	bool		posts;		/* with their fields; else notices */
	bool		rules;		/* which search knows as well */
	int			partitions; /* of which one is read */
} Endpoint;

static const Endpoint endpoints[] = {
	{"filtered_stream", "/2/tweets/search/stream", true, true, 0},
	{"sample_stream", "/2/tweets/sample/stream", true, false, 0},
	{"sample10_stream", "/2/tweets/sample10/stream", true, false, 2},
	{"tweet_compliance_stream", "/2/tweets/compliance/stream", false, false, 4},
	{"user_compliance_stream", "/2/users/compliance/stream", false, false, 4},
	{"recent_search", NULL, true, false, 0},
};

typedef struct XFeed
{
	bool				 is_clock_known; /* the network's */
	const EvnSource		*source;
	const EvnFeedServer *server;
	const Endpoint		*endpoint;
	MemoryContext		 context;
	EvnHttp				*http;
	EvnLive				 live;
	EvnXRules			*rules; /* being made what they are to be */

	int64		  newest_id;   /* up to here everything was taken, but for the gap; 0: not known */
	int64		  gap_id;	   /* what was posted after it is missing; 0: no gap */
	TimestampTz	  search_at;   /* when to begin, or to ask again */
	TimestampTz	  searched_at; /* when the search under way began */
	EvnXSearch	 *search;
	EvnReconnect  search_reconnect;
	EvnClockWatch watch;	 /* of search_at */
	TimestampTz	  notice_at; /* the network was quoted in the log */

	EvnDecoder	  *decoder;
	EvnArena	  *arena;
	EvnFeedMessage message; /* not taken yet */
	bool		   has_message;
	bool		   is_found; /* by search */
} XFeed;

/* ---- open and close */

/* What is palloc'd goes with the context. */
static void
close_feed(void *arg)
{
	XFeed *feed = arg;

	evn_live_close(&feed->live);
	if (feed->http != NULL)
		evn_http_close(feed->http);
	if (feed->decoder != NULL)
		evn_tweet_decoder_free(feed->decoder);
	if (feed->arena != NULL)
		evn_arena_free(feed->arena);
}

static const Endpoint *
find_endpoint(const char *name)
{
	for (int i = 0; i < lengthof(endpoints); i++)
		if (strcmp(endpoints[i].name, name) == 0)
			return &endpoints[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("X has no endpoint \"%s\"", name),
			 errhint("It is one of: filtered_stream, sample_stream, sample10_stream, "
					 "tweet_compliance_stream, user_compliance_stream, recent_search.")));
}

static void
x_check(const char *name, const Jsonb *params)
{
	const Endpoint *endpoint = find_endpoint(name);

	evn_x_rules_check(params);
	if (!endpoint->rules && evn_x_rules_wanted(params))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("endpoint \"%s\" has no rules", name)));
	if (endpoint->path == NULL && evn_source_param(params, "query") == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("endpoint \"%s\" needs a parameter \"query\"", name)));
	if (endpoint->partitions > 0)
		(void) evn_source_param_int(params, "partition", 1, endpoint->partitions, 1);
	if (endpoint->path == NULL)
		(void) evn_source_param_int(params, "seconds", 1, SECS_PER_DAY, SEARCH_SECONDS);
	else
		(void) evn_source_param_int(params, "backfill_minutes", 0, MAX_BACKFILL, 0);
}

static void
close_http(void *arg)
{
	evn_http_close(arg);
}

static List *
x_dry_run(const char *name, const Jsonb *params, const EvnFeedServer *server)
{
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	EvnApiRefusal		   refusal;
	EvnHttp				  *http;
	EvnXRules			  *rules;
	EvnXProgress		   progress;

	if (!find_endpoint(name)->rules || !evn_x_rules_wanted(params))
		return NIL;
	http = evn_http_open();
	if (http == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	callback->func = close_http;
	callback->arg = http;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	rules = evn_x_rules_begin(http, server, params, true);
	while ((progress = evn_x_rules_serve(rules, &refusal)) == EVN_X_UNDER_WAY)
	{
		evn_http_wait(http, DRY_RUN_WAIT_MS);
		CHECK_FOR_INTERRUPTS();
	}
	if (progress == EVN_X_REFUSED)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION), errmsg("%s", refusal.error)));
	return evn_x_rules_changes(rules);
}

static void
go_to_cursor(XFeed *feed, const Jsonb *cursor)
{
	char *id = evn_source_param(cursor, "since_id");

	if (id == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the position of the source is not one in a stream of X")));
	feed->gap_id = feed->newest_id = pg_strtoint64(id);
}

/* The smallest id of that time, by our clock. */
static int64
id_of_time(const XFeed *feed, TimestampTz at)
{
	return Max(at + feed->live.ahead_us - SNOWFLAKE_EPOCH, 1000) / 1000 << SNOWFLAKE_SHIFT;
}

static TimestampTz
time_of_id(const XFeed *feed, int64 id)
{
	return (id >> SNOWFLAKE_SHIFT) * 1000 + SNOWFLAKE_EPOCH - feed->live.ahead_us;
}

/* All that was posted until then has been taken. */
static void
note_complete(XFeed *feed, TimestampTz until)
{
	feed->newest_id = Max(feed->newest_id, id_of_time(feed, until));
}

static EvnFeed *
x_open(const EvnSource *source, const EvnFeedServer *server)
{
	XFeed				  *feed = palloc0(sizeof(XFeed));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	feed->source = source;
	feed->server = server;
	feed->endpoint = find_endpoint(source->endpoint);
	feed->context = CurrentMemoryContext;
	callback->func = close_feed;
	callback->arg = feed;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	feed->http = evn_http_open();
	feed->decoder = evn_tweet_decoder_create();
	feed->arena = evn_arena_create(ARENA_BLOCK);
	if (feed->http == NULL || feed->decoder == NULL || feed->arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	evn_live_init(&feed->live, feed->http, server, EVN_FRAMING_LINES, STALL_US);
	evn_reconnect_init(&feed->search_reconnect);
	if (source->cursor != NULL)
		go_to_cursor(feed, source->cursor);
	else if (feed->endpoint->path == NULL)
		feed->gap_id = id_of_time(feed, evn_clock_now());
	return (EvnFeed *) feed;
}

/* When the clock was set, or the machine slept, a time to come does not hold any more. */
static void
watch_clock(XFeed *feed)
{
	if (evn_clock_jumped(&feed->watch))
		feed->search_at = Min(feed->search_at, evn_clock_now() + SEARCH_LAG_US);
}

/* ---- connecting */

static int
backfill_minutes(const XFeed *feed)
{
	return evn_source_param_int(feed->source->params, "backfill_minutes", 0, MAX_BACKFILL, 0);
}

static void
ask_for_stream(XFeed *feed)
{
	const Endpoint *endpoint = feed->endpoint;
	StringInfoData	path;

	initStringInfo(&path);
	appendStringInfo(&path, "%s?%s", endpoint->path, endpoint->posts ? FIELDS : "");
	if (endpoint->partitions > 0)
		appendStringInfo(
			&path, "&partition=%d",
			evn_source_param_int(feed->source->params, "partition", 1, endpoint->partitions, 1));
	if (feed->gap_id != 0 && backfill_minutes(feed) > 0)
		appendStringInfo(&path, "&backfill_minutes=%d", backfill_minutes(feed));
	evn_live_ask(&feed->live, path.data, NULL);
	pfree(path.data);
}

/* There is no connection any more, for whatever reason. */
static void
note_loss(XFeed *feed)
{
	if (feed->rules != NULL)
		evn_x_rules_end(feed->rules);
	feed->rules = NULL;
	/* what a search has not found yet is searched for again, with what is missed now */
	if (feed->search != NULL)
		evn_x_search_end(feed->search);
	feed->search = NULL;
	if (feed->gap_id == 0)
		feed->gap_id = feed->newest_id;
}

static void
serve_rules(XFeed *feed)
{
	EvnApiRefusal refusal;

	switch (evn_x_rules_serve(feed->rules, &refusal))
	{
		case EVN_X_UNDER_WAY:
			break;
		case EVN_X_REFUSED:
			evn_live_lose(&feed->live, &refusal);
			note_loss(feed);
			break;
		case EVN_X_DONE:
			evn_x_rules_end(feed->rules);
			feed->rules = NULL;
			ask_for_stream(feed);
			break;
	}
}

/* A connection is wanted. */
static void
connect_stream(XFeed *feed)
{
	if (feed->rules != NULL)
		serve_rules(feed);
	else if (feed->endpoint->rules && evn_x_rules_wanted(feed->source->params))
		feed->rules = evn_x_rules_begin(feed->http, feed->server, feed->source->params, false);
	else
		ask_for_stream(feed);
}

/* ---- the stream */

/*
 * What is no post: the network tells of itself.  It ends the connection then.
 * Posts begin with their data, but for the order that JSON leaves open.
 */
static bool
is_notice(XFeed *feed, const char *data, size_t len)
{
	static const char		 beginning[] = "{\"data\"";
	static const char *const names[] = {"data", "errors", "title", "detail"};
	EvnJsonValue			 values[lengthof(names)];
	EvnJsonScan				 scan;

	if (len >= strlen(beginning) && memcmp(data, beginning, strlen(beginning)) == 0)
		return false;
	evn_arena_reset(feed->arena);
	if (!evn_flat_open(&scan, (EvnText) {data, (int32) len}))
		return false;
	evn_flat_pick(&scan, feed->arena, names, lengthof(names), values);
	if (!evn_json_scan_end(&scan) || values[0].type != EVN_JSON_NULL)
		return false;
	return values[1].type != EVN_JSON_NULL || values[2].type != EVN_JSON_NULL ||
		   values[3].type != EVN_JSON_NULL;
}

static void
tell_notice(XFeed *feed, const char *data, size_t len)
{
	static const char says[] = "the network says: ";
	char			  notice[EVN_HTTP_ERROR_LEN];
	TimestampTz		  now = evn_clock_now();

	strlcpy(notice, says, sizeof(notice));
	evn_api_call_quote(feed->server, notice + strlen(says), sizeof(notice) - strlen(says), data,
					   len);
	evn_worker_set_error(notice);
	if (now - feed->notice_at < NOTICE_PAUSE_US)
		return;
	ereport(LOG, (errmsg("%s", notice)));
	feed->notice_at = now;
}

static int64
id_of(XFeed *feed, const char *data, size_t len)
{
	EvnTweet tweet;

	evn_arena_reset(feed->arena);
	if (evn_tweet_decode(feed->decoder, feed->arena, data, len, &tweet) != EVN_DECODE_OK ||
		tweet.type == EVN_MESSAGE_NOTICE)
		return 0;
	return tweet.id;
}

static void
hold(XFeed *feed, const char *data, size_t len, bool too_long, bool is_found)
{
	feed->message.data = data;
	feed->message.len = len;
	feed->message.too_long = too_long;
	feed->message.id = too_long ? 0 : id_of(feed, data, len);
	feed->is_found = is_found;
	feed->has_message = true;
}

/* The next post of what has come; false when there is none, or the stream has ended. */
static bool
read_stream(XFeed *feed)
{
	EvnFrame	   frame;
	EvnFrameResult result;

	while ((result = evn_live_next(&feed->live, &frame)) != EVN_FRAME_MORE)
	{
		if (result == EVN_FRAME_TOO_LONG || !is_notice(feed, frame.data, frame.len))
		{
			hold(feed, frame.data, frame.len, result == EVN_FRAME_TOO_LONG, false);
			return true;
		}
		tell_notice(feed, frame.data, frame.len);
	}
	if (feed->live.phase == EVN_LIVE_OPEN)
		note_complete(feed, feed->live.drained_at);
	else
		note_loss(feed);
	return false;
}

/* ---- gaps */

/* The gap up to then stays. */
static void
note_gap(XFeed *feed, TimestampTz until, const char *reason)
{
	MemoryContext old = CurrentMemoryContext;

	evn_worker_begin_transaction();
	evn_source_note_gap(feed->source, time_of_id(feed, feed->gap_id), until, reason);
	evn_worker_commit_transaction();
	MemoryContextSwitchTo(old);
}

static void
record_gap(XFeed *feed, const char *reason)
{
	note_gap(feed, feed->live.opened_at, reason);
	feed->gap_id = 0;
}

static char *
search_query(const XFeed *feed)
{
	if (feed->endpoint->path == NULL)
		return evn_source_param(feed->source->params, "query");
	if (feed->endpoint->rules && evn_x_rules_wanted(feed->source->params))
		return evn_x_rules_query(feed->source->params);
	return NULL;
}

/* The id from which on to search, having recorded what is too old to be found. */
static int64
search_since(XFeed *feed)
{
	TimestampTz reach = feed->searched_at - SEARCH_REACH_US;
	int64		oldest = id_of_time(feed, reach);

	if (!feed->is_clock_known)
		return Max(feed->gap_id - (OVERLAP_US / 1000 << SNOWFLAKE_SHIFT), 1);
	if (feed->gap_id < oldest)
	{
		note_gap(feed, reach, "search knows the last seven days only");
		feed->gap_id = oldest;
	}
	return Max(feed->gap_id - (OVERLAP_US / 1000 << SNOWFLAKE_SHIFT), oldest);
}

static void
begin_search(XFeed *feed)
{
	char *query = search_query(feed);

	feed->searched_at = evn_clock_now();
	if (query != NULL)
		feed->search =
			evn_x_search_begin(feed->http, feed->server, query, FIELDS, search_since(feed));
	else if (feed->live.opened_at - time_of_id(feed, feed->gap_id) <
			 backfill_minutes(feed) * USECS_PER_MINUTE - OVERLAP_US)
		feed->gap_id = 0; /* the stream itself has sent it */
	else
		record_gap(feed, feed->endpoint->rules ? "the source does not say the rules"
											   : "the stream cannot be searched");
	if (query != NULL)
		pfree(query);
}

/* Without a stream, only the answers tell what time it is there. */
static void
learn_clock(XFeed *feed)
{
	if (feed->endpoint->path == NULL && evn_x_search_ahead_us(feed->search, &feed->live.ahead_us))
		feed->is_clock_known = true;
}

static void
end_search(XFeed *feed)
{
	evn_x_search_end(feed->search);
	feed->search = NULL;
	evn_reconnect_init(&feed->search_reconnect);
}

/* All that was missing has been handed out. */
static void
finish_search(XFeed *feed)
{
	learn_clock(feed);
	end_search(feed);
	feed->gap_id = 0;
	if (feed->endpoint->path != NULL)
		return;
	/* our clock may have been set since */
	note_complete(feed, Min(feed->searched_at, evn_clock_now()) - SEARCH_LAG_US);
	feed->gap_id = feed->newest_id;
	feed->search_at = feed->searched_at + evn_source_param_int(feed->source->params, "seconds", 1,
															   SECS_PER_DAY, SEARCH_SECONDS) *
											  USECS_PER_SEC;
}

static void
note_refused_search(XFeed *feed, const EvnApiRefusal *refusal)
{
	evn_worker_set_error(refusal->error);
	learn_clock(feed);
	if (evn_x_search_is_hopeless(feed->search))
	{
		/* what was asked for too long may be too old by now, so that it has to begin anew */
		evn_x_search_end(feed->search);
		feed->search = NULL;
		if (feed->endpoint->path != NULL)
		{
			evn_reconnect_init(&feed->search_reconnect);
			record_gap(feed, refusal->error);
			return;
		}
	}
	feed->search_at = evn_reconnect_failed(&feed->search_reconnect, refusal->cause, evn_clock_now(),
										   refusal->reset_at);
}

/* Go on with filling the gap; true when a message is held. */
static bool
fill_gap(XFeed *feed)
{
	EvnApiRefusal refusal;
	const char	 *found;

	watch_clock(feed);
	if (evn_clock_now() < feed->search_at)
		return false;
	if (feed->search == NULL)
		begin_search(feed);
	while (feed->search != NULL)
	{
		found = evn_x_search_peek(feed->search);
		if (found != NULL)
		{
			hold(feed, found, strlen(found), false, true);
			return true;
		}
		switch (evn_x_search_serve(feed->search, &refusal))
		{
			case EVN_X_UNDER_WAY:
				if (evn_x_search_peek(feed->search) == NULL)
					return false;
				break;
			case EVN_X_DONE:
				finish_search(feed);
				break;
			case EVN_X_REFUSED:
				note_refused_search(feed, &refusal);
				return false;
		}
	}
	return false;
}

/* ---- the feed */

static bool
is_open(const XFeed *feed)
{
	return feed->endpoint->path == NULL || feed->live.phase == EVN_LIVE_OPEN;
}

/* Go on until the stream is open; it is served by waiting then. */
static void
serve(XFeed *feed)
{
	if (feed->live.phase == EVN_LIVE_OPEN)
		return;
	switch (evn_live_serve(&feed->live))
	{
		case EVN_LIVE_DUE:
			if (feed->endpoint->path != NULL)
				connect_stream(feed);
			break;
		case EVN_LIVE_OPEN:
			feed->is_clock_known = true;
			if (feed->newest_id == 0)
				note_complete(feed, feed->live.opened_at);
			watch_clock(feed);
			feed->search_at = Max(feed->search_at, feed->live.opened_at + SEARCH_LAG_US);
			break;
		default:
			break;
	}
}

static EvnFeedResult
x_next(EvnFeed *handle, EvnFeedMessage *message)
{
	XFeed		 *feed = (XFeed *) handle;
	MemoryContext old = MemoryContextSwitchTo(feed->context);

	if (!feed->has_message)
	{
		serve(feed);
		if (is_open(feed) && !(feed->gap_id != 0 && fill_gap(feed)) && feed->endpoint->path != NULL)
			read_stream(feed);
	}
	MemoryContextSwitchTo(old);
	*message = feed->message;
	return feed->has_message ? EVN_FEED_MESSAGE : EVN_FEED_WAIT;
}

static void
x_take(EvnFeed *handle)
{
	XFeed *feed = (XFeed *) handle;

	feed->has_message = false;
	feed->newest_id = Max(feed->newest_id,
						  Min(feed->message.id, id_of_time(feed, evn_clock_now() + MAX_AHEAD_US)));
	if (feed->is_found)
		evn_x_search_take(feed->search);
}

static void
x_status(const EvnFeed *handle, EvnSourceStatus *status)
{
	const XFeed *feed = (const XFeed *) handle;

	evn_live_status(&feed->live, status);
	if (feed->endpoint->path == NULL)
		status->state = feed->search == NULL ? EVN_WORKER_IDLE : EVN_WORKER_RUNNING;
}

static void
x_wait(EvnFeed *handle, long timeout_ms)
{
	XFeed	   *feed = (XFeed *) handle;
	TimestampTz due = feed->endpoint->path == NULL ? DT_NOEND : evn_live_due_at(&feed->live);

	if (feed->gap_id != 0 && is_open(feed) &&
		(feed->search == NULL || !evn_x_search_waits(feed->search)))
		due = Min(due, feed->search_at);
	if (due != DT_NOEND)
		timeout_ms = Min(timeout_ms, evn_clock_until(due));
	evn_http_wait(feed->http, timeout_ms);
}

static Jsonb *
x_cursor(EvnFeed *handle)
{
	XFeed *feed = (XFeed *) handle;
	int64  id = feed->gap_id != 0 ? feed->gap_id : feed->newest_id;

	/* before the first search ends, the network's clock is not known */
	if (feed->newest_id == 0)
		return NULL;
	return DatumGetJsonbP(DirectFunctionCall1(
		jsonb_in, CStringGetDatum(psprintf("{\"since_id\": \"" INT64_FORMAT "\"}", id))));
}

const EvnFeedApi evn_feed_x = {
	.name = "x",
	.url = "https://api.x.com",
	.token_path = "/oauth2/token",
	.check = x_check,
	.dry_run = x_dry_run,
	.open = x_open,
	.next = x_next,
	.take = x_take,
	.status = x_status,
	.wait = x_wait,
	.cursor = x_cursor,
};
