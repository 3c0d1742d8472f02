-- One stream over a topic that is already full, timed from the commit of
-- create_stream until all messages are stored.
SELECT set_config('bench.messages', :'messages', false) \g /dev/null
SELECT evilnet.create_stream('bench', server => 'bus', topic => :'topic', :options) \g /dev/null
SELECT clock_timestamp() AS began \gset
\ir wait_consumed.sql
SELECT 'wall', extract(epoch FROM clock_timestamp() - :'began');
SELECT 'journal', extract(epoch FROM max(committed_at) - min(started_at)) FROM evilnet.batch WHERE stream = 'bench'::regclass;
SELECT 'stage ' || stage, sum(microseconds) FROM evilnet.stat_stage WHERE stream = 'bench' GROUP BY stage;
SELECT 'posts', count(*) FROM bench HAVING count(*) > 0;
SELECT 'counted', sum(tweets) FROM bench_by_city;
SELECT evilnet.drop_stream('bench') \g /dev/null
