# What happens to a topic while it is consumed: partitions are added, messages
# expire, transactions leave control records, the broker goes away and comes
# back, and the topic is deleted and made anew.
use strict;
use warnings;

use EvilnetKafka;
use EvilnetTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = start_kafka();
my $node = kafka_node($kafka, 'main', 'evilnet.max_workers = 40', 'max_worker_processes = 60');
my $next_id = 1000;

# This many posts with ids that no other has.
sub posts
{
	my ($count, $time) = @_;

	$time //= '2024-03-01T12:00:00Z';
	return [ map { sprintf '{"id":%d,"created_at":"%s","author_id":1,"city":"Paris","text":"t"}', $next_id++, $time }
		  1 .. $count ];
}

sub stat_of
{
	my ($stream, $columns) = @_;

	return $node->safe_psql('postgres', "SELECT $columns FROM evilnet.stat_stream WHERE stream = '$stream'");
}

sub log_from { return -s $node->logfile; }
sub log_since { my ($from) = @_; return substr(slurp_file($node->logfile), $from); }

# ---- partitions that are added: looked for once a minute, so begun here and ended below

foreach my $start ('earliest', 'latest')
{
	$kafka->create_topic("grows_$start", 1);
	$kafka->produce_lines("grows_$start", posts(3));
	kafka_stream($node, "grows_$start", start_at => "'$start'", workers => 2);
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM evilnet.stream_offset WHERE stream = 'grows_$start'::regclass")
	  or die 'no position';
	wait_running($node, "grows_$start");
	$kafka->tool('add-partitions', "grows_$start", 3);
	$kafka->produce_lines("grows_$start", posts(30), '--partition', $_) foreach 0 .. 2;
}

# ---- where reading starts

$kafka->create_topic('starts');
$kafka->produce_lines('starts', posts(30));
my $middle = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->poll_query_until('postgres', "SELECT clock_timestamp() > '$middle'::timestamptz + interval '5 ms'");
$kafka->produce_lines('starts', posts(60));
kafka_stream($node, 'from_latest', topic => "'starts'", start_at => "'latest'");
kafka_stream($node, 'from_time', topic => "'starts'", start_at => "'$middle'");
kafka_stream($node, 'from_future', topic => "'starts'", start_at => "(now() + interval '1 day')::text");
kafka_stream($node, 'from_earliest', topic => "'starts'");
foreach my $stream ('from_latest', 'from_time', 'from_future', 'from_earliest')
{
	$node->poll_query_until('postgres',
		"SELECT count(*) = 3 FROM evilnet.stream_offset WHERE stream = '$stream'::regclass")
	  or die 'no positions';
}
$kafka->produce_lines('starts', posts(9));
wait_consumed($node, $kafka, $_, undef, 'starts') foreach 'from_latest', 'from_time', 'from_future', 'from_earliest';
is(stat_of('from_latest', 'messages, gaps'), '9|0', 'latest: what came after the stream was made');
is(stat_of('from_time', 'messages, gaps'), '69|0', 'a timestamp: what came since');
is(stat_of('from_future', 'messages, gaps'), '9|0', 'a timestamp ahead: as latest');
is(stat_of('from_earliest', 'messages, gaps'), '99|0', 'earliest: everything');

# ---- a topic that does not exist yet

kafka_stream($node, 'later');
wait_for($node, "SELECT last_error LIKE '%\"later\" does not exist%' FROM evilnet.stat_stream WHERE stream = 'later'",
	't', 'a missing topic is told');
$kafka->create_topic('later');
$kafka->produce_lines('later', posts(12));
wait_for_rows($node, 'later', 12, 'a topic that is made later is consumed');

# ---- messages that expire before they are read

$kafka->create_topic('expires');
$kafka->produce_lines('expires', posts(300));
kafka_stream($node, 'expires');
wait_for_rows($node, 'expires', 300, 'consumed before anything expired');
$node->safe_psql('postgres', "SELECT evilnet.pause('expires')");
$node->poll_query_until('postgres', "SELECT pid IS NULL FROM evilnet.stat_stream WHERE stream = 'expires'");
$kafka->produce_lines('expires', posts(300));
$kafka->tool('delete-records', 'expires', 0, 150);
$kafka->tool('delete-records', 'expires', 1, 100);
$kafka->tool('delete-records', 'expires', 2, 40);
my $log = log_from();
$node->safe_psql('postgres', "SELECT evilnet.resume('expires')");
wait_consumed($node, $kafka, 'expires', 'goes on after a gap');
is(stat_of('expires', 'messages, rows, gaps, state'), '550|550|50|idle', 'the gap is counted');
like(log_since($log), qr/WARNING:.*"expires", partition 0: 50 messages expired/, 'and told');
unlike(log_since($log), qr/partition [12]: \d+ messages expired/, 'only where there is one');

