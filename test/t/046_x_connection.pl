# When a source connects, and to whom: the reconnect schedule, stalls, TLS,
# redirects, limits, and who gets the token.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetSocial;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes;

my $node = evilnet_node('main', 'evilnet.max_future = 7d');

$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	SELECT evilnet.create_stream('posts')});

# A source of the sample stream of that server, the only one.
sub read_from
{
	my ($social, $options) = @_;

	$node->safe_psql(
		'postgres', qq{
		SELECT evilnet.drop_source('x', if_exists => true);
		DROP SERVER IF EXISTS x CASCADE;
		CREATE SERVER x FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$social->{url}' @{[$options // '']});
		CREATE USER MAPPING FOR CURRENT_USER SERVER x OPTIONS (bearer_token 'sesame');
		SELECT evilnet.create_source('x', 'x', 'sample_stream', to_stream => 'posts')});
	return;
}

sub source_is
{
	my ($what, $wanted, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT $what FROM evilnet.stat_source WHERE source = 'x'", $wanted, $name // $what);
}

sub set_clock
{
	my ($name, $value) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET evilnet.clock_$name = $value");
	$node->reload;
	return;
}

# Simulated seconds from the end of each request to the next one.
sub pauses
{
	my ($social, $n) = @_;
	my @log;

	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		@log = grep { $_->{endpoint} eq 'x.sample' } @{ $social->ask('log') };
		last if @log > $n;
		Time::HiRes::usleep(100_000);
	}
	return map { ($log[ $_ + 1 ]{time} - $log[$_]{ended_time}) / 1000 } 0 .. $n - 1;
}

# Each pause is what is documented, and a little for the way.
sub are_pauses
{
	my ($social, $slack, $name, @wanted) = @_;
	my @got = pauses($social, scalar @wanted);
	my $ok = @got == @wanted && !grep { $got[$_] < $wanted[$_] - 0.01 || $got[$_] > $wanted[$_] + $slack } 0 .. $#wanted;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name) or diag("wanted @wanted, got @got");
	note("$name: " . join(' ', map { sprintf '%.2f', $_ } @got));
	return;
}

# ---- no connection: 250 ms more each time

my $social = start_social('--speed', 1);
$social->script('x.sample', ({ do => 'reset', before_headers => JSON::PP::true }) x 6);
read_from($social);
are_pauses($social, 0.2, 'the network: linear', 0.25, 0.5, 0.75, 1, 1.25, 1.5);

# ---- refused: doubled each time

set_clock('speed', 60);
$social = start_social('--speed', 60);
$social->order('config', x => { keepalive_seconds => 5 });
$social->script('x.sample', ({ do => 'status', code => 503 }) x 8);
read_from($social);
are_pauses($social, 25, 'refused: doubled up to 320 s', 5, 10, 20, 40, 80, 160, 320, 320);

# ---- too many requests: when it says; too many connections: not so

$social = start_social('--speed', 60);
$social->order('config', x => { keepalive_seconds => 5, limits => { 'x.sample' => 2 } });
$social->script('x.sample', 'reset');
read_from($social);
source_is('state', 'running');
$social->script('x.sample', 'reset');
my @pauses = pauses($social, 3);
cmp_ok($pauses[2], '>', 600, 'too many requests: waits for the reset') or diag("@pauses");
source_is('state', 'running', 'and goes on');

$social = start_social('--speed', 60);
$social->order('config', x => { keepalive_seconds => 5 });
$social->script('x.sample', { do => 'linger', seconds => 120 }, 'reset');
read_from($social);
@pauses = pauses($social, 4);
ok($pauses[1] >= 5 && $pauses[2] >= 10 && $pauses[3] >= 20 && $pauses[3] < 60, 'one connection too many: as if refused') or diag("@pauses");
note("@pauses");
source_is('state', 'running', 'until the old one is gone');

# ---- an hour of keep-alives only, and then not even those

set_clock('speed', 1);
$social = start_social('--speed', 0);
read_from($social);
source_is('state', 'running');
my $offset = 0;
# a second less than the keep-alives take leaves time to the machine
foreach my $round (1 .. 190)
{
	$offset += 19;
	$node->safe_psql('postgres', qq{
		ALTER SYSTEM SET evilnet.clock_offset = $offset;
		SELECT pg_reload_conf()});
	$social->order('clock', advance => 20);
	$node->safe_psql('postgres', qq{
		DO \$\$
		BEGIN
			FOR i IN 1 .. 2000 LOOP
				EXIT WHEN (SELECT received_at >= clock_timestamp() + interval '$offset s' - interval '10 s' FROM evilnet.stat_source);
				PERFORM pg_sleep(0.005);
			END LOOP;
		END \$\$});
}
source_is('reconnects', 0, 'an idle hour: no reconnect');
is(scalar(grep { $_->{endpoint} eq 'x.sample' } @{ $social->ask('log') }), 1, 'by the log of the server too');
set_clock('offset', $offset + 21);
source_is('reconnects', 1, '21 seconds of silence: connected again');
source_is(q{last_error LIKE 'nothing has come for 20 seconds%'}, 't', 'with the reason');
set_clock('offset', 0);

# ---- TLS, and whose certificate

my $tls = PostgreSQL::Test::Utils::tempdir();
$social = start_social('--tls', $tls);
read_from($social);
source_is(q{state || ' ' || (last_error ~* 'certificate')}, 'backoff true', 'a certificate of nobody is not trusted');
read_from($social, ", ca_file '$tls/server.crt'");
source_is('state', 'running', 'one that is trusted is');

# ---- redirects are not followed: the token is for that host

$social = start_social('--speed', 1);
$social->script('x.sample', { do => 'redirect', to => "http://localhost:1/elsewhere" });
read_from($social);
source_is(q{last_error LIKE 'the network answers 302%'}, 't', 'redirects are not followed');

# ---- what has no end

$social = start_social('--speed', 1);
$social->script('x.sample', { do => 'posts', n => 1 }, { do => 'endless', bytes => 20_000_000 }, 'reset', { do => 'posts', n => 1 });
$node->safe_psql('postgres', 'TRUNCATE posts');
read_from($social);
wait_for($node, 'SELECT count(*) FROM posts', 2, 'a line without end is not waited for');

unlike(slurp_file($node->logfile) =~ s/^.*CREATE USER MAPPING.*$//mgr, qr/sesame/, 'the token is not in the log');
$node->stop;
done_testing();
