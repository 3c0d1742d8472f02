# Workers and the whole server are killed at random moments while they ingest:
# afterwards the tables hold what they would have held without.
#
# EVILNET_SEED repeats a run, EVILNET_KILLS and EVILNET_RESTARTS lengthen it,
# EVILNET_DATA adds real messages (see 031_real_messages.pl).
use strict;
use warnings;

use EvilnetKafka;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes 'usleep';

my $seed = $ENV{EVILNET_SEED} // int(rand(1e9));
my $kills = $ENV{EVILNET_KILLS} // 5;
my $restarts = $ENV{EVILNET_RESTARTS} // 1;

note("EVILNET_SEED=$seed");
srand($seed);

my $kafka = start_kafka();
my $node = kafka_node($kafka, 'main', 'restart_after_crash = on');

sub poll
{
	my ($what, $condition) = @_;
	my $deadline = time + 60;

	until ($condition->())
	{
		die "$what did not come" if time > $deadline;
		usleep(1000);
	}
	return;
}

# Wait until the stream consumed this many messages; the process id of one of
# its workers.  One statement, as a query for each look would come too late.
sub pid_after
{
	my ($stream, $messages, $worker) = @_;
	my $pid = "SELECT pid FROM evilnet.worker_slots() WHERE stream = '$stream'::regclass AND worker = $worker";
	my $query = qq{
		DO \$\$
		DECLARE tries int := 0;
		BEGIN
			WHILE (SELECT coalesce(sum(messages), 0) FROM evilnet.stream_offset
				WHERE stream = '$stream'::regclass) < $messages OR ($pid) IS NULL LOOP
				COMMIT;
				PERFORM pg_sleep(0.001);
				tries := tries + 1;
				ASSERT tries < 100000, 'nothing is consumed';
			END LOOP;
		END \$\$;
		$pid};
	my ($status, $out, $err) = $node->psql('postgres', $query);

	die "$stream: $err" if $status || $out !~ /^\d+$/;
	return $out;
}

sub kill_worker
{
	my ($stream, $messages, $worker) = @_;
	my $pid = pid_after($stream, $messages, $worker);

	kill('KILL', $pid) or die "there is no process $pid";
	# the postmaster notices, takes all down and starts anew; psql would break its pipe on a server that is down
	poll("the end of process $pid", sub { kill(0, $pid) == 0 });
	poll('the restart', sub { $node->run_log([ 'pg_isready', '-q', '-h', $node->host, '-p', $node->port ]) });
	return;
}

sub start_again
{
	my ($postmaster) = @_;

	# a killed process takes a moment to be gone, and its orphans to let go of the shared memory
	poll("the end of process $postmaster", sub { kill(0, $postmaster) == 0 });
	poll('the start of the server', sub { $node->start(fail_ok => 1) });
	return;
}

sub kill_server
{
	my ($stream, $messages, $how) = @_;
	my ($postmaster) = split(/\n/, slurp_file($node->data_dir . '/postmaster.pid'));

	pid_after($stream, $messages, 0);
	if ($how eq 'kill')
	{
		$node->kill9;
	}
	else
	{
		$node->stop('immediate');
	}
	start_again($postmaster);
	return;
}

# One message after the other is produced in as many pieces as there will be
# blows, and each blow falls somewhere within its piece.
sub survive
{
	my ($stream, $workers, $file, $expected, $totals, @files) = @_;
	my @lines = read_lines($file);
	my @blows = ((map { 'worker' } 1 .. $kills), map { $_ % 2 ? 'kill' : 'immediate' } 1 .. $restarts);
	my $piece = int(@lines / @blows / 3 + 1) * 3;
	my $produced = 0;
	my $landed = 0;

	$kafka->create_topic($stream);
	kafka_stream($node, $stream, workers => $workers, batch_messages => 100);
	for (my $i = $#blows; $i > 0; $i--)
	{
		my $j = int(rand($i + 1));
		@blows[ $i, $j ] = @blows[ $j, $i ];
	}
	foreach my $blow (@blows)
	{
		my $at = $produced + 1 + int(rand($piece * 0.6));

		wait_running($node, $stream);
		$kafka->produce_lines($stream, [ splice(@lines, 0, $piece) ]);
		$produced += $piece;
		if ($blow eq 'worker')
		{
			kill_worker($stream, $at, int(rand($workers)));
		}
		else
		{
			kill_server($stream, $at, $blow);
		}
		my $consumed = $node->safe_psql('postgres',
			"SELECT sum(messages) FROM evilnet.stream_offset WHERE stream = '$stream'::regclass");
		note("$blow at $consumed of $produced messages");
		$landed++ if $consumed < $produced;
	}
	$kafka->produce_lines($stream, \@lines) if @lines;
	# on a busy machine the worker may be through before the blow falls
	cmp_ok($landed, '>=', 2,
		"$stream: $landed of $kills kills and $restarts restarts fell while messages were waiting");
	wait_consumed($node, $kafka, $stream);
	is_exact($node, $stream, $expected, $totals, $stream, @files);
	return;
}

my $file = generate($kafka, 'mixed', count => 30000, seed => 32, duplicates => 0.05, deletes => 0.05,
	broken => 0.02, notices => 0.01);
my %totals = load_expected($node, 'expected', $file);

survive('sync_on', 1, $file, 'expected', \%totals, $file);
$node->append_conf('postgresql.conf', 'synchronous_commit = off');
$node->restart;
survive('sync_off', 2, $file, 'expected', \%totals, $file);

if (my @files = real_files())
{
	my %real = load_expected($node, 'real', @files);

	survive('real_sync_off', 2, unpacked($kafka, @files), 'real', \%real, @files);
	$node->append_conf('postgresql.conf', 'synchronous_commit = on');
	$node->restart;
	survive('real_sync_on', 1, unpacked($kafka, @files), 'real', \%real, @files);
}

$node->stop;
done_testing();
