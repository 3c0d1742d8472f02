-- Windows of reports, and counts in them, against SQL that makes both another way.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SERVER window_bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
BEGIN;
SELECT evilnet.create_stream('posted', server => 'window_bus', topic => 'posted', partition_interval => '30 days');
SELECT evilnet.pause('posted');
COMMIT;
SET client_min_messages = notice;

-- posts around clock changes, month ends and a leap day, every 10 minutes and 7 seconds; some by the same author
SELECT sum(rows) FROM (VALUES ('2024-02-27 22:00+00'), ('2025-03-08 18:00+00'), ('2025-04-05 06:00+00'), ('2025-11-01 20:00+00'), ('2025-12-31 00:00+00'))
	v(since), evilnet.store_messages('posted', ARRAY(
	SELECT json_build_object('id', extract(epoch FROM at)::bigint::text, 'created_at', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'author_id', (g % 11)::text, 'is_retweet', g % 3 = 0, 'city', (ARRAY['Toronto', 'London', 'Kathmandu'])[1 + g % 3])::text
	FROM generate_series(0, 420) g, LATERAL (SELECT v.since::timestamptz + g * interval '10 minutes 7 seconds' AS at) a)) s;
-- late, repeated and deleted ones
SELECT rows, duplicates, deletes FROM evilnet.store_messages('posted', ARRAY(
	SELECT json_build_object('delete', json_build_object('status', json_build_object('id', id, 'user_id', 1)))::text FROM posted WHERE id % 13 = 0)
	|| ARRAY['{"id": "1709164799", "created_at": "2024-02-28T23:59:59Z", "author_id": "5", "city": "Toronto"}',
		'{"id": "1709164799", "created_at": "2024-02-28T23:59:59Z", "author_id": "5", "city": "Toronto"}'], 1);

-- ---- windows: fill gives them all, whether there are posts or not
CREATE FUNCTION windows(width interval, since timestamptz, until timestamptz, zone text, slide interval DEFAULT NULL, cumulative boolean DEFAULT false)
RETURNS TABLE (window_start timestamptz, window_end timestamptz, length interval)
BEGIN ATOMIC
	SELECT c.window_start, c.window_end, c.window_end - c.window_start
	FROM evilnet.city_counts('posted', width, since, until, cities => '{Toronto}', timezone => zone, slide => slide, cumulative => cumulative, fill => 'null') c;
END;
-- days of 23 and 25 hours, and of half an hour more or less; one that a country left out
SELECT * FROM windows('1 day', '2025-03-08', '2025-03-11', 'America/Toronto');
SELECT * FROM windows('1 day', '2025-11-01', '2025-11-04', 'America/Toronto');
SELECT * FROM windows('1 day', '2025-04-04 12:00', '2025-04-06 12:00', 'Australia/Lord_Howe');
SELECT * FROM windows('1 day', '2011-12-29', '2012-01-01', 'Pacific/Apia');
-- hours at the jumps: one is missing, one there twice; six hours are five, or seven
SELECT * FROM windows('1 hour', '2025-03-09 06:00', '2025-03-09 09:00', 'America/Toronto');
SELECT * FROM windows('1 hour', '2025-11-02 05:00', '2025-11-02 08:00', 'America/Toronto');
SELECT * FROM windows('6 hours', '2025-03-09 05:00', '2025-03-09 12:00', 'America/Toronto');
SELECT * FROM windows('6 hours', '2025-11-02 04:00', '2025-11-02 12:00', 'America/Toronto');
-- an offset of 5:45
SELECT * FROM windows('1 hour', '2026-01-01 00:00', '2026-01-01 02:00', 'Asia/Kathmandu');
-- months, years, weeks; leap years
SELECT * FROM windows('1 month', '2024-01-01', '2024-04-01', 'UTC');
SELECT * FROM windows('1 month', '2025-02-01', '2025-03-15', 'Europe/London');
SELECT * FROM windows('1 day', '2024-02-28', '2024-03-02', 'UTC');
SELECT * FROM windows('1 year', '2023-06-01', '2025-06-01', 'UTC');
SELECT * FROM windows('1 week', '2025-03-01', '2025-03-15', 'Europe/London');
-- hopping and cumulative
SELECT * FROM windows('2 days', '2025-03-08 12:00', '2025-03-10 12:00', 'America/Toronto', slide => '1 day');
SELECT * FROM windows('3 months', '2024-01-01', '2024-03-02', 'UTC', slide => '1 month');
SELECT * FROM windows('1 day', '2025-03-08', '2025-03-11', 'America/Toronto', cumulative => true);
-- only windows that start in the span, whole, wherever it begins and ends
SELECT * FROM windows('5 minutes', '2026-01-01 00:00:00.000001', '2026-01-01 00:10:00.000001', 'UTC');
SELECT * FROM windows('5 minutes', '2026-01-01 00:05', '2026-01-01 00:10', 'UTC');
SELECT * FROM windows('5 minutes', '2026-01-01 00:06', '2026-01-01 00:09', 'UTC');
SELECT * FROM windows('5 minutes', '2026-01-01 00:05', '2026-01-01 00:05', 'UTC');
-- without end: from the window that holds the first bucket to the one that holds the last
CREATE FUNCTION without_end(width interval, since timestamptz, until timestamptz, zone text, OUT rows bigint, OUT first timestamptz, OUT last timestamptz, OUT posts_outside bigint)
BEGIN ATOMIC
	WITH c AS MATERIALIZED (SELECT * FROM evilnet.city_counts('posted', width, since, until, timezone => zone))
	SELECT count(*), min(window_start), max(window_end),
		-- of those that the span asks for
		(SELECT count(*) FROM posted p WHERE NOT EXISTS (SELECT FROM c WHERE c.city_id = p.city_id AND p.created_at >= c.window_start AND p.created_at < c.window_end)
			AND (since = '-infinity' OR p.created_at >= since) AND (until = 'infinity' OR p.created_at < until))
	FROM c;
