# What the tests on a real Apache Kafka share: a broker of their own, generated
# topics, and the comparison of a stream with an independent recount.
package EvilnetKafka;

use strict;
use warnings;

use EvilnetTest;
use Exporter 'import';
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(start_kafka kafka_node kafka_stream generate real_files unpacked read_lines wait_consumed
  load_expected differences dead_letter_differences is_exact wait_running worker_pid);

my $tools = "$FindBin::RealBin/../tools";
my @brokers;

# A broker in a directory of its own, stopped with the test; the whole file is
# skipped where Kafka cannot run.
sub start_kafka
{
	my (@settings) = @_;

	foreach my $program ($ENV{JAVA_HOME} ? () : 'java', 'kcat', 'python3')
	{
		plan skip_all => "$program is needed to run Apache Kafka"
		  unless grep { -x "$_/$program" } split(/:/, $ENV{PATH});
	}
	my $kafka = bless { dir => PostgreSQL::Test::Utils::tempdir('kafka') }, 'EvilnetKafka';

	push @brokers, $kafka;
	$kafka->tool('start', map { ('--set', $_) } @settings);
	return $kafka;
}

END
{
	# the status of the test is not that of stopping brokers
	local $?;
	$_->stop foreach @brokers;
}

# Run a program of test/tools; returns what it printed.
sub run_tool
{
	my ($program, @arguments) = @_;
	my ($out, $err);

	IPC::Run::run([ "$tools/$program", @arguments ], '>', \$out, '2>', \$err)
	  or die "$program @arguments: $err";
	chomp $out;
	return $out;
}

sub tool
{
	my ($kafka, $command, @arguments) = @_;

	return run_tool('kafka', $command, $kafka->{dir}, @arguments);
}

sub start { my ($kafka) = @_; return $kafka->tool('start'); }
sub stop { my ($kafka, @how) = @_; return $kafka->tool('stop', @how); }

