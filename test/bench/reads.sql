-- 24 hours of 5,000 cities by the minute, 7.2 million buckets with authors, and
-- roll-ups over them: how long reports take.
SET client_min_messages = warning;
BEGIN;
SELECT evilnet.create_stream('reads', server => 'bus', topic => 'none', store => false) \g /dev/null
SELECT evilnet.pause('reads') \g /dev/null
COMMIT;
-- the cities with most inhabitants
CREATE TEMPORARY TABLE busy AS
	SELECT city_id, row_number() OVER (ORDER BY population DESC, city_id)::int AS c FROM evilnet.city ORDER BY population DESC, city_id LIMIT 5000;
CREATE TABLE reads_by_city_slots_p1 PARTITION OF reads_by_city_slots FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-01-02 00:00+00');
INSERT INTO reads_by_city_slots (bucket, city_id, tweets, retweets, authors, evilnet_rows, evilnet_slot)
	SELECT timestamptz '2026-01-01 00:00+00' + m * interval '1 minute', b.city_id, 1 + (m * 7 + c) % 13, (m + c) % 2,
		hll_add(hll_add(hll_empty(), hll_hash_bigint(c * 100 + m % 50)), hll_hash_bigint(c * 100 + (m + 7) % 50)), 1 + (m * 7 + c) % 13, 0
	FROM generate_series(0, 1439) m, busy b;
SELECT evilnet.create_rollup('reads', '5 minutes', in_background => false) \g /dev/null
SELECT evilnet.create_rollup('reads', '1 hour', in_background => false) \g /dev/null
VACUUM ANALYZE reads_by_city_slots, reads_by_city_5m_slots, reads_by_city_1h_slots;
CREATE FUNCTION pg_temp.took(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	best float8 := 'infinity';
BEGIN
	FOR i IN 1 .. 7 LOOP
		began := clock_timestamp();
		EXECUTE query;
		best := least(best, extract(epoch FROM clock_timestamp() - began));
	END LOOP;
	RETURN best;
END $$;
\set day '\'2026-01-01 00:00+00\'' ', ' '\'2026-01-02 00:00+00\''
\set hour '\'2026-01-01 22:17+00\'' ', ' '\'2026-01-01 23:17+00\''
\set top100 'SELECT * FROM evilnet.top_cities(''reads'', ''2026-01-01 00:00+00'', ''2026-01-02 00:00+00'', n => 100)'
\set top5 'SELECT * FROM evilnet.top_cities(''reads'', ''2026-01-01 22:17+00'', ''2026-01-01 23:17+00'', n => 5)'
\set top5hour 'SELECT * FROM evilnet.top_cities(''reads'', ''2026-01-01 22:00+00'', ''2026-01-01 23:00+00'', n => 5)'
\set trend 'SELECT * FROM evilnet.city_counts(''reads'', ''5 minutes'', ''2026-01-01 22:15+00'', ''2026-01-01 23:15+00'')'
\set hopping 'SELECT * FROM evilnet.city_counts(''reads'', ''5 minutes'', ''2026-01-01 00:00+00'', ''2026-01-02 00:00+00'', cities => ''{Toronto}'', slide => ''1 minute'')'
\set sliding 'SELECT * FROM evilnet.city_counts(''reads'', ''12 hours'', ''2026-01-01 00:00+00'', ''2026-01-02 00:00+00'', cities => ''{Toronto}'', slide => ''1 minute'')'
\set cumulative 'SELECT * FROM evilnet.city_counts(''reads'', ''1 minute'', ''2026-01-01 00:00+00'', ''2026-01-02 00:00+00'', cities => ''{Toronto}'', cumulative => true)'
\set hourall 'SELECT * FROM evilnet.city_counts(''reads'', ''1 hour'', ''2026-01-01 22:00+00'', ''2026-01-01 23:00+00'')'
\set series 'SELECT * FROM evilnet.city_series(''reads'', ''1 minute'', ''2026-01-01 00:00+00'', ''2026-01-02 00:00+00'', cities => ''{Toronto}'')'
SELECT 'buckets', count(*) FROM reads_by_city_slots;
SELECT 'top 100 of a day', pg_temp.took(:'top100');
SELECT 'top 5 of 60 minutes', pg_temp.took(:'top5');
SELECT 'top 5 of an hour', pg_temp.took(:'top5hour');
SELECT 'trend of all cities', pg_temp.took(:'trend');
SELECT 'hour of all cities', pg_temp.took(:'hourall');
SELECT 'hopping windows', pg_temp.took(:'hopping');
SELECT 'sliding windows', pg_temp.took(:'sliding');
SELECT 'cumulative windows', pg_temp.took(:'cumulative');
SELECT 'series', pg_temp.took(:'series');
-- the same from the buckets themselves: an independent recount
SELECT 'differences', count(*) FROM (
	SELECT city_id, tweets FROM evilnet.top_cities('reads', :day, n => 100000)
	EXCEPT SELECT city_id, sum(tweets) FROM reads_by_city_slots GROUP BY city_id) d;
-- plans, shown, not measured
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET client_min_messages = log;
\o /dev/null
:top100;
:top5;
:trend;
:hopping;
\o
SET client_min_messages = warning;
SET auto_explain.log_min_duration = -1;
SELECT evilnet.drop_stream('reads') \g /dev/null
