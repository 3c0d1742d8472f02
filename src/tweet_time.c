/*
 * tweet_time.c
 *		Reading times.
 */
#include "c.h"

#include "tweet_time.h"

#define US_PER_MS		   INT64CONST(1000)
#define US_PER_SECOND	   INT64CONST(1000000)
#define SECONDS_PER_MINUTE INT64CONST(60)
#define SECONDS_PER_DAY	   INT64CONST(86400)

/* 2000-01-01, 2006-01-01 and 2100-01-01 in seconds since 1970 */
#define EPOCH_2000 INT64CONST(946684800)
#define EPOCH_2006 INT64CONST(1136073600)
#define EPOCH_2100 INT64CONST(4102444800)

/* seconds since 1970 stay below this until the year 5138; milliseconds have been above since 1973 */
#define FIRST_MILLISECONDS INT64CONST(100000000000)

/*
 * A Snowflake id counts milliseconds since this moment in its bits from 22 up.
 * Ids before it, up to about 3e10, were a plain sequence.  Ids of the first
 * day are left out, which keeps all ids below 3.6e14 (sequences, test data)
 * from being taken for times.
 */
#define SNOWFLAKE_EPOCH_MS INT64CONST(1288834974657)
#define SNOWFLAKE_SHIFT	   22
#define SNOWFLAKE_FIRST_MS (SECONDS_PER_DAY * 1000)

