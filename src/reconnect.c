/*
 * reconnect.c
 *		When to connect again.
 */
#include "c.h"

#include "reconnect.h"

#define US_PER_MS	  INT64CONST(1000)
#define US_PER_SECOND INT64CONST(1000000)

#define NETWORK_STEP (250 * US_PER_MS)
#define NETWORK_MAX	 (16 * US_PER_SECOND)
#define HTTP_FIRST	 (5 * US_PER_SECOND)
#define HTTP_MAX	 (320 * US_PER_SECOND)
#define RATE_FIRST	 (60 * US_PER_SECOND)
#define RATE_MAX	 (900 * US_PER_SECOND)

/*
 * Resets are told in whole seconds by another clock than ours.  The longest
 * are those of monthly quotas, but who knows when one is raised.
 */
#define RESET_MIN (1 * US_PER_SECOND)
#define RESET_MAX (86400 * US_PER_SECOND)

/* longer than the 20 s after which a silent connection counts as stalled */
#define DEFAULT_LASTING (30 * US_PER_SECOND)

/* further failures make no wait longer */
#define MAX_FAILURES 100

void
evn_reconnect_init(EvnReconnect *reconnect)
{
	memset(reconnect, 0, sizeof(*reconnect));
	reconnect->lasting_us = DEFAULT_LASTING;
}

void
evn_reconnect_connected(EvnReconnect *reconnect, int64 now)
{
	reconnect->connected = true;
	reconnect->connected_at = now;
}

void
evn_reconnect_set_minimum(EvnReconnect *reconnect, int64 retry_ms)
{
	if (retry_ms >= 0)
		reconnect->minimum_us = Min(retry_ms, RATE_MAX / US_PER_MS) * US_PER_MS;
}

/* One more failure of this cause; returns how many there are. */
static int
count_failure(EvnReconnect *reconnect, EvnReconnectCause cause)
{
	int *failures = &reconnect->failures[cause];

	*failures = Min(*failures + 1, MAX_FAILURES);
	return *failures;
}

static int64
doubled(int64 first, int failures, int64 max)
{
	int64 wait = first;

	while (--failures > 0 && wait < max)
		wait *= 2;
	return Min(wait, max);
}

static int64
wait_for_reset(int64 now, int64 reset_at)
{
	if (reset_at >= now + RESET_MAX)
		return RESET_MAX;
	return Max(reset_at - now, RESET_MIN);
}

static int64
wait_of_curve(EvnReconnect *reconnect, EvnReconnectCause cause, int64 now, int64 reset_at)
{
	int64 wait;

	/* no failure of ours that makes the next wait longer: the server says when it is over */
	if (cause == EVN_RECONNECT_RATE_LIMIT && reset_at > now)
		return wait_for_reset(now, reset_at);
	if (cause == EVN_RECONNECT_RATE_LIMIT)
		return doubled(RATE_FIRST, count_failure(reconnect, cause), RATE_MAX);
	if (cause == EVN_RECONNECT_HTTP)
		return doubled(HTTP_FIRST, count_failure(reconnect, cause), HTTP_MAX);
	wait = count_failure(reconnect, cause) * NETWORK_STEP;
	return Min(wait, NETWORK_MAX);
}

/* splitmix64; its upper bits as a fraction of 1 */
static double
draw_fraction(uint64 *seed)
{
	uint64 bits = *seed += UINT64CONST(0x9E3779B97F4A7C15);

	bits = (bits ^ (bits >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	bits = (bits ^ (bits >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return (double) ((bits ^ (bits >> 31)) >> 11) / (double) (UINT64CONST(1) << 53);
}

static int64
jitter(EvnReconnect *reconnect, int64 wait)
{
	if (reconnect->jitter_percent <= 0)
		return 0;
	return (int64) (draw_fraction(&reconnect->seed) * wait * reconnect->jitter_percent / 100);
}

/* Forget the failures before a connection that held long enough; was it such a one? */
static bool
end_connection(EvnReconnect *reconnect, int64 now)
{
	bool lasted = reconnect->connected && now - reconnect->connected_at >= reconnect->lasting_us;

	reconnect->connected = false;
	if (lasted)
		memset(reconnect->failures, 0, sizeof(reconnect->failures));
	return lasted;
}

int64
evn_reconnect_failed(EvnReconnect *reconnect, EvnReconnectCause cause, int64 now, int64 reset_at)
{
	bool  lasted = end_connection(reconnect, now);
	int64 wait;

	if (lasted && reconnect->at_once && cause == EVN_RECONNECT_NETWORK)
		return now + reconnect->minimum_us;
	wait = wait_of_curve(reconnect, cause, now, reset_at);
	wait = Max(wait, reconnect->minimum_us);
	return now + wait + jitter(reconnect, wait);
}

bool
evn_reconnect_stalled(int64 last_byte_at, int64 now, int64 stall_us)
{
	return now - last_byte_at > stall_us;
}
