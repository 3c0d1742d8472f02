/*
 * time_bucket.c
 *		Time buckets: of clock time, of days and of months, in any time zone;
 *		the function evilnet.time_bucket.
 *
 * Buckets are cells of a grid of local time.  Where the clock jumps, cells may
 * be longer, shorter, missing or there twice; buckets always follow each other
 * without a gap.
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "time_bucket.h"

PG_FUNCTION_INFO_V1(evn_time_bucket);

/* Monday 2000-01-03: weeks begin on Mondays */
#define DEFAULT_ORIGIN (2 * USECS_PER_DAY)

/* 10000 years; sums of a time and a few widths cannot leave int64 downwards then */
#define MAX_MONTHS (10000 * MONTHS_PER_YEAR)
#define MAX_WIDTH  (INT64CONST(3652425) * USECS_PER_DAY)

/* how far at a time the last jump is looked for: about one or two are in it */
#define SEARCH_SPAN (365 * USECS_PER_DAY)

#define EPOCH_SHIFT ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* A change of the UTC offset: at is the first instant of the new one. */
typedef struct Jump
{
	int64 at;
	int64 before;
	int64 after;
} Jump;

/* The buckets of the last call of a function, and what they were made from. */
typedef struct Memo
{
	EvnTimeBucket bucket;
	Interval	  width;
	bool		  has_origin;
	int64		  origin;
	int			  zone_length; /* -1: none given */
	char		  zone[TZ_STRLEN_MAX + 1];
} Memo;

/* The largest origin + n * width that is not above value. */
static inline int64
grid_floor(int64 value, int64 origin, int64 width)
{
	int64 rest = (value - origin) % width;

	return value - (rest < 0 ? rest + width : rest);
}

/* Times end long before int64, so where it ends stands for any later one. */
static inline int64
add_saturated(int64 a, int64 b)
{
	int64 sum;

	return pg_add_s64_overflow(a, b, &sum) ? PG_INT64_MAX : sum;
}

static inline pg_time_t
unix_second(int64 ts)
{
	return grid_floor(ts, 0, USECS_PER_SEC) / USECS_PER_SEC + EPOCH_SHIFT;
}

/* The UTC offset at ts, and whether it changes in (ts, until]; jump is the first time it does. */
static bool
next_jump(const pg_tz *zone, int64 ts, int64 until, int64 *offset, Jump *jump)
{
	pg_time_t second = unix_second(ts);
	pg_time_t last = unix_second(until);
	bool	  first = true;

	for (;;)
	{
		long int  before;
		long int  after;
		int		  isdst;
		pg_time_t at;
		bool found = pg_next_dst_boundary(&second, &before, &isdst, &at, &after, &isdst, zone) > 0;

		if (first)
			*offset = before * USECS_PER_SEC;
		first = false;
		if (!found || at > last)
			return false;
		if (before != after)
		{
			jump->at = (at - EPOCH_SHIFT) * USECS_PER_SEC;
			jump->before = before * USECS_PER_SEC;
			jump->after = after * USECS_PER_SEC;
			return true;
		}
		/* just another name for the same offset */
		second = at;
	}
}

static int64
offset_at(const EvnTimeBucket *bucket, int64 ts)
{
	int64 offset = bucket->offset;
	Jump  jump;

	if (bucket->zone != NULL)
		(void) next_jump(bucket->zone, ts, ts, &offset, &jump);
	return offset;
}

/* The last change of the UTC offset in (after, until]. */
static bool
last_jump(const pg_tz *zone, int64 after, int64 until, Jump *jump)
{
	bool found = false;

	/* backwards in spans, so that a bucket with many jumps in it takes each only once */
	while (!found && until > after)
	{
		int64 from = Max(after, until - SEARCH_SPAN);
		int64 ts = from;
		int64 offset;

		while (next_jump(zone, ts, until, &offset, jump))
		{
			found = true;
			ts = jump->at;
		}
		until = from;
	}
	return found;
}

/*
 * Whether a bucket starts at the jump, given the cell of the time the clock
 * shows after it: the cell starts there, or was jumped into.
 */
static inline bool
jump_is_start(const Jump *jump, int64 cell)
{
	return cell >= jump->at + Min(jump->before, jump->after);
}

