-- Publish the lines of standard input to topic tweets of server bus, no faster than
-- they are stored: the embedded broker keeps 5 MiB of each of its partitions
-- and drops the oldest silently.
SET client_min_messages = warning;
CREATE SCHEMA demo;
CREATE UNLOGGED TABLE demo.message (number bigint GENERATED ALWAYS AS IDENTITY, body text);
\copy demo.message (body) FROM pstdin WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
CREATE INDEX ON demo.message (number);
ANALYZE demo.message;

-- A delete notice goes where its post went, so the key is the post's id.
CREATE FUNCTION demo.key(body text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN substring(body FROM '"id": ?"?(\d+)');

CREATE PROCEDURE demo.publish(chunk int, outstanding bigint)
LANGUAGE plpgsql AS $$
DECLARE
  first bigint := 1;
  total bigint := (SELECT max(number) FROM demo.message);
  published bigint := 0;
  stored bigint := 0;
BEGIN
  WHILE first <= total LOOP
    published := published + evilnet.produce('bus', 'tweets', m.bodies, m.keys)
      FROM (SELECT array_agg(body ORDER BY number) AS bodies, array_agg(demo.key(body) ORDER BY number) AS keys
            FROM demo.message WHERE number >= first AND number < first + chunk) m;
    first := first + chunk;
    COMMIT;
    LOOP
      SELECT sum(messages + gaps) INTO stored FROM evilnet.stat_stream WHERE stream = 'tweets';
      EXIT WHEN published - stored <= outstanding;
      PERFORM pg_sleep(0.01);
    END LOOP;
  END LOOP;
END $$;

-- 4 MB over the topic's partitions
SELECT 4000000 / avg(octet_length(body))::int AS outstanding FROM demo.message \gset
CALL demo.publish(1000, :outstanding);
DROP SCHEMA demo CASCADE;
