/*
 * tweet_time_test.c
 *		Unit tests of tweet_time.c.
 */
#include "c.h"

#include "tap.h"
#include "tweet_time.h"

#define SECOND	   INT64CONST(1000000)
#define EPOCH_2000 INT64CONST(946684800)

/* seconds since 1970 to what is stored */
#define UNIX(s) (((s) - EPOCH_2000) * SECOND)

#define JULY UNIX(INT64CONST(1562135580)) /* 2019-07-03 06:33:00 UTC */

typedef struct Sample
{
	const char *text;
	int64		time;
} Sample;

static const Sample readable[] = {
	{"2019-07-03T06:33:00Z", JULY},
	{"2019-07-03T06:33:00.000Z", JULY},
	{"2019-07-03t06:33:00z", JULY},
	{"2019-07-03 06:33:00", JULY},
	{"2019-07-03T06:33", JULY},
	{"2019-07-03 06:33Z", JULY},
	{"2019-07-03T06:33:00+00:00", JULY},
	{"2019-07-03T02:33:00-04:00", JULY},
	{"2019-07-03T12:18:00+0545", JULY},
	{"2019-07-03T15:33:00+09", JULY},
	{"2019-07-02T21:03:00.5-09:30", JULY + SECOND / 2},
	{"2019-07-03T06:33:00.123456Z", JULY + 123456},
	{"2019-07-03T06:33:00.123456999Z", JULY + 123456},
	{"2019-07-03T06:32:60Z", JULY},
	{"2016-02-29T00:00:00Z", UNIX(INT64CONST(1456704000))},
	{"2000-02-29T00:00:00Z", -1},
	{"2006-01-01T00:00:00Z", UNIX(INT64CONST(1136073600))},
	{"2099-12-31T23:59:59.999999Z", UNIX(INT64CONST(4102444800)) - 1},
	{"Wed Jul 03 06:33:00 +0000 2019", JULY},
	{"Tue Jul 02 23:33:00 -0700 2019", JULY},
	{"Sat Feb 29 12:00:01 +0000 2020", UNIX(INT64CONST(1582977601))},
	{"Thu Dec 31 23:59:59 +0000 2020", UNIX(INT64CONST(1609459199))},
	{"1562135580", JULY},
	{"1562135580000", JULY},
	{"1562135580.25", JULY + SECOND / 4},
	{"1562135580123", JULY + 123000},
	{"1562135580123.5", JULY + 123500},
	{"1136073600", UNIX(INT64CONST(1136073600))},
	{"4102444799999", UNIX(INT64CONST(4102444800)) - 1000},
};

static const char *const unreadable[] = {"",
										 " ",
										 "now",
										 "yesterday",
										 "2019",
										 "2019-07-03",
										 "2019-07-03T",
										 "2019-07-03T06",
										 "2019-07-03T06:",
										 "2019-07-03T6:33:00Z",
										 "2019-7-03T06:33:00Z",
										 "2019-07-03T06:33:00.Z",
										 "2019-07-03T06:33:00ZZ",
										 "2019-07-03T06:33:00 Z",
										 "2019-07-03T06:33:00+",
										 "2019-07-03T06:33:00+1",
										 "2019-07-03T06:33:00+16:00",
										 "2019-07-03T06:33:00+01:60",
										 "2019-07-03T06:33:00+01:",
										 "2019-00-03T06:33:00Z",
										 "2019-13-03T06:33:00Z",
										 "2019-07-00T06:33:00Z",
										 "2019-07-32T06:33:00Z",
										 "2019-02-29T00:00:00Z",
										 "2100-02-29T00:00:00Z",
										 "2019-07-03T24:00:00Z",
										 "2019-07-03T06:60:00Z",
										 "2019-07-03T06:33:61Z",
										 "2019-07-03X06:33:00Z",
										 "2005-12-31T23:59:59Z",
										 "2100-01-01T00:00:00Z",
										 "9999-12-31T00:00:00Z",
										 "0000-01-01T00:00:00Z",
										 "Wed Jul 03 06:33:00 +0000 19",
										 "Wed Jul  3 06:33:00 +0000 2019",
										 "Wed Juy 03 06:33:00 +0000 2019",
										 "Wed Jul 03 06:33:00 GMT00 2019",
										 "Wed, 03 Jul 2019 06:33:00 +000",
										 "Wed Jul 03 06:33:00 +00002019 ",
										 "Wed Jul 03 06:33:00 +0000 2005",
										 "Wed Jul 32 06:33:00 +0000 2019",
										 "0",
										 "1",
										 "-1562135580",
										 "+1562135580",
										 "1562135580 ",
										 "1562135580.",
										 "1.5e9",
										 "1562135580x",
										 "1136073599",
										 "4102444800",
										 "4102444800000",
										 "15621355801230",
										 "1562135580123456",
										 "99999999999999999999999999999999999999"};

static EvnText
text_of(const char *s)
{
	EvnText text = {s, (int32) strlen(s)};

	return text;
}

static void
test_texts(void)
{
	size_t i;
	int64  time;

	for (i = 0; i < lengthof(readable); i++)
	{
		bool in_range = readable[i].time != -1;
		bool read = evn_tweet_time_parse(text_of(readable[i].text), &time);

		ok(read == in_range && (!read || time == readable[i].time), "%s", readable[i].text);
	}
	for (i = 0; i < lengthof(unreadable); i++)
		ok(!evn_tweet_time_parse(text_of(unreadable[i]), &time), "not a time: \"%s\"",
		   unreadable[i]);
}

static void
test_cut_off(void)
{
	static const char *const whole[] = {"2019-07-03T06:33:00.000+00:00",
										"Wed Jul 03 06:33:00 +0000 2019"};
	size_t					 i;
	int						 len;

	for (i = 0; i < lengthof(whole); i++)
	{
		bool sane = true;

		for (len = 0; len < (int) strlen(whole[i]); len++)
		{
			char   *copy = malloc(len + 1);
			EvnText text = {copy, len};
			int64	time;

			/* exactly as long as the text, so that reading on is noticed */
			memcpy(copy, whole[i], len);
			if (evn_tweet_time_parse(text, &time))
				sane = sane && time == JULY;
			free(copy);
		}
		ok(sane, "cut off anywhere, \"%s\" is unreadable or the same", whole[i]);
	}
}

static void
test_ids(void)
{
	int64 time;
	int64 first = INT64CONST(86400000) << 22;

	ok(evn_tweet_time_of_id(INT64CONST(1146305824956410060), &time) && time == JULY + 658000,
	   "the time in an id");
	ok(evn_tweet_time_of_id(INT64CONST(366152274447882924), &time) &&
		   time == UNIX(INT64CONST(1376132479)) + 665000,
	   "the time in an older id");
	ok(evn_tweet_time_of_id(PG_INT64_MAX, &time), "the largest id holds a time");
	ok(evn_tweet_time_of_id(first, &time), "first id that counts as one with a time");
	ok(!evn_tweet_time_of_id(first - 1, &time), "the one before it");
	ok(!evn_tweet_time_of_id(INT64CONST(29700859247), &time), "an id of the time before Snowflake");
	ok(!evn_tweet_time_of_id(1, &time), "id 1");
	ok(!evn_tweet_time_of_id(0, &time), "id 0");
	ok(!evn_tweet_time_of_id(PG_INT64_MIN, &time), "a negative id");
}

int
main(void)
{
	test_texts();
	test_cut_off();
	test_ids();
	return tap_done();
}
