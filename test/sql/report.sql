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
SELECT rank, city, tweets FROM evilnet.bottom_cities('seen', :noon, n => 3);
SELECT rank, city, tweets FROM evilnet.top_cities('seen', :noon, countries => ARRAY['Canada']);
SELECT rank, city, tweets FROM evilnet.bottom_cities('seen', :noon, countries => ARRAY['GB', 'FR']);
SELECT rank, city, tweets FROM evilnet.top_cities('seen', '2026-01-31 12:01', '2026-01-31 12:05');
SELECT count(*) FROM evilnet.top_cities('seen', :noon, n => 0);
SELECT count(*) FROM evilnet.top_cities('seen');

-- other windows
SELECT window_start, window_end, city, tweets, authors FROM evilnet.city_counts('seen', '5 minutes', :noon, cities => '{Toronto}', slide => '1 minute');
SELECT window_start, window_end, city, tweets, authors FROM evilnet.city_counts('seen', '4 minutes', :noon, countries => '{CA}', cumulative => true)
	WHERE window_end <= '2026-01-31 12:12';
-- the local day of a city, which begins at 05:00 UTC in Toronto and at 23:00 UTC in Paris
UPDATE evilnet.city SET timezone = CASE country_code WHEN 'CA' THEN 'America/Toronto' ELSE 'Europe/Paris' END
	WHERE city_id IN (SELECT city_id FROM seen_by_city);
SELECT window_start, window_end, city, tweets FROM evilnet.city_counts('seen', '1 day', '2026-01-30', '2026-02-02', timezone => 'local');
SELECT window_start, window_end, city, tweets FROM evilnet.city_counts('seen', '1 month', '2026-01-01', '2026-02-01', timezone => 'America/Toronto');
-- gaps: nothing was consumed, so nothing says that they are empty
SELECT window_start, tweets, retweets, coverage FROM evilnet.city_counts('seen', '2 minutes', '2026-01-31 12:00', '2026-01-31 12:10', cities => '{Toronto}', fill => 'zero');
SELECT window_start, tweets, retweets, authors FROM evilnet.city_counts('seen', '2 minutes', '2026-01-31 12:00', '2026-01-31 12:10', cities => '{Toronto}', fill => 'null');
SELECT window_start, tweets, retweets, authors FROM evilnet.city_counts('seen', '2 minutes', '2026-01-31 12:00', '2026-01-31 12:10', cities => '{Toronto}', fill => 'last');
BEGIN;
INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, covered_since, covered_until)
	VALUES ('seen', 0, 1, 1, '2026-01-31 11:00', '2026-01-31 12:07:30');
SELECT window_start, tweets, retweets, authors, coverage FROM evilnet.city_counts('seen', '2 minutes', '2026-01-31 11:56', '2026-01-31 12:10', cities => '{Toronto,Ottawa}', fill => 'zero')
	ORDER BY city_id, window_start;
ROLLBACK;

-- series
SELECT window_start, city, tweets, authors, compared_start, compared_tweets, compared_authors
	FROM evilnet.city_series('seen', '5 minutes', '2026-01-31 12:05', '2026-01-31 12:10', countries => '{CA,FR}', compare => 'previous');
SELECT window_start, city, tweets, compared_start, compared_tweets
	FROM evilnet.city_series('seen', '1 day', '2026-02-01', '2026-02-02', cities => '{London}', compare => 'day', fill => 'null');
SELECT window_start, city, tweets, compared_start, compared_tweets
	FROM evilnet.city_series('seen', '1 hour', '2026-02-07 12:00', '2026-02-07 13:00', cities => '{London}', compare => 'week', fill => 'null');

