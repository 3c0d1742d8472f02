# The machine's clock is set while a stream is open, as after it slept: nothing is
# lost, though times of before and after do not belong together.
use strict;
use warnings;

use EvilnetSocial;
use EvilnetTest;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir('clock');

system_or_bail('gcc', '-Wall', '-Wextra', '-Werror', '-O1', '-shared', '-fPIC', '-o', "$dir/clock_shim.so", "$FindBin::RealBin/../modules/clock_shim.c");
open(my $offset_file, '+>', "$dir/offset") or die "$dir/offset: $!";

# Seconds by which the server's clock is ahead.
sub set_clock
{
	my ($seconds) = @_;

	sysseek($offset_file, 0, 0);
	syswrite($offset_file, pack('q', $seconds)) == 8 or die "$dir/offset: $!";
	return;
}

my $speed = 10;
my $social = start_social('--speed', $speed, '--seed', '48');

set_clock(0);
$ENV{LD_PRELOAD} = "$dir/clock_shim.so";
$ENV{CLOCK_SHIM} = "$dir/offset";
my $node = evilnet_node('main', "evilnet.clock_speed = $speed", 'evilnet.max_future = 7d');
delete $ENV{LD_PRELOAD};

$node->safe_psql(
	'postgres', qq{
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER x FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url '$social->{url}');
	CREATE SERVER mastodon FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'mastodon', url '$social->{url}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER x OPTIONS (bearer_token 'sesame');
	CREATE USER MAPPING FOR CURRENT_USER SERVER mastodon OPTIONS (bearer_token 'sesame');
	SELECT evilnet.create_stream('x'), evilnet.create_stream('mastodon');
	SELECT evilnet.create_source('x', 'x', 'filtered_stream', '{"rules": ["coffee OR -coffee"]}', to_stream => 'x');
	SELECT evilnet.create_source('mastodon', 'mastodon', 'public', to_stream => 'mastodon')});

my %streams = (x => 'x.stream', mastodon => 'mastodon.public');

sub is_complete
{
	my ($network, $name) = @_;
	my $ids = join(',', map { $_->{id} } @{ $social->ask("truth?network=$network") });

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT count(*), count(e.id), count(p.id) FROM unnest('{$ids}'::bigint[]) e(id) FULL JOIN $network p USING (id)",
		join('|', (scalar(split(/,/, $ids))) x 3), "$network: $name");
}

sub is_running
{
	my ($network, $reconnects) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT state = 'running' AND reconnects >= $reconnects FROM evilnet.stat_source WHERE source = '$network'", 't', "$network: connected, $reconnects times again");
}

foreach my $network (sort keys %streams)
{
	is_running($network, 0);
	$social->order('posts', network => $network, n => 20);
	is_complete($network, 'at first');
}

my $reconnects = 0;
foreach my $offset (600, -600, 0)
{
	my $was = -s $node->logfile;

	set_clock($offset);
	$reconnects++;
	foreach my $network (sort keys %streams)
	{
		is_running($network, $reconnects);
		$social->order('posts', network => $network, n => 20);
		is_complete($network, "the clock is set to $offset");

		# a gap that is searched from where the clock says that all was taken
		$social->script($streams{$network}, { do => 'skip', n => 30 }, 'reset');
		$social->wait_for_script;
		is_complete($network, "a connection breaks after the clock was set to $offset");
	}
	$reconnects++;
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM evilnet.source_gap'), 0, 'no gap is left');

$node->stop;
done_testing();
