/*
 * tweet_time.h
 *		The ways a message can write a time, as microseconds since
 *		2000-01-01 UTC.
 *
 * Every function returns false for what it cannot read and for times outside
 * 2006-01-01 .. 2099-12-31, the range evilnet stores.
 */
#ifndef EVN_TWEET_TIME_H
#define EVN_TWEET_TIME_H

#include "tweet.h"

/*
 * "2019-07-03T06:33:00.000Z" (also with a blank for T, without seconds, with
 * another zone or none, which means UTC), "Wed Jul 03 06:33:00 +0000 2019", or
 * a number as below.
 */
extern bool evn_tweet_time_parse(EvnText text, int64 *time);

/* seconds or milliseconds since 1970, told apart by size, with or without a fraction */
extern bool evn_tweet_time_parse_number(EvnText text, int64 *time);

/* the time in a Snowflake id; false for an id too small to be one */
extern bool evn_tweet_time_of_id(int64 id, int64 *time);

#endif /* EVN_TWEET_TIME_H */
