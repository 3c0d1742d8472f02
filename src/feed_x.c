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
#include "utils/memutils.h"

#include "clock.h"
#include "compat.h"
#include "feed_x.h"
#include "flat_post.h"
#include "id_gap.h"
#include "live_feed.h"
#include "tweet_decode.h"
#include "worker.h"
#include "x_search.h"

#define FIELDS \
	"tweet.fields=author_id,created_at,entities,geo,lang,referenced_tweets" \
	"&expansions=author_id,geo.place_id&place.fields=country_code,full_name,geo" \
	"&user.fields=location"

/* X sends at least a line end every 20 seconds, which may take a moment to come here */
#define STALL_US INT64CONST(20900000)
/* search finds a post half a minute after it was posted */
#define SEARCH_LAG_US (INT64CONST(40) * USECS_PER_SEC)
/* posts come in about the order of their ids: so much of what came last is asked for again */
#define OVERLAP_US	   (INT64CONST(60) * USECS_PER_SEC)
#define SEARCH_SECONDS 60 /* from one search to the next */
/* the last seven days are searched, less what may pass until the network reads the request */
#define SEARCH_REACH_US (7 * USECS_PER_DAY - USECS_PER_MINUTE)
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
	EvnLiveFeed base;

	bool			is_clock_known; /* the network's */
	const Endpoint *endpoint;
	EvnXRules	   *rules; /* being made what they are to be */

	EvnIdGap	gap;
	TimestampTz searched_at; /* when the search under way began */
	EvnXSearch *search;
	TimestampTz notice_at; /* the network was quoted in the log */

	EvnDecoder *decoder;
	bool		is_found; /* by search */
} XFeed;

/* ---- open and close */

