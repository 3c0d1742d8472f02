/*
 * id_gap.c
 *		The position of a source whose ids hold the time.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "clock.h"
#include "id_gap.h"

/* an id that is said to be of a later time than now is no post's */
#define MAX_AHEAD_US USECS_PER_MINUTE

void
evn_id_gap_init(EvnIdGap *gap, const EvnLive *live, int shift, int64 epoch_us, int64 lag_us)
{
	*gap = (EvnIdGap) {.live = live, .shift = shift, .epoch_us = epoch_us, .lag_us = lag_us};
	evn_reconnect_init(&gap->reconnect);
}

Jsonb *
evn_id_gap_cursor(const EvnIdGap *gap)
{
	int64 id = gap->gap_id != 0 ? gap->gap_id : gap->newest_id;

	if (gap->newest_id == 0)
		return NULL;
	return DatumGetJsonbP(DirectFunctionCall1(
		jsonb_in, CStringGetDatum(psprintf("{\"since_id\": \"" INT64_FORMAT "\"}", id))));
}

void
evn_id_gap_go_to(EvnIdGap *gap, const Jsonb *cursor)
{
	char *id = evn_source_param(cursor, "since_id");

	if (id == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the position of the source is not one of its network")));
	gap->gap_id = gap->newest_id = pg_strtoint64(id);
	pfree(id);
}

int64
evn_id_gap_id(const EvnIdGap *gap, TimestampTz at)
{
	return Max(at + gap->live->ahead_us - gap->epoch_us, 1000) / 1000 << gap->shift;
}

TimestampTz
evn_id_gap_time(const EvnIdGap *gap, int64 id)
{
	return (id >> gap->shift) * 1000 + gap->epoch_us - gap->live->ahead_us;
}

int64
evn_id_gap_since(const EvnIdGap *gap, int64 overlap_us)
{
	return Max(gap->gap_id - (overlap_us / 1000 << gap->shift), 1);
}

void
evn_id_gap_complete(EvnIdGap *gap, TimestampTz until)
{
	gap->newest_id = Max(gap->newest_id, evn_id_gap_id(gap, until));
}

void
evn_id_gap_take(EvnIdGap *gap, int64 id)
{
	if (id > gap->newest_id)
		gap->newest_id =
			Max(gap->newest_id, Min(id, evn_id_gap_id(gap, evn_clock_now() + MAX_AHEAD_US)));
}

/* When the clock was set, or the machine slept, a time to come does not hold any more. */
static void
watch_clock(EvnIdGap *gap)
{
	if (evn_clock_jumped(&gap->watch))
		gap->fill_at = Min(gap->fill_at, evn_clock_now() + gap->lag_us);
}

void
evn_id_gap_opened(EvnIdGap *gap)
{
	if (gap->newest_id == 0)
		evn_id_gap_complete(gap, gap->live->opened_at);
	watch_clock(gap);
	gap->fill_at = Max(gap->fill_at, gap->live->opened_at + gap->lag_us);
}

void
evn_id_gap_lost(EvnIdGap *gap)
{
	if (gap->gap_id == 0)
		gap->gap_id = gap->newest_id;
}

bool
evn_id_gap_due(EvnIdGap *gap)
{
	watch_clock(gap);
	return evn_clock_now() >= gap->fill_at;
}

void
evn_id_gap_refused(EvnIdGap *gap, const EvnApiRefusal *refusal)
{
	gap->fill_at =
		evn_reconnect_failed(&gap->reconnect, refusal->cause, evn_clock_now(), refusal->reset_at);
}
