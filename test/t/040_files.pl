# Archives as sources: published to Kafka or stored directly, whatever is
# killed meanwhile, the tables hold what an independent recount of the files finds.
#
# EVILNET_SEED repeats a run, EVILNET_KILLS lengthens it, EVILNET_DATA adds real
# messages (see 031_real_messages.pl).
use strict;
use warnings;

use EvilnetKafka;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{EVILNET_SEED} // int(rand(1e9));
my $kills = $ENV{EVILNET_KILLS} // 4;

note("EVILNET_SEED=$seed");
srand($seed);

my $kafka = start_kafka();
my $node = kafka_node($kafka, 'main', 'restart_after_crash = on');
my $dir = PostgreSQL::Test::Utils::tempdir('archive');
my @files = make_archive();
my %totals = load_expected($node, 'expected', @files);
my @lines = read_lines(@files);

$node->safe_psql('postgres', q{CREATE SERVER files FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'file')});

# Files of every compression; one without a line feed at its end, one that is empty, one of empty lines.
sub make_archive
{
	my $all = generate($kafka, 'mixed', count => 60000, seed => $seed % 1000, duplicates => 0.05, deletes => 0.05, broken => 0.02, notices => 0.01);
	my @rows = split(/\n/, slurp_file($all));
	my @made = ("$dir/1.ndjson", "$dir/2.ndjson.gz", "$dir/3.ndjson.bz2", "$dir/4.ndjson.zst", "$dir/5.ndjson");
	my $first = 0;

	foreach my $i (0 .. 4)
	{
		my $last = int(@rows * ($i + 1) / 5) - 1;
		my $plain = $made[$i] =~ s/\.(gz|bz2|zst)$//r;

		open my $out, '>:raw', $plain or die "$plain: $!";
		print $out join($i == 0 ? "\r\n" : "\n", @rows[ $first .. $last ]) . ($i == 4 ? '' : "\n\n");
		close $out;
		system_or_bail('gzip', $plain) if $i == 1;
		system_or_bail('bzip2', $plain) if $i == 2;
		system_or_bail('zstd', '-q', '--rm', $plain) if $i == 3;
		$first = $last + 1;
	}
	append_to_file("$dir/0.ndjson", '');
	append_to_file("$dir/6.ndjson", "\n\n");
	# a recount reads one plain file
	return ($all);
}

sub wait_finished
{
	my ($source) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($node, "SELECT state FROM evilnet.stat_source WHERE source = '$source'", 'finished', "$source: has fetched all there is")
	  or BAIL_OUT($node->safe_psql('postgres', "SELECT state, last_error FROM evilnet.stat_source WHERE source = '$source'"));
	return;
}

# What is stored is what the recount says, whatever was repeated on the way.
sub is_same
{
	my ($stream, $name) = @_;
	my %found = differences($node, $stream, 'expected');
	my $dead = $node->safe_psql('postgres',
		"SELECT string_agg(encode(payload, 'hex'), ' ' ORDER BY payload) FROM (SELECT DISTINCT payload FROM evilnet.dead_letter WHERE stream = '$stream'::regclass) d");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($found{$_}, 0, "$name: no difference in $_") foreach grep { !/journal/ } sort keys %found;
	return $dead;
}

# The source's worker, once it has handed on so many messages; nothing when it
# is done before.  One statement, as a query for each look would come too late.
sub pid_after
{
	my ($source, $messages) = @_;
	my ($status, $out, $err) = $node->psql('postgres', qq{
		DO \$\$
		BEGIN
			FOR i IN 1 .. 60000 LOOP
				EXIT WHEN EXISTS (SELECT FROM evilnet.stat_source s WHERE s.source = '$source'
					AND (s.messages >= $messages AND s.pid IS NOT NULL OR s.state = 'finished'));
				COMMIT;
				PERFORM pg_sleep(0.001);
			END LOOP;
		END \$\$;
		SELECT pid FROM evilnet.stat_source WHERE source = '$source'});

	die "$source: $err" if $status;
	return $out;
}

