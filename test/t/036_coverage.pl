# Which spans of time were consumed, and which not: what the books say is
# compared with the times that Kafka itself tells of its messages.
use strict;
use warnings;

use EvilnetKafka;
use EvilnetTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = start_kafka('log.message.timestamp.type=LogAppendTime');
my $address = slurp_file("$kafka->{dir}/bootstrap") =~ s/\s+//r;
my $node = kafka_node($kafka, 'main', 'evilnet.max_workers = 40', 'max_worker_processes = 60');
my $next_id = 1;

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

# This many posts with ids that no other has; each is a second later than the one before.
sub posts
{
	my ($count) = @_;

	return [ map { sprintf '{"id":%d,"created_at":"2024-03-01T12:%02d:%02dZ","author_id":1,"text":"t"}', $next_id, ($next_id / 60) % 60, $next_id++ % 60 }
		  1 .. $count ];
}

# The server's time, and a moment in which nothing happens at all.
sub now
{
	my $time = sql('SELECT clock_timestamp()');

	$node->poll_query_until('postgres', "SELECT clock_timestamp() > '$time'::timestamptz + interval '20 ms'");
	return $time;
}

# Kafka's times of all messages that it holds of a partition, as PostgreSQL's.
sub kafka_times
{
	my ($topic, $partition) = @_;
	my ($out, $err);

	IPC::Run::run([ 'kcat', '-C', '-e', '-q', '-b', $address, '-t', $topic, '-p', $partition, '-o', 'beginning', '-f', "%T\n" ],
		'>', \$out, '2>', \$err) or die "kcat: $err";
	return map { "to_timestamp($_ / 1000.0)" } split(/\n/, $out);
}

sub pause
{
	my ($stream) = @_;

	sql("SELECT evilnet.pause('$stream')");
	$node->poll_query_until('postgres', "SELECT bool_and(pid IS NULL) FROM evilnet.stat_stream WHERE stream = '$stream'")
	  or die "$stream does not pause";
	return;
}

sub resume { my ($stream) = @_; return sql("SELECT evilnet.resume('$stream')"); }

# The states of a range, in their order.
sub states
{
	my ($stream, $since, $until) = @_;

	return sql("SELECT string_agg(state, ' ' ORDER BY span_start) FROM evilnet.coverage('$stream', $since, $until)");
}