# ---- the same while it runs: the position falls out of the log

$node->safe_psql('postgres', "SELECT evilnet.pause('expires')");
$node->poll_query_until('postgres', "SELECT pid IS NULL FROM evilnet.stat_stream WHERE stream = 'expires'");
$kafka->tool('delete-records', 'expires', $_, -1) foreach 0 .. 2;
$node->safe_psql('postgres', "SELECT evilnet.resume('expires')");
wait_running($node, 'expires');
$kafka->produce_lines('expires', posts(30));
wait_consumed($node, $kafka, 'expires', 'an emptied topic is no other topic');
is(stat_of('expires', 'messages, gaps, state'), '580|50|idle', 'and nothing is lost');

# ---- transactions

# One transaction, committed or aborted.
sub transaction
{
	my ($topic, $commit, $lines) = @_;
	my $address = slurp_file("$kafka->{dir}/bootstrap") =~ s/\s+//r;
	my $in = join('', map { "$_\n" } @$lines);
	my ($out, $err);
	my $kcat = IPC::Run::start(
		[ 'kcat', '-P', '-b', $address, '-t', $topic, '-p', '0', '-X', "transactional.id=$topic", '-X', 'linger.ms=1' ],
		'<', \$in, '>', \$out, '2>', \$err);
	return $kcat->finish;
}

$kafka->create_topic('transactions', 1);
kafka_stream($node, 'transactions', batch_interval => "'1 ms'");
transaction('transactions', 1, posts(10)) or die 'kcat failed';
wait_consumed($node, $kafka, 'transactions', 'the position passes the control record at the end');
is(stat_of('transactions', 'messages, gaps, lag_messages'), '10|1|0', 'a control record is a gap');
$node->safe_psql('postgres', "SELECT evilnet.pause('transactions')");
$node->poll_query_until('postgres', "SELECT pid IS NULL FROM evilnet.stat_stream WHERE stream = 'transactions'");
transaction('transactions', 1, posts(10)) or die 'kcat failed';
$kafka->produce_lines('transactions', posts(10));
$node->safe_psql('postgres', "SELECT evilnet.resume('transactions')");
wait_consumed($node, $kafka, 'transactions', 'and one in between');
is(stat_of('transactions', 'messages, rows, gaps, state'), '30|30|2|idle', 'whenever it is read');

# ---- the broker goes away

$kafka->create_topic('outage');
kafka_stream($node, 'outage', workers => 2);
$kafka->produce_lines('outage', posts(300));
wait_for_rows($node, 'outage', 300, 'consumed before the broker goes away');
my $pids = join(',', map { worker_pid($node, 'outage', $_) } 0, 1);
$log = log_from();
$kafka->stop;
wait_for($node, "SELECT bool_and(last_error IS NOT NULL) FROM evilnet.stat_stream WHERE stream = 'outage'",
	't', 'an outage is told');
$kafka->start;
$kafka->produce_lines('outage', posts(300));
wait_for_rows($node, 'outage', 600, 'consumed on after the outage');
is(join(',', map { worker_pid($node, 'outage', $_) } 0, 1), $pids, 'by the same workers');
is(stat_of('outage', 'sum(messages), sum(gaps), sum(duplicates)'), '600|0|0', 'nothing lost, nothing twice');
my $streams = $node->safe_psql('postgres', 'SELECT sum(workers) FROM evilnet.stream WHERE enabled');
my @complaints = grep { /Kafka/ } split(/\n/, log_since($log));
cmp_ok(scalar @complaints, '>', 0, 'the log tells of the outage');
cmp_ok(scalar @complaints, '<=', 4 * $streams, 'but does not fill with it') or diag(join("\n", @complaints));

# and once more by a crash, at full work
$kafka->produce_lines('outage', posts(3000));
$kafka->stop('--crash');
$kafka->start;
$kafka->produce_lines('outage', posts(300));
wait_for_rows($node, 'outage', 3900, 'consumed on after the broker crashed');
is(stat_of('outage', 'sum(messages), sum(gaps), sum(duplicates)'), '3900|0|0', 'nothing lost, nothing twice');

# ---- the topic is made anew

# Wait until a stream stopped because its topic is another one.
sub is_stopped
{
	my ($stream, $what, $rows) = @_;

	wait_for($node, "SELECT DISTINCT state FROM evilnet.stat_stream WHERE stream = '$stream'", 'stopped', "$what: stopped");
	like(stat_of($stream, 'DISTINCT last_error'),
		qr/^partition \d of Kafka topic "$stream" is not the one that was read before: /, "$what: the reason is told");
	is(stat_of($stream, 'sum(messages), sum(rows)'), "$rows|$rows", "$what: nothing of it counted");
	$node->poll_query_until('postgres', "SELECT bool_and(pid IS NULL) FROM evilnet.stat_stream WHERE stream = '$stream'");
	return;
}

