/*
 * clock.c
 *		The time by which sources reckon.
 */
#include "postgres.h"

#include "portability/instr_time.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "guc.h"

#define MAX_WAIT_MS 60000
/* more than clocks are slewed between two looks */
#define JUMP_US (10 * USECS_PER_SEC)

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

bool
evn_clock_jumped(EvnClockWatch *watch)
{
	EvnClockWatch last = *watch;
	instr_time	  steady;

	INSTR_TIME_SET_CURRENT(steady);
	watch->steady_us = INSTR_TIME_GET_MICROSEC(steady);
	watch->wall = GetCurrentTimestamp();
	return last.wall != 0 &&
		   llabs((watch->wall - last.wall) - (watch->steady_us - last.steady_us)) > JUMP_US;
}
