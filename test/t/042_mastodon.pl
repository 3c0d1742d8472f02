# Mastodon's streams against a server that misbehaves: every post that it ever
# sent, or that its timeline shows, is stored once, and deleted posts go.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetSocial;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $speed = 50;
my $social = start_social('--speed', $speed, '--seed', '42');
my $node = evilnet_node('main', "evilnet.clock_speed = $speed", 'restart_after_crash = on', 'evilnet.max_future = 7d');

$node->safe_psql(
	'postgres', qq{
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER mastodon FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'mastodon', url '$social->{url}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER mastodon OPTIONS (bearer_token 'sesame');
	SELECT evilnet.create_stream('posts');
	SELECT evilnet.create_stream('near')});

# ---- what is refused

sub refused
{
	my ($name, $arguments, $error) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_fails($node, 'postgres', "SELECT evilnet.create_source('bad', server => 'mastodon', to_stream => 'posts', $arguments)", '22023', $error, $name);
}

sql_fails($node, 'postgres', q{CREATE SERVER no_url FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'mastodon')}, 'HV00J', 'option "url" is required', 'a server without a url');
sql_fails($node, 'postgres', q{ALTER SERVER mastodon OPTIONS (DROP url)}, 'HV00J', 'option "url" is required', 'a server that loses its url');
refused('no such endpoint', q{endpoint => 'home'}, 'Mastodon has no endpoint "home"');
refused('a hashtag that is none', q{endpoint => 'hashtag'}, 'needs a parameter "tag"');
refused('a hashtag with its sign', q{endpoint => 'hashtag/local', params => '{"tag": "#rain"}'}, 'needs a parameter "tag"');
refused('a tag for all', q{endpoint => 'public', params => '{"tag": "rain"}'}, 'takes no parameter "tag"');

# ---- posts

sub source_is
{
	my ($what, $wanted, $name, $source) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT $what FROM evilnet.stat_source WHERE source = '" . ($source // 'm') . q{'}, $wanted, $name);
}

# Every post that was sent, or that the timeline shows, is in the table once, and no other.
sub is_complete
{
	my ($name) = @_;
	my @ids = map { $_->{id} } grep { !$_->{withheld} && !$_->{deleted} } @{ $social->ask('truth?network=mastodon') };
	my $expected = join(',', @ids);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node,
		"SELECT count(*), count(*) FILTER (WHERE e.id IS NULL OR p.id IS NULL) FROM unnest('{$expected}'::bigint[]) e(id) FULL JOIN posts p USING (id)",
		scalar(@ids) . '|0', "$name: all " . scalar(@ids) . ' posts are stored, and no other')
	  || diag($social->requests, $node->safe_psql('postgres', 'TABLE evilnet.stat_source; TABLE evilnet.source_gap'));
}

$node->safe_psql('postgres', q{
	SELECT evilnet.create_source('m', server => 'mastodon', endpoint => 'public', to_stream => 'posts');
	SELECT evilnet.create_source('near', server => 'mastodon', endpoint => 'hashtag/local', params => '{"tag": "Montréal"}', to_stream => 'near')});
source_is('state', 'running', 'connected');
source_is('state', 'running', 'connected for a hashtag', 'near');
$social->order('posts', network => 'mastodon', n => 300);
is_complete('at first');

wait_for($node, q{SELECT array_agg(DISTINCT hashtags), count(*) BETWEEN 1 AND 100 FROM near}, '{{montréal}}|t', 'a hashtag has its own');
is($node->safe_psql('postgres', q{SELECT count(*) FROM posts WHERE text ~ '<p>|</a>|<br|&(lt|gt|amp|quot);'}), 0, 'HTML has become text');
is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM posts WHERE text LIKE '%<3%'}), 't', 'and what looks like HTML is there');
is($node->safe_psql('postgres', q{SELECT count(*) FROM posts WHERE cardinality(hashtags) > 0 AND text NOT ILIKE '%#' || hashtags[1] || '%'}), 0, 'hashtags are in the text');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT kind), count(*) FILTER (WHERE author_id IS NULL), count(DISTINCT lang) > 5 FROM posts}), '2|0|t', 'kinds, authors and languages');

# ---- connections that break, refusals, silence, with posts meanwhile

sub survives
{
	my ($name, @steps) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$social->script('mastodon.public', @steps);
	$social->wait_for_script;
	return is_complete($name);
}

