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
