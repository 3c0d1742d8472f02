/*
 * live_stream.c
 *		An answer of a network that has no end.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "clock.h"
#include "live_stream.h"
#include "worker.h"

/* a connection that held for so long was a good one */
#define LASTING_US (INT64CONST(30) * USECS_PER_SEC)

void
evn_live_init(EvnLive *live, EvnHttp *http, const EvnFeedServer *server, EvnFraming framing,
			  int64 stall_us)
{
	*live = (EvnLive) {.http = http, .server = server, .framing = framing, .stall_us = stall_us};
	evn_reconnect_init(&live->reconnect);
	live->reconnect.lasting_us = LASTING_US;
	live->reconnect.at_once = true;
	live->rate.left = -1;
}

void
evn_live_close(EvnLive *live)
{
	if (live->transfer != NULL)
	{
		evn_http_end(live->transfer);
		evn_frame_free(&live->framer);
	}
	live->transfer = NULL;
}

void
evn_live_ask(EvnLive *live, const char *path, const char *last_id)
{
	live->transfer = evn_api_call_request(
		live->http, live->server, path,
		&(EvnApiRequest) {.accept = live->framing == EVN_FRAMING_SSE ? "text/event-stream" : NULL,
						  .last_id = last_id});
	evn_frame_init(&live->framer, live->framing, EVN_FEED_MAX_MESSAGE);
	live->fed = 0;
	live->has_piece = false;
	live->last_byte_at = evn_clock_now();
	live->phase = EVN_LIVE_ASKED;
}

void
evn_live_lose(EvnLive *live, const EvnApiRefusal *refusal)
{
	if (live->transfer != NULL)
		evn_reconnect_set_minimum(&live->reconnect, evn_frame_retry_ms(&live->framer));
	evn_live_close(live);
	/* a token that was got for an app is got anew */
	if (refusal->status == 401 && live->server->client_id != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("the network does not take the token any more")));
	evn_worker_set_error(refusal->error);
	live->retry_at =
		evn_reconnect_failed(&live->reconnect, refusal->cause, evn_clock_now(), refusal->reset_at);
	live->phase = EVN_LIVE_WAIT;
}

static void
lose_transfer(EvnLive *live)
{
	EvnApiRefusal refusal;
	const char	 *body;
	size_t		  len = evn_http_body(live->transfer, &body);
	char		 *text = pnstrdup(body, len);

	evn_api_call_refusal(live->server, live->transfer, text, &refusal);
	pfree(text);
	evn_live_lose(live, &refusal);
}

static bool
is_stalled(const EvnLive *live)
{
	return evn_reconnect_stalled(live->last_byte_at, evn_clock_now(), live->stall_us);
}

static void
lose_stalled(EvnLive *live)
{
	EvnApiRefusal refusal = {.cause = EVN_RECONNECT_NETWORK, .reset_at = EVN_RECONNECT_NO_RESET};

	snprintf(refusal.error, sizeof(refusal.error),
			 "nothing has come for " INT64_FORMAT " seconds, not even a keep-alive",
			 live->stall_us / USECS_PER_SEC);
	evn_live_lose(live, &refusal);
}

/* How far it is complete, and how far the network's clock is ahead, is not known any more. */
static void
lose_jumped(EvnLive *live)
{
	EvnApiRefusal refusal = {.cause = EVN_RECONNECT_NETWORK, .reset_at = EVN_RECONNECT_NO_RESET};

	strlcpy(refusal.error, "the clock was set, or the machine slept", sizeof(refusal.error));
	evn_live_lose(live, &refusal);
}

/* It was asked for: has it been answered? */
static void
serve_asked(EvnLive *live)
{
	EvnHttpState state = evn_http_state(live->transfer);
	const char	*body;

	if (state != EVN_HTTP_CONNECTING)
		evn_api_call_rate(live->transfer, &live->rate);
	/* what came before it failed was sent */
	if (state != EVN_HTTP_CONNECTING && evn_http_status(live->transfer) == 200)
	{
		live->phase = EVN_LIVE_OPEN;
		live->opened_at = live->last_byte_at = evn_clock_now();
		live->ahead_us = evn_api_call_server_time(live->transfer) - live->opened_at;
		live->connections++;
		evn_reconnect_connected(&live->reconnect, live->opened_at);
	}
	else if (state == EVN_HTTP_DONE || state == EVN_HTTP_FAILED)
		lose_transfer(live);
	/* a refusal is told when it is complete, or long enough */
	else if (state == EVN_HTTP_OPEN && evn_http_body(live->transfer, &body) >= EVN_HTTP_ERROR_LEN)
		lose_transfer(live);
	else if (is_stalled(live))
		lose_stalled(live);
}

