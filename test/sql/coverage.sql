-- What was consumed: watermark, coverage, stat_watermark.  Nothing consumes
-- here: the books are written by hand.
SET client_min_messages = warning;
SET timezone = 'UTC';
\set SHOW_CONTEXT never
CREATE SERVER coverage_bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
BEGIN;
SELECT evilnet.create_stream('seen', server => 'coverage_bus', topic => 'seen');
SELECT evilnet.pause('seen');
COMMIT;

-- times of one day, in short
CREATE FUNCTION at(t text) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT ('2026-05-01 ' || t || '+00')::timestamptz $$;
CREATE FUNCTION hm(t timestamptz) RETURNS text LANGUAGE sql AS $$ SELECT CASE WHEN isfinite(t) THEN to_char(t, 'HH24:MI') ELSE t::text END $$;
-- a partition's row: read from an offset on, not from its beginning
CREATE FUNCTION put(p int, since text, until text, of int DEFAULT 2, start bigint DEFAULT 100) RETURNS void LANGUAGE sql AS $$
	INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, messages, gaps, covered_since, covered_until)
	VALUES ('seen', p, start + 30, of, 20, 10, at(since), at(until)) $$;
CREATE FUNCTION put_span(p int, since text, until text, ended_by text DEFAULT 'expired') RETURNS void LANGUAGE sql AS $$
	INSERT INTO evilnet.coverage_span (stream, kafka_partition, since, until, ended_by, ended_at)
	VALUES ('seen', p, at(since), at(until), ended_by, at(until)) $$;
CREATE FUNCTION seen(since timestamptz DEFAULT at('10:00'), until timestamptz DEFAULT at('18:00')) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s-%s %s', hm(span_start), hm(span_end), state), ', ' ORDER BY o)
	FROM evilnet.coverage('seen', since, until) WITH ORDINALITY c(span_start, span_end, state, o) $$;
-- the range is cut exactly: without overlap, without a break, sorted, neighbours of another state
CREATE FUNCTION cut_badly(since timestamptz, until timestamptz) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM (
		SELECT c.*, lag(span_end, 1, since) OVER w AS before, lag(state) OVER w AS state_before,
			lead(span_start, 1, until) OVER w AS after
		FROM evilnet.coverage('seen', since, until) WITH ORDINALITY c(span_start, span_end, state, o)
		WINDOW w AS (ORDER BY o)) c
	WHERE span_start >= span_end OR span_start <> before OR span_end <> after OR state IS NOT DISTINCT FROM state_before $$;

-- nothing read yet
SELECT evilnet.watermark('seen'), seen();

-- one partition of two: the other may hold anything
BEGIN;
SELECT put(0, '11:00', '15:00');
SELECT evilnet.watermark('seen'), seen();
-- it has a row, but nothing of it was read
SELECT put(1, NULL, NULL);
SELECT evilnet.watermark('seen'), seen();
ROLLBACK;

-- both: the later beginning, the earlier end
BEGIN;
SELECT put(0, '11:00', '15:00');
SELECT put(1, '12:00', '16:00');
SELECT hm(evilnet.watermark('seen')), seen();
SELECT seen(at('11:00'), at('12:00')), seen(at('12:00'), at('15:00')), seen(at('12:30'), at('13:00')), seen(at('15:00'), at('15:01'));
SELECT seen('-infinity', 'infinity');
SELECT seen(at('13:00'), at('13:00'));
ROLLBACK;

-- what was read from its first message on misses nothing before it
BEGIN;
SELECT put(0, '11:00', '15:00', start => 0);
SELECT put(1, '12:00', '16:00', start => 0);
SELECT hm(evilnet.watermark('seen')), seen();
-- a partition that was added
SELECT put(2, '14:00', '16:00', of => 3, start => 0);
SELECT hm(evilnet.watermark('seen')), seen();
-- and another one, of which nothing was read yet
SELECT put(3, NULL, NULL, of => 4, start => 0);
SELECT evilnet.watermark('seen'), seen();
ROLLBACK;

-- holes
BEGIN;
SELECT put_span(0, '11:00', '12:00');
SELECT put(0, '13:00', '16:00');
SELECT put(1, '11:00', '16:00');
SELECT hm(evilnet.watermark('seen')), seen();
-- of both partitions, overlapping
UPDATE evilnet.stream_offset SET covered_since = at('13:30') WHERE kafka_partition = 1;
SELECT put_span(1, '11:00', '12:30');
SELECT seen();
-- a second one
SELECT put_span(0, '13:00', '14:00');
UPDATE evilnet.stream_offset SET covered_since = at('14:30') WHERE kafka_partition = 0;
SELECT seen();
SELECT stream, relation, kafka_partition, next_offset, hm(covered_since) AS covered_since, hm(covered_until) AS covered_until, holes,
	abs(seconds_behind - extract(epoch FROM now() - at('16:00'))) < 60 AS behind
FROM evilnet.stat_watermark WHERE stream = 'seen' ORDER BY kafka_partition;
-- the message after the last hole did not come yet
UPDATE evilnet.stream_offset SET covered_since = NULL, covered_until = at('14:00') WHERE kafka_partition = 0;
SELECT hm(evilnet.watermark('seen')), seen();
ROLLBACK;