-- rankings by place and by inhabitants
SELECT rank, city, tweets, round(value::numeric, 3) AS value FROM evilnet.top_cities('seen', :noon, metric => 'tweets_per_100k');
SELECT rank, city, authors, round(value::numeric, 3) AS value FROM evilnet.bottom_cities('seen', :noon, metric => 'authors_per_100k', n => 2);
SELECT city FROM evilnet.top_cities('seen', :noon, regions => '{ON}');
SELECT city FROM evilnet.top_cities('seen', :noon, regions => '{ca-quebec, ontario}');
SELECT city FROM evilnet.top_cities('seen', :noon, box => '{-10, 40, 10, 60}');
SELECT city FROM evilnet.top_cities('seen', :noon, box => '{170, 40, 3, 60}');
SELECT city FROM evilnet.top_cities('seen', :noon, near => 'Paris', radius_km => 350);
SELECT city FROM evilnet.top_cities('seen', :noon, near => 'Paris', radius_km => 340);
SELECT city FROM evilnet.top_cities('seen', :noon, min_population => 2500000, max_population => 5000000);
SELECT city, tweets FROM evilnet.top_cities('seen', :noon, min_tweets => 15);
SELECT jsonb_pretty(evilnet.city_map('seen', :noon, n => 2) #- '{features,0,geometry}' #- '{features,1,geometry}');
SELECT evilnet.city_map('seen', '2020-01-01', '2020-01-02');

-- with roll-ups, the same
CREATE TABLE before AS
	SELECT 'counts' AS report, c::text AS row FROM evilnet.city_counts('seen', '10 minutes', :noon) c
	UNION ALL SELECT 'hopping', c::text FROM evilnet.city_counts('seen', '10 minutes', :noon, slide => '1 minute') c
	UNION ALL SELECT 'top', t::text FROM evilnet.top_cities('seen', '2026-01-31 12:01', '2026-01-31 13:02') t
	UNION ALL SELECT 'day', c::text FROM evilnet.city_counts('seen', '1 day', '2026-01-31', '2026-02-01') c;
SELECT evilnet.create_rollup('seen', '5 minutes', in_background => false);
SELECT evilnet.create_rollup('seen', '1 hour', 'seen_by_hour', in_background => false);
SELECT evilnet.create_rollup('seen', '1 hour', 'seen_by_hour', if_not_exists => true);
SELECT aggregate, source, rollup FROM evilnet.continuous_aggregate ORDER BY rollup;
WITH after AS (
	SELECT 'counts' AS report, c::text AS row FROM evilnet.city_counts('seen', '10 minutes', :noon) c
	UNION ALL SELECT 'hopping', c::text FROM evilnet.city_counts('seen', '10 minutes', :noon, slide => '1 minute') c
	UNION ALL SELECT 'top', t::text FROM evilnet.top_cities('seen', '2026-01-31 12:01', '2026-01-31 13:02') t
	UNION ALL SELECT 'day', c::text FROM evilnet.city_counts('seen', '1 day', '2026-01-31', '2026-02-01') c)
SELECT count(*), (SELECT count(*) FROM before) AS before,
	(SELECT count(*) FROM (TABLE after EXCEPT ALL TABLE before) x) AS different FROM after;
DROP TABLE before;

-- who may read
CREATE ROLE regress_reader;
SET ROLE regress_reader;
SELECT count(*) FROM evilnet.top_cities('seen', :noon);
SELECT count(*) FROM evilnet.city_counts('seen', '1 hour', :noon);
RESET ROLE;
GRANT SELECT ON seen_by_city TO regress_reader;
SET ROLE regress_reader;
SELECT count(*) FROM evilnet.top_cities('seen', :noon);
SELECT count(*) FROM evilnet.city_counts('seen', '1 hour', :noon);
SELECT evilnet.create_rollup('seen', '1 day');
RESET ROLE;
REVOKE SELECT ON seen_by_city FROM regress_reader;
DROP ROLE regress_reader;
BEGIN READ ONLY;
SELECT count(*) FROM evilnet.city_series('seen', '1 hour', :noon, timezone => 'local');
COMMIT;

-- arguments
SELECT * FROM evilnet.city_counts(NULL);
SELECT * FROM evilnet.city_counts('seen', NULL);
SELECT * FROM evilnet.city_counts('seen', since => NULL);
SELECT * FROM evilnet.city_counts('seen', until => NULL);
SELECT * FROM evilnet.city_counts('seen', '90 seconds');
SELECT * FROM evilnet.city_counts('seen', '1 microsecond');
SELECT * FROM evilnet.city_counts('seen', '-5 minutes');
SELECT * FROM evilnet.city_counts('seen', '200000000 days');
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
SELECT * FROM evilnet.top_cities('seen', min_tweets => 0);
SELECT * FROM evilnet.top_cities('seen', box => '{1,2,3}');
SELECT * FROM evilnet.top_cities('seen', box => '{1,2,3,1}');
SELECT * FROM evilnet.top_cities('seen', near => 'Torronto');
SELECT * FROM evilnet.top_cities('seen', near => 'Toronto', radius_km => -1);
SELECT * FROM evilnet.top_cities('seen', regions => '{XX}');
SELECT * FROM evilnet.city_counts('seen', fill => 'nothing');
SELECT * FROM evilnet.city_counts('seen', '10 minutes', slide => '3 minutes');
SELECT * FROM evilnet.city_counts('seen', '1 day', slide => '1 hour');
SELECT * FROM evilnet.city_counts('seen', '1 hour', slide => '1 hour', cumulative => true);
SELECT * FROM evilnet.city_counts('seen', '1 minute', '2000-01-01', '2026-01-01', fill => 'zero');
SELECT * FROM evilnet.city_counts('seen', timezone => 'Mars/Olympus');
SELECT * FROM evilnet.city_series('seen', compare => 'year');
SELECT evilnet.create_rollup('seen', '7 minutes');
SELECT evilnet.create_rollup('seen', '2 days');
SELECT evilnet.create_rollup('seen', '1 month');
SELECT evilnet.create_rollup('seen', NULL);
SELECT evilnet.create_rollup('pg_class', '1 hour');

SET client_min_messages = warning;
DROP FUNCTION count_posts;
SELECT evilnet.drop_stream('seen');
DROP SERVER report_bus;
