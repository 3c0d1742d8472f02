# Whatever is killed, posts are stored and counted once, and no process is
# left over.  The broker lives in another cluster, which is not harmed.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bus = prepared_node('bus');
my $node = prepared_node('main', 'restart_after_crash = on');
my $published = 0;

sub sql
{
	return $node->safe_psql('postgres', @_);
}

# Thousands more, which take many batches.
sub publish_many
{
	my ($more) = @_;
	my ($first, $last) = ($published + 1, $published + $more);

	$bus->safe_psql(
		'postgres', qq{
		SELECT evilnet.produce('bus', 'tweets', array_agg(format(
			'{"id":"%s","created_at":"%s","author_id":"%s","city":"Toronto","country_code":"CA","text":"post"}',
			i, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), i % 100)))
		FROM generate_series($first, $last) i});
	$published = $last;
	return;
}

# Returns when some posts are stored, and more are to come.  The workers may be
# done before they are looked at: then they are given more.
sub in_the_middle
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $try (1 .. 20)
	{
		my $before = $published;

		publish_many(10000);
		wait_for($node, "SELECT count(*) > $before FROM tweets", 't', 'some posts are stored');
		return pass('but not all') if sql('SELECT count(*) FROM tweets') < $published;
	}
	return fail('but not all');
}

# With dedup off, what was read twice would be there twice.
sub exactly_once
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($node, 'SELECT sum(next_offset) FROM evilnet.stream_offset', $published, "$name: all was read");
	is(sql('SELECT count(*), count(DISTINCT id), max(id) FROM tweets'),
		"$published|$published|$published", "$name: each post is stored once");
	is(sql('SELECT sum(tweets) FROM tweets_by_city'), $published, "$name: and counted once");
	is(sql('SELECT sum(messages), sum(rows), sum(duplicates) + sum(dead_letters) + sum(gaps) FROM evilnet.stream_offset'),
		"$published|$published|0", "$name: and so say the books");
	is(sql('SELECT sum(messages), sum(to_offset - from_offset) FROM evilnet.batch'),
		"$published|$published", "$name: and the journal");
	return;
}

my $address = $bus->safe_psql('postgres', 'SELECT evilnet.embedded_broker_address()');
publish_many(1000);
sql(qq{
	ALTER SERVER bus OPTIONS (SET "bootstrap.servers" '$address');
	SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'tweets', dedup => false, workers => 2, batch_messages => 10)});
exactly_once('at first');

# --- a worker

foreach my $round (1 .. 2)
{
	in_the_middle();
	kill('KILL', (processes($node, 'evilnet ingest worker'))[0]);
	exactly_once("worker killed, time $round");
}

# --- the server, at once

in_the_middle();
my @pids = processes($node, 'evilnet');
cmp_ok(scalar(@pids), '>=', 4, 'launcher, broker and two workers run');
$node->stop('immediate');
ended('after an immediate shutdown no process is left', @pids);
$node->start;
exactly_once('immediate shutdown');

# --- the postmaster

in_the_middle();
@pids = processes($node, 'evilnet');
cmp_ok(scalar(@pids), '>=', 4, 'launcher, broker and two workers run');
$node->kill9;
ended('after the postmaster was killed no process is left', @pids);
$node->start;
exactly_once('postmaster killed');

# --- the launcher

my ($launcher) = processes($node, 'evilnet launcher');
is(sql("SELECT pg_terminate_backend($launcher)"), 't', 'the launcher is terminated');
wait_for($node, qq{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet launcher' AND pid <> $launcher},
	'1', 'it comes back');
sql(q{SELECT evilnet.pause('tweets')});
wait_for($node, worker_query('postgres'), 'none', 'and works');
publish_many(1000);
sql(q{SELECT evilnet.resume('tweets')});
exactly_once('launcher terminated');

$node->stop;
$bus->stop;
unlike(slurp_file($node->logfile), qr/PANIC/, 'no panic');

done_testing();