END;
SELECT (SELECT min(created_at) FROM posted) AS first_post, (SELECT max(created_at) FROM posted) AS last_post;
SELECT * FROM without_end('1 day', '-infinity', 'infinity', 'UTC');
SELECT * FROM without_end('1 month', '-infinity', 'infinity', 'America/Toronto');
SELECT * FROM without_end('1 day', '-infinity', '2025-03-10', 'UTC');
SELECT * FROM without_end('1 day', '2025-11-02', 'infinity', 'UTC');
SELECT * FROM without_end('1 day', '-infinity', '2020-01-01', 'UTC');
SELECT * FROM without_end('1 day', '2030-01-01', 'infinity', 'UTC');
SELECT * FROM without_end('1 day', 'infinity', 'infinity', 'UTC');
SELECT * FROM without_end('1 day', '-infinity', '-infinity', 'UTC');
SELECT * FROM without_end('10000 years', '-infinity', 'infinity', 'UTC');
SELECT * FROM without_end('1 minute', '-infinity', 'infinity', 'UTC');
SELECT count(*), count(compared_tweets) FROM evilnet.city_series('posted', '1 day', '-infinity', 'infinity', compare => 'week', timezone => 'America/Toronto');
SELECT count(*) FROM evilnet.city_series('posted', '5000 years', '-infinity', 'infinity', compare => 'previous');
SELECT count(*) FROM evilnet.city_series('posted', '5000 years', '-infinity', 'infinity', compare => 'day', timezone => 'America/Toronto');
SELECT count(*) FROM evilnet.city_series('posted', '1 day', '4713-01-01 BC', '4713-01-05 BC', cities => '{Toronto}', compare => 'week', timezone => 'America/Toronto');
SELECT count(*) FROM evilnet.city_series('posted', '1 day', '4714-11-24 BC', '4714-11-26 BC', cities => '{Toronto}', compare => 'previous');
SELECT count(*) FROM evilnet.city_series('posted', '1 year', '294275-01-01', 'infinity', cities => '{Toronto}', compare => 'week', timezone => 'America/Toronto');
SELECT count(*) FROM evilnet.city_series('posted', '1 year', '294275-01-01', '294276-12-31', cities => '{Toronto}', compare => 'week', timezone => 'America/Toronto');
-- many
SELECT count(*), min(window_start), max(window_end) FROM windows('1 minute', '2025-01-01', '2025-03-11 10:40', 'UTC');
SELECT count(*) FROM windows('1 minute', '2000-01-01', '2019-01-05 10:41', 'UTC');
SELECT count(*) FROM windows('10000001 minutes', '2025-01-01', '2025-01-02', 'UTC', '1 minute');

