-- Continuous aggregates: what is kept equals the query over the table, whatever
-- is done to stream, aggregates and lookups; and what cannot be kept is refused
-- in words.  The stream is paused: messages are stored by store_messages.
SET client_min_messages = warning;
SET timezone = 'UTC';
\set SHOW_CONTEXT never
CREATE SERVER agg_bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');

CREATE FUNCTION post(id bigint, at timestamptz, city text DEFAULT 'Toronto', lang text DEFAULT 'en', tags text[] DEFAULT '{}', body text DEFAULT 'a post')
RETURNS text LANGUAGE sql AS $$
	SELECT json_build_object('data', json_build_object('id', id::text, 'created_at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"'),
			'author_id', (id % 17)::text, 'text', body, 'lang', lang, 'geo', json_build_object('place_id', 'p'),
			'entities', json_build_object('hashtags', (SELECT coalesce(json_agg(json_build_object('tag', t)), '[]') FROM unnest(tags) t))),
		'includes', json_build_object('places', json_build_array(json_build_object('id', 'p', 'full_name', city || ', Canada', 'country_code', 'CA'))))::text
$$;
CREATE FUNCTION gone(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT format('{"delete":{"status":{"id":%s,"user_id":1},"timestamp_ms":"1562135580658"}}', id)
$$;
CREATE FUNCTION store(stream regclass, VARIADIC messages text[]) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s rows, %s deletes', rows, deletes) || CASE WHEN dead_letters > 0 THEN ', dead letters' ELSE '' END FROM evilnet.store_messages(stream, messages)
$$;
-- what became of a statement, and nothing of it stays
CREATE FUNCTION attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN CASE sqlstate WHEN 'ZZZZZ' THEN 'ok' ELSE concat_ws(' ', sqlstate, message, '| ' || nullif(detail, ''), '/ ' || nullif(hint, '')) END;
END $$;
CREATE FUNCTION refused(query text) RETURNS text LANGUAGE sql AS $$
	SELECT attempt(format('SELECT evilnet.create_continuous_aggregate(''refused'', %L, in_background => false)', query))
$$;
-- rows of an aggregate, and how many of them differ from its query and by verify
CREATE FUNCTION recount(aggregate regclass, OUT rows bigint, OUT wrong bigint, OUT verified bigint) LANGUAGE plpgsql AS $$
DECLARE
	a evilnet.continuous_aggregate;
BEGIN
	SELECT c.* INTO STRICT a FROM evilnet.continuous_aggregate c WHERE c.aggregate = recount.aggregate;
	EXECUTE format('SELECT count(*) FROM %s', a.aggregate) INTO rows;
	EXECUTE format('SELECT count(*) FROM ((SELECT t::text FROM %1$s t EXCEPT ALL SELECT t::text FROM %2$s t)
		UNION ALL (SELECT t::text FROM %2$s t EXCEPT ALL SELECT t::text FROM %1$s t)) d', a.aggregate, a.query) INTO wrong;
	SELECT count(*) INTO verified FROM evilnet.verify_continuous_aggregate(a.aggregate);
END $$;
CREATE FUNCTION recount_all() RETURNS TABLE (aggregate text, rows bigint, wrong bigint, verified bigint) LANGUAGE sql AS $$
	SELECT a.aggregate::text, r.* FROM evilnet.continuous_aggregate a, recount(a.aggregate) r ORDER BY a.aggregate::text COLLATE "C"
$$;
-- until the builder has done what there is; each look is a transaction, so that it is in nobody's way
CREATE PROCEDURE await_builder() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		IF NOT EXISTS (SELECT FROM evilnet.stat_continuous_aggregate WHERE state NOT IN ('complete', 'paused') OR replaces IS NOT NULL)
			-- its commit is seen a moment before names lead to the new tables; locks are let go of after that
			AND NOT EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation' AND pid <> pg_backend_pid()) THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE EXCEPTION 'not built' USING DETAIL = (SELECT string_agg(a::text, '; ') FROM evilnet.stat_continuous_aggregate a);
END $$;

BEGIN;
SELECT evilnet.create_stream('tweets', server => 'agg_bus', topic => 'tweets', workers => 2);
SELECT evilnet.pause('tweets');
COMMIT;
-- 400 posts over ten days, across the spring change of clocks in Toronto (March 8) and the end of February
SELECT rows, dead_letters FROM evilnet.store_messages('tweets', (SELECT array_agg(post(i, '2026-02-27 00:00+00'::timestamptz + i * interval '29 min',
	(ARRAY['Toronto', 'Ottawa', 'Montreal', 'Atlantis'])[1 + i % 4], (ARRAY['en', 'fr', NULL])[1 + i % 3], (ARRAY['one', 'two', 'three'])[1 : i % 4]))
	FROM generate_series(1, 300) i));
SELECT rows, dead_letters FROM evilnet.store_messages('tweets', (SELECT array_agg(post(i, '2026-03-07 12:00+00'::timestamptz + (i - 300) * interval '29 min', 'Ottawa'))
	FROM generate_series(301, 400) i), 1);
CREATE TABLE region (city_id int, region text, weight int);
INSERT INTO region SELECT city_id, CASE name WHEN 'Toronto' THEN 'west' WHEN 'Ottawa' THEN 'west' ELSE 'east' END, length(name)
	FROM evilnet.city WHERE city_id IN (SELECT DISTINCT city_id FROM tweets WHERE city_id <> 0);

-- ---------------------------------------------------------------------------
-- Queries of many forms
-- ---------------------------------------------------------------------------

CREATE TABLE form (name text, query text);
INSERT INTO form VALUES
	('hourly', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, city_id, count(*) AS tweets, count(lang) AS with_lang, sum(author_id) AS authors,
		min(id) AS first, max(id) AS latest FROM tweets GROUP BY 1, 2$$),
	('counts', $$SELECT count(*) FILTER (WHERE lang = 'fr') AS french, evilnet.time_bucket('1 hour', created_at) AS bucket, kind, count(*) AS tweets FROM tweets GROUP BY kind, 2$$),
	('sums', $$SELECT evilnet.time_bucket('6 hours', created_at) AS bucket, sum(1) AS tweets, sum(CASE WHEN lang = 'en' THEN 1 ELSE 0 END) AS english,
		sum(coalesce(city_id, 0)) AS cities, sum(id::numeric / 3) AS thirds, sum(CASE WHEN lang = 'en' THEN author_id END) AS maybe_null FROM tweets GROUP BY 1$$),
	('floats', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, sum(id / 8.0::float8) AS eighths, max(id::real) AS largest FROM tweets GROUP BY 1$$),
	('bools', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, bool_and(lang = 'en') AS all_english, bool_or(lang = 'fr') AS any_french, every(id > 0) AS every_id,
		bit_and(id) AS bits_and, bit_or(id) AS bits_or, bit_or(id::bit(12)) AS bit_string FROM tweets GROUP BY 1$$),
	('intervals', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, sum(created_at - '2026-01-01 00:00+00') AS since, min(created_at) AS first, max(lang) AS lang FROM tweets GROUP BY 1$$),
	('tags', $$SELECT evilnet.time_bucket('1 hour', t.created_at) AS bucket, h.tag, count(*) AS tweets FROM tweets t, unnest(t.hashtags) AS h(tag) GROUP BY 1, 2$$),
	('tags_or_none', $$SELECT evilnet.time_bucket('1 hour', t.created_at) AS bucket, h.tag, count(*) AS tweets FROM tweets t LEFT JOIN LATERAL unnest(t.hashtags) AS h(tag) ON true GROUP BY 1, 2$$),
	('set_key', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, unnest(hashtags) AS tag, count(*) AS tweets FROM tweets GROUP BY 1, 2$$),
	('regions', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, r.region, count(*) AS tweets, sum(r.weight) AS weight FROM tweets JOIN region r USING (city_id) GROUP BY 1, 2$$),
	('regions_or_none', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, coalesce(r.region, 'none') AS region, count(*) AS tweets FROM region r RIGHT JOIN tweets t ON r.city_id = t.city_id GROUP BY 1, 2$$),
	('aliased_join', $$SELECT evilnet.time_bucket('1 day', j.created_at) AS bucket, j.region, count(*) AS tweets, max(j.id) AS latest FROM (tweets t JOIN region r USING (city_id)) AS j GROUP BY 1, 2$$),
	('in_region', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, count(*) FILTER (WHERE city_id IN (SELECT city_id FROM region WHERE region = 'west')) AS tweets FROM tweets
		WHERE EXISTS (SELECT FROM region r WHERE r.city_id = tweets.city_id) GROUP BY 1$$),
	('subquery', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, r.n, count(*) AS tweets FROM tweets JOIN (SELECT city_id, count(*) AS n FROM region GROUP BY 1) r USING (city_id) GROUP BY 1, 2$$),
	('whole_row', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, count(*) FILTER (WHERE t.* IS NOT NULL) AS full_rows, max((t).text) AS text FROM tweets t GROUP BY 1$$),
	('keys_only', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, lang FROM tweets GROUP BY 1, 2$$),
	('many_keys', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, lang, kind, id % 2 = 0 AS even, hashtags, '{"post": 1, "reply": 2}'::jsonb - kind AS doc, id / 100.0 AS hundreds, count(*) AS tweets
		FROM tweets GROUP BY 1, 2, 3, 4, 5, 6, 7$$),
	('two_buckets', $$SELECT evilnet.time_bucket('1 month', created_at) AS month, evilnet.time_bucket('1 day', created_at) AS day, count(*) AS tweets FROM tweets GROUP BY 1, 2$$),
	('days_of_toronto', $$SELECT evilnet.time_bucket('1 day', created_at, timezone => 'America/Toronto') AS bucket, count(*) AS tweets FROM tweets GROUP BY 1$$),
	('months_of_kolkata', $$SELECT evilnet.time_bucket('1 month', created_at, NULL, 'Asia/Kolkata') AS bucket, count(*) AS tweets, max(id) AS latest FROM tweets GROUP BY 1$$),
	('from_origin', $$SELECT evilnet.time_bucket(width => '7 hours', ts => created_at, origin => '2026-02-27 03:00+00') AS bucket, count(*) AS tweets FROM tweets GROUP BY 1$$),
	('local_hours', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, extract(hour FROM created_at AT TIME ZONE 'America/Toronto') AS hour, count(*) AS tweets FROM tweets GROUP BY 1, 2$$),
	('some', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, count(*) AS tweets FROM tweets WHERE text <> '' AND id % 3 = 1 GROUP BY 1$$),
	('distinct_authors', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, hll_add_agg(hll_hash_bigint(author_id)) AS authors FROM tweets GROUP BY 1$$),
	('names', $$SELECT evilnet.time_bucket('1 day', created_at) AS "select", lang AS "Lang ""x""", count(*) AS "count(*)", max(id) AS "{column}", min(id) AS "{new}" FROM tweets GROUP BY 1, 2$$);
\pset tuples_only on
\set ECHO none
SELECT format('SELECT evilnet.create_continuous_aggregate(%L, %L, in_background => false)', name, query) FROM form \gexec
\set ECHO all
\pset tuples_only off
SELECT * FROM recount_all();
-- posts by two workers, new and late; a post whose group is emptied; then deletes of all kinds
SELECT rows, dead_letters FROM evilnet.store_messages('tweets', (SELECT array_agg(post(i, '2026-02-28 23:00+00'::timestamptz + (i - 400) * interval '5 min', (ARRAY['Toronto', 'Halifax'])[1 + i % 2], tags => ARRAY['five']))
	FROM generate_series(401, 430) i), 1);
SELECT store('tweets', post(431, '2026-03-09 00:00+00', lang => 'de', body => ''), post(432, '2026-01-31 23:59:59+00', 'Halifax', NULL, ARRAY['one', 'one']), post(433, '2020-02-29 00:00+00', NULL));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
SELECT deletes FROM evilnet.store_messages('tweets', (SELECT array_agg(gone(i)) FROM generate_series(1, 430, 7) i), 1);
SELECT store('tweets', gone(431), gone(432), gone(433), gone(999), post(434, '2026-03-09 00:00+00'), post(999, '2026-03-01 00:00+00'));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
-- the groups that deletes emptied are gone
SELECT count(*) FROM hourly WHERE bucket IN ('2026-01-31 23:00+00', '2020-02-29 00:00+00');
SELECT count(*) FROM counts WHERE bucket = '2020-02-29 00:00+00';
-- a sum of nothing is null, as in PostgreSQL
SELECT store('tweets', post(435, '2026-04-01 00:00+00', lang => 'en'), post(436, '2026-04-01 00:00+00', lang => 'fr'));
SELECT store('tweets', gone(435));
SELECT tweets, english, maybe_null FROM sums WHERE bucket = '2026-04-01 00:00+00';
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
-- what is bad, or a duplicate, is not counted
SELECT store('tweets', 'no post', post(437, '2026-04-01 00:00+00'), post(437, '2026-04-02 00:00+00'));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;

-- verify finds what is not as it should be: missing, too much, different
UPDATE counts_slots SET tweets = tweets + 1 WHERE bucket = '2026-02-27 03:00+00';
DELETE FROM keys_only_slots WHERE bucket = '2026-02-27 00:00+00' AND lang = 'fr';
INSERT INTO days_of_toronto_slots VALUES ('2026-02-27 06:00+00', 1, 1, 3);
SELECT a.aggregate, v.* FROM evilnet.continuous_aggregate a, evilnet.verify_continuous_aggregate(a.aggregate) v ORDER BY 1::text, 2, 3;
SELECT count(*) FROM evilnet.verify_continuous_aggregate('counts', since => '2026-02-27 04:00+00');
SELECT count(*) FROM evilnet.verify_continuous_aggregate('counts', until => '2026-02-27 03:00+00');
-- refresh mends it; only as far as it is asked to, by whole buckets
SELECT evilnet.refresh_continuous_aggregate('counts', '2026-02-27 04:00+00');
SELECT wrong FROM recount('counts');
SELECT evilnet.refresh_continuous_aggregate('counts', '2026-02-27 03:59+00', '2026-02-27 03:59:30+00');
SELECT evilnet.refresh_continuous_aggregate('keys_only');
SELECT evilnet.refresh_continuous_aggregate('days_of_toronto', until => '2026-02-28');
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
-- times that are none, and at the ends of time
SELECT evilnet.refresh_continuous_aggregate('months_of_kolkata', 'infinity', '-infinity');
SELECT evilnet.refresh_continuous_aggregate('months_of_kolkata', '4714-11-24 00:00:00+00 BC', '4714-12-25 00:00:00+00 BC');
SELECT evilnet.refresh_continuous_aggregate('months_of_kolkata', '294276-12-01 00:00+00', '294276-12-31 23:59:59+00');
SELECT count(*) FROM evilnet.verify_continuous_aggregate('months_of_kolkata', '294276-12-01 00:00+00');
SELECT evilnet.refresh_continuous_aggregate(NULL);
SELECT * FROM recount('months_of_kolkata');

-- what is shared by all: names of results are those of the query, rights those of the stream's owner
\d names
\d names_slots
SELECT schema, aggregate, relation, stream, source, state, built_from, results_since, retention, notify, replaces, late_rows, builder_pid, last_error
	FROM evilnet.stat_continuous_aggregate WHERE aggregate IN ('names', 'tweets_by_city');

-- every one can be dropped, and nothing is left
SELECT count(evilnet.drop_continuous_aggregate(name::regclass)) FROM form;
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname ~ ('^(' || (SELECT string_agg(name, '|') FROM form) || ')') ORDER BY 1;
SELECT aggregate FROM evilnet.continuous_aggregate;

-- ---------------------------------------------------------------------------
-- Refusals
-- ---------------------------------------------------------------------------

\pset format unaligned
SELECT query, refused(query) FROM (VALUES
	($$SELECT evilnet.time_bucket('1 hour', created_at), avg(id) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(DISTINCT author_id) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), string_agg(lang, ',' ORDER BY id) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) + 1 FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), round(sum(id)) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*), 1 AS one FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*), row_number() OVER () FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY 1 LIMIT 10$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY 1 OFFSET 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY 1 ORDER BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY 1 HAVING count(*) > 1$$),
	($$SELECT DISTINCT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY 1 UNION ALL SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY 1$$),
	($$WITH w AS (SELECT 1 AS a) SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets, w GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY ROLLUP (1)$$),
	($$SELECT count(*) FROM tweets$$),
	($$SELECT id FROM tweets$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at) FROM tweets FOR UPDATE$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets TABLESAMPLE system (10) GROUP BY 1$$),
	-- what is read
	($$SELECT evilnet.time_bucket('1 hour', now()), count(*) FROM region GROUP BY 1$$),
	($$SELECT city_id, count(*) FROM region GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM (SELECT * FROM tweets) t GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', a.created_at), count(*) FROM tweets a JOIN tweets b ON a.id = b.author_id GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets WHERE id IN (SELECT author_id FROM tweets) GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', a.created_at), count(*) FROM tweets a JOIN tweets_by_city b USING (city_id) GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM region r LEFT JOIN tweets t USING (city_id) GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets t RIGHT JOIN region r USING (city_id) GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets t FULL JOIN region r USING (city_id) GROUP BY 1$$),
	-- the bucket
	($$SELECT lang, count(*) FROM tweets GROUP BY 1$$),
	($$SELECT date_trunc('hour', created_at), count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at + '1 s'), count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket(lang::interval, created_at), count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at, timezone => lang), count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket(NULL, created_at), count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('0', created_at), count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 day', created_at, timezone => 'Mars/Olympus'), count(*) FROM tweets GROUP BY 1$$),
	-- columns
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets GROUP BY 1, lang$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), kafka_offset::text::xid AS k, count(*) FROM tweets GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), to_json(lang) AS k, count(*) FROM tweets GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), ROW(lang, kind) AS k, count(*) FROM tweets GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) AS evilnet_rows FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at) AS evilnet_slot, count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*), count(*) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), tableoid AS t, count(*) FROM tweets GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), lang AS ctid, count(*) FROM tweets GROUP BY 1, 2$$),
	-- functions
	($$SELECT evilnet.time_bucket('1 hour', created_at), random() > 0.5 AS r, count(*) FROM tweets GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets WHERE created_at > now() - interval '1 day' GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), created_at::date AS day, count(*) FROM tweets GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FILTER (WHERE random() > 0.5) FROM tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), x.r, count(*) FROM tweets, LATERAL (SELECT random() > 0.5 AS r WHERE id > 0) x GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets JOIN LATERAL (SELECT now() AS n) x ON created_at < x.n GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), g, count(*) FROM tweets, generate_series(1, (random() * 3)::int) g GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', created_at), v.x, count(*) FROM tweets, (VALUES (now())) v(x) GROUP BY 1, 2$$),
	-- over an aggregate
	($$SELECT evilnet.time_bucket('1 hour', bucket), count(*) FROM tweets_by_city GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), count(tweets) FROM tweets_by_city GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), max(tweets) FROM tweets_by_city GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), avg(tweets) FROM tweets_by_city GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), sum(tweets + retweets) FROM tweets_by_city GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), sum(city_id) FROM tweets_by_city GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), hll_add_agg(hll_hash_bigint(tweets)) AS h FROM tweets_by_city GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), sum(tweets) FROM tweets_by_city WHERE tweets > 1 GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), sum(tweets) FILTER (WHERE retweets > 0) FROM tweets_by_city GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), tweets, sum(retweets) FROM tweets_by_city GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', j.bucket), j.tweets, sum(j.retweets) FROM (tweets_by_city t JOIN region r USING (city_id)) AS j GROUP BY 1, 2$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), sum(tweets) FROM tweets_by_city t JOIN region r ON r.weight = t.tweets GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), sum(tweets) FROM tweets_by_city t, LATERAL (SELECT 1 WHERE t.tweets > 1) x GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), sum(tweets) FROM tweets_by_city t, generate_series(1, t.tweets) g GROUP BY 1$$),
	($$SELECT evilnet.time_bucket('1 hour', bucket), sum(tweets) FROM tweets_by_city t, unnest(ARRAY[t.tweets]) g GROUP BY 1$$),
	($$SELECT city_id, sum(tweets) FROM tweets_by_city GROUP BY 1$$),
	-- no query
	(''), ('SELECT 1; SELECT 2'), ('VALUES (1)'), ('DELETE FROM tweets RETURNING id'), ('EXPLAIN SELECT 1'), ('SELECT $1'), ('SELEC 1'),
	('SELECT count(*) FROM nowhere')) v(query);