survives('cut into bytes', { do => 'split', bytes => 1 }, { do => 'posts', n => 20 }, 'close');
survives('many lines', { do => 'multiline' }, { do => 'comment', text => 'a comment' }, { do => 'posts', n => 20 }, 'close');
survives('in one piece', { do => 'glue' }, { do => 'posts', n => 20 }, { do => 'keepalives', n => 3 }, 'close');
survives('compressed', 'close', 'gzip', { do => 'posts', n => 20 }, 'close');
survives('reset', { do => 'posts', n => 20 }, { do => 'skip', n => 90 }, 'reset');
survives('half an event', { do => 'posts', n => 20 }, 'truncate', { do => 'skip', n => 5 }, 'close');
survives('repeated and edited', { do => 'posts', n => 20 }, { do => 'edit', n => 5 }, 'close', { do => 'repeat', n => 20 });
survives('a stall', { do => 'posts', n => 5 }, { do => 'stall', seconds => 60 });
survives('half open', { do => 'posts', n => 5 }, { do => 'half_open', seconds => 60 }, { do => 'skip', n => 5 }, 'close');
survives('refusals', 'reset', { do => 'status', code => 503, body => {} }, { do => 'status', code => 429, body => {}, headers => { 'Retry-After' => 30 } }, { do => 'skip', n => 5 }, { do => 'posts', n => 5 }, 'close');

$social->script('mastodon.timeline', { do => 'status', code => 503, body => {} }, { do => 'malformed' }, { do => 'truncate' }, { do => 'ok' }, { do => 'reset' }, { do => 'status', code => 429, body => {}, headers => { 'Retry-After' => 30 } });
survives('a timeline that fails', { do => 'skip', n => 90 }, { do => 'withhold', n => 3 }, 'close');
is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.dead_letter'), 0, 'there are no dead letters');

# ---- a table that cannot be written to for longer than a stream may be silent

# The numbers of the open connections of the source for all posts.
sub connections
{
	return join(' ', map { $_->{n} } grep { $_->{endpoint} eq 'mastodon.public' } @{ $social->ask('connections') });
}

my $connection = '';
$connection = connections() while $connection eq '';
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE posts IN ACCESS EXCLUSIVE MODE');
$social->order('posts', network => 'mastodon', n => 10);
wait_for($node, q{SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'posts'::regclass}, 1, 'the worker waits for the table');
my $until = $social->ask('clock')->{millis} + 60_000;
$node->poll_query_until('postgres', 'SELECT true') while $social->ask('clock')->{millis} < $until;
$lock->query_safe('COMMIT');
$lock->quit;
is_complete('locked');
is(connections(), $connection, 'the connection is kept');

# ---- deleted posts

$social->script('mastodon.public', { do => 'posts', n => 10 }, { do => 'delete', n => 5 }, 'close');
$social->wait_for_script;
is_complete('deleted');

# ---- what is no post

$social->script('mastodon.public', { do => 'raw', text => join('', map { "event: $_\n\n" } 'update' . "\ndata: {\"id\": ", "update\ndata: []", "status.update\ndata: {\"id\": \"12\", \"created_at\": {}}", "delete\ndata: abc", "filters_changed\ndata: x", "notification\ndata: {}") });
wait_for($node, q{SELECT string_agg(reason || ' ' || convert_from(payload, 'UTF8'), E'\n' ORDER BY dead_letter_id) FROM evilnet.dead_letter},
	join("\n", 'bad_json {"id": ', 'unknown_form []', 'bad_value {"id":"12","created_at":{},"author_id":null,"lang":null,"text":null,"in_reply_to_status_id":null}', 'bad_json abc'),
	'what is no post is a dead letter');
is_complete('after what is no post');

# ---- processes that are killed

foreach my $round (1 .. 2)
{
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM evilnet.stat_source WHERE source = 'm'});

	$social->order('posts', network => 'mastodon', n => 50);
	kill('KILL', $pid) if $pid ne '';
	$social->order('posts', network => 'mastodon', n => 50);
	$node->poll_query_until('postgres', 'SELECT true');
	is_complete("killed, time $round");
}

# ---- what cannot be filled is recorded

is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.source_gap'), 0, 'no gap is left');
$social->script('mastodon.timeline', { do => 'status', code => 403, body => { error => 'not here' } });
$social->script('mastodon.public', 'close');
wait_for($node, q{SELECT reason, until - since BETWEEN '0' AND '5min' FROM evilnet.source_gap}, 'the network answers 403: {"error": "not here"}|t', 'a gap is recorded');
$social->order('posts', network => 'mastodon', n => 10);
is_complete('after the gap');

# ids that are none, or of a time to come, do not tell where the next page begins
foreach my $id ('0b9f', '9000000000000000000')
{
	my $gaps = $node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.source_gap');

	$social->script('mastodon.timeline', { do => 'status', code => 200, body => [ { id => $id } ] });
	$social->script('mastodon.public', 'close');
	wait_for($node, 'SELECT count(*), (array_agg(reason ORDER BY noted_at DESC))[1] FROM evilnet.source_gap', ($gaps + 1) . '|the network answers with a page of posts whose ids do not go on', "a page of id $id leaves a gap");
}
$social->order('posts', network => 'mastodon', n => 10);
is_complete('after pages without ids');

my $log = slurp_file($node->logfile);
unlike($log =~ s/^.*CREATE USER MAPPING.*$//mgr, qr/sesame/, 'the token is not in the log');
$node->safe_psql('postgres', q{SELECT evilnet.drop_source('m'), evilnet.drop_source('near')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 0, 'the workers end');

$node->stop;
done_testing();