-- ---- counts in windows that generate_series and AT TIME ZONE make
CREATE FUNCTION recount(width interval, since timestamptz, until timestamptz, zone text, slide interval, cumulative boolean)
RETURNS TABLE (window_start timestamptz, window_end timestamptz, city_id int, tweets bigint, retweets bigint, authors bigint)
BEGIN ATOMIC
	WITH cells AS (
		SELECT g AT TIME ZONE zone AS since, (g + width) AT TIME ZONE zone AS until
		-- from a Monday, or the first of a year, on
		FROM generate_series(CASE WHEN slide >= '28 days' THEN timestamp '2020-01-01' ELSE '2023-12-25' END, '2026-03-01', slide) g),
	windows AS (
		SELECT CASE WHEN cumulative THEN min(c.since) OVER () ELSE c.since END AS since, c.until
		FROM cells c WHERE c.since >= recount.since AND c.since < recount.until)
	SELECT w.since, w.until, p.city_id, count(*), count(*) FILTER (WHERE p.kind = 'retweet'), count(DISTINCT p.author_id)
	FROM windows w JOIN posted p ON p.created_at >= w.since AND p.created_at < w.until
	GROUP BY 1, 2, 3;
END;
CREATE FUNCTION differences(width interval, since timestamptz, until timestamptz, zone text, slide interval, cumulative boolean, OUT rows bigint, OUT different bigint)
BEGIN ATOMIC
	WITH report AS MATERIALIZED (
		SELECT c.window_start, c.window_end, c.city_id, c.tweets, c.retweets, c.authors
		FROM evilnet.city_counts('posted', width, since, until, timezone => zone, slide => slide, cumulative => cumulative) c),
	expected AS MATERIALIZED (SELECT * FROM recount(width, since, until, zone, coalesce(slide, width), cumulative))
	SELECT (SELECT count(*) FROM expected),
		(SELECT count(*) FROM (TABLE report EXCEPT ALL TABLE expected) x) + (SELECT count(*) FROM (TABLE expected EXCEPT ALL TABLE report) x);
END;
CREATE TABLE request (n serial, width interval, since timestamptz, until timestamptz, zone text, slide interval, cumulative boolean DEFAULT false);
INSERT INTO request (width, since, until, zone, slide, cumulative) VALUES
	('1 day', '2025-03-07', '2025-03-13', 'America/Toronto', NULL, false),
	('1 day', '2025-10-30', '2025-11-06', 'America/Toronto', NULL, false),
	('2 days', '2025-10-30 13:17', '2025-11-06', 'America/Toronto', '1 day', false),
	('6 hours', '2025-11-01', '2025-11-04', 'America/Toronto', NULL, false),
	('12 hours', '2025-03-07', '2025-03-12', 'America/Toronto', '6 hours', false),
	('1 day', '2025-04-03', '2025-04-10', 'Australia/Lord_Howe', NULL, true),
	('1 hour', '2026-01-01', '2026-01-02', 'Asia/Kathmandu', NULL, false),
	('1 month', '2024-01-01', '2026-03-01', 'Europe/London', NULL, false),
	('3 months', '2024-01-01', '2026-01-15', 'UTC', '1 month', false),
	('1 month', '2024-01-01', '2026-01-02', 'UTC', NULL, true),
	('1 year', '2023-06-01', '2026-01-02', 'UTC', NULL, false),
	('1 week', '2024-02-01', '2026-02-01', 'Europe/London', NULL, false),
	('1 day', '2024-02-27 00:00:01', '2024-03-03', 'UTC', NULL, false),
	('5 minutes', '2025-12-31 23:01:30', '2026-01-01 02:00', 'UTC', '1 minute', false),
	('12 hours', '2025-12-31 00:00', '2026-01-01 12:00', 'UTC', '1 minute', false),
	('24 hours', '2025-12-30 00:00', '2026-01-05', 'UTC', '10 minutes', false),
	('10 minutes', '2025-12-30 00:00', '2026-01-05', 'UTC', NULL, true),
	('1 hour', '2031-01-01', '2031-01-02', 'UTC', NULL, false),
	('1 hour', '2025-06-01', '2025-06-02', 'UTC', NULL, false),
	-- far more windows than a report may have, were the empty ones counted
	('6 hours', '1900-01-01', '2100-01-01', 'Europe/London', '3 hours', false),
	('1 day', '4000-01-01 BC', '9000-01-01', 'America/Toronto', NULL, false);
SELECT r.n, r.width, r.slide, r.cumulative, r.zone, d.* FROM request r, differences(width, since, until, zone, slide, cumulative) d ORDER BY n;
-- each city by its own day
BEGIN;
UPDATE evilnet.city SET timezone = CASE name WHEN 'Toronto' THEN 'America/Toronto' WHEN 'London' THEN 'Europe/London' ELSE 'Asia/Kathmandu' END
	WHERE city_id IN (SELECT city_id FROM posted_by_city);