typedef struct Civil
{
	int	  year;
	int	  month;
	int	  day;
	int	  hour;
	int	  minute;
	int	  second;
	int64 microsecond;
	int	  zone_minutes; /* east of Greenwich */
} Civil;

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
store_in_range(int64 unix_us, int64 *time)
{
	if (unix_us < EPOCH_2006 * US_PER_SECOND || unix_us >= EPOCH_2100 * US_PER_SECOND)
		return false;
	*time = unix_us - EPOCH_2000 * US_PER_SECOND;
	return true;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool			 leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* Days since 1970-01-01; a year counted from March ends with its leap day. */
static int64
days_since_1970(int year, int month, int day)
{
	int y = month > 2 ? year : year - 1;
	int months_since_march = (month + 9) % 12;
	int day_of_year = (153 * months_since_march + 2) / 5 + day - 1;

	return (int64) y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

/* 60 seconds are a leap second, which is the next minute's first. */
static bool
civil_to_time(const Civil *c, int64 *time)
{
	int64 seconds;

	if (c->month < 1 || c->month > 12 || c->day < 1 || c->day > days_in_month(c->year, c->month) ||
		c->hour > 23 || c->minute > 59 || c->second > 60)
		return false;
	seconds = days_since_1970(c->year, c->month, c->day) * SECONDS_PER_DAY +
			  (c->hour * 60 + c->minute - c->zone_minutes) * SECONDS_PER_MINUTE + c->second;
	return store_in_range(seconds * US_PER_SECOND + c->microsecond, time);
}

/* ---- a text read from the left; every take_ moves on only when it succeeds ---- */

/* Exactly n digits. */
static bool
take_digits(EvnText *text, int n, int *value)
{
	int result = 0;
	int i;

	if (text->len < n)
		return false;
	for (i = 0; i < n; i++)
	{
		if (!is_digit(text->data[i]))
			return false;
		result = result * 10 + text->data[i] - '0';
	}
	text->data += n;
	text->len -= n;
	*value = result;
	return true;
}

static bool
take_char(EvnText *text, char c)
{
	if (text->len == 0 || text->data[0] != c)
		return false;
	text->data++;
	text->len--;
	return true;
}

/* One or more digits after a decimal point, as microseconds; the rest is cut off. */
static bool
take_fraction(EvnText *text, int64 *microseconds)
{
	int64 unit = US_PER_SECOND;
	int	  digit;

	*microseconds = 0;
	if (!take_digits(text, 1, &digit))
		return false;
	do
	{
		unit /= 10;
		*microseconds += digit * unit;
	} while (take_digits(text, 1, &digit));
	return true;
}

/* "+hh:mm", "+hhmm" or "+hh" */
static bool
take_offset(EvnText *text, int *minutes)
{
	int	 hour;
	int	 minute = 0;
	bool west = take_char(text, '-');

	if (!west && !take_char(text, '+'))
		return false;
	if (!take_digits(text, 2, &hour))
		return false;
	if (take_char(text, ':') || text->len > 0)
	{
		/* the blank of "+0000 2019" also ends it */
		if (!take_digits(text, 2, &minute))
			return false;
	}
	if (hour > 15 || minute > 59)
		return false;
	*minutes = (hour * 60 + minute) * (west ? -1 : 1);
	return true;
}

/* "hh:mm", "hh:mm:ss" */
static bool
take_clock(EvnText *text, Civil *c)
{
	if (!take_digits(text, 2, &c->hour) || !take_char(text, ':') ||
		!take_digits(text, 2, &c->minute))
		return false;
	return !take_char(text, ':') || take_digits(text, 2, &c->second);
}

static bool
parse_iso(EvnText text, int64 *time)
{
	Civil c = {0};

	if (!take_digits(&text, 4, &c.year) || !take_char(&text, '-') ||
		!take_digits(&text, 2, &c.month) || !take_char(&text, '-') ||
		!take_digits(&text, 2, &c.day))
		return false;
	if (!take_char(&text, 'T') && !take_char(&text, 't') && !take_char(&text, ' '))
		return false;
	if (!take_clock(&text, &c))
		return false;
	if (take_char(&text, '.') && !take_fraction(&text, &c.microsecond))
		return false;
	if (text.len > 0 && !take_char(&text, 'Z') && !take_char(&text, 'z') &&
		!take_offset(&text, &c.zone_minutes))
		return false;
	return text.len == 0 && civil_to_time(&c, time);
}

static int
month_number(const char *name)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int				  month;

	for (month = 1; month <= 12; month++)
	{
		if (memcmp(name, names + 3 * (month - 1), 3) == 0)
			return month;
	}
	return 0;
}

/* "Wed Jul 03 06:33:00 +0000 2019"; the weekday says nothing new */
static bool
parse_v1(EvnText text, int64 *time)
{
	Civil c = {0};

	if (text.len != 30 || text.data[3] != ' ')
		return false;
	c.month = month_number(text.data + 4);
	text.data += 7;
	text.len -= 7;
	return take_char(&text, ' ') && take_digits(&text, 2, &c.day) && take_char(&text, ' ') &&
		   take_clock(&text, &c) && take_char(&text, ' ') && take_offset(&text, &c.zone_minutes) &&
		   take_char(&text, ' ') && take_digits(&text, 4, &c.year) && text.len == 0 &&
		   civil_to_time(&c, time);
}

bool
evn_tweet_time_parse_number(EvnText text, int64 *time)
{
	int64 whole = 0;
	int64 fraction = 0;
	int	  digit;

	if (text.len == 0 || !is_digit(text.data[0]))
		return false;
	while (take_digits(&text, 1, &digit))
	{
		whole = whole * 10 + digit;
		if (whole >= EPOCH_2100 * 1000)
			return false;
	}
	if (take_char(&text, '.') && !take_fraction(&text, &fraction))
		return false;
	if (text.len > 0)
		return false;
	if (whole < FIRST_MILLISECONDS)
		return store_in_range(whole * US_PER_SECOND + fraction, time);
	return store_in_range(whole * US_PER_MS + fraction / 1000, time);
}

bool
evn_tweet_time_parse(EvnText text, int64 *time)
{
	if (text.len > 4 && text.data[4] == '-')
		return parse_iso(text, time);
	if (text.len > 0 && is_digit(text.data[0]))
		return evn_tweet_time_parse_number(text, time);
	return parse_v1(text, time);
}

bool
evn_tweet_time_of_id(int64 id, int64 *time)
{
	int64 ms = id >> SNOWFLAKE_SHIFT;

	if (ms < SNOWFLAKE_FIRST_MS)
		return false;
	return store_in_range((SNOWFLAKE_EPOCH_MS + ms) * US_PER_MS, time);
}
