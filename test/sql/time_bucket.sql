-- Time buckets: in UTC, in every zone, and what makes none.
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- buckets are counted from Monday 2000-01-03, forwards and backwards
SELECT width, ts, evilnet.time_bucket(width::interval, ts::timestamptz)
FROM (VALUES
	('1 minute', '2026-01-31 12:34:56.789'),
	('5 minutes', '2026-01-31 12:34:56.789'),
	('5 minutes', '2026-01-31 12:35:00'),
	('5 minutes', '2026-01-31 12:34:59.999999'),
	('1 hour', '2026-01-31 12:34:56'),
	('1 day', '2026-01-31 12:34:56'),
	('24 hours', '2026-01-31 12:34:56'),
	('7 days', '2026-01-31 12:34:56'),
	('7 days', '2026-02-02 00:00:00'),
	('7 days', '2026-02-01 23:59:59.999999'),
	('7 minutes', '2000-01-03 00:06:59'),
	('1 microsecond', '2026-01-31 12:34:56.789'),
	-- before the origin, before 2000, before 1970, before Christ
	('7 days', '2000-01-02 23:59:59'),
	('7 days', '2000-01-03 00:00:00'),
	('1 day', '1999-12-31 23:59:59.999999'),
	('5 minutes', '1999-12-31 23:59:59.999999'),
	('5 minutes', '1969-12-31 23:59:59'),
	('1 hour', '0044-03-15 12:30:00 BC'),
	-- the ends of time
	('1 minute', '294276-12-31 23:59:59.999999'),
	('1 minute', '4714-11-24 00:00:30 BC'),
	('1 minute', 'infinity'),
	('1 minute', '-infinity')) v(width, ts);
-- weeks begin on Mondays
SELECT bool_and(extract(isodow FROM evilnet.time_bucket('7 days', d)) = 1 AND evilnet.time_bucket('7 days', d) = date_trunc('week', d))
FROM generate_series('1990-01-01'::timestamptz, '2030-01-01', '1 day 7 hours') d;
-- what falls into a bucket is in it, and buckets follow each other without a gap
SELECT bool_and(b <= t AND t < b + w::interval AND evilnet.time_bucket(w::interval, b) = b
	AND evilnet.time_bucket(w::interval, b - interval '1 microsecond') = b - w::interval)
FROM unnest(ARRAY['1 minute', '7 minutes', '1 hour', '1 day', '30 days']) w,
	generate_series('1999-06-01'::timestamptz, '2000-06-01', '17 hours 13 minutes') t,
	evilnet.time_bucket(w::interval, t) b;
-- days are days of UTC, whatever the session's time zone
SET timezone = 'America/Toronto';
SELECT evilnet.time_bucket('1 day', '2026-01-31 23:30:00');
SET timezone = 'UTC';

