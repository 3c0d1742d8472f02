-- Alerts: what enters and leaves, and when.  Nothing consumes here; posts are
-- stored by hand, and the stream's clock is that of its posts.
SET client_min_messages = warning;
SET timezone = 'UTC';
\set SHOW_CONTEXT never
CREATE SERVER alert_bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
CREATE ROLE alert_owner;
CREATE ROLE alert_stranger;
GRANT USAGE ON FOREIGN SERVER alert_bus TO alert_owner;
GRANT CREATE, USAGE ON SCHEMA public TO alert_owner;
BEGIN;
SET LOCAL ROLE alert_owner;
SELECT evilnet.create_stream('heard', server => 'alert_bus', topic => 'heard');
SELECT evilnet.pause('heard');
COMMIT;
-- as if Kafka always brought something: then posts say which bucket is over, not the clock
INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, updated_at)
	VALUES ('heard', 0, 0, 1, 'infinity');
SELECT evilnet.create_continuous_aggregate('by_lang', $$SELECT evilnet.time_bucket('1 minute', created_at) AS minute, lang,
	count(*) AS posts, count(*) FILTER (WHERE kind = 'retweet') AS retweets, hll_add_agg(hll_hash_bigint(author_id)) AS authors
	FROM heard GROUP BY 1, 2$$, in_background => false);
SELECT evilnet.create_continuous_aggregate('by_minute', $$SELECT evilnet.time_bucket('1 minute', created_at) AS minute,
	count(*) AS posts FROM heard GROUP BY 1$$, in_background => false);
SET client_min_messages = notice;

-- n posts at a time of one day, by a worker
CREATE SEQUENCE post_ids;
CREATE FUNCTION post(at text, lang text, n int, worker int DEFAULT 0) RETURNS bigint LANGUAGE sql AS $$
	SELECT (evilnet.store_messages('heard', array_agg(json_build_object('id', nextval('post_ids')::text,
		'created_at', '2026-01-31T' || at || 'Z', 'author_id', '7', 'text', 'hello', 'lang', lang)::text), worker)).rows
	FROM generate_series(1, n)
$$;
-- what happened since it was asked last
CREATE FUNCTION news(OUT alert text, OUT event text, OUT keys jsonb, OUT bucket time, OUT results jsonb) RETURNS SETOF record LANGUAGE sql AS $$
	WITH gone AS (DELETE FROM evilnet.alert_event RETURNING *)
	SELECT alert, event, keys, bucket::time, results FROM gone ORDER BY id
