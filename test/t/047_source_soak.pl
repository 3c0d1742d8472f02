# Sources run for simulated hours against a network that misbehaves at random,
# while workers, the broker and the server are killed: afterwards every post that
# the network sent, or would have found, is stored once, through Kafka and
# without it, and what could not be fetched lies within the gaps recorded.
#
# EVILNET_SEED repeats a run's faults; EVILNET_HOURS (simulated), EVILNET_SPEED
# and EVILNET_KILLS lengthen it: `EVILNET_HOURS=168 EVILNET_SPEED=600` is a week
# in a quarter of an hour.
use strict;
use warnings;

use EvilnetKafka;
use EvilnetProcesses;
use EvilnetSocial;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $seed = $ENV{EVILNET_SEED} // int(rand(1e9));
my $hours = $ENV{EVILNET_HOURS} // 0.7;
my $speed = $ENV{EVILNET_SPEED} // 100;
my $kills = $ENV{EVILNET_KILLS} // 4;
my $seconds = $hours * 3600 / $speed;

note("EVILNET_SEED=$seed");
srand($seed);

my $social = start_social('--speed', $speed, '--seed', $seed, '--start', '2026-01-05T00:00:00Z');
my $kafka = start_kafka();
my $node = kafka_node($kafka, 'main', 'restart_after_crash = on', "evilnet.clock_speed = $speed", 'log_statement = none');

$social->order('config', x => { keepalive_seconds => 5, sample_percent => 100 });
$kafka->create_topic('through_kafka');
kafka_stream($node, 'through_kafka');
my $rules = '{"rules": ["coffee OR -coffee"]}';
$node->safe_psql(
	'postgres', qq{
	SELECT evilnet.create_stream('direct');
	SELECT evilnet.create_stream('sample');
	CREATE SERVER x FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$social->{url}');
	CREATE SERVER y FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$social->{url}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER x OPTIONS (bearer_token 'sesame');
	CREATE USER MAPPING FOR CURRENT_USER SERVER y OPTIONS (bearer_token 'open');
	SELECT evilnet.create_source('through_kafka', 'x', 'filtered_stream', '$rules', to_server => 'bus', topic => 'through_kafka');
	SELECT evilnet.create_source('direct', 'y', 'filtered_stream', '$rules', to_stream => 'direct');
	SELECT evilnet.create_source('sample', 'x', 'sample_stream', to_stream => 'sample')});
wait_for($node, q{SELECT bool_and(state IN ('running', 'idle')) FROM evilnet.stat_source}, 't', 'all are connected');

# what the clock of sources is ahead of the network's, in seconds
my $ahead = $node->safe_psql('postgres', q{SELECT extract(epoch FROM max(received_at)) FROM evilnet.stat_source}) - $social->ask('clock')->{millis} / 1000;

# ---- what goes wrong

my @faults = (
	sub { { do => 'split', bytes => 1 + int(rand(50)) } },
	sub { { do => 'glue' } },
	sub { 'close' },
	sub { 'reset' },
	sub { 'truncate' },
	sub { { do => 'repeat', n => 1 + int(rand(20)) } },
	sub { { do => 'stall', seconds => 25 } },
	sub { { do => 'half_open', seconds => 30 } },
	sub { { do => 'linger', seconds => 20 } },
	sub { { do => 'status', code => (401, 403, 429, 500, 503)[ rand 5 ] } },
	sub { 'disconnect_message' });

sub misbehave
{
	my $endpoint = ('x.stream', 'x.sample')[ rand 2 ];

	$social->script($endpoint, map { $faults[ rand @faults ]->() } 1 .. 1 + int(rand(3)));
	$social->order('posts', network => 'x', n => 5, withheld => JSON::PP::true) if rand() < 0.1;
	return;
}

# ---- who is killed

sub poll
{
	my ($what, $condition) = @_;
	my $deadline = time + 60;

	until ($condition->())
	{
		die "$what did not come" if time > $deadline;
		usleep(10_000);
	}
	return;
}

sub is_up
{
	return $node->run_log([ 'pg_isready', '-q', '-h', $node->host, '-p', $node->port ]);
}

sub kill_worker
{
	my (undef, $pid) = $node->psql('postgres', q{SELECT pid FROM evilnet.stat_source WHERE pid IS NOT NULL ORDER BY random() LIMIT 1});

	return unless $pid && kill('KILL', $pid);
	poll("the end of process $pid", sub { kill(0, $pid) == 0 });
	poll('the restart', \&is_up);
	return;
}

