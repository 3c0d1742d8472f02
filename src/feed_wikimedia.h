/*
 * feed_wikimedia.h
 *		Wikimedia's EventStreams: changes of its wikis as posts.
 */
#ifndef EVN_FEED_WIKIMEDIA_H
#define EVN_FEED_WIKIMEDIA_H

#include "feed.h"

extern const EvnFeedApi evn_feed_wikimedia;

#endif /* EVN_FEED_WIKIMEDIA_H */