$$;
CREATE FUNCTION attempt(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	kept text;
	message text;
	hint text;
BEGIN
	EXECUTE format('SELECT evilnet.create_alert(%s)', arguments);
	SELECT condition || coalesce(' / ' || leave_condition, '') INTO kept FROM evilnet.alert ORDER BY created_at DESC LIMIT 1;
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN CASE sqlstate WHEN 'ZZZZZ' THEN 'ok: ' || kept ELSE concat_ws(' ', sqlstate, message, '/ ' || nullif(hint, '')) END;
END $$;

-- arguments
CREATE SCHEMA elsewhere;
GRANT USAGE ON SCHEMA elsewhere TO alert_owner;
CREATE FUNCTION elsewhere.many() RETURNS int LANGUAGE sql STABLE AS 'SELECT 100';
CREATE TABLE elsewhere.limits (lang text, most int);
CREATE TABLE elsewhere.hidden (most int);
GRANT SELECT ON elsewhere.limits TO alert_owner;
SET search_path = public, elsewhere;
\pset format unaligned
SELECT arguments, attempt(arguments) FROM (VALUES
	($$'a', 'by_lang', 'posts > 100'$$),
	($$'a', 'by_lang', 'posts > 100', 'posts < 50'$$),
	($$NULL, 'by_lang', 'posts > 100'$$),
	($$'a', NULL, 'posts > 100'$$),
	($$'a', 'by_lang', NULL$$),
	($$'a', 'by_lang', 'posts > 100', notify => NULL$$),
	($$'a', 'by_lang', 'posts > 100', if_not_exists => NULL$$),
	-- the name
	($$'', 'by_lang', 'posts > 100'$$),
	($$repeat('a', 63), 'by_lang', 'posts > 100'$$),
	($$repeat('a', 64), 'by_lang', 'posts > 100'$$),
	-- the aggregate
	($$'a', 'heard', 'posts > 100'$$),
	($$'a', 'by_lang_slots', 'posts > 100'$$),
	($$'a', 'nowhere', 'posts > 100'$$),
	-- names are kept qualified, values spelled out
	($$'a', 'by_lang', 'posts > many() AND minute > ''2026-01-31 12:00 America/Toronto'''$$),
	($$'a', 'by_lang', 'posts > (SELECT most FROM limits l WHERE l.lang = by_lang.lang)'$$),
	($$'a', 'by_lang', 'by_lang.lang IS NULL'$$),
	-- what the owner of the stream may not do
	($$'a', 'by_lang', 'posts > (SELECT most FROM hidden)'$$),
	-- one boolean expression over the columns
	($$'a', 'by_lang', ''$$),
	($$'a', 'by_lang', 'posts'$$),
	($$'a', 'by_lang', 'nothing > 100'$$),
	($$'a', 'by_lang', 'posts > '$$),
	($$'a', 'by_lang', 'true, false'$$),
	($$'a', 'by_lang', 'posts > 100) OR (true'$$),
	($$'a', 'by_lang', 'posts > 100; DROP TABLE heard'$$),
	($$'a', 'by_lang', 'true FROM heard'$$),
	($$'a', 'by_lang', 'true AS yes'$$),
	($$'a', 'by_lang', 'posts > 100 LIMIT 1'$$),
	($$'a', 'by_lang', 'sum(posts) > 100'$$),
	($$'a', 'by_lang', 'generate_series(1, 2) = 1'$$),
	($$'a', 'by_lang', 'posts > $1'$$),
	($$'a', 'by_lang', 'by_lang IS NULL'$$),
	($$'a', 'by_lang', 'posts > 1 / 0'$$),
	($$'a', 'by_lang', 'posts > 100', 'retweets'$$),
	-- of functions that only look
	($$'a', 'by_lang', 'now() > minute'$$),
	($$'a', 'by_lang', 'posts > random()'$$),
	($$'a', 'by_lang', 'posts > (SELECT nextval(''post_ids''))'$$),
	($$'a', 'by_lang', 'posts > 100', 'clock_timestamp() > minute'$$)) v(arguments);
\pset format aligned
RESET search_path;

-- a group enters once, in the batch that makes it satisfy the condition
SELECT evilnet.create_alert('loud', 'by_lang', 'posts >= 3', 'posts < 2');
SELECT name, aggregate, condition, leave_condition, notify, enabled, error FROM evilnet.alert;
SELECT post('12:00:00', 'en', 2);
SELECT * FROM news();
SELECT post('12:00:10', 'en', 1), post('12:00:10', 'fr', 2), post('12:00:10', NULL, 4);
SELECT * FROM news();
SELECT post('12:00:20', 'en', 5), post('12:00:20', NULL, 1);
SELECT * FROM news();
SELECT alert, keys, bucket FROM evilnet.alert_state ORDER BY keys;

-- nobody leaves before a bucket is over
SELECT evilnet.maintain('heard');
SELECT * FROM news();

-- with a bucket that is over, who is quiet leaves, and who is gone; who is between the two thresholds stays
SELECT post('12:01:00', 'en', 2), post('12:01:00', 'fr', 3), post('12:02:00', 'fr', 1);
SELECT * FROM news();
SELECT evilnet.maintain('heard');
SELECT * FROM news();
SELECT alert, keys, bucket FROM evilnet.alert_state ORDER BY keys;
-- fr is at 1 in a bucket that goes on
SELECT evilnet.maintain('heard');
SELECT * FROM news();
SELECT post('12:03:00', 'en', 1);
SELECT evilnet.maintain('heard');
SELECT * FROM news();

-- who left may enter again
SELECT post('12:03:30', 'en', 3);
SELECT * FROM news();

-- one batch, several buckets of a group: the first one that satisfies the condition
BEGIN;
SELECT evilnet.create_alert('any', 'by_lang', 'lang = ''de''');
SELECT evilnet.store_messages('heard', array_agg(json_build_object('id', nextval('post_ids')::text,
	'created_at', format('2026-01-31T12:0%s:00Z', i), 'author_id', '7', 'text', 'hello', 'lang', 'de')::text)) FROM generate_series(4, 6) i;
SELECT * FROM news();
ROLLBACK;

-- what the batch brings is added to what others stored
SELECT post('12:04:00', 'it', 2), post('12:04:01', 'it', 1, 1);
SELECT * FROM news();
-- what two workers stored at the same moment neither could see: put here by hand
INSERT INTO by_lang_slots (minute, lang, posts, retweets, evilnet_rows, evilnet_slot)
	VALUES ('2026-01-31 12:04', 'pt', 2, 0, 2, 0), ('2026-01-31 12:04', 'pt', 2, 0, 2, 1);
SELECT evilnet.maintain('heard');
SELECT * FROM news();

-- a clock says it too when nothing comes
UPDATE evilnet.stream_offset SET updated_at = '-infinity' WHERE stream = 'heard'::regclass;
SELECT evilnet.maintain('heard');
SELECT alert, event, keys, results FROM news();
SELECT count(*) FROM evilnet.alert_state;
UPDATE evilnet.stream_offset SET updated_at = 'infinity' WHERE stream = 'heard'::regclass;

-- an aggregate of one group; leave is the condition's opposite, also where it is null
SELECT evilnet.create_alert('flood', 'by_minute', 'nullif(posts, 1) > 4', notify => false);
SELECT post('12:10:00', 'en', 5), post('12:11:00', 'en', 1), post('12:12:00', 'en', 1);
SELECT evilnet.maintain('heard');
SELECT * FROM news() WHERE alert = 'flood';
-- what satisfies both neither leaves nor flutters
SELECT evilnet.alter_alert('flood', condition => 'posts > 4', leave => 'posts < 100');
SELECT post('12:13:00', 'en', 5), post('12:14:00', 'en', 1);
SELECT evilnet.maintain('heard');
SELECT evilnet.maintain('heard');
SELECT * FROM news() WHERE alert = 'flood';

-- change it
SELECT evilnet.drop_alert('loud');
SELECT evilnet.alter_alert('flood', notify => true, leave => '', rename_to => 'wave');
SELECT name, condition, leave_condition, notify FROM evilnet.alert;
SELECT alert, keys, bucket FROM evilnet.alert_state;
SELECT count(*) > 0 AS cleared FROM news();

-- an error disables the alert and nothing else
SELECT evilnet.create_alert('ratio', 'by_lang', '100 / (posts - 3) > 10');
SELECT evilnet.create_alert('sound', 'by_lang', 'posts = 3');
SELECT post('12:30:00', 'en', 3);
SELECT * FROM news();
SELECT name, enabled, error FROM evilnet.alert ORDER BY name;
SELECT sum(posts) FROM by_lang WHERE minute = '2026-01-31 12:30';
SELECT post('12:30:00', 'es', 4);
SELECT * FROM news() WHERE alert = 'ratio';
SELECT evilnet.alter_alert('ratio', condition => '100 / nullif(posts - 3, 0) > 10', enabled => true);
SELECT post('12:31:00', 'es', 4);
SELECT * FROM news() WHERE alert = 'ratio';
SELECT name, enabled, error FROM evilnet.alert WHERE name = 'ratio';
SELECT evilnet.alter_alert('ratio', enabled => false);
SELECT post('12:32:00', 'nl', 4);
SELECT count(*) FROM news() WHERE alert = 'ratio';
-- so does what it needs and is gone
SELECT evilnet.alter_alert('sound', condition => 'posts > elsewhere.many() - 99');
SELECT post('12:33:00', 'sv', 2);
SELECT * FROM news() WHERE alert = 'sound';
DROP FUNCTION elsewhere.many;
SELECT post('12:34:00', 'da', 2);
SELECT enabled, error FROM evilnet.alert WHERE name = 'sound';
-- and in maintenance
SELECT evilnet.alter_alert('sound', condition => 'posts > 1', leave => '1 / (posts - 1) = 0', enabled => true);
SELECT post('12:35:00', 'sv', 2), post('12:36:00', 'sv', 1), post('12:37:00', 'en', 1);
SELECT evilnet.maintain('heard');
SELECT enabled, error FROM evilnet.alert WHERE name = 'sound';
SELECT evilnet.alter_alert('sound', leave => 'posts = 1');
SELECT enabled, error FROM evilnet.alert WHERE name = 'sound';
SELECT evilnet.alter_alert('sound', enabled => true);
SELECT evilnet.maintain('heard');
SELECT * FROM news() WHERE alert = 'sound';

-- what does not exist, or exists already
SELECT evilnet.create_alert('wave', 'by_minute', 'true');
SELECT evilnet.create_alert('wave', 'by_minute', 'true', if_not_exists => true);
SELECT evilnet.create_alert('wave', 'by_lang', 'true', if_not_exists => true);
SELECT evilnet.alter_alert('nothing', enabled => true);
SELECT evilnet.alter_alert(NULL, enabled => true);
SELECT evilnet.alter_alert('wave', rename_to => 'sound');
SELECT evilnet.alter_alert('wave', condition => 'nothing > 0');
SELECT evilnet.drop_alert('nothing');
SELECT evilnet.drop_alert('nothing', if_exists => true);

-- names change, alerts go on
SELECT evilnet.create_alert('kept', 'by_lang', 'posts > 9');
SELECT evilnet.alter_continuous_aggregate('by_lang', rename_to => 'per_lang');
SELECT post('12:40:00', 'en', 10);
SELECT * FROM news() WHERE alert = 'kept';
-- but for a name that the condition has
ALTER VIEW per_lang RENAME COLUMN posts TO n;
SELECT post('12:41:00', 'sw', 10);
SELECT enabled, error FROM evilnet.alert WHERE name = 'kept';
SELECT evilnet.alter_alert('kept', condition => 'n > 9', enabled => true);
SELECT post('12:42:00', 'sw', 1);
SELECT evilnet.maintain('heard');
SELECT * FROM news() WHERE alert = 'kept';

-- an expression has the rights of the stream's owner, whoever made it and whoever stores or maintains
CREATE FUNCTION elsewhere.reader() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
CREATE FUNCTION elsewhere.rise() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	CREATE ROLE alert_made;
	RETURN true;
END $$;
CREATE FUNCTION elsewhere.rise(posts bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN elsewhere.rise(); END';
SELECT evilnet.create_alert('reader', 'by_minute', 'elsewhere.reader() = ''alert_owner''');
SET ROLE alert_owner;
SELECT evilnet.create_alert('rise', 'by_minute', 'elsewhere.rise(posts)');
RESET ROLE;
SELECT post('12:50:00', 'en', 1);
SELECT * FROM news() WHERE alert = 'reader';
SELECT enabled, error FROM evilnet.alert WHERE name = 'rise';
SELECT evilnet.alter_alert('rise', enabled => true);
SELECT evilnet.maintain('heard');
SELECT enabled, error FROM evilnet.alert WHERE name = 'rise';
SELECT count(*) FROM pg_roles WHERE rolname = 'alert_made';

-- only who owns the stream
SET ROLE alert_stranger;
SELECT evilnet.create_alert('mine', 'by_minute', 'posts > 0');
SELECT evilnet.alter_alert('wave', enabled => false);
SELECT evilnet.drop_alert('wave');
SELECT (SELECT count(*) FROM evilnet.alert) AS alerts, (SELECT count(*) FROM evilnet.alert_state) AS states, (SELECT count(*) FROM evilnet.alert_event) AS events;
DELETE FROM evilnet.alert_event;
DELETE FROM evilnet.alert_state;
UPDATE evilnet.alert SET condition = 'true';
SET ROLE alert_owner;
SELECT (SELECT count(*) > 0 FROM evilnet.alert) AS alerts, (SELECT count(*) > 0 FROM evilnet.alert_state) AS states, (SELECT count(*) > 0 FROM evilnet.alert_event) AS events;
DELETE FROM evilnet.alert_state;
UPDATE evilnet.alert SET condition = 'true';
RESET ROLE;

DROP TABLE heard CASCADE;
SELECT (SELECT count(*) FROM evilnet.alert) AS alerts, (SELECT count(*) FROM evilnet.alert_state) AS states, (SELECT count(*) FROM evilnet.alert_event) AS events;
SET client_min_messages = warning;
DROP SERVER alert_bus CASCADE;
DROP SCHEMA elsewhere CASCADE;
DROP FUNCTION post, news, attempt;
DROP SEQUENCE post_ids;
DROP ROLE alert_stranger;
DROP OWNED BY alert_owner;
DROP ROLE alert_owner;
