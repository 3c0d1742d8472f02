/*
 * clock.h
 *		The time by which sources reckon: the server's, unless a test lets it
 *		run faster (evilnet.clock_speed), so that a week takes minutes, or steps
 *		it (evilnet.clock_offset).
 */
#ifndef EVN_CLOCK_H
#define EVN_CLOCK_H

#include "datatype/timestamp.h"

/* Zeroed before the first look. */
typedef struct EvnClockWatch
{
	TimestampTz wall;
	int64		steady_us; /* by a clock that cannot be set, and stands while the machine sleeps */
} EvnClockWatch;

extern TimestampTz evn_clock_now(void);

/* How many real milliseconds it is until then, at least 0, at most a minute. */
extern long evn_clock_until(TimestampTz then);

/*
 * Whether the machine's clock was set, or the machine slept, since the last
 * look: what was reckoned from the time before does not hold any more.
 */
extern bool evn_clock_jumped(EvnClockWatch *watch);

#endif /* EVN_CLOCK_H */
