-- What evilnet made of the demo's messages.
\pset pager off
\pset footer off
\pset linestyle unicode
\pset border 1
\pset null '-'

\echo
\echo 4. What became of them
SELECT what, to_char(count, '999G999G999') AS count
FROM (SELECT sum(messages) AS messages, sum(rows) AS rows, sum(duplicates) AS duplicates, sum(deletes) AS deletes,
        sum(rows_deleted) AS rows_deleted, sum(suppressed) AS suppressed, sum(notices) AS notices,
        sum(dead_letters) AS dead_letters, sum(gaps) AS gaps
      FROM evilnet.stat_stream WHERE stream = 'tweets') s,
  LATERAL (VALUES (1, 'messages consumed', messages), (2, 'posts stored', rows),
    (3, 'duplicates dropped', duplicates), (4, 'delete notices', deletes),
    (5, '  posts they removed', rows_deleted), (6, '  posts that came after theirs', suppressed),
    (7, 'other notices', notices), (8, 'dead letters', dead_letters),
    (9, 'lost by the embedded broker', gaps)) v(position, what, count)
ORDER BY position;

SELECT format('%s messages published and stored in %s s, %s a second.', :messages, round(:seconds, 1),
    round(:messages / :seconds)) AS speed
\gset
SELECT count(*) AS stored FROM tweets
\gset
SELECT sum(tweets) AS counted FROM tweets_by_city
\gset
SELECT sum(dead_letters) AS dead, sum(gaps) AS gaps FROM evilnet.stat_stream
\gset
SELECT CASE WHEN :gaps > 0 THEN
    format('The embedded broker dropped %s messages before they were read: it keeps 5 MiB of a partition.', :gaps)
  WHEN (:stored, :counted, :dead) = (:posts, :posts, :undecodable) THEN
    format('Exactly once: %s posts were to be found; %s are in the table, %s in the counts.', :posts, :stored, :counted)
  ELSE
    format('NOT AS EXPECTED: %s posts and %s dead letters were to be found; %s posts are in the table, %s in the counts.',
      :posts, :undecodable, :stored, :counted)
  END AS verdict
\gset
\echo :speed
\echo :verdict

\echo
\echo 5. The last hour in steps of five minutes: tweets, retweets and active tweeters of the ten busiest cities
WITH top AS (
  SELECT * FROM evilnet.top_cities('tweets', since => now() - interval '65 minutes', n => 10)
), step AS (
  SELECT c.city_id, c.window_start, v.trend, v.count,
    coalesce(7 * v.count / nullif(max(v.count) OVER (PARTITION BY c.city_id, v.trend), 0), 0)::int AS height
  FROM evilnet.city_counts('tweets', width => '5 minutes', since => now() - interval '65 minutes', fill => 'null') c
    JOIN top USING (city_id), LATERAL (VALUES ('tweets', c.tweets), ('retweets', c.retweets), ('tweeters', c.authors)) v(trend, count)
), trend AS (
  SELECT city_id, trend, string_agg(substr('▁▂▃▄▅▆▇█', 1 + height, 1), '' ORDER BY window_start) AS line
  FROM step GROUP BY city_id, trend
)
SELECT t.city, t.country, t.tweets, w.line AS "tweets, trend", t.retweets, r.line AS "retweets, trend", t.authors AS tweeters, a.line AS "tweeters, trend"
FROM top t JOIN trend w ON w.city_id = t.city_id AND w.trend = 'tweets'
  JOIN trend r ON r.city_id = t.city_id AND r.trend = 'retweets'
  JOIN trend a ON a.city_id = t.city_id AND a.trend = 'tweeters'
ORDER BY t.rank, t.city_id;

\echo 6. Top five cities by tweets, worst five by retweets
SELECT rank, city, country, tweets, rpad(repeat('█', (24 * tweets / max(tweets) OVER ())::int), 24) AS "share of the first"
FROM evilnet.top_cities('tweets', since => now() - interval '65 minutes', n => 5);
SELECT rank, city, country, tweets, retweets
FROM evilnet.bottom_cities('tweets', since => now() - interval '65 minutes', metric => 'retweets', n => 5);

\echo 7. Dead letters: messages that could not be stored, kept with position and reason
SELECT reason, count(*), min(detail) AS detail,
  left(regexp_replace(convert_from((array_agg(payload))[1], 'UTF8'), '\s+', ' ', 'g'), 40) AS "one of them"
FROM evilnet.dead_letter
WHERE stream = 'tweets'::regclass
GROUP BY reason
ORDER BY count(*) DESC;
