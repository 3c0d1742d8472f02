-- One city and one minute: :workers workers upserting the same group.
SELECT set_config('bench.messages', :'messages', false) \g /dev/null
SELECT evilnet.create_stream('bench', server => 'bus', topic => :'topic', dedup => false, store => false, workers => :workers) \g /dev/null
SELECT clock_timestamp() AS began \gset
\ir wait_consumed.sql
SELECT 'wall', extract(epoch FROM clock_timestamp() - :'began');
SELECT 'journal', extract(epoch FROM max(committed_at) - min(started_at)) FROM evilnet.batch WHERE stream = 'bench'::regclass;
SELECT 'counted', sum(tweets) FROM bench_by_city;
SELECT 'groups', count(*) FROM bench_by_city;
SELECT evilnet.drop_stream('bench') \g /dev/null
