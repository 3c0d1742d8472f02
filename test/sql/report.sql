-- Time buckets, and reports over counts put in by hand.
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
SELECT evilnet.time_bucket(NULL, now()), evilnet.time_bucket('1 day', NULL);
SELECT evilnet.time_bucket('1 month', now());
SELECT evilnet.time_bucket('1 month 1 day', now());
SELECT evilnet.time_bucket('0', now());
SELECT evilnet.time_bucket('-5 minutes', now());
SELECT evilnet.time_bucket('200000000 days', now());
SELECT evilnet.time_bucket('213503983 days', now());
SELECT evilnet.time_bucket('1000 days', '4714-11-24 00:00:00 BC');

-- a stream that nothing writes to but we
SET client_min_messages = warning;
CREATE SERVER report_bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
BEGIN;
SELECT evilnet.create_stream('seen', server => 'report_bus', topic => 'seen');
SELECT evilnet.pause('seen');
COMMIT;
CREATE TABLE seen_all PARTITION OF seen_by_city_slots DEFAULT;
CREATE FUNCTION count_posts(at text, city text, country_code text, slot int, tweets int, retweets int, authors int[]) RETURNS void
BEGIN ATOMIC
	INSERT INTO seen_by_city_slots (bucket, city_id, evilnet_slot, tweets, retweets, authors, evilnet_rows)
	SELECT ('2026-01-31 ' || at)::timestamptz,
		coalesce((SELECT c.city_id FROM evilnet.find_city(city, country_code) c LIMIT 1), 0), slot, tweets, retweets,
		(SELECT hll_add_agg(hll_hash_bigint(a)) FROM unnest(authors) a), tweets;
END;
SELECT count(count_posts(at, city, country, slot, tweets, retweets, authors)) FROM (VALUES
	('12:00', 'Toronto', 'CA', 0, 10, 4, ARRAY[1, 2, 3]),
	('12:00', 'Toronto', 'CA', 1, 5, 1, ARRAY[3, 4]),
	('12:01', 'Toronto', 'CA', 0, 1, 0, ARRAY[1]),
	('12:04', 'Toronto', 'CA', 0, 2, 2, ARRAY[5]),
	('12:05', 'Toronto', 'CA', 0, 3, 0, ARRAY[1, 6]),
	('12:00', 'Montreal', 'CA', 0, 7, 7, ARRAY[1, 7, 8, 9, 10, 11, 12]),
	('12:06', 'Montreal', 'CA', 0, 8, 0, ARRAY[7]),
	('12:01', 'Paris', 'FR', 0, 15, 5, ARRAY[20, 21]),
	('12:09', 'London', 'GB', 0, 6, 3, ARRAY[30]),
	('12:02', NULL, NULL, 0, 100, 50, ARRAY[40, 41]),
	-- a group that deletes have emptied is none
	('12:03', 'Berlin', 'DE', 0, 4, 1, ARRAY[50]),
	('12:03', 'Berlin', 'DE', 1, -4, -1, NULL)) v(at, city, country, slot, tweets, retweets, authors);
SET client_min_messages = notice;

-- city_counts
\set noon '\'2026-01-31 12:00\'' ', ' '\'2026-01-31 13:00\''
SELECT * FROM evilnet.city_counts('seen', '1 minute', :noon);
SELECT * FROM evilnet.city_counts('seen', '5 minutes', :noon);
SELECT * FROM evilnet.city_counts('seen', '1 day', '2026-01-31', '2026-02-01');
-- windows that start in the span, and are whole
SELECT window_start, city, tweets FROM evilnet.city_counts('seen', '5 minutes', '2026-01-31 12:01', '2026-01-31 12:06');
SELECT window_start, city, tweets FROM evilnet.city_counts('seen', '5 minutes', '2026-01-31 12:05', '2026-01-31 12:05');
SELECT window_start, city, tweets FROM evilnet.city_counts('seen', '5 minutes', '2026-01-31 12:05', '2026-01-31 12:05:00.000001');
SELECT window_start, city, tweets FROM evilnet.city_counts('seen', '5 minutes', '2026-01-31 13:00', '2026-01-31 12:00');
SELECT count(*), sum(tweets) FROM evilnet.city_counts('seen', '7 days', '-infinity', 'infinity');
SELECT count(*) FROM evilnet.city_counts('seen');
-- cities and countries, by what they are called
SELECT city, tweets FROM evilnet.city_counts('seen', '1 hour', :noon, cities => ARRAY['toronto', 'PARIS']);
SELECT city, tweets FROM evilnet.city_counts('seen', '1 hour', :noon, countries => ARRAY['ca']);
SELECT city, tweets FROM evilnet.city_counts('seen', '1 hour', :noon, countries => ARRAY['France', 'united kingdom']);
SELECT city, tweets FROM evilnet.city_counts('seen', '1 hour', :noon, cities => ARRAY['London'], countries => ARRAY['CA']);
SELECT city, tweets FROM evilnet.city_counts('seen', '1 hour', :noon, cities => ARRAY[]::text[]);
SELECT city, tweets FROM evilnet.city_counts('seen', '1 hour', :noon, cities => ARRAY['Torronto']);
SELECT city, tweets FROM evilnet.city_counts('seen', '1 hour', :noon, cities => ARRAY['Toronto', NULL]);
SELECT city, tweets FROM evilnet.city_counts('seen', '1 hour', :noon, countries => ARRAY['Kanada']);

-- top_cities
SELECT * FROM evilnet.top_cities('seen', :noon);
SELECT * FROM evilnet.top_cities('seen', :noon, metric => 'retweets');
SELECT * FROM evilnet.top_cities('seen', :noon, metric => 'authors', n => 2);
SELECT rank, city, tweets FROM evilnet.top_cities('seen', :noon, best_first => false, n => 3);
SELECT rank, city, tweets FROM evilnet.top_cities('seen', :noon, countries => ARRAY['Canada']);
SELECT rank, city, tweets FROM evilnet.top_cities('seen', :noon, countries => ARRAY['GB', 'FR'], best_first => false);
SELECT rank, city, tweets FROM evilnet.top_cities('seen', '2026-01-31 12:01', '2026-01-31 12:05');
SELECT count(*) FROM evilnet.top_cities('seen', :noon, n => 0);
SELECT count(*) FROM evilnet.top_cities('seen');

-- arguments
SELECT * FROM evilnet.city_counts(NULL);
SELECT * FROM evilnet.city_counts('seen', NULL);
SELECT * FROM evilnet.city_counts('seen', since => NULL);
SELECT * FROM evilnet.city_counts('seen', '90 seconds');
SELECT * FROM evilnet.city_counts('seen', '1 month');
SELECT * FROM evilnet.city_counts('seen', '0');
SELECT * FROM evilnet.city_counts('pg_class');
SELECT * FROM evilnet.city_counts(0);
SELECT * FROM evilnet.top_cities('seen', metric => 'likes');
SELECT * FROM evilnet.top_cities('seen', metric => NULL);
SELECT * FROM evilnet.top_cities('seen', n => -1);
SELECT * FROM evilnet.top_cities('seen', n => NULL);
SELECT * FROM evilnet.top_cities('seen', countries => ARRAY['XX']);
SELECT * FROM evilnet.top_cities('evilnet.city');

SET client_min_messages = warning;
DROP FUNCTION count_posts;
SELECT evilnet.drop_stream('seen');
DROP SERVER report_bus;
