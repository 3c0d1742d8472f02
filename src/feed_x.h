/*
 * feed_x.h
 *		The X API v2: filtered and sample streams.
 */
#ifndef EVN_FEED_X_H
#define EVN_FEED_X_H

#include "feed.h"

extern const EvnFeedApi evn_feed_x;

#endif /* EVN_FEED_X_H */
