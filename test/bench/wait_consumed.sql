-- Wait until stream bench has consumed as many messages as bench.messages says.
DO $$
DECLARE
	stored bigint;
	problem text;
BEGIN
	LOOP
		SELECT sum(messages), max(last_error) FILTER (WHERE state = 'stopped') INTO stored, problem
			FROM evilnet.stat_stream WHERE stream = 'bench';
		EXIT WHEN stored >= current_setting('bench.messages')::bigint;
		IF problem IS NOT NULL OR clock_timestamp() > now() + interval '10 minutes' THEN
			RAISE EXCEPTION '% messages after %: %', stored, clock_timestamp() - now(), problem;
		END IF;
		PERFORM pg_sleep(0.02);
	END LOOP;
END $$;
