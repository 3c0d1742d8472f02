# The filtered stream of the X API against a server that misbehaves: every post
# that it ever sent is stored once, whatever happens to connections and processes.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetSocial;
use EvilnetTest;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $speed = $ENV{SPEED} || 50;
my $social = start_social('--speed', $speed, '--seed', '41');
my $node = evilnet_node('main', "evilnet.clock_speed = $speed", 'restart_after_crash = on', 'evilnet.max_future = 7d');
my $rules = '{"rules": ["coffee OR -coffee"]}';

$social->order('config', x => { keepalive_seconds => 5 });
$node->safe_psql(
	'postgres', qq{
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
	CREATE SERVER x FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$social->{url}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER x OPTIONS (bearer_token 'sesame');
	SELECT evilnet.create_stream('posts')});

sub source_is
{
	my ($what, $wanted, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT $what FROM evilnet.stat_source WHERE source = 'x'", $wanted, $name);
}

# Every post that was sent, or that search finds, is in the table once, and no other.
sub is_complete
{
	my ($name) = @_;
	my @ids = map { $_->{id} } grep { !$_->{withheld} } @{ $social->ask('truth?network=x') };
	my $expected = join(',', @ids);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok(scalar(@ids), '>', 0, "$name: there are " . scalar(@ids) . ' posts');
	wait_for($node, 'SELECT count(*) FROM posts', scalar(@ids), "$name: as many are stored");
	is($node->safe_psql('postgres', "SELECT count(*) FROM unnest('{$expected}'::bigint[]) e(id) FULL JOIN posts p USING (id) WHERE e.id IS NULL OR p.id IS NULL"),
		0, "$name: and they are the same")
	  or diag($node->safe_psql('postgres', 'TABLE evilnet.stat_source; TABLE evilnet.source_gap; TABLE evilnet.stat_stream; SELECT * FROM evilnet.dead_letter LIMIT 5'));
	return;
}

# ---- rules, and what comes whole

$node->safe_psql('postgres', "SELECT evilnet.create_source('x', server => 'x', endpoint => 'filtered_stream', params => '$rules', to_stream => 'posts')");
source_is('state', 'running', 'connected');
$social->order('posts', network => 'x', n => 100);
is_complete('at first');
my ($asked) = grep { $_->{endpoint} eq 'x.rules_post' } @{ $social->ask('log') };
ok($asked, 'the rules were sent');

# ---- connections that break, refusals, silence, with posts meanwhile

sub survives
{
	my ($name, @steps) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$social->script('x.stream', @steps);
	$social->wait_for_script;
	is_complete($name);
	return;
}

survives('cut into bytes', { do => 'split', bytes => 1 }, { do => 'posts', n => 20 }, 'close');
survives('in one piece', { do => 'glue' }, { do => 'posts', n => 20 }, { do => 'keepalives', n => 3 }, 'close');
survives('reset', { do => 'posts', n => 20 }, { do => 'skip', n => 5 }, 'reset');
survives('half a line', { do => 'posts', n => 20 }, 'truncate', { do => 'skip', n => 5 });
survives('repeated', { do => 'posts', n => 20 }, 'close', { do => 'repeat', n => 20 }, { do => 'posts', n => 20 });
survives('a stall', { do => 'posts', n => 5 }, { do => 'stall', seconds => 25 });
survives('half open', { do => 'posts', n => 5 }, { do => 'half_open', seconds => 60 }, { do => 'skip', n => 5 });
survives('refusals', 'reset', { do => 'status', code => 503, body => {} }, { do => 'status', code => 429, body => {} }, { do => 'skip', n => 5 }, { do => 'posts', n => 5 });
$social->script('x.search', 'malformed', { do => 'status', code => 500, body => {} });
survives('searches that fail', { do => 'posts', n => 5 }, 'reset', { do => 'skip', n => 5 });
# a notice need not begin with what tells that it is one
survives('notices', { do => 'posts', n => 5 }, { do => 'raw', text => qq({"type": "about:blank", "status": 200, "title": "operational-disconnect"}\r\n) }, 'close');
like(slurp_file($node->logfile), qr/LOG:  the network says: \{"type": "about:blank", "status": 200, "title": "operational-disconnect"\}/, 'what the network says is told');
is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.dead_letter'), 0, 'and is no post');
survives('a disconnect message', { do => 'posts', n => 5 }, { do => 'disconnect_message' }, { do => 'skip', n => 5 });

# what is no text, in a refusal: latin-1, and a character in two at the end of what is kept
$social->script('x.stream', 'reset', { do => 'status', code => 503, base64 => encode_base64("caf\xe9 \xc3\xa9" . "\xe2\x82\xac" x 200, '') });
$social->wait_for_script;
is_complete('a refusal that is no text');
my $said = $node->safe_psql('postgres', q{SELECT last_error FROM evilnet.stat_source WHERE source = 'x'});
like($said, qr/^the network answers 503: caf\? \xc3\xa9(\xe2\x82\xac)+$/, 'is quoted as far as it is text');

$social->script('x.stream', 'reset', { do => 'status', code => 503, body => 'you sent Bearer sesame' });
$social->wait_for_script;
source_is('last_error', 'the network answers 503: (not shown, as it holds the secret)', 'an answer that tells the token is not told');

# ---- a stream that is paused

$node->safe_psql('postgres', q{SELECT evilnet.pause('posts')});
source_is('state', 'stream paused', 'the source of a paused stream waits');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 0, 'without a worker');
$social->order('posts', network => 'x', n => 20);
$node->safe_psql('postgres', q{SELECT evilnet.resume('posts')});
is_complete('paused and resumed');

# ---- processes that are killed

foreach my $round (1 .. 3)
{
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM evilnet.stat_source WHERE source = 'x'});

	$social->order('posts', network => 'x', n => 50);
	kill('KILL', $pid) if $pid ne '';
	$social->order('posts', network => 'x', n => 50);
	$node->poll_query_until('postgres', 'SELECT true');
	is_complete("killed, time $round");
}

# ---- what cannot be filled is recorded

is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.source_gap'), 0, 'no gap is left');

# ---- the token

my $log = slurp_file($node->logfile);
unlike($log =~ s/^.*CREATE USER MAPPING.*$//mgr, qr/sesame/, 'the token is not in the log');
$node->safe_psql('postgres', q{SELECT evilnet.drop_source('x')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 0, 'the worker ends');
wait_for($node, 'SELECT 1', 1, 'done');
is(scalar(@{ $social->ask('connections') }), 0, 'and its connection with it');

$node->stop;
done_testing();