-- months and years, days and weeks, hours by the clock of a place
CREATE FUNCTION bucket_at(w text, t text, zone text, o text DEFAULT NULL) RETURNS text
RETURN timezone(zone, evilnet.time_bucket(w::interval, t::timestamptz, timezone(zone, o::timestamp), zone))::text;
SELECT w, t, zone, o, bucket_at(w, t, zone, o)
FROM (VALUES
	('1 month', '2026-02-28 23:59:59.999999Z', 'UTC', NULL),
	('1 month', '2026-03-01 04:59:59Z', 'America/Toronto', NULL),
	('1 month', '2026-03-01 05:00:00Z', 'America/Toronto', NULL),
	('3 months', '2026-12-31 12:00Z', 'UTC', NULL),
	('3 months', '2026-12-31 12:00Z', 'UTC', '2020-02-01'),
	('5 months', '1999-12-31 12:00Z', 'UTC', NULL),
	('1 year', '2026-01-01 04:00Z', 'America/Toronto', NULL),
	('1 year', '2026-01-01 04:00Z', 'America/Toronto', '1867-07-01'),
	('10 years', '1999-12-31 12:00Z', 'UTC', NULL),
	('1 year', '0044-03-15 12:00Z BC', 'UTC', NULL),
	('1 week', '2026-11-02 04:59:59Z', 'America/Toronto', NULL),
	('1 week', '2026-11-02 05:00Z', 'America/Toronto', NULL),
	('1 week', '2026-11-02 05:00Z', 'America/Toronto', '2026-01-04'),
	('1 day', '2026-11-02 10:00Z', 'America/Toronto', '2000-01-01 06:00'),
	('24 hours', '2026-07-01 03:00Z', 'America/Toronto', NULL),
	('2 days -24 hours', '2026-07-01 03:00Z', 'America/Toronto', NULL),
	('12 hours', '2026-07-01 03:00Z', 'America/Toronto', NULL),
	('1 day -12 hours', '2026-07-01 03:00Z', 'America/Toronto', NULL),
	('1 hour', '2026-07-01 03:20Z', 'Asia/Kolkata', NULL),
	('1 hour', '2026-07-01 03:20Z', 'Asia/Kathmandu', NULL),
	('15 minutes', '2026-07-01 03:20Z', 'asia/kathmandu', NULL),
	('1 hour', '2026-07-01 03:20Z', 'Asia/Kolkata', '2000-01-01 00:10'),
	('7 days', '2026-07-01 03:20Z', '<+03>-3', NULL),
	-- just before a change of the offset, in a time before 2000
	('1 hour', '1999-04-04 06:59:59.999999Z', 'America/Toronto', NULL),
	-- begun in the hour after one change, and another one since
	('5000 hours', '2027-04-01 12:00Z', 'America/Toronto', '2026-11-01 01:30')) v(w, t, zone, o);

-- what buckets are made of the time around a change of the offset: starts in UTC and by the clock, and how long they are
CREATE FUNCTION buckets(w interval, since text, until text, zone text)
RETURNS TABLE (start timestamptz, clock timestamp, lasts interval)
BEGIN ATOMIC
	SELECT b, timezone(zone, b), lead(b) OVER (ORDER BY b) - b
	FROM (SELECT DISTINCT evilnet.time_bucket(w, t, timezone => zone)
		FROM generate_series(since::timestamptz, until::timestamptz, '1 minute') t) s(b)
	ORDER BY b;
END;
SELECT * FROM buckets('1 day', '2026-03-07 12:00Z', '2026-03-10 12:00Z', 'America/Toronto');
SELECT * FROM buckets('1 day', '2026-10-31 12:00Z', '2026-11-03 12:00Z', 'America/New_York');
-- an hour left out, and one there twice
SELECT * FROM buckets('1 hour', '2026-03-08 05:30Z', '2026-03-08 08:30Z', 'America/Toronto');
SELECT * FROM buckets('1 hour', '2026-11-01 04:30Z', '2026-11-01 07:30Z', 'America/Toronto');
SELECT * FROM buckets('2 hours', '2026-03-08 04:30Z', '2026-03-08 09:30Z', 'America/Toronto');
SELECT * FROM buckets('2 hours', '2026-11-01 03:30Z', '2026-11-01 09:30Z', 'America/Toronto');
SELECT * FROM buckets('7 hours', '2026-10-31 20:00Z', '2026-11-02 00:00Z', 'America/Toronto');
-- half an hour
SELECT * FROM buckets('1 hour', '2026-04-04 13:30Z', '2026-04-04 17:00Z', 'Australia/Lord_Howe');
SELECT * FROM buckets('1 hour', '2026-10-03 14:00Z', '2026-10-03 17:00Z', 'Australia/Lord_Howe');
-- from 00:01 back to 23:01 of the day before
SELECT * FROM buckets('1 day', '2010-11-06 12:00Z', '2010-11-08 12:00Z', 'America/St_Johns');
SELECT * FROM buckets('1 hour', '2010-11-07 01:00Z', '2010-11-07 04:45Z', 'America/St_Johns');
-- a day left out
SELECT * FROM buckets('1 day', '2011-12-29 12:00Z', '2012-01-01 12:00Z', 'Pacific/Apia');
SELECT * FROM buckets('6 hours', '2011-12-29 22:00Z', '2011-12-30 23:00Z', 'Pacific/Apia');
-- midnights left out, and one there twice
SELECT * FROM buckets('1 day', '2017-10-14 12:00Z', '2017-10-16 12:00Z', 'America/Sao_Paulo');
SELECT * FROM buckets('1 day', '2022-03-26 12:00Z', '2022-03-28 12:00Z', 'Asia/Beirut');
SELECT * FROM buckets('1 day', '2014-05-15 12:00Z', '2014-05-17 12:00Z', 'Africa/Cairo');
SELECT * FROM buckets('1 day', '2019-11-02 12:00Z', '2019-11-04 12:00Z', 'America/Havana');