-- a span that lasted no time marks where a hole begins
BEGIN;
SELECT put_span(0, '12:00', '12:00');
SELECT put(0, '13:00', '16:00', of => 1);
SELECT seen();
ROLLBACK;

-- seek() ends the spans and keeps them
BEGIN;
SELECT put(0, '11:00', '15:00', start => 0);
SELECT put(1, '12:00', '16:00', start => 0);
SELECT put(2, NULL, NULL, of => 3);
SELECT put(3, '12:30', '17:00', of => 4);
SELECT evilnet.seek('seen', 'latest');
SELECT evilnet.pause('seen');
SELECT kafka_partition, hm(since) AS since, hm(until) AS until, ended_by FROM evilnet.coverage_span ORDER BY kafka_partition;
SELECT count(*) FROM evilnet.stream_offset;
SELECT evilnet.watermark('seen'), seen();
-- forwards, to a topic of two partitions by now
SELECT put(0, '16:30', '17:30'), put(1, '16:40', '17:20');
SELECT hm(evilnet.watermark('seen')), seen();
ROLLBACK;
-- backwards: what was read before counts
BEGIN;
SELECT put(0, '11:00', '15:00', of => 1);
SELECT evilnet.seek('seen', 'earliest');
SELECT evilnet.pause('seen');
SELECT put(0, '10:30', '13:00', of => 1);
SELECT hm(evilnet.watermark('seen')), seen();
UPDATE evilnet.stream_offset SET covered_until = at('17:00');
SELECT hm(evilnet.watermark('seen')), seen();
-- once more, over spans that overlap
SELECT evilnet.seek('seen', 'latest');
SELECT evilnet.pause('seen');
SELECT put(0, '17:30', '17:40', of => 1);
SELECT seen();
ROLLBACK;

-- any books give a range that is cut exactly
BEGIN;
SELECT setseed(0.4);
DO $$
DECLARE
	bad bigint := 0;
	found text[] := '{}';
BEGIN
	FOR round IN 1 .. 100 LOOP
		DELETE FROM evilnet.stream_offset;
		DELETE FROM evilnet.coverage_span;
		INSERT INTO evilnet.coverage_span (stream, kafka_partition, since, until, ended_by)
			SELECT 'seen', random() * 3, t, t + random() * interval '2 hours', 'seek'
			FROM generate_series(1, (random() * 6)::int) i, LATERAL (SELECT at('10:00') + random() * interval '6 hours' + i * interval '0') r(t);
		INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, messages, covered_since, covered_until)
			SELECT 'seen', p, 10, 3, (random() * 10)::int, CASE WHEN random() < 0.8 THEN t END, t + random() * interval '2 hours'
			FROM generate_series(0, 2) p, LATERAL (SELECT at('12:00') + random() * interval '4 hours' + p * interval '0') r(t) WHERE random() < 0.9;
		bad := bad + cut_badly(at('11:00'), at('17:00')) + cut_badly('-infinity', 'infinity');
		found := found || (SELECT array_agg(DISTINCT state) FROM evilnet.coverage('seen', at('11:00'), at('17:00')));
	END LOOP;
	RAISE WARNING 'cut badly: %, states: %', bad, (SELECT array_agg(DISTINCT s ORDER BY s) FROM unnest(found) s);
END $$;
ROLLBACK;

-- arguments
SELECT evilnet.watermark(NULL);
SELECT * FROM evilnet.coverage(NULL);
SELECT * FROM evilnet.coverage('seen', since => NULL);
SELECT * FROM evilnet.coverage('seen', until => NULL);
SELECT * FROM evilnet.coverage('seen', at('12:00'), at('11:00'));
SELECT span_end - span_start AS span, state FROM evilnet.coverage('seen');
CREATE TABLE unseen (a int);
SELECT evilnet.watermark('unseen');
SELECT * FROM evilnet.coverage('unseen');
SELECT evilnet.watermark(0);
DROP TABLE unseen;

-- who may ask: who may read the posts, or the counts
CREATE ROLE coverage_reader;
SET ROLE coverage_reader;
SELECT evilnet.watermark('seen');
SELECT * FROM evilnet.coverage('seen');
RESET ROLE;
GRANT SELECT ON seen_by_city TO coverage_reader;
SET ROLE coverage_reader;
SELECT count(*) FROM evilnet.coverage('seen');
RESET ROLE;
REVOKE SELECT ON seen_by_city FROM coverage_reader;
GRANT SELECT ON seen TO coverage_reader;
BEGIN;
SELECT put(0, '11:00', '15:00', of => 1);
SELECT put_span(0, '10:00', '10:30');
SET ROLE coverage_reader;
SELECT hm(evilnet.watermark('seen')), seen();
-- the books themselves are the owner's
SELECT (SELECT count(*) FROM evilnet.stat_watermark), (SELECT count(*) FROM evilnet.coverage_span), (SELECT count(*) FROM evilnet.stream_offset);
SELECT evilnet.end_spans('seen', 0, 'seek');
ROLLBACK;
REVOKE SELECT ON seen FROM coverage_reader;
DROP ROLE coverage_reader;

-- they go with the stream
SELECT put_span(0, '10:00', '10:30');
SELECT evilnet.drop_stream('seen');
SELECT count(*) FROM evilnet.coverage_span;
DROP FUNCTION at, hm, put, put_span, seen, cut_badly;
DROP SERVER coverage_bus;
