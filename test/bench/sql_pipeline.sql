-- What a user has today: messages from standard input by COPY into jsonb, then
-- SQL.  One transaction for all of them, which is its best case.  One of the
-- variables rows_dedup, rows and counts is set.
DROP TABLE IF EXISTS raw, posts, counts;
CREATE UNLOGGED TABLE raw (j jsonb);
CREATE TABLE posts (id bigint, created_at timestamptz, author_id bigint, city text, lang text, retweet boolean, body text);
CREATE TABLE counts (bucket timestamptz, city text, tweets bigint, retweets bigint, authors hll, PRIMARY KEY (bucket, city));
\if :{?rows_dedup}
CREATE UNIQUE INDEX ON posts (id);
\set on_repeated 'ON CONFLICT (id) DO NOTHING'
\else
\set on_repeated
\endif

SELECT clock_timestamp() AS began \gset
\copy raw from pstdin with (format csv, quote E'\x01', delimiter E'\x02')
SELECT clock_timestamp() AS copied \gset
\if :{?counts}
INSERT INTO counts
	SELECT date_trunc('minute', (j->>'created_at')::timestamptz), coalesce(j->>'city', j->>'place'), count(*),
		count(*) FILTER (WHERE (j->>'is_retweet')::boolean), hll_add_agg(hll_hash_bigint((j->>'author_id')::bigint))
	FROM raw GROUP BY 1, 2
	ON CONFLICT (bucket, city) DO UPDATE SET tweets = counts.tweets + excluded.tweets,
		retweets = counts.retweets + excluded.retweets, authors = hll_union(counts.authors, excluded.authors);
\else
WITH fresh AS (
	INSERT INTO posts
		SELECT (j->>'id')::bigint, (j->>'created_at')::timestamptz, (j->>'author_id')::bigint,
			coalesce(j->>'city', j->>'place'), j->>'lang', (j->>'is_retweet')::boolean, j->>'text'
		FROM raw :on_repeated RETURNING *)
INSERT INTO counts
	SELECT date_trunc('minute', created_at), city, count(*), count(*) FILTER (WHERE retweet),
		hll_add_agg(hll_hash_bigint(author_id))
	FROM fresh GROUP BY 1, 2
	ON CONFLICT (bucket, city) DO UPDATE SET tweets = counts.tweets + excluded.tweets,
		retweets = counts.retweets + excluded.retweets, authors = hll_union(counts.authors, excluded.authors);
\endif
SELECT 'wall', extract(epoch FROM clock_timestamp() - :'began');
SELECT 'stage copy into jsonb', extract(epoch FROM :'copied'::timestamptz - :'began') * 1000000;
SELECT 'stage insert and merge', extract(epoch FROM clock_timestamp() - :'copied') * 1000000;
\if :{?counts}
\else
SELECT 'posts', count(*) FROM posts;
\endif
SELECT 'counted', sum(tweets) FROM counts;
