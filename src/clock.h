/*
 * clock.h
 *		The time by which sources reckon: the server's, unless a test lets it
 *		run faster (evilnet.clock_speed), so that a week takes minutes, or steps
 *		it (evilnet.clock_offset).
 */
#ifndef EVN_CLOCK_H
#define EVN_CLOCK_H

#include "datatype/timestamp.h"

extern TimestampTz evn_clock_now(void);

/* How many real milliseconds it is until then, at least 0, at most a minute. */
extern long evn_clock_until(TimestampTz then);

#endif /* EVN_CLOCK_H */
