# What is changed while workers run: settings by a reload, servers and user
# mappings at commit.  No worker needs a restart by hand.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;

my $node = prepared_node('main');

sub sql
{
	return $node->safe_psql('postgres', @_);
}

sub set
{
	my ($name, $value) = @_;

	sql("ALTER SYSTEM SET $name = $value");
	$node->reload;
	return;
}

sub state_of
{
	my ($stream) = @_;

	return "SELECT state FROM evilnet.stat_stream WHERE stream = '$stream'";
}

# --- evilnet.max_future

sub post_in_an_hour
{
	my ($id) = @_;

	return post($id, created_at => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + 3600)));
}

add_stream($node, 'postgres', 'tweets', 'tweets', 1);
my $pids = sql(worker_query('postgres'));
publish($node, 'tweets', post_in_an_hour(2));
wait_for($node, 'SELECT string_agg(reason, $$ $$) FROM evilnet.dead_letter',
	'in_the_future', 'a post ahead of the clock is a dead letter');
set('evilnet.max_future', q{'2h'});
# what it answers now the worker may not have read yet: publish until one is stored
wait_for(
	$node,
	"SELECT evilnet.produce('bus', 'tweets', ARRAY['" . post_in_an_hour(3) . "']) = 1"
	  . ' AND EXISTS (SELECT FROM tweets WHERE id = 3)',
	't', 'evilnet.max_future is taken over at a reload');

# --- settings of the log

my $offset = log_size($node);
set('log_line_prefix', q{'MARK [%p] %b '});
sql(q{SELECT evilnet.create_stream('strict', server => 'bus', topic => 'strict', on_error => 'stop')});
publish($node, 'strict', post(1), 'no post');
wait_for($node, state_of('strict'), 'stopped', 'a stream with on_error => stop stops at a bad message');
$node->wait_for_log(qr/evilnet stops stream/, $offset);
like(log_since($node, $offset), qr/^MARK \[\d+\] evilnet ingest worker LOG:  evilnet stops stream public\.strict: message at partition/m,
	'it says so in the log, with a prefix set while workers run');
like(sql(q{SELECT last_error FROM evilnet.stat_stream WHERE stream = 'strict'}),
	qr/^message at partition \d, offset \d+ cannot be stored: .*\(bad_json\)$/, 'and in stat_stream');
wait_for($node, worker_query('postgres'), $pids, 'its worker has ended, the other one was never replaced');
sql(q{SELECT evilnet.drop_stream('strict')});
is(complaints($node, $offset), '', 'no process complained');

# --- the server

$offset = log_size($node);
sql(q{
	CREATE SERVER direct FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" '127.0.0.1:1');
	SELECT evilnet.create_stream('moved', server => 'direct', topic => 'tweets');
});
wait_for($node, q{SELECT last_error ~ 'Kafka: .*(transport|down|[Tt]imed out)' AND state = 'backoff' FROM evilnet.stat_stream WHERE stream = 'moved'},
	't', 'a broker that is not there: the worker says so and waits');
my $lines = () = log_since($node, $offset) =~ /evilnet ingest worker ERROR/g;
cmp_ok($lines, '<=', 10, 'without filling the log');
my $broker = sql('SELECT evilnet.embedded_broker_address()');
sql(qq{ALTER SERVER direct OPTIONS (SET "bootstrap.servers" '$broker')});
wait_for($node, 'SELECT count(*) >= 2 FROM moved', 't', 'ALTER SERVER to one that is: the stream goes on');
sql(q{ALTER SERVER direct OPTIONS (SET "bootstrap.servers" '127.0.0.1:1')});
soon($node, 20, q{SELECT state FROM evilnet.stat_stream WHERE stream = 'moved'},
	'connecting', 'ALTER SERVER reaches a worker that has a connection');
sql(qq{ALTER SERVER direct OPTIONS (SET "bootstrap.servers" '$broker')});
publish($node, 'tweets', posts(4));
soon($node, 20, 'SELECT count(*) FROM moved WHERE id = 4', '1', 'and the other way round');

# --- rights on the server, secrets

sql(q{
	CREATE ROLE joe LOGIN;
	GRANT CREATE ON SCHEMA public TO joe;
	GRANT USAGE ON FOREIGN SERVER direct TO joe;
});
$node->safe_psql('postgres', q{SELECT evilnet.create_stream('joes', server => 'direct', topic => 'tweets')},
	extra_params => [ '-U', 'joe' ]);
wait_for($node, 'SELECT count(*) FROM joes WHERE id = 4', '1', 'a stream of another user has its posts');
sql('REVOKE USAGE ON FOREIGN SERVER direct FROM joe');
soon($node, 20, q{SELECT last_error, state FROM evilnet.stat_stream WHERE stream = 'joes'},
	'permission denied for foreign server direct|backoff', 'REVOKE USAGE ends what reads through the server');
sql('GRANT USAGE ON FOREIGN SERVER direct TO joe');
wait_for($node, state_of('joes'), 'idle', 'GRANT USAGE lets it go on');
my $pid = sql(q{SELECT pid FROM evilnet.stat_stream WHERE stream = 'joes'});
my $connected_anew = q{SELECT pid <> %d AND state = 'idle' FROM evilnet.stat_stream WHERE stream = 'joes'};
sql(q{CREATE USER MAPPING FOR joe SERVER direct OPTIONS ("sasl.password" 'secret')});
soon($node, 20, sprintf($connected_anew, $pid), 't', 'a user mapping is used from its commit on');
$pid = sql(q{SELECT pid FROM evilnet.stat_stream WHERE stream = 'joes'});
sql('DROP USER MAPPING FOR joe SERVER direct');
soon($node, 20, sprintf($connected_anew, $pid), 't', 'and not after it was dropped');
sql(q{SELECT evilnet.drop_stream(stream) FROM evilnet.stream});

# --- evilnet.embedded_broker

sql(q{SELECT evilnet.create_stream('later', server => 'bus', topic => 'later')});
wait_for($node, state_of('later'), 'idle', 'a stream without posts is idle');
$offset = log_size($node);
my @broker_pids = processes($node, 'evilnet embedded broker');
is(scalar(@broker_pids), 1, 'there is one embedded broker');
set('evilnet.embedded_broker', 'off');
wait_for($node, 'SELECT evilnet.embedded_broker_address() IS NULL', 't', 'the embedded broker ends when it is turned off');
sql_fails($node, 'postgres', q{SELECT evilnet.produce('bus', 'later', ARRAY['1'])}, '55000',
	'embedded broker is not running.*ALTER SYSTEM SET evilnet.embedded_broker = on', 'nothing can be published');
soon($node, 20, q{SELECT last_error ~ 'Connection refused|embedded broker is not running' FROM evilnet.stat_stream},
	't', 'the stream says what it waits for');
ended('its process has ended', @broker_pids);
unlike(log_since($node, $offset), qr/embedded broker listens/, 'it was not started again');
set('evilnet.embedded_broker', 'on');
wait_for($node, 'SELECT evilnet.embedded_broker_address() IS NOT NULL', 't', 'it starts when it is turned on');
publish($node, 'later', posts(1));
soon($node, 20, 'SELECT count(*) FROM later', '1', 'the stream finds it where it is now');
unlike(log_since($node, $offset), qr/^%\d\|/m, 'the library writes nothing to the log by itself');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing died');

done_testing();