sub kill_server
{
	my ($postmaster) = split(/\n/, slurp_file($node->data_dir . '/postmaster.pid'));

	$node->kill9;
	poll("the end of process $postmaster", sub { kill(0, $postmaster) == 0 });
	poll('the start of the server', sub { $node->start(fail_ok => 1) });
	return;
}

sub kill_broker
{
	$kafka->stop('--crash');
	$kafka->start;
	return;
}

# ---- the run

my $rate = 40 / $speed;
my @blows = sort { $a <=> $b } map { rand($seconds) } 1 .. $kills;
my $start = time;
my ($faults, %killed) = (0);

$social->order('rate', x => $rate);
while (time < $start + $seconds)
{
	if (@blows && time > $start + $blows[0])
	{
		my ($who, $how) = @{ ([ 'worker', \&kill_worker ], [ 'worker', \&kill_worker ], [ 'server', \&kill_server ], [ 'broker', \&kill_broker ])[ @blows % 4 ] };

		shift @blows;
		note(sprintf '%s killed at %.0f', $who, $social->ask('clock')->{millis});
		$how->();
		note(sprintf '%s is back at %.0f', $who, $social->ask('clock')->{millis});
		$killed{$who}++;
	}
	misbehave();
	$faults++;
	usleep(int(rand(600_000)));
}
$social->order('rate', x => 0);
$social->order('script', endpoint => $_, clear => JSON::PP::true, steps => []) foreach 'x.stream', 'x.sample';
note(sprintf '%.1f hours simulated, %d faults, killed: %s', $hours, $faults, join(', ', map { "$_ $killed{$_}" } sort keys %killed));

# ---- what came of it

my @truth = @{ $social->ask('truth?network=x') };
my @posts = grep { !$_->{withheld} } @truth;

cmp_ok(scalar(@posts), '>', 10 * $seconds, scalar(@posts) . ' posts, ' . (@truth - @posts) . ' withheld');
foreach my $stream ('through_kafka', 'direct')
{
	my $ids = join(',', map { $_->{id} } @posts);

	wait_for($node, "SELECT count(*) FROM $stream", scalar(@posts), "$stream: as many are stored");
	is( $node->safe_psql('postgres', "SELECT count(*) FROM unnest('{$ids}'::bigint[]) e(id) FULL JOIN $stream s USING (id) WHERE e.id IS NULL OR s.id IS NULL"),
		0, "$stream: and they are the same")
	  or diag($node->safe_psql('postgres', "SELECT array_agg(e.id) FROM unnest('{$ids}'::bigint[]) e(id) LEFT JOIN $stream s USING (id) WHERE s.id IS NULL; SELECT * FROM evilnet.stat_source; SELECT * FROM evilnet.source_gap"));
	is($node->safe_psql('postgres', "SELECT gaps, (SELECT count(*) FROM evilnet.dead_letter) FROM evilnet.stat_source WHERE source = '$stream'"),
		'0|0', "$stream: without a gap");
}

# a sample cannot be searched: it has everything but what its gaps say
wait_for($node, q{SELECT state IN ('running', 'idle') FROM evilnet.stat_source WHERE source = 'sample'}, 't', 'sample: runs');
$social->order('posts', network => 'x', n => 1);
my ($last) = sort { $b->{id} <=> $a->{id} } grep { !$_->{withheld} } @{ $social->ask('truth?network=x') };
wait_for($node, "SELECT count(*) FROM sample WHERE id = $last->{id}", 1, 'sample: up to the last post');
wait_for($node, q{SELECT coalesce(max(until), '-infinity') >= max(s.connected_since) - interval '1 s' FROM evilnet.source_gap g, evilnet.stat_source s WHERE s.source = 'sample'}, 't', 'sample: all gaps are recorded');
$node->safe_psql('postgres', 'CREATE TABLE truth (id bigint PRIMARY KEY, at timestamptz)');
$node->safe_psql('postgres', 'INSERT INTO truth VALUES ' . join(',', map { "($_->{id}, '$_->{created_at}')" } @posts));
my ($missed, $unexplained) = split(
	/\|/,
	$node->safe_psql(
		'postgres', qq{
		SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM evilnet.source_gap g
			WHERE t.at + interval '$ahead s' BETWEEN g.since - interval '60 s' AND g.until + interval '60 s'))
		FROM truth t LEFT JOIN sample s USING (id) WHERE s.id IS NULL}));
is($unexplained, 0, "sample: each of the $missed posts missed lies within a gap");
is($node->safe_psql('postgres', 'SELECT count(*) - count(t.id) FROM sample LEFT JOIN truth t USING (id) WHERE id <> ' . $last->{id}), 0, 'sample: and nothing else is there');

$node->stop;
done_testing();