# The server restarts after a worker was killed.
sub kill_fetcher
{
	my ($source, $messages) = @_;
	my $pid = pid_after($source, $messages);

	return 0 if $pid eq '';
	note("killed after $messages messages");
	kill('KILL', $pid);
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM evilnet.stat_source WHERE pid = $pid)") or die;
	return 1;
}

# ---- through Kafka

$kafka->create_topic('archive');
kafka_stream($node, 'archive');
$node->safe_psql('postgres',
	"SELECT evilnet.create_source('archive', server => 'files', endpoint => '$dir/*.ndjson*', to_server => 'bus', topic => 'archive')");
wait_finished('archive');
wait_consumed($node, $kafka, 'archive');
is($node->safe_psql('postgres', "SELECT messages FROM evilnet.stat_source WHERE source = 'archive'"), scalar(@lines), 'every line is published');
is($node->safe_psql('postgres', "SELECT sum(messages) FROM evilnet.stat_stream WHERE stream = 'archive'"), scalar(@lines), 'and consumed once');
my $dead = is_same('archive', 'through Kafka');
is($node->safe_psql('postgres', q{SELECT count(*) FROM evilnet.dead_letter d WHERE d.stream = 'archive'::regclass}), $totals{undecodable}, 'dead letters');
is($node->safe_psql('postgres', q{SELECT cursor->>'file' FROM evilnet.stat_source}), "$dir/5.ndjson", 'the position is that of the last line');

# ---- a producer whose queue is full nearly all the time, while the broker stands still for a while

my $address = slurp_file("$kafka->{dir}/bootstrap");