sub create_topic
{
	my ($kafka, $topic, $partitions, @config) = @_;

	return $kafka->tool('create-topic', $topic, $partitions // 3, @config);
}

# Line i of a file goes to partition i mod n, or all to one partition.
sub produce
{
	my ($kafka, $topic, $file, @options) = @_;

	return $kafka->tool('produce', $topic, $file, @options);
}

# Produce lines that are given here.
sub produce_lines
{
	my ($kafka, $topic, $lines, @options) = @_;
	my $file = "$kafka->{dir}/lines";

	append_to_file($file, '');
	open my $out, '>:raw', $file or die "$file: $!";
	print $out map { "$_\n" } @$lines;
	close $out;
	return $kafka->produce($topic, $file, @options);
}

# A partition's [first offset, end offset] each.
sub offsets
{
	my ($kafka, $topic) = @_;

	return map { [ (split /\t/)[ 1, 2 ] ] } split(/\n/, $kafka->tool('offsets', $topic));
}

# A node whose server bus is the broker.
sub kafka_node
{
	my ($kafka, $name, @settings) = @_;
	my $node = evilnet_node($name, 'evilnet.embedded_broker = off', @settings);
	my $address = slurp_file("$kafka->{dir}/bootstrap");

	chomp $address;
	$node->safe_psql(
		'postgres', qq{
		CREATE EXTENSION hll;
		CREATE EXTENSION evilnet;
		CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" '$address');
	});
	return $node;
}

# A stream over a topic of its own name, unless told otherwise.
sub kafka_stream
{
	my ($node, $stream, %options) = @_;
	my %arguments = (topic => "'$stream'", %options);
	my $list = join(', ', map { "$_ => $arguments{$_}" } sort keys %arguments);

	return $node->safe_psql('postgres', "SELECT evilnet.create_stream('$stream', server => 'bus', $list)");
}

# A file of generated messages; options as generate_tweets.py takes them.
# Their times are in the past, so that no test depends on the clock.
sub generate
{
	my ($kafka, $name, %options) = @_;
	my $file = "$kafka->{dir}/$name";
	my %all = (form => 'mixed', until => '2024-03-01T12:00:00Z', span => 7200, %options);

	run_tool('generate_tweets.py', '--output', $file, map { ("--$_", $all{$_}) } sort keys %all);
	return $file;
}

# The files of real messages, if the tester has any.
sub real_files
{
	return $ENV{EVILNET_DATA} ? sort glob("$ENV{EVILNET_DATA}/tweets-*.ndjson.gz") : ();
}

# One plain file of several, compressed or not.
sub unpacked
{
	my ($kafka, @files) = @_;
	my $file = "$kafka->{dir}/unpacked";

	open my $out, '>:raw', $file or die "$file: $!";
	print $out map { "$_\n" } read_lines(@files);
	close $out;
	return $file;
}

# Wait until every message of the topic was consumed; a test of its own.
sub wait_consumed
{
	my ($node, $kafka, $stream, $name, $topic) = @_;
	my $end = 0;

	$end += $_->[1] foreach $kafka->offsets($topic // $stream);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node,
		"SELECT coalesce(sum(next_offset), 0) FROM evilnet.stream_offset WHERE stream = '$stream'::regclass",
		$end, $name // "$stream: consumed to the end");
}

sub wait_running
{
	my ($node, $stream) = @_;

	return $node->poll_query_until('postgres',
		"SELECT bool_and(state IN ('running', 'idle')) FROM evilnet.stat_stream WHERE stream = '$stream'");
}

sub worker_pid
{
	my ($node, $stream, $worker) = @_;

	return $node->safe_psql('postgres',
		"SELECT pid FROM evilnet.stat_stream WHERE stream = '$stream' AND worker = " . ($worker // 0));
}

# ---- the comparison

# Load what the recount says of these files into <name>_post and
# <name>_place; returns its totals.
sub load_expected
{
	my ($node, $name, @files) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir('recount');
	my @runs;

	foreach my $mode ('totals', 'posts', 'hints')
	{
		push @runs, IPC::Run::start([ "$tools/recount.py", $mode, @files ], '>', "$dir/$mode");
	}
	$_->finish or die 'recount.py failed' foreach @runs;
	$node->safe_psql(
		'postgres', qq{
		CREATE TABLE ${name}_post (id bigint PRIMARY KEY, seconds numeric, author_id bigint, lang text, is_retweet boolean);
		CREATE TABLE ${name}_place (id bigint PRIMARY KEY, seconds numeric, place text, country_code text,
			lon float8, lat float8, profile text);
		COPY ${name}_post FROM '$dir/posts';
		COPY ${name}_place FROM '$dir/hints';
		ALTER TABLE ${name}_place ADD city_id int;
		UPDATE ${name}_place SET city_id = (evilnet.resolve_city(place, country_code, lon, lat, profile)).city_id;
		ANALYZE ${name}_post, ${name}_place;
	});
	return map { split /\t/ } split(/\n/, slurp_file("$dir/totals"));
}

# Counts per window and city by plain SQL, beside those of evilnet.  Few
# authors are counted exactly by hll, many nearly so.
sub count_query
{
	my ($expected, $seconds, $counted) = @_;

	return qq{
		SELECT count(*) FROM (
			SELECT to_timestamp(floor(p.seconds / $seconds) * $seconds) AS bucket, c.city_id, count(*) AS tweets,
				count(*) FILTER (WHERE is_retweet) AS retweets, count(DISTINCT author_id) AS authors
			FROM ${expected}_post p JOIN ${expected}_place c USING (id) GROUP BY 1, 2) e
		FULL JOIN ($counted) a USING (bucket, city_id)
		WHERE (e.tweets, e.retweets) IS DISTINCT FROM (a.tweets, a.retweets)
			OR (e.authors > 0 OR a.authors > 0) AND
				abs(e.authors - a.authors) > CASE WHEN e.authors < 100 THEN 0 ELSE e.authors * 0.15 END};
}

# How many rows, windows and journal entries of a stream are not what they should be.
sub differences
{
	my ($node, $stream, $expected) = @_;
	my %queries = (
		'posts' => qq{
			SELECT count(*) FROM ${expected}_post e FULL JOIN $stream t USING (id)
			WHERE e.id IS NULL OR t.id IS NULL
				OR (e.author_id, e.lang, e.is_retweet) IS DISTINCT FROM (t.author_id, t.lang, t.kind = 'retweet')
				OR e.seconds <> extract(epoch FROM date_trunc('milliseconds', t.created_at))},
		'repeated posts' => "SELECT count(*) - count(DISTINCT id) FROM $stream",
		'cities of posts' => qq{
			SELECT count(*) FROM ${expected}_place e JOIN $stream t USING (id)
			WHERE e.city_id IS DISTINCT FROM t.city_id},
		'counts per city and 5 minutes' => count_query($expected, 300,
			"SELECT window_start AS bucket, city_id, tweets, retweets, authors
			 FROM evilnet.city_counts('$stream', since => '2000-01-01', until => '2100-01-01')"),
		'counts per city and minute' => count_query($expected, 60,
			"SELECT bucket, city_id, tweets, retweets, round(hll_cardinality(authors))::bigint AS authors
			 FROM ${stream}_by_city"),
		'breaks in the journal' => qq{
			SELECT count(*) FROM (
				SELECT from_offset, lag(to_offset, 1, 0::bigint) OVER w AS before, messages, gaps, to_offset,
					rows + duplicates + deletes + suppressed + notices + dead_letters AS parts
				FROM evilnet.batch WHERE stream = '$stream'::regclass
				WINDOW w AS (PARTITION BY kafka_partition ORDER BY from_offset)) b
			WHERE from_offset <> before OR messages <> parts OR messages + gaps <> to_offset - from_offset},
		'partitions whose totals are not the sum of the journal' => qq{
			SELECT count(*) FROM evilnet.stream_offset o FULL JOIN (
				SELECT kafka_partition, max(to_offset) AS next_offset, sum(messages) AS messages, sum(rows) AS rows,
					sum(duplicates) AS duplicates, sum(deletes) AS deletes, sum(suppressed) AS suppressed,
					sum(notices) AS notices, sum(dead_letters) AS dead_letters, sum(rows_deleted) AS rows_deleted
				FROM evilnet.batch WHERE stream = '$stream'::regclass GROUP BY 1) b USING (kafka_partition)
			WHERE o.stream = '$stream'::regclass AND
				(o.next_offset, o.messages, o.rows, o.duplicates, o.deletes, o.suppressed, o.notices, o.dead_letters, o.rows_deleted)
				IS DISTINCT FROM (b.next_offset, b.messages, b.rows, b.duplicates, b.deletes, b.suppressed, b.notices, b.dead_letters,
					b.rows_deleted)});

	return map { $_ => $node->safe_psql('postgres', $queries{$_}) } keys %queries;
}

# All lines of files, plain or compressed; empty ones are no messages.
sub read_lines
{
	return map {
		my $file = $_;
		my $text = $file =~ /\.gz$/ ? run_raw('gzip', '-dc', $file) : slurp_raw($file);
		grep { $_ ne '' } split(/\n/, $text)
	} @_;
}

sub run_raw
{
	my @command = @_;
	my $out;

	IPC::Run::run(\@command, '>', \$out) or die "@command failed";
	return $out;
}

sub slurp_raw
{
	my ($file) = @_;

	open my $in, '<:raw', $file or die "$file: $!";
	local $/;
	return scalar <$in>;
}

# How many dead letters are not the line that was produced to that place, when
# line i went to partition i mod 3; and the reasons found, each with its number.
sub dead_letter_differences
{
	my ($node, $stream, @files) = @_;
	my @lines = read_lines(@files);
	my $wrong = 0;
	my %reasons;

	foreach my $row (
		split /\n/,
		$node->safe_psql('postgres',
			"SELECT kafka_partition, kafka_offset, reason, encode(payload, 'hex') FROM evilnet.dead_letter
			 WHERE stream = '$stream'::regclass"))
	{
		my ($partition, $offset, $reason, $payload) = split(/\|/, $row);

		$wrong++ unless pack('H*', $payload) eq $lines[ 3 * $offset + $partition ];
		$reasons{$reason}++;
	}
	return ($wrong, \%reasons);
}

# The stream holds what the recount of the files says, no more and no less.
sub is_exact
{
	my ($node, $stream, $expected, $totals, $name, @files) = @_;
	my %found = differences($node, $stream, $expected);
	my ($wrong, $reasons) = dead_letter_differences($node, $stream, @files);
	my %reasons = map { s/^undecodable_//r => $totals->{$_} } grep { /^undecodable_/ } keys %$totals;
	my $tally = $node->safe_psql('postgres', qq{
		SELECT sum(messages), sum(rows - rows_deleted), sum(duplicates + suppressed + rows), sum(deletes), sum(notices),
			sum(dead_letters), sum(gaps)
		FROM evilnet.stat_stream WHERE stream = '$stream'});
	my $posts = $totals->{messages} - $totals->{deletes} - $totals->{notices} - $totals->{undecodable};

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($found{$_}, 0, "$name: no difference in $_") foreach sort keys %found;
	is( $tally,
		join('|', $totals->{messages}, $totals->{posts}, $posts, $totals->{deletes}, $totals->{notices},
			$totals->{undecodable}, 0),
		"$name: messages, posts, sightings of posts, deletes, notices, dead letters and gaps");
	# Python's parser does not tell an unknown escape from other bad JSON
	foreach my $found (grep { $_->{bad_escape} } $reasons, \%reasons)
	{
		$found->{bad_json} += delete $found->{bad_escape};
	}
	is($wrong, 0, "$name: dead letters are the messages, byte for byte");
	is_deeply($reasons, \%reasons, "$name: dead letters have the right reasons");
}

1;
