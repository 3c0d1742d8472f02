/*
 * clock.c
 *		The time by which sources reckon.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "clock.h"
#include "guc.h"

#define MAX_WAIT_MS 60000

/* 2026-01-01, when a fast clock was right: so it is the same after a restart */
#define BEGINNING (9497 * USECS_PER_DAY)

TimestampTz
evn_clock_now(void)
{
	return BEGINNING + (GetCurrentTimestamp() - BEGINNING) * evn_clock_speed +
		   evn_clock_offset * USECS_PER_SEC;
}

long
evn_clock_until(TimestampTz then)
{
	int64 ms = (then - evn_clock_now()) / 1000 / evn_clock_speed + 1;

	return (long) Min(Max(ms, 0), MAX_WAIT_MS);
}