-- all reasons at once, as a table
\pset format aligned
SELECT * FROM evilnet.check_continuous_aggregate($$SELECT DISTINCT lang, avg(id), count(DISTINCT id), random() FROM tweets GROUP BY lang, kind HAVING count(*) > 1 ORDER BY 1 LIMIT 3$$);
SELECT * FROM evilnet.check_continuous_aggregate($$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, count(*) FROM tweets GROUP BY 1$$);
SELECT * FROM evilnet.check_continuous_aggregate($$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, region, sum(weight) FROM tweets JOIN region USING (city_id) GROUP BY 1, 2$$);
SELECT count(*) FROM pg_class WHERE relname LIKE 'refused%';

-- lookups that workers cannot see
CREATE TEMPORARY TABLE mine (city_id int);
SELECT refused($$SELECT evilnet.time_bucket('1 hour', created_at), count(*) FROM tweets JOIN mine USING (city_id) GROUP BY 1$$);
DROP TABLE mine;

-- ---------------------------------------------------------------------------
-- Names
-- ---------------------------------------------------------------------------

\set hours '$$SELECT evilnet.time_bucket(''1 hour'', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1$$'
\pset format unaligned
SELECT name, attempt(format('SELECT evilnet.create_continuous_aggregate(%L, %L)', name, :hours)) FROM (VALUES
	('fine'), (''), ('a.b.c.d'), ('nowhere.a'), ('"unclosed'), ('two words'), ('pg_temp.a'), ('evilnet.a'), ('pg_catalog.a'), ('tweets'), ('tweets_by_city'), ('region'),
	(repeat('n', 57)), (repeat('n', 58)), (NULL)) v(name);
