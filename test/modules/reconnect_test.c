/*
 * reconnect_test.c
 *		Unit tests of reconnect.c.
 */
#include "c.h"

#include "reconnect.h"
#include "tap.h"

#define MS	   INT64CONST(1000)
#define SECOND INT64CONST(1000000)

/* any moment, far from 0 */
#define NOON (INT64CONST(800000000) * SECOND)

/* How long it waits after one more failure. */
static int64
wait_after(EvnReconnect *reconnect, EvnReconnectCause cause)
{
	return evn_reconnect_failed(reconnect, cause, NOON, EVN_RECONNECT_NO_RESET) - NOON;
}

static void
test_curves(void)
{
	static const int http[] = {5, 10, 20, 40, 80, 160, 320, 320, 320};
	static const int rate[] = {60, 120, 240, 480, 900, 900};
	EvnReconnect	 reconnect;
	bool			 same = true;
	int				 i;

	evn_reconnect_init(&reconnect);
	for (i = 1; i <= 64; i++)
		same = same && wait_after(&reconnect, EVN_RECONNECT_NETWORK) == i * 250 * MS;
	ok(same, "network errors: 250 ms more each time");
	for (i = 0; i < 1000; i++)
		same = same && wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 16 * SECOND;
	ok(same, "up to 16 s");
	for (i = 0; i < lengthof(http); i++)
		ok(wait_after(&reconnect, EVN_RECONNECT_HTTP) == http[i] * SECOND, "HTTP error %d: %d s",
		   i + 1, http[i]);
	for (i = 0; i < lengthof(rate); i++)
		ok(wait_after(&reconnect, EVN_RECONNECT_RATE_LIMIT) == rate[i] * SECOND, "429 %d: %d s",
		   i + 1, rate[i]);
	for (i = 0; i < 1000; i++)
		same = same && wait_after(&reconnect, EVN_RECONNECT_HTTP) == 320 * SECOND &&
			   wait_after(&reconnect, EVN_RECONNECT_RATE_LIMIT) == 900 * SECOND;
	ok(same, "no more than that however often");
}

static void
test_success(void)
{
	EvnReconnect reconnect;

	evn_reconnect_init(&reconnect);
	(void) wait_after(&reconnect, EVN_RECONNECT_NETWORK);
	(void) wait_after(&reconnect, EVN_RECONNECT_HTTP);
	evn_reconnect_connected(&reconnect, NOON - reconnect.lasting_us + 1);
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 500 * MS, "a short success resets nothing");
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 750 * MS, "and is over");
	evn_reconnect_connected(&reconnect, NOON - reconnect.lasting_us);
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 250 * MS, "one that lasted does");
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 500 * MS, "once");
	ok(wait_after(&reconnect, EVN_RECONNECT_HTTP) == 5 * SECOND, "for all causes");
	evn_reconnect_connected(&reconnect, NOON + 3600 * SECOND);
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 750 * MS,
	   "a clock that was set back makes none last");

	evn_reconnect_init(&reconnect);
	reconnect.at_once = true;
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 250 * MS, "not at once after no success");
	evn_reconnect_connected(&reconnect, NOON - reconnect.lasting_us);
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 0, "at once after one that lasted");
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 250 * MS, "and then by the curve");
}

static int64
wait_for_reset(EvnReconnect *reconnect, int64 reset_at)
{
	return evn_reconnect_failed(reconnect, EVN_RECONNECT_RATE_LIMIT, NOON, reset_at) - NOON;
}

static void
test_reset(void)
{
	EvnReconnect reconnect;

	evn_reconnect_init(&reconnect);
	ok(wait_for_reset(&reconnect, NOON + 300 * SECOND) == 300 * SECOND, "until the reset");
	ok(wait_for_reset(&reconnect, NOON + 7200 * SECOND) == 7200 * SECOND, "though it is far away");
	ok(wait_for_reset(&reconnect, NOON + 1) == SECOND, "a second at least");
	ok(wait_for_reset(&reconnect, NOON + 90000 * SECOND) == 86400 * SECOND, "a day at most");
	ok(wait_for_reset(&reconnect, PG_INT64_MAX) == 86400 * SECOND, "whatever the server says");
	ok(wait_for_reset(&reconnect, NOON) == 60 * SECOND, "by the curve when it is past");
	ok(wait_for_reset(&reconnect, 0) == 120 * SECOND, "or long past");
	ok(wait_for_reset(&reconnect, EVN_RECONNECT_NO_RESET) == 240 * SECOND, "or unknown");
	ok(evn_reconnect_failed(&reconnect, EVN_RECONNECT_HTTP, NOON, NOON + 300 * SECOND) - NOON ==
		   5 * SECOND,
	   "a reset means nothing to other causes");
}

static void
test_minimum(void)
{
	EvnReconnect reconnect;

	evn_reconnect_init(&reconnect);
	evn_reconnect_set_minimum(&reconnect, 400);
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 400 * MS, "what the server wants");
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 500 * MS, "is a minimum");
	evn_reconnect_set_minimum(&reconnect, -1);
	ok(wait_for_reset(&reconnect, NOON + 1) == SECOND && reconnect.minimum_us == 400 * MS,
	   "which stays until it says something else");
	evn_reconnect_set_minimum(&reconnect, PG_INT64_MAX);
	ok(wait_after(&reconnect, EVN_RECONNECT_HTTP) == 900 * SECOND, "15 minutes at most");
	evn_reconnect_set_minimum(&reconnect, 0);
	ok(wait_after(&reconnect, EVN_RECONNECT_HTTP) == 10 * SECOND, "or nothing");
	evn_reconnect_set_minimum(&reconnect, 3000);
	reconnect.at_once = true;
	evn_reconnect_connected(&reconnect, NOON - reconnect.lasting_us);
	ok(wait_after(&reconnect, EVN_RECONNECT_NETWORK) == 3 * SECOND, "at once is no sooner");
}

static void
test_jitter(void)
{
	EvnReconnect reconnect;
	int64		 least = PG_INT64_MAX;
	int64		 most = 0;
	int			 i;

	evn_reconnect_init(&reconnect);
	reconnect.jitter_percent = 20;
	for (i = 0; i < 1000; i++)
	{
		int64 wait;

		reconnect.failures[EVN_RECONNECT_HTTP] = 1;
		wait = wait_after(&reconnect, EVN_RECONNECT_HTTP);
		least = Min(least, wait);
		most = Max(most, wait);
	}
	ok(least >= 10 * SECOND && most < 12 * SECOND,
	   "jitter only makes it longer, by a fifth at most");
	ok(least < 10100 * MS && most > 11900 * MS, "and by all that is between");
}

static void
test_stall(void)
{
	ok(!evn_reconnect_stalled(NOON, NOON, 20 * SECOND), "not stalled");
	ok(!evn_reconnect_stalled(NOON, NOON + 20 * SECOND, 20 * SECOND), "a keep-alive may be due");
	ok(evn_reconnect_stalled(NOON, NOON + 20 * SECOND + 1, 20 * SECOND), "stalled");
	ok(!evn_reconnect_stalled(NOON, NOON - 60 * SECOND, 20 * SECOND),
	   "not by a clock that was set back");
}

int
main(void)
{
	test_curves();
	test_success();
	test_reset();
	test_minimum();
	test_jitter();
	test_stall();
	return tap_done();
}
