# The X API's endpoints: rules, samples, compliance, recent search; the budget,
# and what statistics say.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetSocial;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX 'strftime';
use Test::More;
use Time::HiRes 'usleep';

my $speed = 50;
# two days ago, so that a week later is still a time at which a post may be
my $social = start_social('--speed', $speed, '--seed', '45', '--start', strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time - 2 * 86400)));
# the environment of the server does not say where to connect
$ENV{no_proxy} = '*';
$ENV{http_proxy} = 'http://127.0.0.1:2';
my $node = evilnet_node('main', "evilnet.clock_speed = $speed", 'evilnet.embedded_broker = on', 'evilnet.max_future = 7d');

$social->order('config', x => { keepalive_seconds => 5 });
$node->safe_psql(
	'postgres', qq{
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
	CREATE SERVER x FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$social->{url}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER x OPTIONS (bearer_token 'sesame')});

sub source_is
{
	my ($source, $what, $wanted, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT $what FROM evilnet.stat_source WHERE source = '$source'", $wanted, $name // "$source: $what");
}

sub sent_ids
{
	my ($query) = @_;

	return join(',', sort { $a <=> $b } map { $_->{id} } @{ $social->ask("truth?network=x$query") });
}

# The ids in a stream's table are those that the server sent.
sub has_ids
{
	my ($table, $wanted, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT coalesce(string_agg(id::text, ',' ORDER BY id), '') FROM $table", $wanted, $name);
}

# ---- rules: a dry run, made what the source says, and changed

is( $node->safe_psql(
		'postgres', q{SELECT action, value, tag, problem IS NOT NULL FROM evilnet.check_source('x', 'filtered_stream',
		'{"rules": [{"value": "coffee", "tag": "c"}, "(broken"]}')}),
	"add|(broken||t\nadd|coffee|c|f", 'the dry run says which rule the network does not take');
is(scalar(@{ $social->ask('log') }), 2, 'having asked for the rules and tried the new ones');
is($node->safe_psql('postgres', q{SELECT count(*) FROM evilnet.check_source('x', 'sample_stream')}), 0, 'a sample has no rules');

$node->safe_psql(
	'postgres', q{
	SELECT evilnet.create_stream('broken');
	SELECT evilnet.create_source('broken', 'x', 'filtered_stream', '{"rules": ["coffee", "(broken"]}', to_stream => 'broken')});
source_is('broken', q{state || ' ' || (last_error LIKE 'the network does not take rules: "(broken" (%')}, 'stopped true');
$node->safe_psql('postgres', q{SELECT evilnet.drop_source('broken')});

$node->safe_psql(
	'postgres', q{
	SELECT evilnet.create_stream('filtered', 'bus', 'filtered');
	SELECT evilnet.create_source('filtered', 'x', 'filtered_stream', '{"rules": [{"value": "coffee", "tag": "c"}]}', 'bus', 'filtered')});
source_is('filtered', 'state', 'running');
is($node->safe_psql('postgres', q{SELECT action, value, tag FROM evilnet.check_source('x', 'filtered_stream', '{"rules": [{"value": "coffee", "tag": "c"}, "tea"]}')}),
	"add|tea|\nkeep|coffee|c", 'the rules are those of the source');
$social->order('posts', network => 'x', n => 200);
has_ids('filtered', sent_ids('&for=coffee'), 'posts that match come through Kafka');
source_is('filtered', 'connected_since IS NOT NULL AND received_at >= connected_since AND reconnects = 0 AND requests_left = 49 AND requests_reset_at > connected_since AND gaps = 0', 't', 'statistics tell of the connection');

$node->safe_psql('postgres', q{SELECT evilnet.alter_source('filtered', '{"rules": ["morning"]}')});
wait_for($node, q{SELECT string_agg(action || ' ' || value, ',') FROM evilnet.check_source('x', 'filtered_stream', '{"rules": ["morning"]}')}, 'keep morning', 'other rules take the place of the first ones');
$node->safe_psql('postgres', q{SELECT evilnet.drop_source('filtered')});

# ---- samples cannot be searched: what is missed is recorded, unless the stream itself goes back

foreach my $sample ([ 'sample', '{}', 1 ], [ 'backfilled', '{"backfill_minutes": 5}', 0 ])
{
	my ($name, $params, $gaps) = @$sample;

	$social->order('config', x => { sample_percent => 100 });
	$node->safe_psql(
		'postgres', qq{
		SELECT evilnet.create_stream('$name');
		SELECT evilnet.create_source('$name', 'x', 'sample_stream', '$params', to_stream => '$name')});
	source_is($name, 'state', 'running');
	$social->order('posts', network => 'x', n => 20);
	wait_for($node, "SELECT count(*) FROM $name", 20, "$name: posts come");
	$social->script('x.sample', 'reset');
	source_is($name, 'reconnects', 1);
	source_is($name, 'gaps', $gaps, "$name: $gaps gaps are recorded");
	$node->safe_psql('postgres', "SELECT evilnet.drop_source('$name')");
}

# ---- deletes of the compliance stream

$node->safe_psql(
	'postgres', q{
	SELECT evilnet.create_source('compliance', 'x', 'tweet_compliance_stream', '{"partition": 1}', to_stream => 'sample')
});
source_is('compliance', 'state', 'running');
$social->order('delete', network => 'x', n => 20);
wait_for($node, q{SELECT messages > 0 FROM evilnet.stat_source WHERE source = 'compliance'}, 't', 'notices come');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM sample'), '<=', 20, 'and delete posts');
$node->safe_psql('postgres', q{SELECT evilnet.drop_source('compliance')});

# ---- recent search, again and again

$node->safe_psql(
	'postgres', q{
	SELECT evilnet.create_stream('searched');
	SELECT evilnet.create_source('searched', 'x', 'recent_search', '{"query": "coffee", "seconds": 10}', to_stream => 'searched')});
source_is('searched', 'state', 'idle');
my %old = map { $_ => 1 } split(/,/, sent_ids('&for=coffee'));

# Bytes that the source holds until it begins anew.
sub bytes_held
{
	my $from = -s $node->logfile;
	my $log;

	$node->safe_psql('postgres', q{SELECT pg_log_backend_memory_contexts(pid) FROM evilnet.stat_source WHERE source = 'searched'});
	foreach (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$log = slurp_file($node->logfile, $from);
		return $1 if $log =~ /evilnet source: .* (\d+) used/ && $log =~ /Grand total/;
		usleep(10_000);
	}
	die 'the worker does not tell of its memory';
}

my $held;
foreach my $round (1 .. 6)
{
	$social->order('posts', network => 'x', n => 300);
	my $ids = join(',', grep { !$old{$_} } split(/,/, sent_ids('&for=coffee')));
	wait_for($node, "SELECT count(*) > 0 AND count(p.id) = count(*) FROM unnest('{$ids}'::bigint[]) e(id) LEFT JOIN searched p USING (id)", 't', "round $round: what search finds is stored");
	$held //= bytes_held();
}
cmp_ok(bytes_held() - $held, '<', 20_000, 'and no page is kept');

# away for longer than search goes back: what is too old is recorded, the rest found
$node->safe_psql('postgres', q{SELECT evilnet.pause_source('searched')});
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet fetch worker'", 0, 'the search is paused');
$social->order('posts', network => 'x', n => 50);
$social->order('clock', advance => 8 * 86400);
my %missed = map { $_ => 1 } split(/,/, sent_ids('&for=coffee'));
$social->order('posts', network => 'x', n => 300);
$node->append_conf('postgresql.conf', 'evilnet.clock_offset = 8d');
$node->reload;
$node->safe_psql('postgres', q{SELECT evilnet.resume_source('searched')});
my $found = join(',', grep { !$missed{$_} } split(/,/, sent_ids('&for=coffee')));
wait_for($node, "SELECT count(*) > 0 AND count(p.id) = count(*) FROM unnest('{$found}'::bigint[]) e(id) LEFT JOIN searched p USING (id)", 't', 'what search still finds is stored');
is($node->safe_psql('postgres', q{SELECT count(*), min(reason), min(until - since) BETWEEN '23:50' AND '1d 1h' FROM evilnet.source_gap JOIN evilnet.source s USING (source_id) WHERE s.name = 'searched'}), '1|search knows the last seven days only|t', 'and the rest recorded');
$node->safe_psql('postgres', q{SELECT evilnet.drop_source('searched')});

# ---- the budget

$node->safe_psql(
	'postgres', q{
	SELECT evilnet.create_stream('dear');
	SELECT evilnet.create_source('dear', 'x', 'sample_stream', '{"monthly_spend": 1, "price": 0.05}', to_stream => 'dear')});
source_is('dear', 'state', 'running');
$social->order('posts', network => 'x', n => 50);
source_is('dear', 'state', 'budget spent');
source_is('dear', q{messages || ' ' || month_messages || ' ' || month_spend}, '20 20 1.00');
is(scalar(@{ $social->ask('connections') }), 0, 'no connection is left');
$node->append_conf('postgresql.conf', 'evilnet.clock_offset = 48d');
$node->reload;
source_is('dear', 'state', 'running', 'it goes on in another month');

# ---- an app's id and secret instead of a token

$social->order('config', x => { tokens => ['first'] });
$node->safe_psql(
	'postgres', qq{
	SELECT evilnet.drop_source('dear');
	CREATE SERVER app FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$social->{url}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER app OPTIONS (client_id 'me', client_secret 'sesame');
	SELECT evilnet.create_stream('app');
	SELECT evilnet.create_source('app', 'app', 'sample_stream', '{"monthly_posts": 1e300}', to_stream => 'app')});
source_is('app', 'state', 'running', 'a token was got, and a budget may be larger than any count');
$social->order('config', x => { tokens => ['second'] });
$social->script('x.sample', 'reset');
wait_for($node, q{SELECT last_error LIKE '%does not take the token%' FROM evilnet.stat_source WHERE source = 'app'}, 't', 'it is taken no more');
source_is('app', 'state', 'running', 'and another one is got');
unlike(slurp_file($node->logfile) =~ s/^.*CREATE USER MAPPING.*$//mgr, qr/sesame/, 'the secret is not in the log');

# a token that is given and then refused: pauses grow, though the position can be stored
$social->script('x.sample', 'reset', ({ do => 'status', code => 401, body => {} }) x 4);
$social->wait_for_script;
source_is('app', 'state', 'running', 'it is taken again');
my @refusals = grep { $_->{endpoint} eq 'x.sample' && ($_->{status} // 0) == 401 } @{ $social->ask('log?ids=0') };
cmp_ok(($refusals[-1]{time} - $refusals[-2]{time}) / $speed, '>', 700, 'the network is not asked again and again') or diag($social->requests);

# ---- requests that fail leave no memory behind

$social->script('x.token', ({ do => 'status', code => 403, body => {} }) x 50);
my $grown = $node->safe_psql(
	'postgres', q{
	CREATE FUNCTION kilobytes() RETURNS int LANGUAGE sql RETURN (regexp_match(pg_read_file('/proc/self/status'), 'VmSize:\s+(\d+)'))[1]::int;
	CREATE PROCEDURE refused() LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 25 LOOP
			BEGIN
				PERFORM evilnet.check_source('app', 'filtered_stream', '{"rules": ["a"]}');
			EXCEPTION WHEN invalid_authorization_specification THEN
			END;
		END LOOP;
	END $$;
	CALL refused();
	SELECT kilobytes() AS before \gset
	CALL refused();
	SELECT kilobytes() - :before});
cmp_ok($grown, '<', 10_000, 'tokens that are refused leave no memory behind');
$social->wait_for_script;

# ---- a token that is none, and a proxy

$social->script('x.token', { do => 'status', code => 200, body => { token_type => 'bearer', access_token => "a\r\nHost: b" } });
sql_fails($node, 'postgres', q{SELECT evilnet.check_source('app', 'filtered_stream', '{"rules": ["a"]}')}, '28000', 'there is none in its answer', 'a token that would be two headers');
$node->safe_psql(
	'postgres', qq{
	CREATE SERVER proxied FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$social->{url}', proxy 'http://127.0.0.1:1');
	CREATE USER MAPPING FOR CURRENT_USER SERVER proxied OPTIONS (bearer_token 'sesame')});
sql_fails($node, 'postgres', q{SELECT evilnet.check_source('proxied', 'filtered_stream', '{"rules": ["a"]}')}, 'HV00N', '127.0.0.1 port 1', 'the proxy of the server is used');

# ---- refusals in words

my $refused = sub {
	my ($sql, $pattern, $name) = @_;
	my ($code, undef, $stderr) = $node->psql('postgres', $sql);

	isnt($code, 0, $name);
	like($stderr, $pattern, "$name: in words");
};
my $create = q{SELECT evilnet.create_source('bad', 'x', '%s', '%s', to_stream => 'app')};

$refused->(sprintf($create, 'firehose', '{}'), qr/X has no endpoint "firehose".*It is one of/s, 'an unknown endpoint');
$refused->(sprintf($create, 'filtered_stream', '{"rule": ["a"]}'), qr/sources of "x" have no parameter "rule".*They have: rules query/s, 'a parameter that is misspelt');
$refused->(sprintf($create, 'filtered_stream', '{"rules": []}'), qr/must be an array of rules/, 'no rules');
$refused->(sprintf($create, 'sample_stream', '{"rules": ["a"]}'), qr/has no rules/, 'rules of a sample');
$refused->(sprintf($create, 'recent_search', '{}'), qr/needs a parameter "query"/, 'a search for nothing');
$refused->(sprintf($create, 'sample10_stream', '{"partition": 3}'), qr/between 1 and 2/, 'a partition too many');
$refused->(sprintf($create, 'sample_stream', '{"monthly_spend": 5}'), qr/needs parameter "price"/, 'a budget without a price');
$refused->(sprintf($create, 'sample_stream', '{"monthly_posts": -5}'), qr/must be a number above 0/, 'a negative budget');
$refused->(q{SELECT evilnet.alter_source('app', '{"backfill_minutes": 6}')}, qr/between 0 and 5/, 'other parameters that are wrong');

$node->stop;
done_testing();
