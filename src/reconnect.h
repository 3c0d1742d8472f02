/*
 * reconnect.h
 *		When a source connects again.
 *
 * The curve that the X API documents, which is polite enough for the other
 * networks.  Pure C and without a clock: every time is given by the caller, in
 * microseconds of one clock, whichever that is.
 */
#ifndef EVN_RECONNECT_H
#define EVN_RECONNECT_H

#include "c.h"

typedef enum EvnReconnectCause
{
	EVN_RECONNECT_NETWORK,	  /* no connection, or it broke, ended or stalled */
	EVN_RECONNECT_HTTP,		  /* an answer that says to come again later, such as 503 */
	EVN_RECONNECT_RATE_LIMIT, /* 429 */
	EVN_RECONNECT_NCAUSES
} EvnReconnectCause;

/* no time is known at which the rate limit is reset */
#define EVN_RECONNECT_NO_RESET PG_INT64_MIN

typedef struct EvnReconnect
{
	/* settings, which the caller may change after evn_reconnect_init */
	int64  lasting_us;	   /* a connection that held as long forgives the failures before it */
	bool   at_once;		   /* replace a connection that lasted without any wait, as X advises */
	int	   jitter_percent; /* wait up to as much longer, so that many do not come all at once */
	uint64 seed;		   /* of that */

	/* state */
	int64 minimum_us;
	int64 connected_at;
	bool  connected;
	int	  failures[EVN_RECONNECT_NCAUSES]; /* since the last success that lasted */
} EvnReconnect;

/* Without jitter, and not at once. */
extern void evn_reconnect_init(EvnReconnect *reconnect);

/* The server accepted: what it sends is being read. */
extern void evn_reconnect_connected(EvnReconnect *reconnect, int64 now);

/*
 * A connection or the attempt to make one ended; returns when to try again.
 * Waits grow with the failures of the same cause:
 *
 *		network		250 ms, 500 ms, 750 ms, ... 16 s
 *		HTTP		5 s, 10 s, 20 s, ... 320 s
 *		rate limit	until reset_at, which is of the same clock as now; if that is
 *					unknown or past, 60 s, 120 s, ... 15 min
 *
 * A reset_at that is further away than a day counts as a day.
 */
extern int64 evn_reconnect_failed(EvnReconnect *reconnect, EvnReconnectCause cause, int64 now,
								  int64 reset_at);

/*
 * Never wait less than the server wants (the `retry` of an event stream), at
 * most 15 minutes; negative when it said nothing.
 */
extern void evn_reconnect_set_minimum(EvnReconnect *reconnect, int64 retry_ms);

/* Has nothing been received for longer than stall_us, not even a keep-alive? */
extern bool evn_reconnect_stalled(int64 last_byte_at, int64 now, int64 stall_us);

#endif /* EVN_RECONNECT_H */
