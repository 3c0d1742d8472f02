-- create_stream and what is done to streams.  Nothing consumes here: streams are
-- created and paused in one transaction.
SET client_min_messages = warning;
SET timezone = 'UTC';
\set SHOW_CONTEXT never
CREATE SERVER stream_bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
CREATE FOREIGN DATA WRAPPER stream_other;
CREATE SERVER stream_other FOREIGN DATA WRAPPER stream_other;
SET client_min_messages = notice;

-- what became of a call of create_stream, and nothing of it stays
CREATE FUNCTION attempt(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE format('SELECT evilnet.create_stream(%s)', arguments);
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN CASE sqlstate WHEN 'ZZZZZ' THEN 'ok' ELSE concat_ws(' ', sqlstate, message, '| ' || nullif(detail, ''), '/ ' || nullif(hint, '')) END;
END $$;

-- arguments
\pset format unaligned
SELECT arguments, attempt(arguments) FROM (VALUES
	($$'t', 'stream_bus', 'tweets'$$),
	($$NULL, 'stream_bus', 'tweets'$$),
	($$'t', NULL, 'tweets'$$),
	($$'t', 'stream_bus', NULL$$),
	($$'t', 'stream_bus', 'tweets', start_at => NULL$$),
	($$'t', 'stream_bus', 'tweets', workers => NULL$$),
	($$'t', 'stream_bus', 'tweets', dedup => NULL$$),
	($$'t', 'stream_bus', 'tweets', store => NULL$$),
	($$'t', 'stream_bus', 'tweets', keep_raw => NULL$$),
	($$'t', 'stream_bus', 'tweets', on_error => NULL$$),
	($$'t', 'stream_bus', 'tweets', error_budget => NULL$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => NULL$$),
	($$'t', 'stream_bus', 'tweets', batch_messages => NULL$$),
	($$'t', 'stream_bus', 'tweets', batch_bytes => NULL$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => NULL$$),
	($$'t', 'stream_bus', 'tweets', if_not_exists => NULL$$),
	-- the server
	($$'t', 'nowhere', 'tweets'$$),
	($$'t', 'stream_other', 'tweets'$$),
	-- the name
	($$'', 'stream_bus', 'tweets'$$),
	($$'a.b.c.d', 'stream_bus', 'tweets'$$),
	($$'nowhere.t', 'stream_bus', 'tweets'$$),
	($$'"t', 'stream_bus', 'tweets'$$),
	($$'my tweets', 'stream_bus', 'tweets'$$),
	($$'pg_temp.t', 'stream_bus', 'tweets'$$),
	($$repeat('t', 63 - length('_by_city_slots')), 'stream_bus', 'tweets'$$),
	($$repeat('t', 64 - length('_by_city_slots')), 'stream_bus', 'tweets'$$),
	($$'evilnet.t', 'stream_bus', 'tweets'$$),
	-- the topic
	($$'t', 'stream_bus', ''$$),
	($$'t', 'stream_bus', '.'$$),
	($$'t', 'stream_bus', '..'$$),
	($$'t', 'stream_bus', '...'$$),
	($$'t', 'stream_bus', 'two words'$$),
	($$'t', 'stream_bus', 'tweets/toronto'$$),
	($$'t', 'stream_bus', 'montréal'$$),
	($$'t', 'stream_bus', E'tweets\n'$$),
	($$'t', 'stream_bus', 'Tweets_of.Toronto-09'$$),
	($$'t', 'stream_bus', repeat('t', 249)$$),
	($$'t', 'stream_bus', repeat('t', 250)$$),
	-- where to start
	($$'t', 'stream_bus', 'tweets', 'latest'$$),
	($$'t', 'stream_bus', 'tweets', '2026-01-31 12:00+01'$$),
	($$'t', 'stream_bus', 'tweets', 'LATEST'$$),
	($$'t', 'stream_bus', 'tweets', ''$$),
	($$'t', 'stream_bus', 'tweets', 'infinity'$$),
	($$'t', 'stream_bus', 'tweets', '-infinity'$$),
	($$'t', 'stream_bus', 'tweets', '2026-02-30'$$),
	($$'t', 'stream_bus', 'tweets', '2026-01-31 12:00 Mars/Olympus'$$),
	-- workers and batches
	($$'t', 'stream_bus', 'tweets', workers => 64$$),
	($$'t', 'stream_bus', 'tweets', workers => 0$$),
	($$'t', 'stream_bus', 'tweets', workers => 65$$),
	($$'t', 'stream_bus', 'tweets', workers => -1$$),
	($$'t', 'stream_bus', 'tweets', batch_messages => 0$$),
	($$'t', 'stream_bus', 'tweets', batch_messages => 1$$),
	($$'t', 'stream_bus', 'tweets', batch_messages => 1000000$$),
	($$'t', 'stream_bus', 'tweets', batch_messages => 1000001$$),
	($$'t', 'stream_bus', 'tweets', batch_bytes => 1023$$),
	($$'t', 'stream_bus', 'tweets', batch_bytes => 1024$$),
	($$'t', 'stream_bus', 'tweets', batch_bytes => 1073741823$$),
	($$'t', 'stream_bus', 'tweets', batch_bytes => 1073741824$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => '0'$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => '1 ms'$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => '999 microseconds'$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => '-1 s'$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => '1 hour'$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => '1 hour 1 ms'$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => '1 month -30 days +1 s'$$),
	($$'t', 'stream_bus', 'tweets', batch_interval => '200000000 days'$$),
	-- errors
	($$'t', 'stream_bus', 'tweets', on_error => 'stop'$$),
	($$'t', 'stream_bus', 'tweets', on_error => 'ignore'$$),
	($$'t', 'stream_bus', 'tweets', error_budget => 1$$),
	($$'t', 'stream_bus', 'tweets', error_budget => 0$$),
	($$'t', 'stream_bus', 'tweets', error_budget => 1.1$$),
	($$'t', 'stream_bus', 'tweets', error_budget => -0.0001$$),
	($$'t', 'stream_bus', 'tweets', error_budget => 'NaN'$$),
	-- what is stored
	($$'t', 'stream_bus', 'tweets', store => false$$),
	($$'t', 'stream_bus', 'tweets', store => false, dedup => false$$),
	($$'t', 'stream_bus', 'tweets', store => false, dedup => true$$),
	($$'t', 'stream_bus', 'tweets', store => false, keep_raw => true$$),
	-- partitions
	($$'t', 'stream_bus', 'tweets', partition_interval => '1 hour'$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => '7 days'$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => '7 hours'$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => '36 hours'$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => '1 month'$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => '30 seconds'$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => '0'$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => '-1 day'$$),
	($$'t', 'stream_bus', 'tweets', partition_interval => '200000000 days'$$)) v(arguments);
\pset format aligned

-- a stream, and what it is made of
BEGIN;
SELECT evilnet.create_stream('posts', server => 'stream_bus', topic => 'tweets', keep_raw => true);
SELECT evilnet.pause('posts');
COMMIT;
\d posts
\d posts_deletes
\d posts_by_city
\d posts_by_city_slots
SELECT stream, server, topic, start_at, workers, dedup, store, keep_raw, on_error, error_budget,
	partition_interval, batch_messages, batch_bytes, batch_interval, deletes, enabled, stop_reason, home = evilnet.home() AS at_home
FROM evilnet.stream \gx
SELECT aggregate, stream, query, storage FROM evilnet.continuous_aggregate;
SELECT stream, relation, worker, state, pid, messages, last_error FROM evilnet.stat_stream;
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class WHERE relname LIKE 'posts%' AND relkind IN ('p', 'r', 'v') ORDER BY relname COLLATE "C";

-- once more
SELECT evilnet.create_stream('posts', server => 'stream_bus', topic => 'tweets');
SELECT evilnet.create_stream('posts', server => 'stream_bus', topic => 'tweets', if_not_exists => true);
SELECT evilnet.create_stream('posts', server => 'stream_bus', topic => 'tweets', workers => 0, if_not_exists => true);
SELECT evilnet.create_stream('posts_by_city', server => 'stream_bus', topic => 'tweets');
CREATE VIEW taken_by_city AS SELECT 1;
SELECT evilnet.create_stream('taken', server => 'stream_bus', topic => 'tweets');
SELECT to_regclass('taken');
DROP VIEW taken_by_city;

-- without the posts
BEGIN;
SELECT evilnet.create_stream('counted', server => 'stream_bus', topic => 'tweets', store => false);
SELECT evilnet.pause('counted');
COMMIT;
SELECT stream, dedup, store, deletes FROM evilnet.stream WHERE stream = 'counted'::regclass;
SELECT relname FROM pg_class WHERE relname LIKE 'counted%' ORDER BY relname COLLATE "C";

-- names that want quotes, a schema of their own
CREATE SCHEMA "Odd Schema";
BEGIN;
SELECT evilnet.create_stream('"Odd Schema"."My ""posts"""', server => 'stream_bus', topic => 'odd.topic-1_', workers => 2);
SELECT evilnet.pause('"Odd Schema"."My ""posts"""');
COMMIT;
SELECT stream, topic, deletes FROM evilnet.stream WHERE stream = '"Odd Schema"."My ""posts"""'::regclass;
SELECT * FROM evilnet.city_counts('"Odd Schema"."My ""posts"""');
SELECT stream, relation, worker, state FROM evilnet.stat_stream WHERE relation = '"Odd Schema"."My ""posts"""'::regclass;
ALTER TABLE "Odd Schema"."My ""posts""" RENAME TO plain;
SELECT stream, relation FROM evilnet.stat_stream WHERE worker = 1;
SELECT evilnet.drop_stream('"Odd Schema".plain');
SELECT count(*) FROM pg_class WHERE relnamespace = '"Odd Schema"'::regnamespace;
DROP SCHEMA "Odd Schema";

-- unqualified names go where CREATE TABLE puts them
CREATE SCHEMA first_schema;
SET search_path = first_schema, public;
BEGIN;
SELECT evilnet.create_stream('there', server => 'stream_bus', topic => 'tweets');
SELECT evilnet.pause('there');
COMMIT;
RESET search_path;
SELECT stream FROM evilnet.stream WHERE stream::text LIKE '%there';
SELECT evilnet.drop_stream('first_schema.there');
DROP SCHEMA first_schema;

-- where it starts is kept whatever the session's settings are
SET datestyle = 'SQL, DMY';
SET timezone = 'America/Toronto';
BEGIN;
SELECT evilnet.create_stream('since', server => 'stream_bus', topic => 'tweets', start_at => '03/02/2026 01:30');
SELECT evilnet.pause('since');
COMMIT;
SELECT start_at FROM evilnet.stream WHERE stream = 'since'::regclass;
SET datestyle = 'German';
BEGIN;
SELECT evilnet.seek('since', '3.2.2026 01:30 UTC');
SELECT evilnet.pause('since');
COMMIT;
SELECT start_at FROM evilnet.stream WHERE stream = 'since'::regclass;
RESET datestyle;
SET timezone = 'UTC';

-- pause, resume, seek: at once where nothing runs, as often as wanted
SELECT evilnet.pause('since');
SELECT evilnet.pause('since');
SELECT enabled FROM evilnet.stream WHERE stream = 'since'::regclass;
BEGIN;
UPDATE evilnet.stream SET stop_reason = 'a reason' WHERE stream = 'since'::regclass;
SELECT state, last_error FROM evilnet.stat_stream WHERE stream = 'since';
SELECT evilnet.resume('since');
SELECT enabled, stop_reason FROM evilnet.stream WHERE stream = 'since'::regclass;
INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, messages, rows) VALUES ('since', 0, 100, 1, 100, 100);
INSERT INTO evilnet.batch (stream, kafka_partition, from_offset, to_offset, worker, messages, rows, duplicates, deletes,
	suppressed, notices, dead_letters, rows_deleted, gaps, started_at, committed_at)
	VALUES ('since', 0, 0, 100, 0, 100, 100, 0, 0, 0, 0, 0, 0, 0, now(), now());
