/*
 * window.c
 *		Time buckets.
 */
#include "c.h"

#include "window.h"

int64
evn_window_start(int64 width, int64 ts)
{
	/* how far the bucket grid is from a multiple of width */
	int64 shift = EVN_WINDOW_ORIGIN % width;
	int64 rest = (ts % width - shift) % width;

	if (rest < 0)
		rest += width;
	return ts < PG_INT64_MIN + rest ? ts : ts - rest;
}
