# More streams than there are workers for: those that have one go on, the
# others say what they wait for, and start when something is free.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = prepared_node('main', 'evilnet.max_workers = 2');
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet ingest worker'};
my $states = q{SELECT string_agg(stream || ' ' || state, ', ' ORDER BY stream) FROM evilnet.stat_stream};

sub sql
{
	return $node->safe_psql('postgres', @_);
}

sub make_stream
{
	my ($name) = @_;

	return sql("SELECT evilnet.create_stream('$name', server => 'bus', topic => 'tweets')");
}

# --- evilnet.max_workers

my $offset = log_size($node);
add_stream($node, 'postgres', 's1', 'tweets', 1);
make_stream('s2');
wait_for_rows($node, 's2', 1, 'a second stream has a worker');
make_stream('s3');
$node->wait_for_log(qr/WARNING: +no evilnet worker slot for 1 stream workers of database "postgres"\n.*HINT: +Increase evilnet\.max_workers and restart/, $offset);
wait_for($node, $states, 's1 idle, s2 idle, s3 waiting', 'a third one waits');
publish($node, 'tweets', posts(2));
wait_for_rows($node, 's1', 2, 'the first goes on');
wait_for_rows($node, 's2', 2, 'the second goes on');
is(sql('SELECT count(*) FROM s3'), '0', 'the third has no worker');
sql(q{SELECT evilnet.pause('s2')});
soon($node, 20, 'SELECT count(*) FROM s3', '2', 'it starts when another one is paused');
sql(q{SELECT evilnet.resume('s2')});
sql(q{SELECT evilnet.drop_stream('s1')});
publish($node, 'tweets', posts(3));
soon($node, 20, 'SELECT count(*) FROM s2', '3', 'and one that waits, when another one is dropped');
cmp_ok(scalar(() = log_since($node, $offset) =~ /no evilnet worker slot/g), '<=', 6, 'the log says so, but not over and over');

# --- max_worker_processes: the launcher, the broker, and two of ours

sql(q{SELECT evilnet.drop_stream(stream) FROM evilnet.stream});
$node->append_conf('postgresql.conf', "max_worker_processes = 4\nmax_logical_replication_workers = 0\nevilnet.max_workers = 8");
$node->restart;
wait_for($node, 'SELECT evilnet.embedded_broker_address() IS NOT NULL', 't', 'the server runs with few processes');
publish($node, 'tweets', posts(1));
$offset = log_size($node);
make_stream($_) for 's1', 's2', 's3', 's4';
wait_for($node, $workers, '2', 'two of four streams run, then the processes are used up');
wait_for($node, q{SELECT count(*) FROM evilnet.stat_stream WHERE state = 'waiting' AND last_error = 'no free background worker slot: increase max_worker_processes'},
	'2', 'the others say what they wait for');
like(log_since($node, $offset), qr/WARNING: +no free background worker slot for "evilnet .*\n.*HINT: +Increase max_worker_processes and restart/, 'and so does the log');
my @running = split(/ /, sql(q{SELECT string_agg(stream, ' ' ORDER BY stream) FROM evilnet.stat_stream WHERE pid IS NOT NULL}));
is(scalar(@running), 2, 'two streams have a process');
sql("SELECT evilnet.pause('$_')") foreach @running;
soon($node, 40, q{SELECT count(*) FROM evilnet.stat_stream WHERE state = 'idle' AND pid IS NOT NULL}, '2',
	'the other two start when those are paused');
cmp_ok(scalar(split(/\n/, log_since($node, $offset))), '<', 40, 'the log does not fill');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing died');

done_testing();
