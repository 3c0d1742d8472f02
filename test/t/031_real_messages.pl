# The same equality over real messages.  They are nobody's to pass on, so they
# are not here: EVILNET_DATA names a directory with tweets-*.ndjson.gz.
use strict;
use warnings;

use EvilnetKafka;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @files = real_files();

plan skip_all => 'EVILNET_DATA names no directory with tweets-*.ndjson.gz' unless @files;

my $kafka = start_kafka();
my $node = kafka_node($kafka, 'main');
my %totals = load_expected($node, 'expected', @files);
my $lines = unpacked($kafka, @files);

note(join(', ', map { "$_: $totals{$_}" } sort keys %totals));
$kafka->create_topic('real');
$kafka->produce('real', $lines);

foreach my $workers (1, 3)
{
	my $stream = "by_$workers";

	kafka_stream($node, $stream, topic => "'real'", workers => $workers);
	wait_consumed($node, $kafka, $stream, "$workers at work: consumed to the end", 'real');
	is_exact($node, $stream, 'expected', \%totals, "$workers at work", @files);
	note($node->safe_psql('postgres', "SELECT * FROM evilnet.stat_stream WHERE stream = '$stream'"));
}

$node->stop;
done_testing();