static int64
clock_start(const EvnTimeBucket *bucket, int64 ts)
{
	int64 offset = bucket->offset;
	Jump  jump;

	/* mostly the offset has not changed for as long as a bucket lasts */
	if (bucket->zone == NULL || !next_jump(bucket->zone, ts - bucket->width, ts, &offset, &jump))
		return grid_floor(ts + offset, bucket->origin, bucket->width) - offset;
	for (;;)
	{
		int64 cell;

		offset = offset_at(bucket, ts);
		cell = grid_floor(ts + offset, bucket->origin, bucket->width);
		if (!last_jump(bucket->zone, cell - offset, ts, &jump))
			return cell - offset;
		if (jump_is_start(&jump, cell))
			return jump.at;
		/* the bucket has begun before the jump */
		ts = jump.at - 1;
	}
}

static int64
clock_next(const EvnTimeBucket *bucket, int64 start)
{
	int64 offset = offset_at(bucket, start);
	int64 cell = grid_floor(start + offset, bucket->origin, bucket->width);

	for (;;)
	{
		int64 end = add_saturated(cell - offset, bucket->width);
		Jump  jump;

		if (bucket->zone == NULL || !next_jump(bucket->zone, start, end, &offset, &jump))
			return end;
		offset = jump.after;
		cell = grid_floor(jump.at + offset, bucket->origin, bucket->width);
		if (jump_is_start(&jump, cell))
			return jump.at;
		start = jump.at;
	}
}

static int64
month_of(int64 local)
{
	int year;
	int month;
	int day;

	j2date(grid_floor(local, 0, USECS_PER_DAY) / USECS_PER_DAY + POSTGRES_EPOCH_JDATE, &year,
		   &month, &day);
	return (year - 2000) * MONTHS_PER_YEAR + month - 1;
}

