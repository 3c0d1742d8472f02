# Wikimedia's EventStreams against a server that misbehaves: every event that
# it ever sent is stored once, also what happened without a connection.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetSocial;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $speed = 50;
my $canary_every = 10;
my $social = start_social('--speed', $speed, '--seed', '43');
my $node = evilnet_node('main', "evilnet.clock_speed = $speed", 'restart_after_crash = on', 'evilnet.max_future = 7d');

$social->order('config', wikimedia => { canary_every => $canary_every });
$node->safe_psql(
	'postgres', qq{
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER wikis FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'wikimedia', url '$social->{url}');
	CREATE SERVER wikimedia FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'wikimedia');
	SELECT evilnet.create_stream('posts');
	SELECT evilnet.create_stream('french')});

# ---- what is refused

sub refused
{
	my ($name, $endpoint, $params, $error) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_fails($node, 'postgres', "SELECT evilnet.create_source('bad', server => 'wikis', endpoint => '$endpoint', params => '$params', to_stream => 'posts')", '22023', $error, $name);
}

refused("endpoint \"$_\"", $_, '{}', 'is no name of a stream') foreach ('', 'recent change', 'a,,b', ',a', 'a/b', 'a?since=0');
refused("wikis $_", 'recentchange', "{\"wiki\": $_}", '"wiki" must be') foreach ('1', '""', '[]', '{}', '["enwiki", 2]', 'null');

# ---- events

sub source_is
{
	my ($what, $wanted, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT $what FROM evilnet.stat_source WHERE source = 'w'", $wanted, $name);
}

# Every event that happened is in the table once, and no other; times tell which, as ids are hashes.
sub is_complete
{
	my ($name) = @_;
	my @posts = @{ $social->ask('truth?network=wikimedia') };
	my @times = map { $posts[$_]{millis} } grep { !$posts[$_]{withheld} && $_ % $canary_every != $canary_every - 1 } 0 .. $#posts;
	my $expected = join(',', @times);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node,
		"SELECT count(*), count(*) FILTER (WHERE e.at IS NULL OR p.id IS NULL) FROM unnest('{$expected}'::bigint[]) e(at) FULL JOIN posts p ON e.at = (extract(epoch FROM created_at) * 1000)::bigint",
		scalar(@times) . '|0', "$name: all " . scalar(@times) . ' events are stored, and no other')
	  || diag($social->requests, $node->safe_psql('postgres', 'TABLE evilnet.stat_source; TABLE evilnet.source_gap'));
}

$node->safe_psql('postgres', q{
	SELECT evilnet.create_source('w', server => 'wikis', endpoint => 'recentchange', to_stream => 'posts');
	SELECT evilnet.create_source('f', server => 'wikis', endpoint => 'page-create,recentchange', params => '{"wiki": ["frwiki", "dewiki"]}', to_stream => 'french')});
source_is('state', 'running', 'connected');
wait_for($node, q{SELECT state FROM evilnet.stat_source WHERE source = 'f'}, 'running', 'connected for two wikis');