SELECT attempt($$SELECT evilnet.create_continuous_aggregate('fine', NULL)$$);
CREATE TABLE taken_slots ();
SELECT attempt(format('SELECT evilnet.create_continuous_aggregate(%L, %L)', 'taken', :hours));
DROP TABLE taken_slots;
\pset format aligned
SET client_min_messages = notice;
SELECT evilnet.create_continuous_aggregate('tweets_by_city', :hours, if_not_exists => true);
SET client_min_messages = warning;

-- two that differ in the last of many characters
SELECT evilnet.create_continuous_aggregate(repeat('n', 56) || '1', :hours, in_background => false);
SELECT evilnet.create_continuous_aggregate(repeat('n', 56) || '2', :hours, in_background => false);
SELECT store('tweets', post(501, '2026-05-01 00:00+00'));
SELECT evilnet.alter_continuous_aggregate((repeat('n', 56) || '1')::regclass, rename_to => repeat('n', 56) || '3');
SELECT evilnet.alter_continuous_aggregate((repeat('n', 56) || '2')::regclass, rename_to => repeat('n', 56) || '1');
SELECT store('tweets', post(502, '2026-05-02 00:00+00'), gone(501));
SELECT * FROM recount_all();
SELECT evilnet.drop_continuous_aggregate((repeat('n', 56) || '1')::regclass);
SELECT evilnet.drop_continuous_aggregate((repeat('n', 56) || '3')::regclass);

