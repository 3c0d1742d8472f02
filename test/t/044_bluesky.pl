# Bluesky's Jetstream against a server that misbehaves: every post that it ever
# sent is stored once, also what was posted without a connection, and deleted
# posts go.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetSocial;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $speed = 50;
my $social = start_social('--speed', $speed, '--seed', '44');
my $url = $social->{url} =~ s/^http/ws/r;
my $node = evilnet_node('main', "evilnet.clock_speed = $speed", 'restart_after_crash = on', 'evilnet.max_future = 7d');

$node->safe_psql('postgres', 'CREATE EXTENSION hll; CREATE EXTENSION evilnet');
my ($status, $out, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nCREATE SERVER bluesky FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'bluesky', url '$url')");
if ($error =~ /needs a libcurl/)
{
	like($error, qr/0A000: .*needs a libcurl that reads WebSockets\nDETAIL:  This is libcurl [0-9.]+, without them/, 'refused without WebSockets');
	diag('libcurl of this system reads no WebSockets: the rest is not tested');
	$node->stop;
	done_testing();
	exit;
}
is($error, '', 'a server');
$node->safe_psql('postgres', q{SELECT evilnet.create_stream('posts'), evilnet.create_stream('all_of_it')});

# ---- what is refused

sql_fails($node, 'postgres', "CREATE SERVER bad FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'bluesky', url '$social->{url}')", 'HV024', 'Write wss://host', 'a url that is no WebSocket');
sql_fails($node, 'postgres', "CREATE SERVER bad FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$url')", 'HV024', 'Write https://host', 'a WebSocket that should be none');
sql_fails($node, 'postgres', q{SELECT evilnet.create_source('bad', server => 'bluesky', endpoint => 'likes', to_stream => 'posts')}, '22023', 'Bluesky has no endpoint "likes"', 'no such endpoint');

# ---- posts

sub source_is
{
	my ($what, $wanted, $name, $source) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT $what FROM evilnet.stat_source WHERE source = '" . ($source // 'b') . q{'}, $wanted, $name);
}

# Every post that happened and is not deleted is in the table once, and no other; times tell which, as ids are hashes.
sub is_complete
{
	my ($name) = @_;
	my @times = map { $_->{millis} } grep { !$_->{withheld} && !$_->{deleted} } @{ $social->ask('truth?network=jetstream') };
	my %seen;
	my $expected = join(',', map { "($_," . ++$seen{$_} . ')' } @times);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node,
		"SELECT count(*), count(*) FILTER (WHERE e.at IS NULL OR p.at IS NULL) FROM (VALUES $expected) e(at, n)"
		  . " FULL JOIN (SELECT at, row_number() OVER (PARTITION BY at) AS n FROM (SELECT (extract(epoch FROM created_at) * 1000)::bigint AS at FROM posts) t) p USING (at, n)",
		scalar(@times) . '|0', "$name: all " . scalar(@times) . ' posts are stored, and no other')
	  || diag($social->requests, $node->safe_psql('postgres', 'TABLE evilnet.stat_source; TABLE evilnet.source_gap'));
}

$node->safe_psql('postgres', q{
	SELECT evilnet.create_source('b', server => 'bluesky', endpoint => 'posts', to_stream => 'posts');
	SELECT evilnet.create_source('all', server => 'bluesky', endpoint => 'posts_and_reposts', to_stream => 'all_of_it')});
source_is('state', 'running', 'connected');
source_is('state', 'running', 'connected for reposts, too', 'all');
$social->order('config', jetstream => { like_every => 3, identity_every => 5 });
$social->order('posts', network => 'jetstream', n => 300);
is_complete('at first');
$social->order('event', network => 'jetstream', kind => 'like', collection => 'app.bsky.feed.repost') foreach 1 .. 3;
wait_for($node, q{SELECT kind, count(*) FROM all_of_it WHERE kind = 'retweet' GROUP BY kind}, 'retweet|3', 'reposts');
wait_for($node, q{SELECT count(*) = 303 AND count(p.id) = 300 FROM all_of_it a LEFT JOIN posts p USING (id)}, 't', 'and all posts, with the same ids');

is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT kind::text, ' ' ORDER BY kind::text), count(*) FILTER (WHERE author_id IS NULL OR text IS NULL), count(DISTINCT lang) > 5 FROM posts}), 'post reply|0|t', 'kinds, authors, texts and languages');
is($node->safe_psql('postgres', q{SELECT count(*) > 0, count(*) FILTER (WHERE text NOT ILIKE '%#' || hashtags[1] || '%') FROM posts WHERE cardinality(hashtags) > 0}), 't|0', 'hashtags are those of the text');