SELECT count(*), count(*) FILTER (WHERE e.tweets IS DISTINCT FROM c.tweets OR e.authors IS DISTINCT FROM c.authors) AS different
FROM evilnet.city_counts('posted', '1 day', '2024-02-01', '2026-02-01', timezone => 'local') c
FULL JOIN (SELECT z.zone, z.name, r.* FROM (VALUES ('America/Toronto', 'Toronto'), ('Europe/London', 'London'), ('Asia/Kathmandu', 'Kathmandu')) z(zone, name),
	recount('1 day', '2024-02-01', '2026-02-01', z.zone, '1 day', false) r JOIN evilnet.city y USING (city_id) WHERE y.timezone = z.zone) e USING (window_start, window_end, city_id);
ROLLBACK;
-- with roll-ups
SET client_min_messages = warning;
SELECT evilnet.create_rollup('posted', '5 minutes', in_background => false);
SELECT evilnet.create_rollup('posted', '1 hour', in_background => false);
SELECT evilnet.create_rollup('posted', '1 day', in_background => false);
SET client_min_messages = notice;
SELECT sum(d.rows), sum(d.different) AS different FROM request r, differences(width, since, until, zone, slide, cumulative) d;

-- ---- gaps, where spans were consumed, lost, not read yet, and before there was a stream
BEGIN;
INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, covered_since, covered_until)
	VALUES ('posted', 0, 900, 1, '2026-01-01 06:30', '2026-01-01 12:20');
INSERT INTO evilnet.coverage_span (stream, kafka_partition, since, until, ended_by) VALUES ('posted', 0, '2026-01-01 02:00', '2026-01-01 05:00', 'expired');
CREATE TEMPORARY TABLE state AS SELECT * FROM evilnet.coverage('posted', '2025-12-31', '2026-01-03');
SELECT * FROM state;
-- Ottawa, which nobody posted from
SELECT window_start, tweets, coverage FROM evilnet.city_counts('posted', '2 hours', '2026-01-01', '2026-01-01 14:00', cities => '{Ottawa}', fill => 'zero');
CREATE FUNCTION pg_temp.filled(fill text, width interval, slide interval, cumulative boolean)
RETURNS TABLE (rows bigint, windows bigint, wrong_coverage bigint, wrong_counts bigint) LANGUAGE sql AS $$
	WITH report AS MATERIALIZED (
		SELECT c.*, lag(c.tweets) OVER (PARTITION BY c.city_id ORDER BY c.window_end) AS before
		FROM evilnet.city_counts('posted', $2, '2026-01-01', '2026-01-01 14:00', slide => $3, cumulative => $4, cities => '{Toronto,London,Ottawa}', fill => $1) c),
	judged AS (
		SELECT r.*, (SELECT count(*) FROM posted p WHERE p.city_id = r.city_id AND p.created_at >= r.window_start AND p.created_at < r.window_end) AS posts,
			(SELECT s.state FROM state s WHERE s.span_start < r.window_end AND s.span_end > r.window_start
				ORDER BY array_position('{lost,unknown,pending,complete}', s.state) LIMIT 1) AS worst
		FROM report r)
	SELECT count(*), count(DISTINCT window_end), count(*) FILTER (WHERE coverage IS DISTINCT FROM worst),
		count(*) FILTER (WHERE tweets IS DISTINCT FROM CASE WHEN posts > 0 THEN posts
			WHEN $1 = 'zero' AND worst = 'complete' THEN 0 WHEN $1 = 'last' THEN before END)
	FROM judged;
$$;
SELECT f, w.*, x.* FROM unnest(ARRAY['zero', 'null', 'last', NULL]) f, (VALUES ('5 minutes'::interval, NULL::interval, false), ('10 minutes', '1 minute', false), ('1 hour', '10 minutes', false), ('10 minutes', NULL, true)) w(width, slide, cumulative),
	pg_temp.filled(f, w.width, w.slide, w.cumulative) x ORDER BY f, width, slide;
-- the earlier period: none where it is known, null where nobody knows; a city that fell silent is shown
SELECT window_start, city, tweets, coverage, compared_start, compared_tweets
	FROM evilnet.city_series('posted', '1 hour', '2026-01-01 08:00', '2026-01-01 12:00', cities => '{Ottawa}', compare => 'previous');
SELECT window_start, city, tweets, coverage, compared_start, compared_tweets > 0 AS compared
	FROM evilnet.city_series('posted', '1 day', '2026-01-08', '2026-01-09', compare => 'week');
