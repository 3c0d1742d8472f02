/*
 * tap.h
 *		The little of TAP that unit tests need: ok() for every check, and
 *		tap_done() at the end of main.
 */
#ifndef EVN_TAP_H
#define EVN_TAP_H

#include "c.h"

static int tap_run = 0;
static int tap_failed = 0;

static void ok(bool passed, const char *format, ...) pg_attribute_printf(2, 3);

static void
ok(bool passed, const char *format, ...)
{
	va_list args;

	printf("%s %d - ", passed ? "ok" : "not ok", ++tap_run);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (!passed)
		tap_failed++;
}

/* exit status of the program */
static int
tap_done(void)
{
	printf("1..%d\n", tap_run);
	return tap_failed == 0 ? 0 : 1;
}

#endif /* EVN_TAP_H */