/* Local time at which a month begins; for those out of range any local time that is. */
static int64
month_begin(int64 month)
{
	int year;

	if (month <= month_of(MIN_TIMESTAMP))
		return PG_INT64_MIN;
	if (month > month_of(END_TIMESTAMP - 1))
		return PG_INT64_MAX;
	year = 2000 + grid_floor(month, 0, MONTHS_PER_YEAR) / MONTHS_PER_YEAR;
	month -= (year - 2000) * MONTHS_PER_YEAR;
	return (date2j(year, month + 1, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
}

/* The instant at which a cell of days or months begins. */
static int64
calendar_begin(const EvnTimeBucket *bucket, int64 cell)
{
	int64		 local = bucket->grid == EVN_GRID_MONTHS ? month_begin(cell) : cell;
	struct pg_tm tm;
	fsec_t		 fsec;

	if (local < MIN_TIMESTAMP)
		return MIN_TIMESTAMP;
	if (local >= END_TIMESTAMP)
		return DT_NOEND;
	if (bucket->zone == NULL)
		return local - bucket->offset;
	/* as PostgreSQL itself reads a local time that is not there, or there twice */
	if (timestamp2tm(local, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "invalid local time");
	return local + DetermineTimeZoneOffset(&tm, bucket->zone) * USECS_PER_SEC;
}

/* The cell of days or months that the local clock shows at ts. */
static int64
calendar_cell(const EvnTimeBucket *bucket, int64 ts)
{
	int64 local = Max(ts + offset_at(bucket, ts), MIN_TIMESTAMP);

	return grid_floor(bucket->grid == EVN_GRID_MONTHS ? month_of(local) : local, bucket->origin,
					  bucket->width);
}

static int64
calendar_start(const EvnTimeBucket *bucket, int64 ts)
{
	int64 cell = calendar_cell(bucket, ts);
	int64 start;

	/* a midnight that comes twice is the second one, so the clock may show a date that has not begun */
	while ((start = calendar_begin(bucket, cell)) > ts)
		cell -= bucket->width;
	return start;
}

static int64
calendar_next(const EvnTimeBucket *bucket, int64 start)
{
	int64 cell = calendar_cell(bucket, start);
	int64 next;

	/* days that a zone left out begin when the day after them does */
	while ((next = calendar_begin(bucket, cell)) <= start)
		cell = add_saturated(cell, bucket->width);
	return next;
}

int64
evn_time_bucket_start(const EvnTimeBucket *bucket, int64 ts)
{
	int64 start;

	if (TIMESTAMP_NOT_FINITE(ts))
		return ts;
	start = bucket->grid == EVN_GRID_CLOCK ? clock_start(bucket, ts) : calendar_start(bucket, ts);
	return Max(start, MIN_TIMESTAMP);
}

int64
evn_time_bucket_next(const EvnTimeBucket *bucket, int64 start)
{
	int64 next;

	if (TIMESTAMP_NOT_FINITE(start))
		return start;
	next =
		bucket->grid == EVN_GRID_CLOCK ? clock_next(bucket, start) : calendar_next(bucket, start);
	return next < END_TIMESTAMP ? next : DT_NOEND;
}

pg_noreturn static void
refuse_width(const char *problem, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("width of a time bucket %s", problem), errhint("%s", hint)));
}

static void
set_width(EvnTimeBucket *bucket, const Interval *width)
{
	if (width->month != 0 && (width->day != 0 || width->time != 0))
		refuse_width("cannot have both months and days",
					 "Use months and years alone, or days and hours.");
	if (width->month != 0)
	{
		bucket->grid = EVN_GRID_MONTHS;
		bucket->width = width->month;
	}
	else
	{
		if (pg_mul_s64_overflow(width->day, USECS_PER_DAY, &bucket->width) ||
			pg_add_s64_overflow(bucket->width, width->time, &bucket->width))
			bucket->width = width->day < 0 ? PG_INT64_MIN : PG_INT64_MAX;
		bucket->grid = bucket->width % USECS_PER_DAY == 0 ? EVN_GRID_DAYS : EVN_GRID_CLOCK;
	}
	if (bucket->width <= 0)
		refuse_width("must be greater than zero", "Use a width such as '5 minutes' or '1 day'.");
	if (bucket->width > (bucket->grid == EVN_GRID_MONTHS ? MAX_MONTHS : MAX_WIDTH))
		refuse_width("is out of range", "The widest is 10000 years.");
}

static void
set_zone(EvnTimeBucket *bucket, const char *timezone)
{
	long int offset = 0;

	bucket->zone = timezone == NULL ? NULL : pg_tzset(timezone);
	if (timezone != NULL && (bucket->zone == NULL || !pg_tz_acceptable(bucket->zone)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("time zone \"%s\" not recognized", timezone),
						errhint("Look the name up in pg_timezone_names.")));
	if (bucket->zone != NULL && pg_get_timezone_offset(bucket->zone, &offset))
		bucket->zone = NULL;
	bucket->offset = offset * USECS_PER_SEC;
	/* then all days are 24 hours */
	if (bucket->zone == NULL && bucket->grid == EVN_GRID_DAYS)
		bucket->grid = EVN_GRID_CLOCK;
}

static void
set_origin(EvnTimeBucket *bucket, const int64 *origin, const char *timezone)
{
	int64 local;

	if (origin != NULL && !IS_VALID_TIMESTAMP(*origin))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("origin of time buckets must be finite"),
						errhint("Use any time at which a bucket starts.")));
	local = origin == NULL ? DEFAULT_ORIGIN : *origin + offset_at(bucket, *origin);
	bucket->origin = bucket->grid == EVN_GRID_MONTHS ? month_of(local) : local;
	if (bucket->grid == EVN_GRID_MONTHS && origin != NULL &&
		calendar_begin(bucket, bucket->origin) != *origin)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("origin of time buckets of months must be the start of a month"),
						errhint("Use 00:00 on the first of a month in time zone \"%s\".",
								timezone == NULL ? "UTC" : timezone)));
	bucket->origin -= grid_floor(bucket->origin, 0, bucket->width);
}

void
evn_time_bucket_init(EvnTimeBucket *bucket, const Interval *width, const int64 *origin,
					 const char *timezone)
{
	set_width(bucket, width);
	set_zone(bucket, timezone);
	set_origin(bucket, origin, timezone);
}