sub make_anew
{
	my ($topic, $lines) = @_;

	$kafka->tool('delete-topic', $topic);
	$kafka->create_topic($topic);
	$kafka->produce_lines($topic, $lines) if $lines;
	return;
}

# while it runs, with fewer messages, with none, and with more, where nothing but the anchor can tell
my %anew = (fewer => posts(30), none => undef, more => posts(900));
foreach my $how (sort keys %anew)
{
	my $stream = "anew_$how";

	$kafka->create_topic($stream);
	$kafka->produce_lines($stream, posts(300));
	kafka_stream($node, $stream);
	wait_for_rows($node, $stream, 300, "$stream: consumed");
	make_anew($stream, $anew{$how});
	is_stopped($stream, $stream, 300);
}
$node->safe_psql('postgres', "SELECT evilnet.seek('anew_more', 'earliest')");
wait_for_rows($node, 'anew_more', 1200, 'after seek() the new topic is consumed');
is(stat_of('anew_more', 'state, messages, last_error'), 'idle|900|', 'with totals of its own');

# while the stream is at work, with much of the old topic still waiting in the worker
my $old_end = $next_id + 30000;
$kafka->create_topic('anew_busy');
$kafka->produce_lines('anew_busy', posts(30000));
kafka_stream($node, 'anew_busy', batch_messages => 50);
$node->poll_query_until('postgres', "SELECT coalesce(sum(messages), 0) > 500 FROM evilnet.stat_stream WHERE stream = 'anew_busy'");
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE anew_busy');
my $held = $node->safe_psql('postgres', "SELECT sum(messages) FROM evilnet.stat_stream WHERE stream = 'anew_busy'");
make_anew('anew_busy', posts(60000));
$holder->query_safe('COMMIT');
$holder->quit;
wait_for($node, "SELECT state, last_error LIKE '% is not the one that was read before: %' FROM evilnet.stat_stream WHERE stream = 'anew_busy'",
	'stopped|t', 'anew_busy: stopped, and the reason is told');
cmp_ok($held, '<', 30000, 'anew_busy: before all of the old topic was stored');
is($node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE id >= $old_end) FROM anew_busy"),
	0, 'anew_busy: nothing of it counted');

# while the stream rests: only the anchor can tell
$kafka->create_topic('rested');
$kafka->produce_lines('rested', posts(300));
kafka_stream($node, 'rested', workers => 3);
wait_for_rows($node, 'rested', 300, 'rested: consumed');
$node->safe_psql('postgres', "SELECT evilnet.pause('rested')");
$node->poll_query_until('postgres', "SELECT bool_and(pid IS NULL) FROM evilnet.stat_stream WHERE stream = 'rested'");
make_anew('rested', posts(900));
$node->safe_psql('postgres', "SELECT evilnet.resume('rested')");
is_stopped('rested', 'rested', 300);
$node->safe_psql('postgres', "SELECT evilnet.resume('rested')");
is_stopped('rested', 'resume() does not help', 300);
$node->safe_psql('postgres', "SELECT evilnet.seek('rested', 'earliest')");
wait_for_rows($node, 'rested', 1200, 'after seek() the new topic is consumed');

# seek() while the stream is at work
$kafka->create_topic('sought');
my $file = generate($kafka, 'sought', form => 'flat', count => 60000, seed => 33);
$kafka->produce('sought', $file);
kafka_stream($node, 'sought', batch_messages => 50);
$node->poll_query_until('postgres', "SELECT coalesce(sum(messages), 0) > 500 FROM evilnet.stat_stream WHERE stream = 'sought'");
$node->safe_psql('postgres', "SELECT evilnet.seek('sought', 'latest')");
my $stored = $node->safe_psql('postgres', 'SELECT count(*) FROM sought');
wait_for($node, "SELECT count(*) FROM evilnet.stream_offset WHERE stream = 'sought'::regclass AND next_offset = 20000",
	3, 'seek() at full work goes where it was told');
cmp_ok($stored, '<', 60000, 'before all was consumed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sought'), $stored, 'and skips what lies between');

# ---- the partitions that were added above

wait_for_rows($node, 'grows_earliest', 93, 'added partitions are consumed from their beginning');
wait_for_rows($node, 'grows_latest', 90, 'also by a stream that began at the end of its topic');
is(stat_of('grows_earliest', 'worker, messages, gaps'), "0|63|0\n1|30|0", 'each by the worker it belongs to');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP/, 'nothing died');
done_testing();
