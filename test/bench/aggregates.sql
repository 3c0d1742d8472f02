-- A stream with :count aggregates, and with :history older buckets in the first
-- one, over a topic that is already full.
SELECT set_config('bench.messages', :'messages', false), set_config('bench.count', :'count', false),
	set_config('bench.history', :'history', false) \g /dev/null
BEGIN;
SELECT evilnet.create_stream('bench', server => 'bus', topic => :'topic', dedup => false, store => false) \g /dev/null
SELECT evilnet.pause('bench') \g /dev/null
SELECT evilnet.drop_continuous_aggregate('bench_by_city') \g /dev/null
SELECT evilnet.create_continuous_aggregate('bench_' || i, CASE i % 4
		WHEN 1 THEN $$SELECT evilnet.time_bucket('1 minute', created_at) AS bucket, city_id, count(*) AS tweets,
			count(*) FILTER (WHERE kind = 'retweet') AS retweets FROM bench GROUP BY 1, 2$$
		WHEN 2 THEN $$SELECT evilnet.time_bucket('5 minutes', created_at) AS bucket, lang, count(*) AS tweets FROM bench GROUP BY 1, 2$$
		WHEN 3 THEN $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, city_id, kind, count(*) AS tweets FROM bench GROUP BY 1, 2, 3$$
		ELSE $$SELECT evilnet.time_bucket('10 minutes', created_at) AS bucket, city_id, count(*) AS tweets, min(id) AS first, max(id) AS last
			FROM bench GROUP BY 1, 2$$ END)
	FROM generate_series(1, :count) i \g /dev/null
COMMIT;
DO $$
DECLARE
	minutes int := current_setting('bench.history')::int / 5000;
	day date;
BEGIN
	IF minutes = 0 THEN
		RETURN;
	END IF;
	FOR day IN SELECT generate_series(date_trunc('day', now() - interval '3 hours' - minutes * interval '1 minute', 'UTC'), now(), '1 day') LOOP
		EXECUTE format('CREATE TABLE bench_1_slots_p%s PARTITION OF bench_1_slots FOR VALUES FROM (%L) TO (%L)',
			to_char(day, 'YYYYMMDD'), day::text || ' 00:00+00', (day + 1)::text || ' 00:00+00');
	END LOOP;
	INSERT INTO bench_1_slots (bucket, city_id, tweets, retweets, evilnet_rows, evilnet_slot)
		SELECT date_trunc('minute', now()) - interval '3 hours' - m * interval '1 minute', c, 0, 0, 0, 0
		FROM generate_series(1, minutes) m, generate_series(1, 5000) c;
END $$;
CHECKPOINT;
SELECT clock_timestamp() AS began \gset
SELECT evilnet.resume('bench') \g /dev/null
\ir wait_consumed.sql
SELECT 'wall', extract(epoch FROM clock_timestamp() - :'began');
SELECT 'journal', extract(epoch FROM max(committed_at) - min(started_at)) FROM evilnet.batch WHERE stream = 'bench'::regclass;
SELECT 'stage ' || stage, sum(microseconds) FROM evilnet.stat_stage WHERE stream = 'bench' GROUP BY stage;
SELECT :count > 0 AS any \gset
\if :any
SELECT 'counted', sum(tweets) FROM bench_1;
\endif
SELECT evilnet.drop_stream('bench') \g /dev/null