-- the ends of time
SELECT w, z, evilnet.time_bucket(w, '294276-12-31 23:59:59.999999Z', timezone => z) AS last,
	evilnet.time_bucket(w, '4714-11-24 00:00:00Z BC', timezone => z) AS first,
	evilnet.time_bucket(w, 'infinity', timezone => z) AS later, evilnet.time_bucket(w, '-infinity', timezone => z) AS earlier
FROM unnest(ARRAY['7 minutes', '1 day', '1 week', '7 months', '10000 years', '3652424 days', '3652424 days 1 hour']::interval[]) w,
	unnest(ARRAY['UTC', 'America/Toronto', 'Asia/Kolkata']) z;

-- every zone, 30 years, around each change of an offset and at random times; not the names that AT TIME ZONE takes for abbreviations
CREATE TEMP TABLE zone AS
SELECT name FROM pg_timezone_names WHERE name !~ '^(posix|right)/' AND name NOT IN (SELECT abbrev FROM pg_timezone_abbrevs);
CREATE TEMP TABLE jump AS
WITH RECURSIVE span(name, since, until) AS (
	SELECT name, t, t + interval '7 days'
	FROM zone, generate_series('2000-01-01'::timestamptz, '2029-12-31', '7 days') t
	WHERE timezone(name, t) + interval '7 days' <> timezone(name, t + interval '7 days')
	UNION ALL
	SELECT name, CASE WHEN early THEN middle ELSE since END, CASE WHEN early THEN until ELSE middle END
	FROM span, date_trunc('second', since + (until - since) / 2) middle,
		LATERAL (SELECT timezone(name, middle) - timezone(name, since) = middle - since AS early) s
	WHERE until - since > '1 second')
SELECT name, until AS at FROM span WHERE until - since = '1 second';
SELECT count(*) > 5000 AS jumps, count(DISTINCT name) > 100 AS zones FROM jump;
SELECT setseed(0.5);
CREATE TEMP TABLE sample AS
SELECT name, width, ts, evilnet.time_bucket(width, ts, timezone => name) AS start, random() AS part
FROM (SELECT name, at + d AS ts
		FROM jump, unnest(ARRAY['-1 hour', '-1 microsecond', '0', '1 microsecond', '29 minutes', '4 hours', '1 day']::interval[]) d
		UNION ALL
		SELECT name, '2000-01-01'::timestamptz + random() * (timestamptz '2030-01-01' - '2000-01-01')
		FROM zone, generate_series(1, 30)) i,
	unnest(ARRAY['1 minute', '15 minutes', '1 hour', '2 hours', '6 hours', '7 hours', '1 day', '1 week', '1 month', '3 months', '1 year']::interval[]) width;
-- an event is in its bucket, and so are the start and what lies between, but not the instant before; by the clock none is
-- longer than its width, but for what the clock was put back around midnight
SELECT width,
	count(*) FILTER (WHERE start > ts) AS later,
	count(*) FILTER (WHERE evilnet.time_bucket(width, start, timezone => name) <> start) AS moving,
	count(*) FILTER (WHERE evilnet.time_bucket(width, start + part * (ts - start), timezone => name) <> start) AS torn,
	count(*) FILTER (WHERE evilnet.time_bucket(width, start - interval '1 microsecond', timezone => name) >= start) AS no_start,
	count(*) FILTER (WHERE timezone(name, ts) >= timezone(name, start) + width
		+ CASE WHEN width < '1 day' THEN '0' ELSE interval '3 hours' END) AS too_long
FROM sample GROUP BY 1 ORDER BY 1;
SELECT count(*) FILTER (WHERE back) AS disordered
FROM (SELECT start < lag(start) OVER (PARTITION BY name, width ORDER BY ts) AS back FROM sample) s;
-- as date_trunc, but where that is a time after the event: where midnight comes twice, it means the second
SELECT unit, count(*) > 20000 AS enough, count(*) FILTER (WHERE start <> trunc AND trunc <= ts) AS other,
	count(*) FILTER (WHERE start >= trunc AND trunc > ts) AS wrong
