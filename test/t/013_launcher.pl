# The launcher makes the processes follow the catalog, and brings back what
# ended by itself.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = prepared_node('main');
my $workers = worker_query('postgres');

sub sql
{
	return $node->safe_psql('postgres', @_);
}

sub count_workers
{
	my ($count, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet ingest worker'}, $count, $name);
}

# --- commit and rollback

my $offset = log_size($node);
sql(q{BEGIN; SELECT evilnet.create_stream('never', server => 'bus', topic => 'tweets'); ROLLBACK});
add_stream($node, 'postgres', 'tweets', 'tweets', 1 .. 3);
count_workers(1, 'a stream that was rolled back has no worker');
is(sql(q{
		SELECT a.backend_start - s.created_at < interval '1 second'
		FROM pg_stat_activity a, evilnet.stream s
		WHERE a.backend_type = 'evilnet ingest worker'}),
	't', 'a worker starts within a second of create_stream');

# --- pause and resume

sql(q{SELECT evilnet.pause('tweets')});
count_workers(0, 'pause ends the worker');
is(sql('SELECT state FROM evilnet.stat_stream'), 'paused', 'the stream is paused');
publish($node, 'tweets', posts(4 .. 6));
is(sql('SELECT count(*) FROM tweets'), '3', 'a paused stream stores nothing');
sql(q{BEGIN; SELECT evilnet.resume('tweets'); ROLLBACK});
is(sql($workers), 'none', 'a resume that was rolled back starts nothing');
sql(q{SELECT evilnet.resume('tweets')});
wait_for_rows($node, 'tweets', 6, 'a resumed stream goes on where it was');

# --- several workers

sql(q{SELECT evilnet.create_stream('pair', server => 'bus', topic => 'tweets', workers => 2)});
wait_for_rows($node, 'pair', 6, 'two workers store all posts');
publish($node, 'tweets', posts(7 .. 200));
wait_for_rows($node, 'pair', 200, 'and those that come');
is(sql(q{SELECT count(DISTINCT pid) FROM evilnet.stat_stream WHERE stream = 'pair' AND pid IS NOT NULL}),
	'2', 'they are two processes');
is(sql(q{SELECT count(DISTINCT worker), bool_and(worker = kafka_partition % 2) FROM evilnet.batch WHERE stream = 'pair'::regclass}),
	'2|t', 'each has its own partitions');
is(sql('SELECT sum(tweets) FROM pair_by_city'), '200', 'and they count each post once');
wait_for_rows($node, 'tweets', 200, 'the other stream of the topic has all of them, too');
is(complaints($node, $offset), '', 'no process complained');

# --- a worker that is terminated

my $pid = sql(q{SELECT pid FROM evilnet.stat_stream WHERE stream = 'tweets'});
is(sql("SELECT pg_terminate_backend($pid)"), 't', 'a worker is terminated');
wait_for($node, qq{SELECT pid <> $pid FROM evilnet.stat_stream WHERE stream = 'tweets' AND state = 'idle'},
	't', 'it is started again');
publish($node, 'tweets', posts(201));
wait_for_rows($node, 'tweets', 201, 'and goes on');
is(sql('SELECT sum(tweets) FROM tweets_by_city'), '201', 'counting each post once');

# --- a worker that is ended while its batch fills

sql(q{
	SELECT evilnet.create_stream('slow', server => 'bus', topic => 'slow', batch_interval => '1 hour');
});
wait_for($node, q{SELECT state FROM evilnet.stat_stream WHERE stream = 'slow'}, 'idle', 'a stream with long batches waits');
publish($node, 'slow', posts(1 .. 10));
wait_for($node, q{SELECT state FROM evilnet.stat_stream WHERE stream = 'slow'}, 'running', 'it fills a batch');
$pid = sql(q{SELECT pid FROM evilnet.stat_stream WHERE stream = 'slow'});
sql(q{SELECT evilnet.pause('slow')});
soon($node, 10, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0', 'pause ends the worker all the same');
is(sql('SELECT count(*) FROM slow'), '0', 'and nothing of the batch is stored');
sql(q{
	UPDATE evilnet.stream SET batch_interval = '1 ms' WHERE stream = 'slow'::regclass;
	SELECT evilnet.resume('slow')});
wait_for_rows($node, 'slow', 10, 'after resume all of it is');

# --- a broker that hangs and comes back

my $broker = sql('SELECT evilnet.embedded_broker_address()');
sql(qq{
	SELECT evilnet.drop_stream(stream) FROM evilnet.stream;
	CREATE SERVER patient FOREIGN DATA WRAPPER evilnet_kafka OPTIONS (
		"bootstrap.servers" '$broker', "socket.timeout.ms" '2000', "reconnect.backoff.max.ms" '500');
	SELECT evilnet.create_stream('hung', server => 'patient', topic => 'tweets')});
wait_for_rows($node, 'hung', 201, 'a stream of a broker that will hang');
my ($broker_pid) = processes($node, 'evilnet embedded broker');
kill('STOP', $broker_pid);
my $told = $node->poll_query_until('postgres', q{SELECT last_error ~ 'timed out|down' FROM evilnet.stat_stream});
kill('CONT', $broker_pid);
ok($told, 'stat_stream tells that the broker does not answer');
publish($node, 'tweets', posts(202));
wait_for_rows($node, 'hung', 202, 'when it answers again, the stream goes on');

# --- a catalog that the library does not know

sql(q{SELECT evilnet.pause('hung')});
count_workers(0, 'the worker has ended');
sql(q{UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'evilnet'});
$offset = log_size($node);
sql('UPDATE evilnet.stream SET enabled = true');
$node->wait_for_log(qr/LOG: +extension evilnet of database "postgres" is of version 0\.0\.1, but its library is of version [\d.]+\n.*HINT: +Run ALTER EXTENSION evilnet UPDATE/, $offset);
# a stream elsewhere: when it runs, the launcher has done with this one
$node->safe_psql('template1', 'CREATE DATABASE other');
$node->safe_psql('other', q{SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'tweets')});
wait_for_rows($node, 'tweets', 202, 'another database goes on', 'other');
is(sql($workers), 'none', 'with a catalog of another version no worker starts');
my $lines = () = log_since($node, $offset) =~ /evilnet scan LOG: +extension/g;
is($lines, 1, 'and the log says why once');
sql(q{UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'evilnet') WHERE extname = 'evilnet'});
sql(q{ALTER SYSTEM SET evilnet.rescan_interval = '1s'});
$node->reload;
publish($node, 'tweets', posts(203));
wait_for_rows($node, 'hung', 203, 'with the right one it is found at the next rescan');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing died');

done_testing();