/* Whether the memo was made from these arguments; in a new one the width is zero, which none is. */
static inline bool
is_memo_of(const Memo *memo, const Interval *width, const int64 *origin, const text *zone)
{
	if (memo->width.time != width->time || memo->width.day != width->day ||
		memo->width.month != width->month)
		return false;
	if (memo->has_origin != (origin != NULL) || (origin != NULL && memo->origin != *origin))
		return false;
	if (zone == NULL)
		return memo->zone_length < 0;
	return memo->zone_length == VARSIZE_ANY_EXHDR(zone) &&
		   memcmp(memo->zone, VARDATA_ANY(zone), memo->zone_length) == 0;
}

static void
fill_memo(Memo *memo, const Interval *width, const int64 *origin, const text *zone)
{
	char		 *name = zone == NULL ? NULL : text_to_cstring(zone);
	EvnTimeBucket bucket;

	/* raises for a name that the memo has no room for */
	evn_time_bucket_init(&bucket, width, origin, name);
	memo->bucket = bucket;
	memo->width = *width;
	memo->has_origin = origin != NULL;
	memo->origin = origin == NULL ? 0 : *origin;
	memo->zone_length = name == NULL ? -1 : strlen(name);
	strlcpy(memo->zone, name == NULL ? "" : name, sizeof(memo->zone));
}

Datum
evn_time_bucket(PG_FUNCTION_ARGS)
{
	Memo		   *memo = fcinfo->flinfo->fn_extra;
	const Interval *width;
	const int64	   *origin;
	const text	   *zone;
	TimestampTz		given;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (memo == NULL)
		memo = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Memo));
	width = PG_GETARG_INTERVAL_P(0);
	given = PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2);
	origin = PG_ARGISNULL(2) ? NULL : &given;
	zone = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	if (!is_memo_of(memo, width, origin, zone))
		fill_memo(memo, width, origin, zone);
	PG_RETURN_TIMESTAMPTZ(evn_time_bucket_start(&memo->bucket, PG_GETARG_TIMESTAMPTZ(1)));
}

static int64
common_divisor(int64 a, int64 b)
{
	while (b != 0)
	{
		int64 rest = a % b;

		a = b;
		b = rest;
	}
	return a < 0 ? -a : a;
}

/* What all UTC offsets of the zone since 1972 are multiples of: an hour for most, a day for UTC. */
static int64
offset_step(const EvnTimeBucket *bucket)
{
	pg_time_t at = 2 * 365 * SECS_PER_DAY;
	int64	  step = common_divisor(USECS_PER_DAY, bucket->offset);
	pg_time_t until = at + INT64CONST(130) * 365 * SECS_PER_DAY; /* rules of today go on for ever */
	long	  before = 0;
	long	  after;
	int		  before_dst;
	int		  after_dst;
	pg_time_t next;

	if (bucket->zone == NULL)
		return step;
	while (at < until && pg_next_dst_boundary(&at, &before, &before_dst, &next, &after, &after_dst,
											  bucket->zone) == 1)
	{
		step = common_divisor(step, before * USECS_PER_SEC);
		step = common_divisor(step, after * USECS_PER_SEC);
		at = next;
	}
	return common_divisor(step, before * USECS_PER_SEC);
}

/* Whether a clock's buckets of part end wherever one of whole does. */
static bool
clock_composes(const EvnTimeBucket *whole, const EvnTimeBucket *part, bool same_zone)
{
	int64 step = same_zone ? USECS_PER_DAY : common_divisor(offset_step(whole), offset_step(part));

	/* months begin at midnight */
	if (whole->grid == EVN_GRID_MONTHS)
		return step % part->width == 0 && part->origin == 0;
	if (whole->width % part->width != 0 || whole->origin % part->width != part->origin)
		return false;
	return step % part->width == 0 || (same_zone && whole->grid == EVN_GRID_CLOCK);
}

bool
evn_time_bucket_composes(const EvnTimeBucket *whole, const EvnTimeBucket *part)
{
	bool same_zone = whole->zone == part->zone && whole->offset == part->offset;

	if (part->grid == EVN_GRID_CLOCK)
		return clock_composes(whole, part, same_zone);
	if (!same_zone || whole->grid < part->grid)
		return false;
	if (whole->grid == part->grid)
		return whole->width % part->width == 0 && whole->origin % part->width == part->origin;
	/* months of days */
	return part->width == USECS_PER_DAY && part->origin == 0;
}