sub books
{
	my ($stream, $column, $partition) = @_;

	return sql("SELECT $column FROM evilnet.stat_watermark WHERE stream = '$stream' AND kafka_partition = " . ($partition // 0));
}

sub spans
{
	my ($stream) = @_;

	return sql("SELECT string_agg(kafka_partition || ' ' || ended_by, ', ' ORDER BY kafka_partition, since)
		FROM evilnet.coverage_span WHERE stream = '$stream'::regclass");
}

# Wait until everything that was produced was read, and the books say so; a test of its own.
sub wait_read
{
	my ($stream, $name, $topic) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_consumed($node, $kafka, $stream, "$name: consumed", $topic);
	return wait_for($node, "SELECT bool_and(covered_since IS NOT NULL) FROM evilnet.stat_watermark WHERE stream = '$stream'", 't', $name);
}

# Wait until everything up to now was read; a test of its own.
sub wait_covered
{
	my ($stream, $name) = @_;
	my $now = now();

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT evilnet.watermark('$stream') >= '$now'", 't', $name);
}

# ---- what takes a minute is begun here and ended below

$kafka->create_topic('idle', 2);
kafka_stream($node, 'idle', workers => 2);
$kafka->produce_lines('idle', posts(1), '--partition', 0);
wait_for_rows($node, 'idle', 1, 'idle: a message');

$kafka->create_topic('grows', 1);
$kafka->produce_lines('grows', posts(3));
kafka_stream($node, 'grows');
wait_for_rows($node, 'grows', 3, 'grows: consumed');
$kafka->tool('add-partitions', 'grows', 2);

# ---- a stream that is read all the time

$kafka->create_topic('steady');
kafka_stream($node, 'steady', start_at => "'earliest'", batch_interval => "'1 ms'");
wait_read('steady', 'steady: read while it is empty');
my $before = now();
foreach my $round (1 .. 5)
{
	$kafka->produce_lines('steady', posts(6));
	wait_for_rows($node, 'steady', 6 * $round, "steady: round $round");
	foreach my $partition (0 .. 2)
	{
		my @of = kafka_times('steady', $partition);

		is(books('steady', "covered_until >= $of[-1] AND covered_until < now()", $partition),
			't', "partition $partition: covered to its last message");
	}
}
is(books('steady', 'event_until = (SELECT max(created_at) FROM steady WHERE kafka_partition = 1)', 1), 't', 'and its latest post is told');
is(sql(q{SELECT evilnet.watermark('steady') = min(covered_until) FROM evilnet.stat_watermark WHERE stream = 'steady'}), 't',
	'the watermark is that of the slowest partition');
is(states('steady', q{(SELECT min(covered_since) FROM evilnet.stat_watermark WHERE stream = 'steady')}, q{evilnet.watermark('steady')}),
	'complete', 'nothing is missing in between');
is(states('steady', "'$before'::timestamptz - interval '1 day'", 'now()'), 'unknown complete pending', 'before it is unknown, behind it pending');
is(spans('steady'), '', 'it is one span');

# ---- the worker is away for a while

my $away = now();
pause('steady');
my $first = now();
$kafka->produce_lines('steady', posts(30));
my $last = now();
is(states('steady', "'$first'", "'$last'"), 'pending', 'while it is away, what comes is pending');
resume('steady');
wait_consumed($node, $kafka, 'steady', 'back again, it reads that');
is(states('steady', "'$away'", "(SELECT least('$first', evilnet.watermark('steady')))"), 'complete', 'the time it was away is complete');
is(states('steady', "'$before'", q{evilnet.watermark('steady')}), 'complete', 'as is all the rest');
is(spans('steady'), '', 'it is one span still');

# ---- where reading starts

$kafka->create_topic('starts');
$kafka->produce_lines('starts', posts(30));
my $middle = now();
$kafka->produce_lines('starts', posts(1), '--partition', 0);
kafka_stream($node, 'from_time', topic => "'starts'", start_at => "'$middle'");
$first = now();
kafka_stream($node, 'from_latest', topic => "'starts'", start_at => "'latest'");
kafka_stream($node, 'from_earliest', topic => "'starts'");
wait_read('from_time', 'from a time: read', 'starts');
is(sql(q{SELECT DISTINCT covered_since FROM evilnet.stat_watermark WHERE stream = 'from_time'}), sql("SELECT '$middle'::timestamptz"),
	'from a time: covered since then');
wait_read('from_latest', 'latest: read', 'starts');
is(states('from_latest', "'$middle'", "'$first'"), 'unknown', 'latest: what was there before is unknown');
is(sql(qq{SELECT bool_and(covered_since > '$first') FROM evilnet.stat_watermark WHERE stream = 'from_latest'}), 't', 'and covered since it began');
wait_read('from_earliest', 'earliest: read', 'starts');
foreach my $partition (0 .. 2)
{
	is(books('from_earliest', 'covered_since = ' . (kafka_times('starts', $partition))[0], $partition), 't', "earliest: since the first message of partition $partition");
}

# ---- messages expire before they are read: some of partition 0, all of partition 1

$kafka->create_topic('expires');
$kafka->produce_lines('expires', posts(15));
now();
$kafka->produce_lines('expires', posts(15));
kafka_stream($node, 'expires');
wait_for_rows($node, 'expires', 30, 'expires: consumed');
pause('expires');
my @read = map { (kafka_times('expires', $_))[-1] } 0 .. 2;
$first = now();
$kafka->produce_lines('expires', posts(30));
$last = now();
my @lost = map { [ kafka_times('expires', $_) ] } 0 .. 2;
$kafka->produce_lines('expires', posts(3), '--partition', 0);
$kafka->tool('delete-records', 'expires', 0, 20);
$kafka->tool('delete-records', 'expires', 1, -1);
my @held = kafka_times('expires', 0);
is(states('expires', "'$first'", "'$last'"), 'pending', 'that they expired is not known yet');
resume('expires');
wait_read('expires', 'expires: goes on');
$kafka->produce_lines('expires', posts(3));
wait_read('expires', 'and on');
is(spans('expires'), '0 expired, 1 expired', 'the spans of two partitions ended');
is(states('expires', "'$first'", "'$last'"), 'lost', 'the time of the messages is lost');
is(states('expires', "least($read[0], $read[1]) - interval '1 ms'", q{evilnet.watermark('expires')}), 'complete lost complete', 'and what lies around it is complete');
is(sql(qq{SELECT count(*) FROM evilnet.coverage_span WHERE stream = 'expires'::regclass
	AND until >= CASE kafka_partition WHEN 0 THEN $read[0] ELSE $read[1] END AND until < '$first'}), '2', 'the hole begins behind what was read');
foreach my $partition (0, 1)
{
	my $times = join(', ', @{ $lost[$partition] }[10 .. 19]);

	is(books('expires', "covered_since > ALL (ARRAY[$times])", $partition), 't', "it holds every message of partition $partition that expired");
}
is(books('expires', "covered_since = $held[0]"), 't', 'and ends with the first that was still held');
is(books('expires', 'holes', 0) . books('expires', 'holes', 2), '10', 'holes are counted, where there are some');
is(sql(q{SELECT sum(gaps) FROM evilnet.stream_offset WHERE stream = 'expires'::regclass}), '20', 'as is what is lost');

# ---- control records are no loss

sub transaction
{
	my ($topic, $lines) = @_;
	my $in = join('', map { "$_\n" } @$lines);
	my ($out, $err);

	return IPC::Run::run([ 'kcat', '-P', '-b', $address, '-t', $topic, '-p', '0', '-X', "transactional.id=$topic", '-X', 'linger.ms=1' ],
		'<', \$in, '>', \$out, '2>', \$err);
}

$kafka->create_topic('transactions', 1);
transaction('transactions', posts(10)) or die 'kcat failed';
kafka_stream($node, 'transactions');
wait_consumed($node, $kafka, 'transactions', 'transactions: consumed');
transaction('transactions', posts(10)) or die 'kcat failed';
$kafka->produce_lines('transactions', posts(10));
wait_consumed($node, $kafka, 'transactions', 'transactions: consumed on');
is(sql(q{SELECT gaps FROM evilnet.stream_offset WHERE stream = 'transactions'::regclass}) . spans('transactions'), '2', 'gaps of control records end no span');

# ---- seek() over what was not read

$kafka->create_topic('sought');
$kafka->produce_lines('sought', posts(30));
kafka_stream($node, 'sought');
wait_for_rows($node, 'sought', 30, 'sought: consumed');
pause('sought');
$first = now();
$kafka->produce_lines('sought', posts(30));
$last = now();
sql(q{SELECT evilnet.seek('sought', 'latest')});
wait_read('sought', 'seek: at the end');
is(spans('sought'), '0 seek, 1 seek, 2 seek', 'it ended the spans');
is(states('sought', "'$first'", "'$last'"), 'lost', 'what was skipped is lost');
sql(q{SELECT evilnet.seek('sought', 'earliest')});
wait_for_rows($node, 'sought', 60, 'seek back');
wait_read('sought', 'and everything is read');
is(states('sought', "'$first'", "'$last'"), 'complete', 'what was skipped is there now');
is(states('sought', (kafka_times('sought', 0))[0], q{evilnet.watermark('sought')}), 'complete', 'nothing is missing any more');

# ---- the topic is made anew while nobody looks

$kafka->create_topic('anew', 1);
$kafka->produce_lines('anew', posts(30));
kafka_stream($node, 'anew');
wait_for_rows($node, 'anew', 30, 'anew: consumed');
pause('anew');
$first = now();
$kafka->tool('delete-topic', 'anew');
$kafka->create_topic('anew', 1);
$last = now();
$kafka->produce_lines('anew', posts(60));
resume('anew');
wait_for($node, q{SELECT state FROM evilnet.stat_stream WHERE stream = 'anew'}, 'stopped', 'anew: stopped');
is(spans('anew'), '0 topic', 'the span of the old topic ended');
sql(q{SELECT evilnet.seek('anew', 'earliest')});
wait_read('anew', 'the new topic is read');
is(spans('anew'), '0 topic', 'its span ended once');
is(states('anew', "'$first'", "'$last'"), 'lost', 'what may have been in the old one is lost');
is(states('anew', (kafka_times('anew', 0))[0], q{evilnet.watermark('anew')}), 'complete', 'and the new one complete');

# ---- what was begun above: a partition that was added

$kafka->produce_lines('grows', posts(3), '--partition', $_) foreach 0, 1;
wait_for_rows($node, 'grows', 9, 'grows: the new partition is consumed');
wait_read('grows', 'and read to its end');
is(states('grows', (kafka_times('grows', 0))[0], q{evilnet.watermark('grows')}), 'complete', 'before it was added nothing is missing');
is(spans('grows'), '', 'and no span ended');

# ---- a stream without messages

my $position = q{SELECT string_agg(next_offset || ' ' || updated_at, ', ' ORDER BY kafka_partition) FROM evilnet.stream_offset WHERE stream = 'idle'::regclass};
my $same = sql($position);
my @covered = map { books('idle', 'covered_until', $_) } 0, 1;
wait_for($node, "SELECT covered_until > '$covered[$_]' FROM evilnet.stat_watermark WHERE stream = 'idle' AND kafka_partition = $_", 't',
	"idle: partition $_ is covered on") foreach 0, 1;
is(books('idle', "covered_until >= '$covered[$_]'::timestamptz + interval '59 s'", $_), 't', 'once a minute') foreach 0, 1;
is(sql($position), $same, 'nothing else moved');
is(sql(q{SELECT count(*) FROM evilnet.batch WHERE stream = 'idle'::regclass}), '1', 'and no batch was stored');
is(states('idle', books('idle', "quote_literal(covered_since)"), q{evilnet.watermark('idle')}), 'complete', 'no messages is complete');

# ---- nor is the broker away: no messages, and nobody knows

$kafka->stop;
my $down = now();
wait_for($node, q{SELECT bool_and(state IN ('backoff', 'connecting')) FROM evilnet.stat_stream WHERE stream = 'idle'}, 't', 'idle: the broker is missed');
is(sql("SELECT bool_and(covered_until < '$down') FROM evilnet.stat_watermark"), 't', 'nothing is covered while it is away');
$kafka->start;
wait_covered('idle', 'until it is back');
is(states('idle', books('idle', "quote_literal(covered_since)"), q{evilnet.watermark('idle')}), 'complete', 'and tells that nothing came');
is(spans('idle'), '', 'it is one span');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP/, 'nothing died');
done_testing();