EvnLivePhase
evn_live_serve(EvnLive *live)
{
	bool jumped = evn_clock_jumped(&live->watch);

	evn_http_serve(live->http);
	if (live->phase == EVN_LIVE_WAIT && (jumped || evn_clock_now() >= live->retry_at))
		live->phase = EVN_LIVE_DUE;
	if (live->phase == EVN_LIVE_ASKED && jumped)
		lose_jumped(live);
	else if (live->phase == EVN_LIVE_ASKED)
		serve_asked(live);
	return live->phase;
}

static bool
read_piece(EvnLive *live)
{
	const char *data;
	size_t		len;
	bool		message_ends;

	if (live->has_piece)
		evn_http_take_piece(live->transfer);
	live->has_piece = evn_http_piece(live->transfer, &data, &len, &message_ends);
	if (!live->has_piece)
		return false;
	live->last_byte_at = evn_clock_now();
	evn_frame_feed_piece(&live->framer, data, len, message_ends);
	return true;
}

/* More bytes for the framer; false when none have come. */
static bool
read_more(EvnLive *live)
{
	const char *data;

	if (live->framing == EVN_FRAMING_WEBSOCKET)
		return read_piece(live);
	evn_http_take(live->transfer, live->fed);
	live->fed = evn_http_body(live->transfer, &data);
	if (live->fed == 0)
		return false;
	live->last_byte_at = evn_clock_now();
	evn_frame_feed(&live->framer, data, live->fed);
	return true;
}

/*
 * What we were too busy to read waits in the socket, perhaps for minutes.  Only
 * when there is nothing either all that was sent has come; half a message may
 * have been sent long ago.
 */
static bool
read_socket(EvnLive *live)
{
	TimestampTz now = evn_clock_now();

	if (evn_clock_jumped(&live->watch))
	{
		lose_jumped(live);
		return false;
	}
	evn_http_poll(live->http);
	if (read_more(live))
		return true;
	if (evn_frame_pending(&live->framer) == 0)
		live->drained_at = now;
	return false;
}

static void
check_end(EvnLive *live)
{
	EvnHttpState state = evn_http_state(live->transfer);

	if (state == EVN_HTTP_DONE || state == EVN_HTTP_FAILED)
		lose_transfer(live);
	else if (is_stalled(live))
		lose_stalled(live);
}

EvnFrameResult
evn_live_next(EvnLive *live, EvnFrame *frame)
{
	for (;;)
	{
		EvnFrameResult result = evn_frame_next(&live->framer, frame);

		switch (result)
		{
			case EVN_FRAME_MORE:
				if (read_more(live) || read_socket(live))
					break;
				if (live->phase == EVN_LIVE_OPEN)
					check_end(live);
				return EVN_FRAME_MORE;
			case EVN_FRAME_KEEP_ALIVE:
				break;
			case EVN_FRAME_NO_MEMORY:
				ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
				break;
			default:
				return result;
		}
	}
}

TimestampTz
evn_live_due_at(const EvnLive *live)
{
	switch (live->phase)
	{
		case EVN_LIVE_WAIT:
			return live->retry_at;
		case EVN_LIVE_DUE:
			return DT_NOEND;
		default:
			return live->last_byte_at + live->stall_us + 1000;
	}
}

void
evn_live_status(const EvnLive *live, EvnSourceStatus *status)
{
	status->state = live->phase == EVN_LIVE_WAIT   ? EVN_WORKER_BACKOFF
					: live->phase == EVN_LIVE_OPEN ? EVN_WORKER_RUNNING
												   : EVN_WORKER_CONNECTING;
	status->connected_at = live->phase == EVN_LIVE_OPEN ? live->opened_at : 0;
	status->received_at = live->last_byte_at;
	status->connections = live->connections;
	status->rate_left = live->rate.left;
	status->rate_reset_at = live->rate.reset_at;
}