# two sources share the steps
$node->safe_psql('postgres', q{SELECT evilnet.drop_source('all')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 1, 'one is dropped');

# ---- connections that break, refusals, silence, with posts meanwhile

sub survives
{
	my ($name, @steps) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$social->script('jetstream.subscribe', @steps);
	$social->order('posts', network => 'jetstream', n => 5);
	$social->wait_for_script;
	return is_complete($name);
}

survives('cut into bytes', { do => 'split', bytes => 1 }, { do => 'posts', n => 20 }, 'close');
survives('cut at will', { do => 'split', bytes => 777 }, { do => 'posts', n => 20 }, 'close');
survives('in fragments', { do => 'ws_fragment', bytes => 16 }, { do => 'posts', n => 20 }, 'ws_ping', { do => 'posts', n => 5 }, 'close');
survives('closed in form', { do => 'posts', n => 20 }, 'ws_ping', { do => 'ws_close', code => 1012, reason => 'restart' });
survives('reset', { do => 'posts', n => 20 }, 'reset');
survives('half a message', { do => 'posts', n => 20 }, 'truncate', { do => 'posts', n => 20 }, 'truncate');
survives('repeated and edited', { do => 'posts', n => 20 }, { do => 'edit', n => 5 }, 'close', { do => 'repeat', n => 20 });
survives('a stall', { do => 'posts', n => 5 }, { do => 'stall', seconds => 90 });
survives('half open', { do => 'posts', n => 5 }, { do => 'half_open', seconds => 90 }, { do => 'posts', n => 5 });
survives('refusals', 'reset', { do => 'status', code => 503, body => {} }, { do => 'status', code => 429, body => {}, headers => { 'Retry-After' => 30 } }, 'redirect', { do => 'posts', n => 5 }, 'close');
survives('deleted', { do => 'posts', n => 20 }, { do => 'delete', n => 5 }, 'close');
is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.dead_letter'), 0, 'there are no dead letters');

# ---- what is no post

my @messages = ('{"did": ', '[]', '{"did": "did:plc:a", "time_us": 1, "kind": "commit", "commit": {"collection": "app.bsky.feed.post", "operation": "create", "rkey": "r"}}');
$social->script('jetstream.subscribe', (map { { do => 'raw', text => $_ } } @messages), 'close');
wait_for($node, q{SELECT string_agg(reason || ' ' || convert_from(payload, 'UTF8'), E'\n' ORDER BY dead_letter_id) FROM evilnet.dead_letter},
	join("\n", "bad_json $messages[0]", "unknown_form $messages[1]", "unknown_form $messages[2]"),
	'what is no post is a dead letter');
is_complete('after what is no post');

# ---- a post in all its parts

$social->script('jetstream.subscribe', { do => 'raw', text => '{"did": "did:plc:a", "time_us": ' . ($social->ask('truth?network=jetstream')->[-1]{millis} * 1000) . ', "kind": "commit", "commit": {"collection": "app.bsky.feed.post", "operation": "create", "rkey": "r", "record": {"createdAt": "1999-01-01T00:00:00Z", "langs": ["pt-BR", "en"], "text": "ol\u00e1 \"2\"", "facets": [7, {"features": [{"$type": "app.bsky.richtext.facet#link", "tag": "no"}, {"$type": "app.bsky.richtext.facet#tag", "tag": "Sim"}]}]}}}' });
wait_for($node, q{SELECT text, lang, hashtags, author_id = hashtextextended('did:plc:a', 0) & 9223372036854775807, created_at > now() - interval '1 day' FROM posts WHERE id = hashtextextended('did:plc:a/r', 0) & 9223372036854775807}, 'olá "2"|pt|{Sim}|t|t', 'hashes, language, time and hashtags');
$social->script('jetstream.subscribe', { do => 'raw', text => '{"did": "did:plc:a", "time_us": 2, "kind": "commit", "commit": {"collection": "app.bsky.feed.post", "operation": "delete", "rkey": "r"}}' });
is_complete('which is deleted');

# ---- processes that are killed

foreach my $round (1 .. 2)
{
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM evilnet.stat_source WHERE source = 'b'});

	$social->order('posts', network => 'jetstream', n => 50);
	kill('KILL', $pid) if $pid ne '';
	$social->order('posts', network => 'jetstream', n => 50);
	$node->poll_query_until('postgres', 'SELECT true');
	is_complete("killed, time $round");
}

# ---- more than is held at once

$node->safe_psql('postgres', q{SELECT evilnet.pause_source('b')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 0, 'paused');
$social->order('posts', network => 'jetstream', n => 4_000);
$node->safe_psql('postgres', q{SELECT evilnet.resume_source('b')});
is_complete('a long pause');

# ---- what the network does not keep is a gap

is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.source_gap'), 0, 'no gap is left');
$node->safe_psql('postgres', q{SELECT evilnet.pause_source('b')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 0, 'paused');
$social->order('clock', advance => 2 * 86400);
$node->safe_psql('postgres', q{SELECT evilnet.resume_source('b')});
wait_for($node, q{SELECT reason, until - since BETWEEN '1 day' AND '1 day 1 hour' FROM evilnet.source_gap}, 'the network keeps posts for a day only|t', 'a gap is recorded');

$node->stop;
done_testing();
