/*
 * mastodon_timeline.c
 *		The posts of a timeline after an id, page by page upwards.
 *
 * min_id gives the page next to it, newest first.  The ids of a page tell
 * where the next one begins.
 */
#include "postgres.h"

#include "compat.h"
#include "json_scan.h"
#include "mastodon_timeline.h"

#define PAGE_SIZE 40 /* the most that an instance gives */
/* an hour, as far as ids hold it: what is said to be that much newer than now is no post's */
#define MAX_AHEAD (INT64CONST(3600000) << 16)

struct EvnTimeline
{
	EvnHttp				*http;
	const EvnFeedServer *server;
	char				*path;
	int64				 after; /* all up to here was taken */
	int64				 until; /* what is newer is not looked for */
	EvnApiCall			 call;
	long				 refused; /* status of the last refusal, 0 after an answer */
	bool				 lost;	  /* where the next page begins is not known */

	char   *page; /* NULL: to be asked for */
	EvnText statuses[PAGE_SIZE];
	int		nstatuses;
	int		current;
	int64	newest; /* of the page, as far as it was taken */
};

static void
ask(EvnTimeline *timeline)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "%s&limit=%d&min_id=" INT64_FORMAT, timeline->path, PAGE_SIZE,
					 timeline->after);
	evn_api_call_begin(&timeline->call, timeline->http, timeline->server, path.data, NULL);
	pfree(path.data);
}

EvnTimeline *
evn_timeline_begin(EvnHttp *http, const EvnFeedServer *server, const char *path, int64 after,
				   int64 until)
{
	EvnTimeline *timeline = palloc0(sizeof(EvnTimeline));

	timeline->http = http;
	timeline->server = server;
	timeline->path = pstrdup(path);
	timeline->after = after;
	timeline->until = until;
	return timeline;
}

static void
forget_page(EvnTimeline *timeline)
{
	if (timeline->page != NULL)
		pfree(timeline->page);
	timeline->page = NULL;
}

void
evn_timeline_end(EvnTimeline *timeline)
{
	if (timeline->call.transfer != NULL)
		evn_api_call_end(&timeline->call);
	forget_page(timeline);
	pfree(timeline->path);
	pfree(timeline);
}

/* Find the elements of a page; false when it is no array, or longer than was asked for. */
static bool
cut_page(EvnTimeline *timeline)
{
	EvnJsonScan	 scan;
	EvnJsonValue value;

	timeline->nstatuses = timeline->current = 0;
	timeline->newest = timeline->after;
	if (!evn_json_scan_open(&scan, timeline->page, strlen(timeline->page), &value) ||
		value.type != EVN_JSON_ARRAY)
		return false;
	while (evn_json_scan_element(&scan, &value))
	{
		if (timeline->nstatuses == PAGE_SIZE)
			return false;
		timeline->statuses[timeline->nstatuses] = evn_json_scan_skip(&scan, &value);
		timeline->nstatuses++;
	}
	return evn_json_scan_end(&scan);
}

/* An answer is complete; false when it is a refusal. */
static bool
read_page(EvnTimeline *timeline, EvnApiRefusal *refusal)
{
	long status = evn_http_status(timeline->call.transfer);
	bool answered = evn_http_state(timeline->call.transfer) == EVN_HTTP_DONE && status == 200;

	if (!answered)
		evn_api_call_refusal(timeline->server, timeline->call.transfer, timeline->call.body.data,
							 refusal);
	else
		timeline->page = pstrdup(timeline->call.body.data);
	evn_api_call_end(&timeline->call);
	timeline->refused = answered ? 0 : Max(status, 1);
	if (!answered || cut_page(timeline))
		return answered;
	forget_page(timeline);
	*refusal = (EvnApiRefusal) {.cause = EVN_RECONNECT_HTTP, .reset_at = EVN_RECONNECT_NO_RESET};
	strlcpy(refusal->error, "the network answers with no page of posts", sizeof(refusal->error));
	return false;
}

/* The posts of a page were taken, but none that tells where the next one begins. */
static EvnTimelineProgress
lose_way(EvnTimeline *timeline, EvnApiRefusal *refusal)
{
	*refusal = (EvnApiRefusal) {.cause = EVN_RECONNECT_HTTP, .reset_at = EVN_RECONNECT_NO_RESET};
	strlcpy(refusal->error, "the network answers with a page of posts whose ids do not go on",
			sizeof(refusal->error));
	timeline->lost = true;
	return EVN_TIMELINE_REFUSED;
}

/* A page was taken; true when it was the last one. */
static bool
end_page(EvnTimeline *timeline)
{
	bool last = timeline->nstatuses == 0 || timeline->newest >= timeline->until;

	timeline->after = timeline->newest;
	if (!last)
		forget_page(timeline);
	return last;
}

EvnTimelineProgress
evn_timeline_next(EvnTimeline *timeline, EvnText *status, EvnApiRefusal *refusal)
{
	if (timeline->page != NULL && timeline->current == timeline->nstatuses)
	{
		if (timeline->nstatuses > 0 && timeline->newest <= timeline->after)
			return lose_way(timeline, refusal);
		if (end_page(timeline))
			return EVN_TIMELINE_END;
	}
	if (timeline->page == NULL)
	{
		if (timeline->call.transfer == NULL)
			ask(timeline);
		if (!evn_api_call_serve(&timeline->call))
			return EVN_TIMELINE_WAIT;
		return read_page(timeline, refusal) ? evn_timeline_next(timeline, status, refusal)
											: EVN_TIMELINE_REFUSED;
	}
	*status = timeline->statuses[timeline->current];
	return EVN_TIMELINE_STATUS;
}

void
evn_timeline_take(EvnTimeline *timeline, int64 id)
{
	timeline->current++;
	if (id <= timeline->until + MAX_AHEAD)
		timeline->newest = Max(timeline->newest, id);
}

int64
evn_timeline_taken(const EvnTimeline *timeline)
{
	return timeline->after;
}

bool
evn_timeline_waits(const EvnTimeline *timeline)
{
	return timeline->call.transfer != NULL;
}

bool
evn_timeline_is_hopeless(const EvnTimeline *timeline)
{
	return timeline->lost || (timeline->refused >= 400 && timeline->refused < 500 &&
							  timeline->refused != 408 && timeline->refused != 429);
}
