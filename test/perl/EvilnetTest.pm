# What the TAP tests of evilnet share: a node with evilnet preloaded, and
# waiting on its state with something to read when it does not come.
package EvilnetTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(evilnet_node create_stream publish wait_for wait_for_rows);

# A running node with evilnet and its embedded broker; further lines of
# configuration may follow the name.
sub evilnet_node
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf',
		join("\n",
			"shared_preload_libraries = 'evilnet'",
			"evilnet.embedded_broker = on",
			"max_worker_processes = 32",
			@settings)
		  . "\n");
	$node->start;
	return $node;
}

# The extension, server bus on the embedded broker, and a stream over a topic
# of its own name.
sub create_stream
{
	my ($node, $stream, $db) = @_;
	$db //= 'postgres';

	$node->safe_psql(
		$db, qq{
		SET client_min_messages = warning;
		CREATE EXTENSION IF NOT EXISTS hll;
		CREATE EXTENSION IF NOT EXISTS evilnet;
		CREATE SERVER IF NOT EXISTS bus FOREIGN DATA WRAPPER evilnet_kafka
			OPTIONS ("bootstrap.servers" 'embedded');
		SELECT evilnet.create_stream('$stream', server => 'bus', topic => '$stream');
	});
}

# Publish messages to a topic of server bus.
sub publish
{
	my ($node, $topic, @messages) = @_;
	my $array = join(',', map { s/'/''/gr =~ s/^(.*)$/'$1'/sr } @messages);

	return $node->safe_psql('postgres',
		"SELECT evilnet.produce('bus', '$topic', ARRAY[$array]::text[])");
}

# Wait until a query answers what is wanted; a test of its own, which shows
# the last answer, the streams' state and the end of the log when it fails.
sub wait_for
{
	my ($node, $query, $wanted, $name, $db) = @_;
	$db //= 'postgres';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	if ($node->poll_query_until($db, $query, $wanted))
	{
		return pass($name);
	}
	fail($name);
	diag("wanted: $wanted");
	diag(scalar diagnosis($node, $db));
	return 0;
}

# Wait until a table holds a number of rows.
sub wait_for_rows
{
	my ($node, $table, $count, $name, $db) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, "SELECT count(*) FROM $table", $count, $name, $db);
}

sub diagnosis
{
	my ($node, $db) = @_;
	my ($status, $out, $err) = $node->psql($db, 'SELECT * FROM evilnet.stat_stream', extra_params => ['-x']);
	my @log = grep { !/LOG:  statement:/ } split(/\n/, slurp_file($node->logfile));
	my $first = @log > 30 ? @log - 30 : 0;

	return join("\n", "stat_stream:", $out, $err, "log:", @log[ $first .. $#log ]);
}

1;
