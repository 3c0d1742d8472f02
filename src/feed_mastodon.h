/*
 * feed_mastodon.h
 *		The public streams of a Mastodon instance.
 */
#ifndef EVN_FEED_MASTODON_H
#define EVN_FEED_MASTODON_H

#include "feed.h"

extern const EvnFeedApi evn_feed_mastodon;

#endif /* EVN_FEED_MASTODON_H */