# nothing has come yet from which to go on, but the time
source_is(q{cursor ? 'until' AND NOT cursor ? 'last_event_id'}, 't', 'the position is a time');
$social->script('wikimedia.stream', 'close', { do => 'status', code => 503 }, 'close', { do => 'status', code => 503 });
$social->wait_for_script;
$node->safe_psql('postgres', q{SELECT evilnet.pause_source('w'), evilnet.pause_source('f')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 0, 'both are paused');
$social->order('posts', network => 'wikimedia', n => 20);
$social->order('clock', advance => 600);
$social->script('wikimedia.stream', ({ do => 'stall', seconds => 5 }, 'close') x 4);
$node->safe_psql('postgres', q{SELECT evilnet.resume_source('w'), evilnet.resume_source('f')});
$social->wait_for_script;
is_complete('connections that break before any event');
$social->order('posts', network => 'wikimedia', n => 300);
$social->wait_for_script;
is_complete('at first');

wait_for($node, q{SELECT count(*) > 0 AND count(f.id) = count(*) AND count(p.id) = count(*) FROM (SELECT id FROM posts WHERE lang IN ('fr', 'de')) p FULL JOIN french f ON f.id = p.id}, 't', 'those of two wikis are what one source has');
is( $node->safe_psql('postgres', q{SELECT count(DISTINCT lang) > 3, bool_and(author_id > 0), bool_and(id > 0), count(*) FILTER (WHERE text LIKE '%: %') = count(*) FROM posts}), 't|t|t|t', 'languages, authors and texts');

# ---- connections that break, refusals, silence, with events meanwhile

sub survives
{
	my ($name, @steps) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$social->script('wikimedia.stream', @steps);
	$social->order('posts', network => 'wikimedia', n => 5);
	$social->wait_for_script;
	return is_complete($name);
}

# two sources share the steps
$node->safe_psql('postgres', q{SELECT evilnet.drop_source('f')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 1, 'one is dropped');

survives('cut into bytes', { do => 'split', bytes => 1 }, { do => 'posts', n => 20 }, 'close');
survives('many lines', { do => 'multiline' }, { do => 'comment', text => 'a comment' }, { do => 'posts', n => 20 }, 'close');
survives('in one piece', { do => 'glue' }, { do => 'posts', n => 100 }, { do => 'keepalives', n => 3 }, 'close');
survives('compressed', 'close', 'gzip', { do => 'posts', n => 20 }, 'close');
survives('reset', { do => 'posts', n => 20 }, 'reset');
survives('half an event', { do => 'posts', n => 20 }, 'truncate', { do => 'posts', n => 20 }, { do => 'truncate', clean => \1 });
survives('repeated', { do => 'posts', n => 20 }, 'close', { do => 'repeat', n => 20 });
survives('a stall', { do => 'posts', n => 5 }, { do => 'stall', seconds => 60 });
survives('half open', { do => 'posts', n => 5 }, { do => 'half_open', seconds => 60 }, { do => 'posts', n => 5 });
survives('refusals', 'reset', { do => 'status', code => 503, body => {} }, { do => 'status', code => 429, body => {}, headers => { 'Retry-After' => 30 } }, { do => 'posts', n => 5 }, 'close');
survives('an error of its own', { do => 'posts', n => 5 }, 'disconnect_message');
$social->order('config', wikimedia => { ids => 'both' });
survives('ids with offsets', { do => 'posts', n => 20 }, 'close', { do => 'posts', n => 5 });
is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.dead_letter'), 0, 'there are no dead letters');

# ---- what is no event

$social->script('wikimedia.stream', { do => 'raw', text => join('', map { "data: $_\n\n" } '{"meta": ', '[]', '{"id": 1900000001, "meta": {"dt": "2026-01-05T00:00:00Z"}, "user": 7, "title": "A"}') }, 'close');
wait_for($node, q{SELECT string_agg(reason || ' ' || convert_from(payload, 'UTF8'), E'\n' ORDER BY dead_letter_id) FROM evilnet.dead_letter},
	join("\n", 'bad_json {"meta": ', 'unknown_form []', 'no_id {"id":null,"created_at":"2026-01-05T00:00:00Z","author_id":7,"text":"A"}'),
	'what is no event is a dead letter');
is_complete('after what is no event');

# ---- an event in all its parts

$social->script('wikimedia.stream', { do => 'raw', text => 'data: {"meta": {"id": "one", "dt": "' . $social->ask('truth?network=wikimedia')->[0]{created_at} . '", "domain": "pt.wikipedia.org"}, "user": "Jos\u00e9", "server_name": "pt.wikipedia.org", "title": "\"A\"", "comment": ""}' . "\n\n" });
wait_for($node, q{SELECT text, lang, author_id = hashtextextended('José', 0) & 9223372036854775807 FROM posts WHERE id = hashtextextended('one', 0) & 9223372036854775807}, '"A"|pt|t', 'hashes, language and text');
$node->safe_psql('postgres', q{DELETE FROM posts WHERE id = hashtextextended('one', 0) & 9223372036854775807});

# ---- processes that are killed

foreach my $round (1 .. 2)
{
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM evilnet.stat_source WHERE source = 'w'});

	$social->order('posts', network => 'wikimedia', n => 50);
	kill('KILL', $pid) if $pid ne '';
	$social->order('posts', network => 'wikimedia', n => 50);
	$node->poll_query_until('postgres', 'SELECT true');
	is_complete("killed, time $round");
}

# ---- what the network does not keep is a gap

is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.source_gap'), 0, 'no gap is left');
$node->safe_psql('postgres', q{SELECT evilnet.pause_source('w')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 0, 'paused');
$social->order('clock', advance => 8 * 86400);
$node->safe_psql('postgres', q{SELECT evilnet.resume_source('w')});
wait_for($node, q{SELECT reason, until - since BETWEEN '1 day' AND '1 day 1 hour' FROM evilnet.source_gap}, 'the network keeps events for a week only|t', 'a gap is recorded');

$node->stop;
done_testing();
