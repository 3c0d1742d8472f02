-- Trends: the score, hashtags, and cities with little history; test/t/026 has simulated streams.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SERVER trend_bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
BEGIN;
SELECT evilnet.create_stream('trends', server => 'trend_bus', topic => 'trends', partition_interval => '7 days') \g /dev/null
SELECT evilnet.pause('trends') \g /dev/null
COMMIT;
SET client_min_messages = notice;

-- the score
SELECT round(evilnet.trend_score(o, e, d)::numeric, 3) AS score FROM (VALUES (10, 10, 0.1), (30, 10, 0), (30, 10, 0.1), (3, 10, 0.1), (0, 10, 0)) v(o, e, d);
SELECT round(evilnet.trend_p_value(1.959964)::numeric, 6);
SELECT evilnet.trend_score(-1, 10);
SELECT evilnet.trend_score(1, 0);
SELECT evilnet.trend_score(1, 'infinity');
SELECT evilnet.trend_score(NULL, 1);

-- seven hours in which #lunch stands in every tenth post and #sale in every fiftieth, and in Toronto's last hour in every third
CREATE TABLE trends_all PARTITION OF trends DEFAULT;
INSERT INTO trends (id, created_at, author_id, kind, city_id, city_source, text, hashtags, kafka_partition, kafka_offset)
	SELECT i, timestamptz '2026-03-01 00:00+00' + i * interval '10 seconds', i % 99, 'post', CASE i % 2 WHEN 0 THEN 6167865 ELSE 2988507 END, 'place', '',
		ARRAY(SELECT t FROM (VALUES ('lunch', i % 10 = 0), ('Sale', i % 50 = 1), ('SALE', i % 100 = 1), ('Sale', i >= 2880 AND i % 6 = 0)) v(t, has) WHERE has), 0, i
	FROM generate_series(0, 3239) i;
SELECT hashtag, state, tweets, round(expected::numeric, 1) AS expected, round(share::numeric, 3) AS share, window_start, window_end, reason
	FROM evilnet.trending_hashtags('trends', 'Toronto', '2026-03-01 09:00+00', covered => false);
SELECT hashtag, state, tweets, round(expected::numeric, 1) AS expected FROM evilnet.trending_hashtags('trends', at => '2026-03-01 09:00+00', covered => false);
SELECT count(*) FROM evilnet.trending_hashtags('trends', 'Paris', '2026-03-01 09:00+00', covered => false);
-- twenty minutes after it began it is no longer new enough to enter, but stays; before, it is none
SELECT hashtag, state, tweets, round(ratio::numeric, 1) AS ratio FROM evilnet.trending_hashtags('trends', 'Toronto', '2026-03-01 08:40+00',
	span => '20 minutes', history => '1 hour', min_ratio => 3.5, covered => false);
SELECT count(*) FROM evilnet.trending_hashtags('trends', 'Toronto', '2026-03-01 08:00+00', covered => false);
-- nothing was consumed, so nothing is said
SELECT count(*) FROM evilnet.trending_hashtags('trends', 'Toronto', '2026-03-01 09:00+00');
SELECT count(*) FROM evilnet.trending_hashtags('trends');
SELECT count(*) FROM evilnet.trending_cities('trends');
SELECT count(*) FROM evilnet.trending_cities('trends', '2026-03-01 09:00+00');
BEGIN;
INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, covered_since, covered_until)
	VALUES ('trends', 0, 1, 1, '2026-03-01 00:00', '2026-03-01 09:00:30');
SELECT hashtag, state, tweets, window_end FROM evilnet.trending_hashtags('trends', 'Toronto');
ROLLBACK;

-- cities of a stream that began this morning: the hours before are the history
CREATE TABLE trends_by_city_slots_all PARTITION OF trends_by_city_slots DEFAULT;
INSERT INTO trends_by_city_slots (bucket, city_id, tweets, retweets, evilnet_rows, evilnet_slot)
	SELECT m, c.city_id, CASE WHEN c.city_id = 6167865 AND m >= '2026-03-01 08:00+00' THEN 8 ELSE 2 END, 0, 2, 0
	FROM generate_series(timestamptz '2026-03-01 00:00+00', '2026-03-01 08:59+00', '1 minute') m, unnest(ARRAY[6167865, 2988507, 2643743]) c(city_id);
SELECT city, state, tweets, round(expected::numeric) AS expected, round(ratio::numeric, 1) AS ratio, score > 3 AS surprising, q_value < 0.02 AS few_false,
		round(share::numeric, 3) AS share, round(expected_share::numeric, 3) AS expected_share, baselines, window_start, window_end, reason
	FROM evilnet.trending_cities('trends', '2026-03-01 09:00+00', covered => false);
-- all cities alike are no trend of any
UPDATE trends_by_city_slots SET tweets = 8 WHERE bucket >= '2026-03-01 08:00+00';
SELECT count(*) FROM evilnet.trending_cities('trends', '2026-03-01 09:00+00', covered => false);

-- arguments
SELECT * FROM evilnet.trending_cities(NULL);
SELECT * FROM evilnet.trending_cities('trends', span => NULL);
SELECT * FROM evilnet.trending_hashtags(NULL);
SELECT * FROM evilnet.trending_hashtags('trends', 'Torronto', at => '2026-03-01 09:00+00', covered => false);
SELECT * FROM evilnet.trending_hashtags('trends', span => '0');
SELECT * FROM evilnet.trending_hashtags('trends', n => NULL);

SET client_min_messages = warning;
SELECT evilnet.drop_stream('trends');
DROP SERVER trend_bus;
