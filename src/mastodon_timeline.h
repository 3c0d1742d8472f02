/*
 * mastodon_timeline.h
 *		The posts of a timeline after an id, page by page upwards.
 */
#ifndef EVN_MASTODON_TIMELINE_H
#define EVN_MASTODON_TIMELINE_H

#include "api_call.h"
#include "tweet.h"

typedef struct EvnTimeline EvnTimeline;

typedef enum EvnTimelineProgress
{
	EVN_TIMELINE_STATUS,  /* one that was not taken yet */
	EVN_TIMELINE_WAIT,	  /* for an answer */
	EVN_TIMELINE_REFUSED, /* *refusal tells; called again, it asks again */
	EVN_TIMELINE_END	  /* of what there was until the id */
} EvnTimelineProgress;

/*
 * Begin with what comes after an id; ended by evn_timeline_end.  The path has
 * a query already.  What it needs is palloc'd, in the current context.
 */
extern EvnTimeline *evn_timeline_begin(EvnHttp *http, const EvnFeedServer *server, const char *path,
									   int64 after, int64 until);
extern void evn_timeline_end(EvnTimeline *timeline);

/* Go on; *status is as it came and valid until evn_timeline_take. */
extern EvnTimelineProgress evn_timeline_next(EvnTimeline *timeline, EvnText *status,
											 EvnApiRefusal *refusal);

/* The status, whose id this is (0: none), is done with. */
extern void evn_timeline_take(EvnTimeline *timeline, int64 id);

/* All up to this id has been taken. */
extern int64 evn_timeline_taken(const EvnTimeline *timeline);

/* Whether an answer is awaited; else it can go on at any time. */
extern bool evn_timeline_waits(const EvnTimeline *timeline);

/* Whether the refusal is for good: the instance does not show this timeline, or no ids. */
extern bool evn_timeline_is_hopeless(const EvnTimeline *timeline);

#endif /* EVN_MASTODON_TIMELINE_H */
