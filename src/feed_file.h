/*
 * feed_file.h
 *		Archives: files of one message a line, plain or compressed.
 */
#ifndef EVN_FEED_FILE_H
#define EVN_FEED_FILE_H

#include "feed.h"

extern const EvnFeedApi evn_feed_file;

#endif /* EVN_FEED_FILE_H */
