/*
 * feed_bluesky.h
 *		Bluesky's posts through a Jetstream.
 */
#ifndef EVN_FEED_BLUESKY_H
#define EVN_FEED_BLUESKY_H

#include "feed.h"

extern const EvnFeedApi evn_feed_bluesky;

#endif /* EVN_FEED_BLUESKY_H */
