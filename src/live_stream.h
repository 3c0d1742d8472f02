/*
 * live_stream.h
 *		An answer of a network that has no end: connected, cut into messages,
 *		watched, and connected again when it breaks.
 *
 * Whoever owns one asks whenever evn_live_serve says that it is due, perhaps
 * after other requests, and is told of each loss, so that it can look for what
 * it missed.  All times are of evn_clock_now().  Outside any transaction;
 * raises when memory runs out.
 */
#ifndef EVN_LIVE_STREAM_H
#define EVN_LIVE_STREAM_H

#include "api_call.h"
#include "clock.h"
#include "frame.h"

typedef enum EvnLivePhase
{
	EVN_LIVE_WAIT, /* until retry_at */
	EVN_LIVE_DUE,  /* the owner is to ask, or to tell of a refusal */
	EVN_LIVE_ASKED,
	EVN_LIVE_OPEN
} EvnLivePhase;

typedef struct EvnLive
{
	/* set by evn_live_init; the owner may change reconnect's settings */
	EvnHttp				*http;
	const EvnFeedServer *server;
	EvnFraming			 framing;
	int64				 stall_us; /* no byte for as long: connect again */
	EvnReconnect		 reconnect;

	/* to be read */
	EvnLivePhase phase;
	TimestampTz	 opened_at;	   /* of the latest connection; 0 before the first */
	TimestampTz	 last_byte_at; /* received, keep-alives included */
	TimestampTz
		  drained_at;  /* all that had come by then was handed out; 0 before the first connection */
	int64 ahead_us;	   /* the network's clock, as far as it is ahead of ours */
	int64 connections; /* how often it was opened */
	EvnApiRate rate;

	/* of live_stream.c */
	TimestampTz		 retry_at;
	EvnClockWatch	 watch;
	EvnHttpTransfer *transfer;
	EvnFramer		 framer;
	size_t			 fed;		/* bytes that the framer is at */
	bool			 has_piece; /* the framer is at one of a WebSocket */
} EvnLive;

/* http and server live longer; to be closed by evn_live_close. */
extern void evn_live_init(EvnLive *live, EvnHttp *http, const EvnFeedServer *server,
						  EvnFraming framing, int64 stall_us);
extern void evn_live_close(EvnLive *live);

/* Go on; returns the phase.  evn_live_next tells what an open stream has brought. */
extern EvnLivePhase evn_live_serve(EvnLive *live);

/* When due: ask for url + path.  last_id may be NULL. */
extern void evn_live_ask(EvnLive *live, const char *path, const char *last_id);

/* When due: it cannot be asked for, or when open: it is to be given up. */
extern void evn_live_lose(EvnLive *live, const EvnApiRefusal *refusal);

/*
 * The next message of an open stream: EVN_FRAME_MESSAGE or EVN_FRAME_TOO_LONG;
 * EVN_FRAME_MORE when all that came was handed out, or the stream has just ended.
 */
extern EvnFrameResult evn_live_next(EvnLive *live, EvnFrame *frame);

/* When it needs to be served though nothing comes. */
extern TimestampTz evn_live_due_at(const EvnLive *live);

/* What statistics say of it; all but *state stays as it is before the first connection. */
extern void evn_live_status(const EvnLive *live, EvnSourceStatus *status);

#endif /* EVN_LIVE_STREAM_H */