SELECT messages, rows FROM evilnet.stat_stream WHERE stream = 'since';
SELECT evilnet.seek('since', 'latest');
SELECT start_at, enabled FROM evilnet.stream WHERE stream = 'since'::regclass;
SELECT count(*) FROM evilnet.stream_offset WHERE stream = 'since'::regclass;
SELECT count(*) FROM evilnet.batch WHERE stream = 'since'::regclass;
ROLLBACK;
SELECT evilnet.seek('since', 'soon');
SELECT evilnet.seek('since', 'infinity');
SELECT evilnet.seek('since', '31/31/2026');
SELECT evilnet.seek('since', NULL);

-- what is no stream
CREATE TABLE plain (a int);
SELECT evilnet.pause('plain');
SELECT evilnet.resume('plain');
SELECT evilnet.seek('plain', 'earliest');
SELECT evilnet.drop_stream('plain');
SELECT evilnet.drop_stream('nothing');
SELECT evilnet.drop_stream(0);
SELECT evilnet.drop_stream(NULL);
SELECT evilnet.drop_stream('posts_by_city');
DROP TABLE plain;

-- a transaction that may not write
BEGIN READ ONLY;
SELECT evilnet.pause('posts');
ROLLBACK;
BEGIN READ ONLY;
SELECT evilnet.create_stream('t', server => 'stream_bus', topic => 'tweets');
ROLLBACK;

-- topics that Kafka cannot have
SELECT evilnet.produce('stream_bus', '', ARRAY['one']);
SELECT evilnet.produce('stream_bus', '..', ARRAY['one']);
SELECT evilnet.produce('stream_bus', 'two words', ARRAY['one']);
SELECT evilnet.produce('stream_bus', repeat('t', 250), ARRAY['one']);

-- trigger functions are for the extension's own triggers
SELECT evilnet.stream_changed();

-- the end
SELECT evilnet.drop_stream(stream) FROM evilnet.stream;
SELECT count(*) FROM evilnet.continuous_aggregate;
SELECT relname FROM pg_class WHERE relname ~ '^(posts|counted|since)';
DROP FUNCTION attempt;
SET client_min_messages = warning;
DROP FOREIGN DATA WRAPPER stream_other CASCADE;
DROP SERVER stream_bus;