static void
free_decoder(void *arg)
{
	evn_tweet_decoder_free(arg);
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

static EvnFeed *
x_open(const EvnSource *source, const EvnFeedServer *server)
{
	XFeed *feed = evn_live_feed_open(sizeof(XFeed), source, server, EVN_FRAMING_LINES, STALL_US);
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	feed->endpoint = find_endpoint(source->endpoint);
	feed->decoder = evn_tweet_decoder_create();
	if (feed->decoder == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	callback->func = free_decoder;
	callback->arg = feed->decoder;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	evn_id_gap_init(&feed->gap, &feed->base.live, SNOWFLAKE_SHIFT, SNOWFLAKE_EPOCH, SEARCH_LAG_US);
	if (source->cursor != NULL)
		evn_id_gap_go_to(&feed->gap, source->cursor);
	else if (feed->endpoint->path == NULL)
		feed->gap.gap_id = evn_id_gap_id(&feed->gap, evn_clock_now());
	return (EvnFeed *) feed;
}

/* ---- connecting */

static int
backfill_minutes(const XFeed *feed)
{
	return evn_source_param_int(feed->base.source->params, "backfill_minutes", 0, MAX_BACKFILL, 0);
}

static void
ask_for_stream(XFeed *feed)
{
	const Endpoint *endpoint = feed->endpoint;
	StringInfoData	path;

	initStringInfo(&path);
	appendStringInfo(&path, "%s?%s", endpoint->path, endpoint->posts ? FIELDS : "");
	if (endpoint->partitions > 0)
		appendStringInfo(&path, "&partition=%d",
						 evn_source_param_int(feed->base.source->params, "partition", 1,
											  endpoint->partitions, 1));
	if (feed->gap.gap_id != 0 && backfill_minutes(feed) > 0)
		appendStringInfo(&path, "&backfill_minutes=%d", backfill_minutes(feed));
	evn_live_ask(&feed->base.live, path.data, NULL);
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
	evn_id_gap_lost(&feed->gap);
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
			evn_live_lose(&feed->base.live, &refusal);
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
	else if (feed->endpoint->rules && evn_x_rules_wanted(feed->base.source->params))
		feed->rules =
			evn_x_rules_begin(feed->base.http, feed->base.server, feed->base.source->params, false);
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
	evn_arena_reset(feed->base.arena);
	if (!evn_flat_open(&scan, (EvnText) {data, (int32) len}))
		return false;
	evn_flat_pick(&scan, feed->base.arena, names, lengthof(names), values);
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
	evn_api_call_quote(feed->base.server, notice + strlen(says), sizeof(notice) - strlen(says),
					   data, len);
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

	evn_arena_reset(feed->base.arena);
	if (evn_tweet_decode(feed->decoder, feed->base.arena, data, len, &tweet) != EVN_DECODE_OK ||
		tweet.type == EVN_MESSAGE_NOTICE)
		return 0;
	return tweet.id;
}

static void
hold(XFeed *feed, const char *data, size_t len, bool too_long, bool is_found)
{
	feed->base.message.data = data;
	feed->base.message.len = len;
	feed->base.message.too_long = too_long;
	feed->base.message.id = too_long ? 0 : id_of(feed, data, len);
	feed->is_found = is_found;
	feed->base.has_message = true;
}

/* The next post of what has come; false when there is none, or the stream has ended. */
static bool
read_stream(XFeed *feed)
{
	EvnFrame	   frame;
	EvnFrameResult result;

	while ((result = evn_live_next(&feed->base.live, &frame)) != EVN_FRAME_MORE)
	{
		if (result == EVN_FRAME_TOO_LONG || !is_notice(feed, frame.data, frame.len))
		{
			hold(feed, frame.data, frame.len, result == EVN_FRAME_TOO_LONG, false);
			return true;
		}
		tell_notice(feed, frame.data, frame.len);
	}
	if (feed->base.live.phase == EVN_LIVE_OPEN)
		evn_id_gap_complete(&feed->gap, feed->base.live.drained_at);
	else
		note_loss(feed);
	return false;
}

/* ---- gaps */

/* The gap up to then stays. */
static void
note_gap(XFeed *feed, TimestampTz until, const char *reason)
{
	evn_live_feed_note_gap(&feed->base, evn_id_gap_time(&feed->gap, feed->gap.gap_id), until,
						   reason);
}

static void
record_gap(XFeed *feed, const char *reason)
{
	note_gap(feed, feed->base.live.opened_at, reason);
	feed->gap.gap_id = 0;
}

static char *
search_query(const XFeed *feed)
{
	if (feed->endpoint->path == NULL)
		return evn_source_param(feed->base.source->params, "query");
	if (feed->endpoint->rules && evn_x_rules_wanted(feed->base.source->params))
		return evn_x_rules_query(feed->base.source->params);
	return NULL;
}

/* The id from which on to search, having recorded what is too old to be found. */
static int64
search_since(XFeed *feed)
{
	TimestampTz reach = feed->searched_at - SEARCH_REACH_US;
	int64		oldest = evn_id_gap_id(&feed->gap, reach);

	if (!feed->is_clock_known)
		return evn_id_gap_since(&feed->gap, OVERLAP_US);
	if (feed->gap.gap_id < oldest)
	{
		note_gap(feed, reach, "search knows the last seven days only");
		feed->gap.gap_id = oldest;
	}
	return Max(evn_id_gap_since(&feed->gap, OVERLAP_US), oldest);
}

static void
begin_search(XFeed *feed)
{
	char *query = search_query(feed);

	feed->searched_at = evn_clock_now();
	if (query != NULL)
		feed->search = evn_x_search_begin(feed->base.http, feed->base.server, query, FIELDS,
										  search_since(feed));
	else if (feed->base.live.opened_at - evn_id_gap_time(&feed->gap, feed->gap.gap_id) <
			 backfill_minutes(feed) * USECS_PER_MINUTE - OVERLAP_US)
		feed->gap.gap_id = 0; /* the stream itself has sent it */
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
	if (feed->endpoint->path == NULL &&
		evn_x_search_ahead_us(feed->search, &feed->base.live.ahead_us))
		feed->is_clock_known = true;
}

static void
end_search(XFeed *feed)
{
	evn_x_search_end(feed->search);
	feed->search = NULL;
	evn_reconnect_init(&feed->gap.reconnect);
}

/* All that was missing has been handed out. */
static void
finish_search(XFeed *feed)
{
	learn_clock(feed);
	end_search(feed);
	feed->gap.gap_id = 0;
	if (feed->endpoint->path != NULL)
		return;
	/* our clock may have been set since */
	evn_id_gap_complete(&feed->gap, Min(feed->searched_at, evn_clock_now()) - SEARCH_LAG_US);
	feed->gap.gap_id = feed->gap.newest_id;
	feed->gap.fill_at =
		feed->searched_at + evn_source_param_int(feed->base.source->params, "seconds", 1,
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
			evn_reconnect_init(&feed->gap.reconnect);
			record_gap(feed, refusal->error);
			return;
		}
	}
	evn_id_gap_refused(&feed->gap, refusal);
}

/* Go on with filling the gap; true when a message is held. */
static bool
fill_gap(XFeed *feed)
{
	EvnApiRefusal refusal;
	const char	 *found;

	if (!evn_id_gap_due(&feed->gap))
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
	return feed->endpoint->path == NULL || feed->base.live.phase == EVN_LIVE_OPEN;
}

/* Go on until the stream is open; it is served by waiting then. */
static void
serve(XFeed *feed)
{
	if (feed->base.live.phase == EVN_LIVE_OPEN)
		return;
	switch (evn_live_serve(&feed->base.live))
	{
		case EVN_LIVE_DUE:
			if (feed->endpoint->path != NULL)
				connect_stream(feed);
			break;
		case EVN_LIVE_OPEN:
			feed->is_clock_known = true;
			evn_id_gap_opened(&feed->gap);
			break;
		default:
			break;
	}
}

static EvnFeedResult
x_next(EvnFeed *handle, EvnFeedMessage *message)
{
	XFeed		 *feed = (XFeed *) handle;
	MemoryContext old = MemoryContextSwitchTo(feed->base.context);

	if (!feed->base.has_message)
	{
		serve(feed);
		if (is_open(feed) && !(feed->gap.gap_id != 0 && fill_gap(feed)) &&
			feed->endpoint->path != NULL)
			read_stream(feed);
	}
	MemoryContextSwitchTo(old);
	*message = feed->base.message;
	return feed->base.has_message ? EVN_FEED_MESSAGE : EVN_FEED_WAIT;
}

static void
x_take(EvnFeed *handle)
{
	XFeed *feed = (XFeed *) handle;

	feed->base.has_message = false;
	evn_id_gap_take(&feed->gap, feed->base.message.id);
	if (feed->is_found)
		evn_x_search_take(feed->search);
}

static void
x_status(const EvnFeed *handle, EvnSourceStatus *status)
{
	const XFeed *feed = (const XFeed *) handle;

	evn_live_status(&feed->base.live, status);
	if (feed->endpoint->path == NULL)
		status->state = feed->search == NULL ? EVN_WORKER_IDLE : EVN_WORKER_RUNNING;
}

static void
x_wait(EvnFeed *handle, long timeout_ms)
{
	XFeed	   *feed = (XFeed *) handle;
	TimestampTz due = feed->endpoint->path == NULL ? DT_NOEND : evn_live_due_at(&feed->base.live);

	if (feed->gap.gap_id != 0 && is_open(feed) &&
		(feed->search == NULL || !evn_x_search_waits(feed->search)))
		due = Min(due, feed->gap.fill_at);
	if (due != DT_NOEND)
		timeout_ms = Min(timeout_ms, evn_clock_until(due));
	evn_http_wait(feed->base.http, timeout_ms);
}

/* Of search, before the first one ends, the network's clock is not known. */
static Jsonb *
x_cursor(EvnFeed *handle)
{
	return evn_id_gap_cursor(&((const XFeed *) handle)->gap);
}

const EvnFeedApi evn_feed_x = {
	.name = "x",
	.url = "https://api.x.com",
	.token_path = "/oauth2/token",
	.params = "rules query seconds backfill_minutes partition",
	.check = x_check,
	.dry_run = x_dry_run,
	.open = x_open,
	.next = x_next,
	.take = x_take,
	.status = x_status,
	.wait = x_wait,
	.cursor = x_cursor,
};