chomp $address;
$kafka->create_topic('tight');
$node->safe_psql('postgres', qq{CREATE SERVER tight FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" '$address', "queue.buffering.max.messages" '50')});
$kafka->stop;
$node->safe_psql('postgres',
	"SELECT evilnet.create_source('tight', server => 'files', endpoint => '$dir/*.ndjson*', to_server => 'tight', topic => 'tight')");
wait_for($node, q{SELECT state FROM evilnet.stat_source WHERE source = 'tight'}, 'running', 'a full queue is waited for');
is($node->safe_psql('postgres', q{SELECT coalesce(max(messages), 0) FROM evilnet.stat_source WHERE source = 'tight'}), 0, 'and nothing counts that no broker has');
$kafka->start;
wait_finished('tight');
my $published = 0;
$published += $_->[1] foreach $kafka->offsets('tight');
is($published, scalar(@lines), 'every line is published once');

# ---- directly, into a stream without a topic

$node->safe_psql('postgres', "SELECT evilnet.create_stream('straight')");
$node->safe_psql('postgres',
	"SELECT evilnet.create_source('straight', server => 'files', endpoint => '$dir/*.ndjson*', to_stream => 'straight')");
wait_finished('straight');
is(is_same('straight', 'directly'), $dead, 'directly: the same dead letters');
is($node->safe_psql('postgres', q{SELECT state FROM evilnet.stat_stream WHERE stream = 'straight'}), 'no topic', 'which no worker waits for');

# ---- real messages: the same as when their lines are produced (see 031_real_messages.pl)

SKIP:
{
	my @real = real_files();

	skip 'EVILNET_DATA names no directory with tweets-*.ndjson.gz', 1 unless @real;
	load_expected($node, 'expected_real', unpacked($kafka, @real));
	$kafka->create_topic('real');
	kafka_stream($node, 'real');
	$node->safe_psql('postgres',
		"SELECT evilnet.create_stream('real_direct');
		 SELECT evilnet.create_source('real', server => 'files', endpoint => '$ENV{EVILNET_DATA}/tweets-*.ndjson.gz', to_server => 'bus', topic => 'real');
		 SELECT evilnet.create_source('real_direct', server => 'files', endpoint => '$ENV{EVILNET_DATA}/tweets-*.ndjson.gz', to_stream => 'real_direct')");
	wait_finished('real');
	wait_finished('real_direct');
	wait_consumed($node, $kafka, 'real');
	foreach my $stream ('real', 'real_direct')
	{
		my %found = differences($node, $stream, 'expected_real');

		is($found{$_}, 0, "$stream: no difference in $_") foreach grep { !/journal/ } sort keys %found;
		note($node->safe_psql('postgres', "SELECT count(*) FROM $stream") . " rows in $stream");
	}
}

# ---- the worker is killed at random moments

sub fetch_with_kills
{
	my ($source, $endpoint, $messages, $to) = @_;
	my $count = 0;

	$node->safe_psql('postgres',
		"SELECT evilnet.create_source('$source', server => 'files', endpoint => '$endpoint', params => '{\"pace\": 1000}', $to)");
	foreach my $i (1 .. $kills)
	{
		$count += kill_fetcher($source, int($messages * ($i - rand()) / ($kills + 1)));
	}
	cmp_ok($count, '>', 0, "$source: killed $count times");
	wait_finished($source);
	return;
}

$kafka->create_topic('killed');
kafka_stream($node, 'killed');
fetch_with_kills('killed', "$dir/*.ndjson*", scalar(@lines), "to_server => 'bus', topic => 'killed'");
wait_consumed($node, $kafka, 'killed');
is(is_same('killed', 'killed, through Kafka'), $dead, 'killed, through Kafka: the same dead letters');

# no id is looked up: what came twice would be there twice
my $once = generate($kafka, 'once', form => 'flat', count => 40000, seed => $seed % 1000, broken => 0.02);
my %once = load_expected($node, 'once', $once);
$node->safe_psql('postgres', "SELECT evilnet.create_stream('killed_direct', dedup => false)");
fetch_with_kills('killed_direct', $once, 40000, "to_stream => 'killed_direct'");
my %found = differences($node, 'killed_direct', 'once');
is($found{$_}, 0, "killed, directly: no difference in $_") foreach grep { !/journal/ } sort keys %found;
is($node->safe_psql('postgres', q{SELECT messages FROM evilnet.stat_source WHERE source = 'killed_direct'}), $once{messages},
	'killed, directly: position and posts moved together');
is($node->safe_psql('postgres', q{SELECT count(*) FROM evilnet.dead_letter WHERE stream = 'killed_direct'::regclass}), $once{undecodable},
	'killed, directly: no dead letter is missing or there twice');

# ---- more files; pause; what cannot be published

append_to_file("$dir/7.ndjson", "{\"id\":\"9\",\"created_at\":\"2024-03-01T00:00:00Z\",\"text\":\"" . ('x' x 2_000_000) . "\"}\n{\"id\":\"10\",\"created_at\":\"2024-03-01T00:00:00Z\",\"text\":\"last\"}");
$node->safe_psql('postgres', q{SELECT evilnet.resume_source('archive'); SELECT evilnet.resume_source('straight')});
wait_for($node, q{SELECT count(*) FROM archive WHERE id = 10}, 1, 'a file that came later is fetched');
wait_for($node, q{SELECT count(*) FROM evilnet.stat_source WHERE source IN ('archive', 'straight') AND state = 'finished'}, 2, 'and that is all');
is($node->safe_psql('postgres', q{SELECT d.reason, length(d.payload) FROM evilnet.source_dead_letter d JOIN evilnet.source s USING (source_id) WHERE s.name = 'archive'}),
	'too_large|65536', 'what Kafka does not take is set aside');
is($node->safe_psql('postgres', 'SELECT count(*) FROM straight WHERE id IN (9, 10)'), 2, 'a stream takes it');

# ---- files that cannot be read are waited for

$node->safe_psql('postgres',
	"SELECT evilnet.create_source('absent', server => 'files', endpoint => '$dir/absent', to_stream => 'straight')");
wait_for($node, q{SELECT last_error ~ 'could not read file .*absent.*: No such file' AND state IN ('backoff', 'connecting') FROM evilnet.stat_source WHERE source = 'absent'},
	't', 'a file that is not there is an error');
append_to_file("$dir/absent", "{\"id\":\"11\",\"created_at\":\"2024-03-01T00:00:00Z\",\"text\":\"it came\"}\n");
wait_finished('absent');
is($node->safe_psql('postgres', 'SELECT text FROM straight WHERE id = 11'), 'it came', 'and is read when it comes');

$node->stop;
done_testing();
