-- 24 hours of 5,000 cities by the minute, 7.2 million buckets, and by the hour
-- over them: how long two questions take.
BEGIN;
SELECT evilnet.create_stream('reads', server => 'bus', topic => 'none', store => false) \g /dev/null
SELECT evilnet.pause('reads') \g /dev/null
SELECT evilnet.drop_continuous_aggregate('reads_by_city') \g /dev/null
SELECT evilnet.create_continuous_aggregate('reads_by_city', $$
	SELECT evilnet.time_bucket('1 minute', created_at) AS bucket, city_id, count(*) AS tweets,
		count(*) FILTER (WHERE kind = 'retweet') AS retweets FROM reads GROUP BY 1, 2$$) \g /dev/null
COMMIT;
CREATE TABLE reads_by_city_slots_p1 PARTITION OF reads_by_city_slots FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-01-02 00:00+00');
INSERT INTO reads_by_city_slots (bucket, city_id, tweets, retweets, evilnet_rows, evilnet_slot)
	SELECT timestamptz '2026-01-01 00:00+00' + m * interval '1 minute', c, 1 + (m * 7 + c) % 13, 0, 1 + (m * 7 + c) % 13, 0
	FROM generate_series(0, 1439) m, generate_series(1, 5000) c;
SELECT evilnet.create_continuous_aggregate('reads_by_hour', $$
	SELECT evilnet.time_bucket('1 hour', bucket) AS bucket, city_id, evilnet.total(tweets) AS tweets, evilnet.total(retweets) AS retweets
	FROM reads_by_city GROUP BY 1, 2$$, in_background => false) \g /dev/null
VACUUM ANALYZE reads_by_city_slots, reads_by_hour_slots;
SET work_mem = '64MB';
\set top 'SELECT city_id, evilnet.total(tweets) AS tweets FROM reads_by_hour WHERE bucket >= ''2026-01-01 00:00+00'' AND bucket < ''2026-01-02 00:00+00'' GROUP BY city_id ORDER BY tweets DESC, city_id LIMIT 100'
\set series 'SELECT bucket, tweets FROM reads_by_city WHERE city_id = 2500 AND bucket >= ''2026-01-01 00:00+00'' AND bucket < ''2026-01-02 00:00+00'' ORDER BY bucket'
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
SELECT 'buckets', count(*) FROM reads_by_city_slots;
SELECT 'top 100', pg_temp.took(:'top');
SELECT 'series', pg_temp.took(:'series');
-- the same from the buckets themselves: an independent recount
SELECT 'differences', count(*) FROM (
	SELECT city_id, sum(tweets) FROM reads_by_hour GROUP BY city_id
	EXCEPT SELECT city_id, sum(tweets) FROM reads_by_city_slots GROUP BY city_id) d;
-- shown, not measured
\o /dev/stderr
EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off, SUMMARY on) :top;
EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off, SUMMARY on) :series;
\o
SELECT evilnet.drop_stream('reads') \g /dev/null
