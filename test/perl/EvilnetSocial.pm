# The social server (test/tools/social) for a test: started, scripted, stopped.
package EvilnetSocial;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes 'usleep';

our @EXPORT = qw(start_social);

my @servers;

# Options as social_server takes them.
sub start_social
{
	my (@options) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir('social');
	my $social = bless { out => '', http => HTTP::Tiny->new(timeout => 60), json => JSON::PP->new->canonical }, 'EvilnetSocial';

	$social->{process} = IPC::Run::start([ "$FindBin::RealBin/../tools/social_server", '--ready', "$dir/ready", @options ], '>&', \$social->{out});
	foreach (1 .. 1000)
	{
		last if -s "$dir/ready";
		usleep(20_000);
		$social->{process}->pump_nb;
	}
	-s "$dir/ready" or die "the social server did not start: $social->{out}";
	chomp($social->{url} = slurp_file("$dir/ready"));
	push @servers, $social;
	return $social;
}

END
{
	local $?;
	$_->{process}->kill_kill foreach @servers;
}

sub answer
{
	my ($social, $response) = @_;

	die "$response->{status}: $response->{content}" unless $response->{success};
	return $social->{json}->decode($response->{content});
}

# POST /_control/<what>
sub order
{
	my ($social, $what, %body) = @_;

	return $social->answer(
		$social->{http}->post("$social->{url}/_control/$what", { content => $social->{json}->encode(\%body), headers => { 'content-type' => 'application/json' } }));
}

# GET /_control/<what>
sub ask
{
	my ($social, $what) = @_;

	return $social->answer($social->{http}->get("$social->{url}/_control/$what"));
}

# Steps for an endpoint: names, or hashes with do.
sub script
{
	my ($social, $endpoint, @steps) = @_;

	return $social->order('script', endpoint => $endpoint, steps => [ map { ref $_ ? $_ : { do => $_ } } @steps ]);
}

# Until the steps were all taken; some wait for the next connection.
sub wait_for_script
{
	my ($social) = @_;

	foreach (1 .. 50 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return unless grep { @$_ } values %{ $social->ask('script') };
		usleep(20_000);
	}
	die 'steps are left: ' . $social->{json}->encode($social->ask('script'));
}

# The last requests, a line each, to be shown when something is missing.
sub requests
{
	my ($social) = @_;
	my @rows = @{ $social->ask('log?ids=0') };

	splice(@rows, 0, -12) if @rows > 12;
	return join('', map { "$_->{time} $_->{path} " . $social->{json}->encode([ @$_{qw(query status ended ended_time events sent)} ]) . "\n" } @rows);
}

1;