-- a schema and names that want quotes, and the search_path of who creates it
CREATE SCHEMA "Odd Schema";
CREATE TABLE "Odd Schema"."Region" (city_id int, "the Region" text);
INSERT INTO "Odd Schema"."Region" SELECT city_id, upper(region) FROM region;
CREATE FUNCTION "Odd Schema"."Shout"(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || '!' $$;
SET search_path = "Odd Schema", evilnet, public;
SELECT public.store('tweets', public.post(503, '2026-05-02 00:00+00', 'Ottawa'));
SELECT create_continuous_aggregate('"My ""counts"""', $$SELECT time_bucket('1 day', created_at) AS "the Bucket", "Shout"("the Region") AS "R", count(*) AS "N"
	FROM tweets JOIN "Region" USING (city_id) GROUP BY 1, 2$$, in_background => false);
RESET search_path;
-- another one found first by the same names changes nothing
CREATE TABLE public."Region" (city_id int, "the Region" text);
SELECT store('tweets', post(504, '2026-05-02 00:00+00', 'Ottawa'), gone(503), post(505, '2026-05-03 00:00+00', 'Toronto'));
SELECT * FROM recount('"Odd Schema"."My ""counts"""');
SELECT * FROM "Odd Schema"."My ""counts""" WHERE "the Bucket" > '2026-05-01' ORDER BY 1, 2;
SELECT evilnet.alter_continuous_aggregate('"Odd Schema"."My ""counts"""', rename_to => 'Other "name"');
SELECT store('tweets', post(506, '2026-05-02 00:00+00', 'Ottawa'), gone(504));
SELECT * FROM recount('"Odd Schema"."Other ""name"""');
SELECT evilnet.drop_continuous_aggregate('"Odd Schema"."Other ""name"""');
DROP TABLE "Odd Schema"."Region", "Region";
DROP FUNCTION "Odd Schema"."Shout";
DROP SCHEMA "Odd Schema";

-- collations are kept
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION by_alphabet (provider = icu, locale = 'und');
SELECT evilnet.create_continuous_aggregate('collated', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, text COLLATE any_case AS word, count(*) AS tweets FROM tweets GROUP BY 1, 2$$, in_background => false);
SELECT evilnet.create_continuous_aggregate('sorted', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, min(text COLLATE by_alphabet) AS first, max(text COLLATE by_alphabet) AS latest FROM tweets WHERE id > 510 GROUP BY 1$$, in_background => false);
SELECT store('tweets', post(511, '2026-05-04 00:00+00', body => 'Zebra'), post(512, '2026-05-04 00:00+00', body => 'apple'));
SELECT store('tweets', post(513, '2026-05-04 00:00+00', body => 'zebra'), post(514, '2026-05-04 00:00+00', body => 'Apple'), post(515, '2026-05-04 00:00+00', body => 'Beta'));
SELECT tweets FROM collated WHERE bucket = '2026-05-04 00:00+00' ORDER BY 1;
SELECT lower(first) AS first, lower(latest) AS latest FROM sorted;
SELECT verified FROM recount('sorted');
SELECT evilnet.drop_continuous_aggregate('collated');
SELECT evilnet.drop_continuous_aggregate('sorted');
DROP COLLATION any_case, by_alphabet;

-- ---------------------------------------------------------------------------
-- Aggregates over aggregates, and the life of both
-- ---------------------------------------------------------------------------

SELECT evilnet.create_continuous_aggregate('hourly', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, city_id, lang, count(*) AS tweets, sum(author_id) AS authors, max(id) AS latest,
	hll_add_agg(hll_hash_bigint(author_id)) AS people FROM tweets GROUP BY 1, 2, 3$$, in_background => false);
SELECT evilnet.create_continuous_aggregate('daily', $$SELECT evilnet.time_bucket('1 day', bucket, timezone => 'America/Toronto') AS day, lang, sum(tweets) AS tweets, sum(authors) AS authors, max(latest) AS latest,
	hll_union_agg(people) AS people FROM hourly GROUP BY 1, 2$$, in_background => false);
SELECT evilnet.create_continuous_aggregate('monthly', $$SELECT evilnet.time_bucket('1 month', day, timezone => 'America/Toronto') AS month, sum(tweets) AS tweets, max(latest) AS latest, hll_union_agg(people) AS people
	FROM daily WHERE lang = 'en' GROUP BY 1$$, in_background => false);
SELECT evilnet.create_continuous_aggregate('by_region', $$SELECT evilnet.time_bucket('1 day', bucket) AS bucket, region, sum(tweets) AS tweets FROM tweets_by_city JOIN region USING (city_id) GROUP BY 1, 2$$, in_background => false);
SELECT evilnet.create_continuous_aggregate('total', $$SELECT evilnet.time_bucket('1 day', bucket) AS bucket, sum(tweets) AS tweets FROM tweets_by_city GROUP BY 1$$, in_background => false);
SELECT * FROM recount_all();
SELECT m::text FROM monthly m EXCEPT SELECT m::text FROM (SELECT evilnet.time_bucket('1 month', created_at, timezone => 'America/Toronto'), count(*), max(id), hll_add_agg(hll_hash_bigint(author_id)) FROM tweets WHERE lang = 'en' GROUP BY 1) m;
SELECT rows FROM evilnet.store_messages('tweets', (SELECT array_agg(post(i, '2026-02-28 22:00+00'::timestamptz + i * interval '13 min')) FROM generate_series(520, 620) i), 1);
SELECT deletes FROM evilnet.store_messages('tweets', (SELECT array_agg(gone(i)) FROM generate_series(1, 620, 5) i));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
SELECT (SELECT sum(tweets) FROM total) AS total, count(*) FROM tweets;

-- rows of a lookup change: what is counted stays until it is refreshed, then also in what reads it
UPDATE region SET region = 'middle' WHERE region = 'east';
SELECT wrong > 0 AS differs FROM recount('by_region');
SELECT evilnet.refresh_continuous_aggregate('by_region');
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
UPDATE hourly_slots SET tweets = 100 WHERE bucket = (SELECT min(bucket) FROM hourly_slots);
SELECT evilnet.refresh_continuous_aggregate('hourly');
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;

-- renames: of the stream, a lookup, its column, an aggregate others read
ALTER TABLE region RENAME COLUMN region TO part;
ALTER TABLE region RENAME TO parts;
ALTER TABLE tweets RENAME TO posts;
SELECT evilnet.alter_continuous_aggregate('hourly', rename_to => 'per_hour');
SELECT store('posts', post(701, '2026-02-28 01:00+00', 'Ottawa'), gone(26), gone(999999));
SELECT * FROM recount_all();
SELECT relname FROM pg_class WHERE relname ~ '^(hourly|per_hour)' AND relkind IN ('r', 'p', 'v') ORDER BY relname COLLATE "C";
ALTER TABLE posts RENAME TO tweets;
ALTER TABLE parts RENAME TO region;
-- a column of the user's own, which batches leave null
ALTER TABLE tweets ADD COLUMN note text;
SELECT evilnet.create_continuous_aggregate('noted', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, note, count(*) AS tweets FROM tweets GROUP BY 1, 2$$, in_background => false);
SELECT store('tweets', post(702, '2026-02-28 01:00+00'), gone(701));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
\set VERBOSITY terse
ALTER TABLE tweets DROP COLUMN note;
\set VERBOSITY default
SELECT evilnet.drop_continuous_aggregate('noted');
ALTER TABLE tweets DROP COLUMN note;
SELECT store('tweets', post(703, '2026-02-28 01:00+00'), gone(702));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;

-- what is read by others is dropped with them only; by hand as well, and never in part
SELECT attempt($$SELECT evilnet.drop_continuous_aggregate('per_hour')$$);
SELECT attempt('DROP VIEW per_hour_query');
SELECT attempt('DROP TABLE per_hour_slots');
SELECT attempt('DROP TABLE region');
BEGIN;
SELECT evilnet.drop_continuous_aggregate('per_hour', cascade => true);
SELECT aggregate FROM evilnet.continuous_aggregate ORDER BY 1;
SELECT relname FROM pg_class WHERE relname ~ '^(per_hour|daily|monthly)';
SELECT store('tweets', gone(703));
ROLLBACK;
BEGIN;
DROP VIEW daily CASCADE;
SELECT relname FROM pg_class WHERE relname ~ '^(daily|monthly)';
SELECT store('tweets', gone(703));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
ROLLBACK;
BEGIN;
DROP TABLE region CASCADE;
SELECT aggregate FROM evilnet.continuous_aggregate ORDER BY 1;
ROLLBACK;
SELECT store('tweets', gone(703));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;

-- pause and resume take those along that read it
SELECT evilnet.pause('per_hour');
SELECT aggregate, state FROM evilnet.stat_continuous_aggregate ORDER BY 1;
SELECT store('tweets', post(704, '2026-02-28 01:00+00'), gone(11));
SELECT * FROM recount_all() WHERE aggregate NOT IN ('per_hour', 'daily', 'monthly');
SELECT wrong > 0 AS behind FROM recount('per_hour');
SELECT attempt($$SELECT evilnet.refresh_continuous_aggregate('per_hour')$$);
SELECT attempt($$SELECT evilnet.refresh_continuous_aggregate('daily')$$);
SELECT attempt($$SELECT evilnet.resume('monthly')$$);
SELECT evilnet.pause('per_hour');
SELECT evilnet.resume('per_hour');
CALL await_builder();
SELECT aggregate, state, last_error FROM evilnet.stat_continuous_aggregate ORDER BY 1;
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
SELECT evilnet.resume('per_hour');
CALL await_builder();
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;

-- what can be altered
SELECT evilnet.alter_continuous_aggregate('total', retention => '30 years', notify => true);
SELECT retention, notify FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'total';
SELECT evilnet.alter_continuous_aggregate('total');
SELECT retention, notify FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'total';
\pset format unaligned
SELECT arguments, attempt(format('SELECT evilnet.alter_continuous_aggregate(%s)', arguments)) FROM (VALUES
	($$NULL$$),
	($$'tweets'$$),
	($$'total_query'$$),
	($$'total', retention => '-1 day'$$),
	($$'total', rename_to => ''$$),
	($$'total', rename_to => 'tweets'$$),
	($$'total', rename_to => 'daily'$$),
	($$'total', rename_to => repeat('n', 58)::name$$),
	($$'total', query => 'SELECT 1'$$),
	($$'total', query => 'SELECT evilnet.time_bucket(''1 day'', bucket) AS bucket, sum(tweets) AS tweets FROM total GROUP BY 1'$$),
	($$'per_hour', query => 'SELECT evilnet.time_bucket(''1 day'', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1'$$)) v(arguments);
CREATE VIEW reader AS SELECT * FROM total;
SELECT attempt($$SELECT evilnet.alter_continuous_aggregate('total', query => 'SELECT evilnet.time_bucket(''1 day'', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1')$$);
DROP VIEW reader;
SELECT attempt('SELECT evilnet.' || f) FROM (VALUES
	($$drop_continuous_aggregate('tweets')$$), ($$drop_continuous_aggregate('total_query')$$), ($$drop_continuous_aggregate(0)$$), ($$refresh_continuous_aggregate('tweets')$$),
	($$verify_continuous_aggregate('total_slots')$$), ($$drop_continuous_aggregate('nothing')$$)) v(f);
\pset format aligned

-- a new query takes the place of the old one, with its name, options, rights and comment
CREATE ROLE agg_reader;
GRANT SELECT ON total TO agg_reader WITH GRANT OPTION;
GRANT SELECT ON total TO PUBLIC;
COMMENT ON VIEW total IS 'all of them';
SELECT evilnet.alter_continuous_aggregate('total', query => $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, lang, count(*) AS tweets FROM tweets GROUP BY 1, 2$$);
CALL await_builder();
SELECT * FROM recount('total');
SELECT count(lang) > 0 AS new_query FROM total;
SELECT retention, notify, replaces, source FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'total';
SELECT CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END AS grantee, privilege_type, is_grantable
	FROM pg_class, aclexplode(relacl) WHERE relname = 'total' AND grantee <> relowner ORDER BY 1;
SELECT obj_description('total'::regclass, 'pg_class');
SELECT store('tweets', post(705, '2026-02-28 01:00+00', lang => 'de'), gone(704));
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
SELECT relname FROM pg_class WHERE relname ~ '^total' AND relkind IN ('r', 'p', 'v') ORDER BY relname COLLATE "C";

-- while it is built nothing may come to lean on the old one or the new one
BEGIN;
SELECT evilnet.alter_continuous_aggregate('total', query => $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1$$);
SELECT aggregate, replaces, state FROM evilnet.stat_continuous_aggregate WHERE aggregate LIKE 'total%' ORDER BY 1;
SELECT attempt($$SELECT evilnet.create_continuous_aggregate('over', 'SELECT evilnet.time_bucket(''1 day'', bucket) AS bucket, sum(tweets) AS tweets FROM total_next GROUP BY 1')$$);
SELECT attempt($$SELECT evilnet.create_continuous_aggregate('over', 'SELECT evilnet.time_bucket(''1 day'', bucket) AS bucket, sum(tweets) AS tweets FROM total GROUP BY 1')$$);
SELECT attempt($$SELECT evilnet.alter_continuous_aggregate('total', query => 'SELECT evilnet.time_bucket(''1 day'', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1')$$);
-- given up
SELECT evilnet.drop_continuous_aggregate('total_next');
COMMIT;
SELECT aggregate, replaces, state FROM evilnet.stat_continuous_aggregate WHERE aggregate LIKE 'total%' ORDER BY 1;
REVOKE ALL ON total FROM agg_reader CASCADE;
DROP ROLE agg_reader;

-- made in the background
SELECT evilnet.create_continuous_aggregate('later', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, kind, count(*) AS tweets, max(text) AS text FROM tweets GROUP BY 1, 2$$);
SELECT evilnet.create_continuous_aggregate('later_still', $$SELECT evilnet.time_bucket('1 day', bucket) AS bucket, sum(tweets) AS tweets FROM later GROUP BY 1$$);
CALL await_builder();
SELECT * FROM recount('later');
SELECT * FROM recount('later_still');
-- over one that is not built yet, at once
BEGIN;
SELECT evilnet.create_continuous_aggregate('base', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1$$);
SELECT evilnet.create_continuous_aggregate('over', $$SELECT evilnet.time_bucket('1 day', bucket) AS bucket, sum(tweets) AS tweets FROM base GROUP BY 1$$, in_background => false);
SELECT aggregate, state FROM evilnet.stat_continuous_aggregate WHERE aggregate IN ('base', 'over') ORDER BY 1;
SELECT * FROM recount('over');
ROLLBACK;

-- ---------------------------------------------------------------------------
-- Aggregate functions of the user's own
-- ---------------------------------------------------------------------------

CREATE SCHEMA own;
CREATE FUNCTION own.plus(numeric, int) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 + coalesce($2, 0)';
CREATE AGGREGATE own.total(int) (sfunc = own.plus, stype = numeric, initcond = 0);
CREATE AGGREGATE own.add_up(numeric) (sfunc = numeric_add, stype = numeric, initcond = 0);
SELECT refused($$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, own.total(author_id::int) AS total FROM tweets GROUP BY 1$$);
INSERT INTO evilnet.mergeable_aggregate (provider, aggregate, combine, negate, read, merge) VALUES
	('own', 'total', '{old} + {new}', '- {new}', '{schema}.add_up({column})::{type}', 'add_up'),
	('own', 'add_up', '{old} + {new}', '- {new}', '{schema}.add_up({column})::{type}', 'add_up');
SELECT evilnet.create_continuous_aggregate('own_total', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, own.total(author_id::int) AS total FROM tweets GROUP BY 1$$, in_background => false);
SELECT evilnet.create_continuous_aggregate('own_month', $$SELECT evilnet.time_bucket('1 month', bucket) AS bucket, own.add_up(total) AS total FROM own_total GROUP BY 1$$, in_background => false);
SELECT store('tweets', post(706, '2026-02-28 01:00+00', lang => 'de'), gone(705), post(707, '2026-06-01 00:00+00'));
SELECT rows FROM evilnet.store_messages('tweets', ARRAY[post(708, '2026-02-28 01:00+00')], 1);
SELECT * FROM recount_all() WHERE wrong <> 0 OR verified <> 0;
SELECT refused($$SELECT evilnet.time_bucket('1 month', bucket) AS bucket, sum(total) AS total FROM own_total GROUP BY 1$$);
BEGIN;
DROP SCHEMA own CASCADE;
SELECT aggregate FROM evilnet.continuous_aggregate WHERE aggregate::text ~ 'own';
SELECT store('tweets', gone(706));
ROLLBACK;
SELECT evilnet.drop_continuous_aggregate('own_total', true);
DELETE FROM evilnet.mergeable_aggregate WHERE provider = 'own';
DROP SCHEMA own CASCADE;

-- ---------------------------------------------------------------------------
-- A stream that stores no posts
-- ---------------------------------------------------------------------------

BEGIN;
SELECT evilnet.create_stream('counted', server => 'agg_bus', topic => 'counted', store => false);
SELECT evilnet.pause('counted');
COMMIT;
SELECT store('counted', post(1, '2026-03-01 01:00+00'), post(2, '2026-03-01 02:00+00', lang => 'fr'));
SELECT evilnet.create_continuous_aggregate('counted_hourly', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, lang, count(*) AS tweets, max(id) AS latest FROM counted GROUP BY 1, 2$$);
SELECT evilnet.create_continuous_aggregate('counted_daily', $$SELECT evilnet.time_bucket('1 day', bucket) AS bucket, sum(tweets) AS tweets FROM counted_by_city GROUP BY 1$$, in_background => false);
-- nothing can be known of what was not stored: notices take nothing away, the same id counts again
SELECT store('counted', post(1, '2026-03-01 01:00+00'), gone(2), post(3, '2026-02-01 01:00+00'));
SELECT * FROM counted_hourly ORDER BY bucket;
SELECT * FROM counted_daily ORDER BY bucket;
SELECT wrong FROM recount('counted_daily');
\pset format unaligned
SELECT attempt($$SELECT evilnet.refresh_continuous_aggregate('counted_hourly')$$);
SELECT attempt($$SELECT evilnet.verify_continuous_aggregate('counted_hourly')$$);
SELECT attempt($$SELECT evilnet.alter_continuous_aggregate('counted_hourly', query => 'SELECT evilnet.time_bucket(''1 day'', created_at) AS bucket, count(*) AS tweets FROM counted GROUP BY 1')$$);
BEGIN;
SELECT evilnet.pause('counted_hourly');
SELECT attempt($$SELECT evilnet.resume('counted_hourly')$$);
ROLLBACK;
\pset format aligned
-- what reads an aggregate has something to be made of
SELECT evilnet.pause('counted_daily');
SELECT store('counted', post(4, '2026-03-01 01:00+00'));
SELECT evilnet.resume('counted_daily');
CALL await_builder();
SELECT evilnet.refresh_continuous_aggregate('counted_daily');
SELECT * FROM counted_daily ORDER BY bucket;
SELECT evilnet.drop_stream('counted');
SELECT relname FROM pg_class WHERE relname LIKE 'counted%';

-- ---------------------------------------------------------------------------
-- Whose it is
-- ---------------------------------------------------------------------------

CREATE ROLE agg_owner;
CREATE ROLE agg_member;
CREATE ROLE agg_stranger;
GRANT agg_owner TO agg_member;
CREATE SCHEMA shared;
GRANT USAGE, CREATE ON SCHEMA shared TO agg_owner, agg_stranger;
GRANT USAGE ON FOREIGN SERVER agg_bus TO agg_owner;
SET ROLE agg_owner;
BEGIN;
SELECT evilnet.create_stream('shared.s', server => 'agg_bus', topic => 's');
SELECT evilnet.pause('shared.s');
COMMIT;
SELECT store('shared.s', post(1, '2026-03-01 01:00+00'), post(2, '2026-03-01 02:00+00'));
RESET ROLE;

-- who does not own the stream learns and does nothing
SET ROLE agg_stranger;
\pset format unaligned
SELECT call, attempt('SELECT * FROM evilnet.' || call) FROM (VALUES
	($$create_continuous_aggregate('shared.x', 'SELECT evilnet.time_bucket(''1 hour'', created_at) AS bucket, count(*) AS tweets FROM shared.s GROUP BY 1')$$),
	($$create_continuous_aggregate('shared.x', 'SELECT evilnet.time_bucket(''1 hour'', bucket) AS bucket, sum(tweets) AS tweets FROM shared.s_by_city GROUP BY 1')$$),
	($$drop_continuous_aggregate('shared.s_by_city')$$),
	($$refresh_continuous_aggregate('shared.s_by_city')$$),
	($$alter_continuous_aggregate('shared.s_by_city', notify => true)$$),
	($$verify_continuous_aggregate('shared.s_by_city')$$),
	($$pause('shared.s_by_city')$$),
	($$resume('shared.s_by_city')$$),
	($$store_messages('shared.s', ARRAY[]::text[])$$)) v(call);
\pset format aligned
SELECT count(*) FROM evilnet.continuous_aggregate;
SELECT count(*) FROM evilnet.stat_continuous_aggregate;
SELECT count(*) FROM evilnet.late_row;
CREATE FUNCTION shared.leak(anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE WARNING 'leaked %', $1; RETURN $1; END $$;
SELECT kind, message FROM evilnet.check_continuous_aggregate($$SELECT evilnet.time_bucket('1 hour', bucket) AS bucket, shared.leak(city_id) AS c, sum(tweets) AS tweets FROM shared.s_by_city GROUP BY 1, 2$$);
SELECT kind, message FROM evilnet.check_continuous_aggregate($$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, shared.leak(lang) AS c, count(*) AS tweets FROM shared.s GROUP BY 1, 2$$);
DROP FUNCTION shared.leak;
RESET ROLE;

-- a member of the owner's role may, and so may a superuser: the objects are the owner's, who can go on
SET ROLE agg_member;
SELECT evilnet.create_continuous_aggregate('shared.of_member', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, count(*) AS tweets FROM shared.s GROUP BY 1$$, in_background => false);
SELECT evilnet.refresh_continuous_aggregate('shared.of_member');
SELECT count(*) FROM evilnet.verify_continuous_aggregate('shared.of_member');
RESET ROLE;
SELECT evilnet.create_continuous_aggregate('shared.of_superuser', $$SELECT evilnet.time_bucket('1 hour', bucket) AS bucket, sum(tweets) AS tweets FROM shared.s_by_city GROUP BY 1$$, in_background => false);
SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace = 'shared'::regnamespace;
SET ROLE agg_owner;
SELECT store('shared.s', post(3, '2026-03-02 01:00+00'), gone(1));
SELECT * FROM recount_all();
SELECT evilnet.pause('shared.of_superuser');
SELECT evilnet.resume('shared.of_superuser');
CALL await_builder();
SELECT * FROM recount_all();
RESET ROLE;

-- a lookup that only the creator may read: said at once
CREATE TABLE shared.secret AS SELECT city_id FROM region;
SELECT attempt($$SELECT evilnet.create_continuous_aggregate('shared.peeking', 'SELECT evilnet.time_bucket(''1 hour'', created_at) AS bucket, count(*) AS tweets FROM shared.s JOIN shared.secret USING (city_id) GROUP BY 1', in_background => false)$$);
DROP TABLE shared.secret;
-- and a schema in which the owner may create nothing
CREATE SCHEMA closed;
SELECT attempt($$SELECT evilnet.create_continuous_aggregate('closed.a', 'SELECT evilnet.time_bucket(''1 hour'', created_at) AS bucket, count(*) AS tweets FROM shared.s GROUP BY 1')$$);
DROP SCHEMA closed;

-- a new owner gets all of it, and goes on storing
ALTER TABLE shared.s OWNER TO agg_stranger;
SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace = 'shared'::regnamespace AND relkind IN ('r', 'p', 'v');
SET ROLE agg_stranger;
SELECT store('shared.s', post(4, '2026-03-03 01:00+00'), gone(2));
SELECT * FROM recount_all();
SELECT evilnet.drop_stream('shared.s');
RESET ROLE;
DROP SCHEMA shared;
REVOKE USAGE ON FOREIGN SERVER agg_bus FROM agg_owner;
DROP ROLE agg_owner, agg_member, agg_stranger;

-- ---------------------------------------------------------------------------
-- A group that one worker filled and another one emptied
-- ---------------------------------------------------------------------------

SELECT evilnet.create_continuous_aggregate('by_lang',
	$$SELECT evilnet.time_bucket('1 minute', created_at) AS bucket, lang, count(*) AS tweets FROM tweets GROUP BY 1, 2$$, in_background => false);
-- sums that are null without such rows, which no count tells
SELECT evilnet.create_continuous_aggregate('not_french',
	$$SELECT evilnet.time_bucket('1 hour', bucket) AS bucket, sum(tweets) FILTER (WHERE lang <> 'fr') AS tweets FROM by_lang GROUP BY 1$$, in_background => false);
SELECT evilnet.create_continuous_aggregate('not_french_a_day',
	$$SELECT evilnet.time_bucket('1 day', bucket) AS bucket, sum(tweets) AS tweets FROM not_french GROUP BY 1$$, in_background => false);
SELECT rows FROM evilnet.store_messages('tweets', ARRAY[post(900, '2026-02-20 01:00+00', lang => 'en'), post(901, '2026-02-20 01:00+00', lang => 'fr')]);
SELECT deletes FROM evilnet.store_messages('tweets', ARRAY[gone(900)], 1);
SELECT lang, tweets, evilnet_rows, evilnet_slot FROM by_lang_slots WHERE bucket = '2026-02-20 01:00+00' ORDER BY lang, evilnet_slot;
SELECT tweets FROM not_french WHERE bucket = '2026-02-20 01:00+00';
SELECT tweets FROM not_french_a_day WHERE bucket = '2026-02-20 00:00+00';
SELECT * FROM recount('not_french');
SELECT * FROM recount('not_french_a_day');
SELECT evilnet.refresh_continuous_aggregate('not_french');
SELECT * FROM recount('not_french');

-- ---------------------------------------------------------------------------
-- Transactions that may not write
-- ---------------------------------------------------------------------------

BEGIN READ ONLY;
SELECT count(*) FROM evilnet.verify_continuous_aggregate('total');
SELECT count(*) > 0 AS has_notes FROM evilnet.check_continuous_aggregate(:hours);
SELECT left(attempt($$SELECT evilnet.refresh_continuous_aggregate('total')$$), 5) AS sqlstate;
ROLLBACK;

-- trigger functions are for the extension's own triggers
SELECT evilnet.continuous_aggregate_changed();

-- all goes with the stream
SELECT * FROM recount_all();
SELECT evilnet.drop_stream('tweets');
SELECT count(*) FROM evilnet.continuous_aggregate;
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname !~ '^(region|form)$' AND relkind IN ('r', 'p', 'v') AND NOT EXISTS
	(SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = pg_class.oid AND d.deptype = 'e');
DROP TABLE region, form;
DROP FUNCTION post, gone, store, attempt, refused, recount, recount_all;
DROP PROCEDURE await_builder;
DROP SERVER agg_bus;
