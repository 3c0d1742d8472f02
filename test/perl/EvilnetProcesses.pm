# For the tests of processes, catalog and rights: databases with evilnet in
# them, posts, and what runs, fails or is logged.
package EvilnetProcesses;

use strict;
use warnings;

use EvilnetTest;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(prepared_node add_stream post posts worker_query same_worker processes ended soon
  sql_fails sql_fails_as log_size log_since complaints);

# A node with little in its log, whose template1 and postgres have hll, evilnet and server bus: CREATE
# DATABASE is then quick, and so is the test.
sub prepared_node
{
	my ($name, @settings) = @_;
	my $node = evilnet_node($name, "log_line_prefix = '%m [%p] %b '",
		"log_statement = none", @settings);

	$node->safe_psql(
		'template1', q{
		SET client_min_messages = warning;
		CREATE EXTENSION hll;
		CREATE EXTENSION evilnet;
		CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
	});
	$node->safe_psql('template1', $_) for ('DROP DATABASE postgres', 'CREATE DATABASE postgres');
	return $node;
}

# A stream of a topic, both with rows in them already.
sub add_stream
{
	my ($node, $db, $stream, $topic, @ids) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	publish($node, $topic, posts(@ids));
	$node->safe_psql($db, "SELECT evilnet.create_stream('$stream', server => 'bus', topic => '$topic')");
	return wait_for_rows($node, $stream, scalar @ids, "$stream has its first posts", $db);
}

# A post as a message; further fields may follow, over those it has.
sub post
{
	my ($id, %fields) = @_;
	my %post = (
		id => $id,
		created_at => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime),
		author_id => $id % 7,
		text => "post $id",
		city => 'Toronto',
		country_code => 'CA',
		%fields);

	return '{' . join(',', map { qq{"$_":"$post{$_}"} } sort keys %post) . '}';
}

sub posts
{
	return map { post($_) } @_;
}

# The pids of a database's ingest workers, in order.
sub worker_query
{
	my ($db) = @_;

	return "SELECT coalesce(string_agg(pid::text, ' ' ORDER BY pid), 'none') FROM pg_stat_activity"
	  . " WHERE backend_type = 'evilnet ingest worker' AND datname = '$db'";
}

# Whether the worker that ran still does.
sub same_worker
{
	my ($node, $db, $pids, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql('template1', worker_query($db)), $pids, $name);
}

# The pids of a node's processes of a kind, also of those that are in no view.
sub processes
{
	my ($node, $kind) = @_;
	my $postmaster = (split(/\n/, slurp_file($node->data_dir . '/postmaster.pid')))[0];
	my @pids;

	foreach my $file (glob('/proc/[0-9]*/stat'))
	{
		# it may have ended since
		open(my $stat, '<', $file) or next;
		my ($pid, $parent) = (<$stat> // '') =~ /^(\d+) \(.*\) \S (\d+) /s or next;
		open(my $title, '<', "/proc/$pid/cmdline") or next;
		push @pids, $pid if $parent == $postmaster && (<$title> // '') =~ /\Q$kind\E/;
	}
	return @pids;
}

# Wait until these processes have ended.
sub ended
{
	my ($name, @pids) = @_;
	my @left;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for (1 .. 600)
	{
		@left = grep { kill(0, $_) } @pids;
		last unless @left;
		usleep(100_000);
	}
	return is("@left", '', $name);
}

# Wait for an answer, but not as long as wait_for does.
sub soon
{
	my ($node, $seconds, $query, $wanted, $name, $db) = @_;
	my $until = time + $seconds;
	my $answer = '';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	while (time <= $until)
	{
		$answer = $node->safe_psql($db // 'postgres', $query);
		return pass($name) if $answer eq $wanted;
		usleep(50_000);
	}
	return is($answer, $wanted, "$name, within $seconds s");
}

# The statement fails with an SQLSTATE and, in error, detail or hint, a text.
sub sql_fails
{
	my ($node, $db, @rest) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_fails_as($node, $db, undef, @rest);
}

sub sql_fails_as
{
	my ($node, $db, $role, $sql, $sqlstate, $text, $name) = @_;
	my ($status, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\n$sql",
		on_error_stop => 1,
		extra_params => defined $role ? [ '-U', $role ] : []);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return like($err, qr/ERROR:  \Q$sqlstate\E: .*(?:$text)/s, $name);
}

sub log_size
{
	my ($node) = @_;

	return -s $node->logfile;
}

sub log_since
{
	my ($node, $offset) = @_;

	return slurp_file($node->logfile, $offset);
}

# What evilnet's processes complained of since then. The nodes' prefix has the
# type of the process in it.
sub complaints
{
	my ($node, $offset) = @_;

	return join("\n", grep { /\] evilnet [a-z ]*(?:WARNING|ERROR|FATAL|PANIC): / } split(/\n/, log_since($node, $offset)));
}

1;