FROM (SELECT unit, ts, start, date_trunc(unit, ts, name) AS trunc
	FROM sample JOIN (VALUES ('day', '1 day'::interval), ('week', '1 week'), ('month', '1 month'), ('quarter', '3 months'), ('year', '1 year')) u(unit, width) USING (width)) s
GROUP BY 1 ORDER BY 1;
-- as date_trunc, but where the offset changes after the time that is
SELECT unit, count(*) > 20000 AS enough, count(*) FILTER (WHERE start <> trunc) AS other
FROM (SELECT unit, name, ts, start, date_trunc(unit, ts, name) AS trunc
	FROM sample JOIN (VALUES ('minute', '1 minute'::interval), ('hour', '1 hour')) u(unit, width) USING (width)) s
WHERE timezone(name, ts) - timezone(name, trunc) = ts - trunc
GROUP BY 1 ORDER BY 1;
DROP TABLE zone, jump, sample;

-- one call after the other with other arguments
SELECT w, z, o, evilnet.time_bucket(w::interval, '2026-07-01 03:20Z', o::timestamptz, z)
FROM (VALUES (1, '1 day', NULL, NULL), (2, '1 hour', NULL, NULL), (3, '1 hour', 'Asia/Kolkata', NULL), (4, '1 hour', 'Asia/Karachi', NULL),
	(5, '1 hour', 'Asia/Karachi', '2000-01-01 00:05Z'), (6, '1 hour', 'Asia/Karachi', '2000-01-01 00:15Z'), (7, '1 hour', NULL, '2000-01-01 00:15Z'),
	(8, '1 hour', NULL, NULL), (9, NULL, 'UTC', NULL), (10, '1 day', NULL, NULL)) v(n, w, z, o) ORDER BY n;
-- arguments by name, and none
SELECT evilnet.time_bucket(ts => '2026-07-01 03:20Z', width => '1 day'),
	evilnet.time_bucket(timezone => 'Asia/Kolkata', ts => '2026-07-01 03:20Z', width => '1 day'),
	evilnet.time_bucket('1 day', '2026-07-01 03:20Z', '2000-01-01 01:00Z'),
	evilnet.time_bucket('1 day', '2026-07-01 03:20Z', NULL, 'Asia/Kolkata');
SELECT evilnet.time_bucket(NULL, now()), evilnet.time_bucket('1 day', NULL), evilnet.time_bucket(NULL, now(), NULL, 'nowhere');
-- of unchanging arguments, so an index may be made of it
CREATE TABLE bucket_index (ts timestamptz);
CREATE INDEX ON bucket_index (evilnet.time_bucket('1 day', ts, timezone => 'America/Toronto'));
DROP TABLE bucket_index;

-- what makes no buckets
SELECT evilnet.time_bucket('1 month 1 day', now());
SELECT evilnet.time_bucket('1 month 1 second', now());
SELECT evilnet.time_bucket('0', now());
SELECT evilnet.time_bucket('-5 minutes', now());
SELECT evilnet.time_bucket('-1 month', now());
SELECT evilnet.time_bucket('1 day -24 hours', now());
SELECT evilnet.time_bucket('10000 years 1 month', now());
SELECT evilnet.time_bucket('3652425 days 1 microsecond', now());
SELECT evilnet.time_bucket('213503983 days', now());
SELECT evilnet.time_bucket('-213503983 days', now());
SELECT evilnet.time_bucket('1 day', now(), timezone => 'Toronto');
SELECT evilnet.time_bucket('1 day', now(), timezone => '');
SELECT evilnet.time_bucket('1 day', now(), timezone => repeat('x', 300));
SELECT evilnet.time_bucket('1 day', now(), 'infinity');
SELECT evilnet.time_bucket('1 month', now(), '2026-01-02');
SELECT evilnet.time_bucket('1 month', now(), '2026-01-01', 'America/Toronto');

DROP FUNCTION bucket_at;
DROP FUNCTION buckets;