SELECT count(*) FROM evilnet.city_series('posted', '1 day', '2026-01-08', '2026-01-09', compare => 'week', fill => NULL);
ROLLBACK;
-- the hour that did not exist the day before is empty; the one after is beside the same local time
SELECT window_start, compared_start, compared_tweets FROM evilnet.city_series('posted', '1 hour', '2025-03-10 05:00', '2025-03-10 08:00',
	cities => '{Toronto}', timezone => 'America/Toronto', compare => 'day', fill => 'null');

-- ---- 50,000 cities, two workers' rows in no order
-- put in by hand, so roll-ups would not have them
SELECT count(evilnet.drop_continuous_aggregate(a)) FROM unnest('{posted_by_city_5m,posted_by_city_1h,posted_by_city_1d}'::regclass[]) a;
CREATE TABLE posted_many PARTITION OF posted_by_city_slots DEFAULT;
CREATE TABLE many AS SELECT city_id, row_number() OVER (ORDER BY city_id)::int AS n FROM evilnet.city ORDER BY city_id LIMIT 50000;
INSERT INTO posted_by_city_slots (bucket, city_id, evilnet_slot, tweets, retweets, authors, evilnet_rows)
	SELECT timestamptz '2019-07-01' + m * interval '1 minute', n.city_id, s, 1 + n.n % 5, n.n % 2, hll_empty(), 1
	FROM many n, generate_series(0, 4, 2) m, generate_series(0, 1) s ORDER BY hashint4(n.n * 10 + m * 2 + s);
-- Toronto, every minute of a day
INSERT INTO posted_by_city_slots (bucket, city_id, evilnet_slot, tweets, retweets, authors, evilnet_rows)
	SELECT timestamptz '2019-07-02' + m * interval '1 minute', c.city_id, s, 1 + m % 7, m % 2,
		hll_add(hll_add(hll_empty(), hll_hash_bigint(m % 40)), hll_hash_bigint(s)), 1
	FROM evilnet.find_city('Toronto', 'CA') c, generate_series(0, 1439) m, generate_series(0, 1) s ORDER BY hashint4(m * 2 + s);
SELECT count(*), count(DISTINCT city_id), sum(tweets), sum(retweets) FROM evilnet.city_counts('posted', '5 minutes', '2019-07-01', '2019-07-01 01:00');
SELECT sum(tweets), sum(retweets) FROM posted_by_city_slots WHERE bucket < '2019-07-02';
SELECT count(*), sum(tweets) FROM evilnet.city_counts('posted', '4 minutes', '2019-06-30 23:57', '2019-07-01 00:05', slide => '1 minute');
SELECT count(*), sum(s.tweets) FROM generate_series(timestamptz '2019-06-30 23:57', '2019-07-01 00:04', '1 minute') w
	CROSS JOIN LATERAL (SELECT city_id, sum(tweets) AS tweets FROM posted_by_city_slots WHERE bucket >= w AND bucket < w + interval '4 minutes' GROUP BY 1) s;
SELECT count(*), count(*) FILTER (WHERE tweets IS NULL) FROM evilnet.city_series('posted', '1 minute', '2019-07-01', '2019-07-01 00:10', fill => 'null');
SELECT count(*) FROM evilnet.city_series('posted', '1 minute', '2019-07-01', '2019-07-01 04:00');
SELECT count(*) FROM evilnet.city_counts('posted', '1 minute', '2019-07-01', '2019-07-01 04:00', fill => 'zero');
WITH report AS MATERIALIZED (SELECT window_start, window_end, tweets, authors FROM evilnet.city_counts('posted', '45 minutes', '2019-07-02', '2019-07-03', slide => '1 minute')),
expected AS MATERIALIZED (SELECT w, w + interval '45 minutes', s.tweets, s.authors FROM generate_series(timestamptz '2019-07-02', '2019-07-02 23:59', '1 minute') w
	CROSS JOIN LATERAL (SELECT sum(tweets) AS tweets, hll_cardinality(hll_union_agg(authors))::bigint AS authors FROM posted_by_city_slots
		WHERE bucket >= w AND bucket < w + interval '45 minutes') s)
SELECT count(*), (SELECT count(*) FROM (TABLE report EXCEPT ALL TABLE expected) x) AS different FROM report;

SET client_min_messages = warning;
DROP FUNCTION windows, without_end, differences, recount;
DROP TABLE request, many;
SELECT evilnet.drop_stream('posted');
DROP SERVER window_bus;
