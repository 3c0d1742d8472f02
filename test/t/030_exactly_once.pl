# Messages of all forms, good and broken, through a real Kafka: what the tables
# hold is what an independent recount finds.
use strict;
use warnings;

use EvilnetKafka;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = start_kafka();
my $node = kafka_node($kafka, 'main');
my $file = generate($kafka, 'mixed', count => 60000, seed => 30, duplicates => 0.05, deletes => 0.05,
	broken => 0.02, notices => 0.01);
my %totals = load_expected($node, 'expected', $file);

cmp_ok($totals{$_}, '>', 100, "the messages hold $_: $totals{$_}")
  foreach 'posts', 'duplicates', 'deletes', 'deleted_posts', 'notices', 'undecodable', 'undecodable_bad_encoding';

$kafka->create_topic('tweets');
$kafka->produce('tweets', $file);

foreach my $workers (1, 2)
{
	my $stream = "by_$workers";

	kafka_stream($node, $stream, topic => "'tweets'", workers => $workers);
	wait_consumed($node, $kafka, $stream, "$workers at work: consumed to the end", 'tweets');
	is_exact($node, $stream, 'expected', \%totals, "$workers at work", $file);
}

# The comparison itself notices a single wrong row, count, or byte.
sub is_noticed
{
	my ($change, $undo, @what) = @_;

	$node->safe_psql('postgres', $change);
	my %found = differences($node, 'by_1', 'expected');
	my ($wrong) = dead_letter_differences($node, 'by_1', $file);
	$found{'dead letters'} = $wrong;
	is_deeply([ sort grep { $found{$_} > 0 } keys %found ], [ sort @what ], "noticed: $change");
	$node->safe_psql('postgres', $undo);
	return;
}

$node->safe_psql('postgres', "SELECT evilnet.pause('by_1')");
is_noticed('UPDATE by_1 SET id = -id WHERE id = (SELECT min(id) FROM by_1)',
	'UPDATE by_1 SET id = -id WHERE id < 0', 'posts');
is_noticed('UPDATE by_1 SET city_id = -city_id - 1 WHERE id = (SELECT min(id) FROM by_1)',
	'UPDATE by_1 SET city_id = -city_id - 1 WHERE city_id < 0', 'cities of posts');
my $key = '(bucket, city_id, evilnet_slot)';
my $first = "WHERE $key = (SELECT bucket, city_id, evilnet_slot FROM by_1_by_city_slots ORDER BY 1, 2, 3 LIMIT 1)";
is_noticed("UPDATE by_1_by_city_slots SET tweets = tweets + 1 $first",
	"UPDATE by_1_by_city_slots SET tweets = tweets - 1 $first",
	'counts per city and 5 minutes', 'counts per city and minute');
my $letter = "WHERE dead_letter_id = (SELECT min(dead_letter_id) FROM evilnet.dead_letter WHERE stream = 'by_1'::regclass)";
is_noticed("UPDATE evilnet.dead_letter SET payload = payload || 'x' $letter",
	"UPDATE evilnet.dead_letter SET payload = substr(payload, 1, length(payload) - 1) $letter", 'dead letters');
is_noticed("UPDATE evilnet.batch SET to_offset = to_offset + 1 WHERE from_offset = 0 AND kafka_partition = 1",
	"UPDATE evilnet.batch SET to_offset = to_offset - 1 WHERE from_offset = 0 AND kafka_partition = 1",
	'breaks in the journal');

$node->stop;
done_testing();
