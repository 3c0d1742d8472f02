/*
 * id_gap.h
 *		The position of a source whose ids hold the time: how far everything was
 *		taken, and the gap below that, which is filled while the stream goes on.
 *
 * Times are of evn_clock_now(), the ids by the network's clock.
 */
#ifndef EVN_ID_GAP_H
#define EVN_ID_GAP_H

#include "live_stream.h"
#include "source.h"

typedef struct EvnIdGap
{
	/* set by evn_id_gap_init */
	const EvnLive *live;	 /* which knows the network's clock */
	int			   shift;	 /* of the milliseconds in an id */
	int64		   epoch_us; /* their beginning, as a TimestampTz */
	int64		   lag_us; /* a new connection is that old before what it missed can be asked for */

	int64		  newest_id; /* up to here everything was taken, but for the gap; 0: not known */
	int64		  gap_id;	 /* what was posted after it is missing; 0: no gap */
	TimestampTz	  fill_at;	 /* when to begin to fill it, or to ask again */
	EvnClockWatch watch;	 /* of fill_at */
	EvnReconnect  reconnect; /* of asking again */
} EvnIdGap;

extern void evn_id_gap_init(EvnIdGap *gap, const EvnLive *live, int shift, int64 epoch_us,
							int64 lag_us);

/* The cursor of a source, and back, which raises when it is none; palloc'd, NULL: not known yet. */
extern Jsonb *evn_id_gap_cursor(const EvnIdGap *gap);
extern void evn_id_gap_go_to(EvnIdGap *gap, const Jsonb *cursor);

/* The smallest id of a time; the time of an id; where the gap begins, less an overlap. */
extern int64 evn_id_gap_id(const EvnIdGap *gap, TimestampTz at);
extern TimestampTz evn_id_gap_time(const EvnIdGap *gap, int64 id);
extern int64 evn_id_gap_since(const EvnIdGap *gap, int64 overlap_us);

/* All that was posted until then has been taken; this id has, whatever time it says. */
extern void evn_id_gap_complete(EvnIdGap *gap, TimestampTz until);
extern void evn_id_gap_take(EvnIdGap *gap, int64 id);

/* The connection is open; there is none any more. */
extern void evn_id_gap_opened(EvnIdGap *gap);
extern void evn_id_gap_lost(EvnIdGap *gap);

/* Whether to go on filling it now; when it was refused, it is not for a while. */
extern bool evn_id_gap_due(EvnIdGap *gap);
extern void evn_id_gap_refused(EvnIdGap *gap, const EvnApiRefusal *refusal);

#endif /* EVN_ID_GAP_H */
