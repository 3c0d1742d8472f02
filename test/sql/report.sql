-- Reports over counts put in by hand.
SET timezone = 'UTC';
\set SHOW_CONTEXT never

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
SELECT * FROM evilnet.city_counts('seen', until => NULL);
SELECT * FROM evilnet.city_counts('seen', '90 seconds');
SELECT * FROM evilnet.city_counts('seen', '1 microsecond');
SELECT * FROM evilnet.city_counts('seen', '-5 minutes');
SELECT * FROM evilnet.city_counts('seen', '200000000 days');
SELECT * FROM evilnet.city_counts('seen', '1 month');
SELECT * FROM evilnet.city_counts('seen', '0');
SELECT * FROM evilnet.city_counts('seen', '5 minutes', '2026-01-31 13:00', '2026-01-31 12:00');
SELECT * FROM evilnet.city_counts('seen', '5 minutes', 'infinity', '-infinity');
SELECT * FROM evilnet.city_counts('pg_class');
SELECT * FROM evilnet.city_counts(0);
SELECT * FROM evilnet.top_cities(NULL);
SELECT * FROM evilnet.top_cities('seen', '2026-01-31 12:00:00.000001', '2026-01-31 12:00');
SELECT * FROM evilnet.top_cities('seen', '2026-01-31 12:00', '2026-01-31 12:00');
SELECT * FROM evilnet.top_cities('seen', metric => 'likes');
SELECT * FROM evilnet.top_cities('seen', metric => 'Tweets');
SELECT * FROM evilnet.top_cities('seen', metric => NULL);
SELECT * FROM evilnet.top_cities('seen', n => -1);
SELECT * FROM evilnet.top_cities('seen', n => NULL);
SELECT * FROM evilnet.top_cities('seen', countries => ARRAY['XX']);
SELECT * FROM evilnet.top_cities('evilnet.city');

SET client_min_messages = warning;
DROP FUNCTION count_posts;
SELECT evilnet.drop_stream('seen');
DROP SERVER report_bus;
