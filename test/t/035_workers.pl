# Several workers on one stream: the same posts at the same moment, notices of
# posts in other partitions, partitions that change hands.
use strict;
use warnings;

use EvilnetKafka;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = start_kafka();
my $node = kafka_node($kafka, 'main', 'evilnet.max_workers = 40', 'max_worker_processes = 60');

sub stat_is
{
	my ($stream, $columns, $wanted, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql('postgres', "SELECT $columns FROM evilnet.stat_stream WHERE stream = '$stream'"),
		$wanted, $name);
}

# ---- every post in two partitions, stored by two workers side by side

my $file = generate($kafka, 'twice', form => 'flat', count => 20000, seed => 35);
my %once = load_expected($node, 'once', $file);

$kafka->create_topic('twice', 2);
$kafka->produce('twice', $file, '--partition', $_) foreach 0, 1;
foreach my $batch (50, 1000, 10000)
{
	my $stream = "twice_$batch";

	kafka_stream($node, $stream, topic => "'twice'", workers => 2, batch_messages => $batch);
	wait_consumed($node, $kafka, $stream, undef, 'twice');
	stat_is($stream, 'sum(messages), sum(rows), sum(duplicates), sum(dead_letters)', '40000|20000|20000|0',
		"batches of $batch: every post is stored once");
	my %found = differences($node, $stream, 'once');
	is($found{$_}, 0, "batches of $batch: no difference in $_") foreach sort keys %found;
}

# ---- posts in two partitions, the notices that delete most of them in a third

my @posts = split(/\n/, slurp_file($file));
my @notices;
foreach my $post (@posts[ 0 .. 14999 ])
{
	my ($id) = $post =~ /"id":(\d+)/;
	push @notices, "{\"delete\":{\"status\":{\"id\":$id}}}";
}
my @mixed = (@posts, @notices);
my $both = "$kafka->{dir}/deleted";
open my $out, '>:raw', $both or die;
print $out map { "$_\n" } @mixed;
close $out;
my %deleted = load_expected($node, 'deleted', $both);
is($deleted{posts}, 5000, 'the notices name most of the posts');
$kafka->create_topic('deleted');
$kafka->produce_lines('deleted', [ @posts[ map { 2 * $_ } 0 .. 9999 ] ], '--partition', 0);
$kafka->produce_lines('deleted', [ @posts[ map { 2 * $_ + 1 } 0 .. 9999 ] ], '--partition', 1);
$kafka->produce_lines('deleted', \@notices, '--partition', 2);
foreach my $batch (100, 10000)
{
	my $stream = "deleted_$batch";

	kafka_stream($node, $stream, topic => "'deleted'", workers => 3, batch_messages => $batch);
	wait_consumed($node, $kafka, $stream, undef, 'deleted');
	stat_is($stream,
		'sum(messages), sum(rows - rows_deleted), sum(rows_deleted + suppressed), sum(deletes), sum(duplicates + dead_letters)',
		'35000|5000|15000|15000|0', "deletes beside posts in batches of $batch: all counted");
	my %found = differences($node, $stream, 'deleted');
	is($found{$_}, 0, "deletes beside posts in batches of $batch: no difference in $_") foreach sort keys %found;
}

# ---- partitions change hands while they are consumed

my $mixed = generate($kafka, 'mixed', count => 30000, seed => 36, duplicates => 0.05, deletes => 0.03, broken => 0.02,
	notices => 0.01);
my %totals = load_expected($node, 'mixed', $mixed);

$kafka->create_topic('fenced');
kafka_stream($node, 'fenced', batch_messages => 100);
wait_running($node, 'fenced');
my $pid = worker_pid($node, 'fenced');
my $from = -s $node->logfile;
$kafka->produce('fenced', $mixed);
my $fenced = $node->safe_psql('postgres', q{
	CREATE PROCEDURE fence(INOUT times int, wanted int)
	LANGUAGE plpgsql AS $$
	DECLARE
		last int := -1;
		now int := 0;
		tries int := 0;
	BEGIN
		WHILE times < wanted LOOP
			SELECT coalesce(sum(next_offset), 0) INTO now FROM evilnet.stream_offset WHERE stream = 'fenced'::regclass;
			-- somebody else takes the partitions over whenever the worker has stored something
			IF now >= last + 200 AND now < 30000 THEN
				UPDATE evilnet.stream_offset SET epoch = epoch + 1 WHERE stream = 'fenced'::regclass AND kafka_partition <> times % 3;
				times := times + 1;
				last := now;
			END IF;
			COMMIT;
			PERFORM pg_sleep(0.001);
			tries := tries + 1;
			EXIT WHEN now >= 30000 OR tries > 100000;
		END LOOP;
	END $$;
	CALL fence(0, 12)});
cmp_ok($fenced, '>=', 8, "taken away $fenced times");
wait_consumed($node, $kafka, 'fenced');
is_exact($node, 'fenced', 'mixed', \%totals, 'fenced', $mixed);
is(worker_pid($node, 'fenced'), $pid, 'fenced: the worker lived on');
my $lost = () = substr(slurp_file($node->logfile), $from) =~ /lost its partitions/g;
cmp_ok($lost, '>=', 8, "fenced: it noticed $lost times");

# ---- somebody else moved the position: its rows are what counts

my @late = map { qq({"id":$_,"created_at":"2024-03-01T12:00:00Z","author_id":1,"city":"Paris","text":"t"}) } 1 .. 60;

$kafka->create_topic('moved', 1);
kafka_stream($node, 'moved');
$kafka->produce_lines('moved', [ @late[ 0 .. 29 ] ]);
wait_for_rows($node, 'moved', 30, 'moved: consumed');
$node->safe_psql('postgres',
	"UPDATE evilnet.stream_offset SET next_offset = next_offset + 10, epoch = epoch + 1 WHERE stream = 'moved'::regclass");
$kafka->produce_lines('moved', [ @late[ 30 .. 59 ] ]);
wait_for_rows($node, 'moved', 50, 'moved: what another stored is not stored again');
is($node->safe_psql('postgres', 'SELECT min(id), max(id), count(*) FROM moved WHERE id > 30'), '41|60|20',
	'moved: nor is anything else left out');
stat_is('moved', 'messages, rows, gaps, state', '50|50|0|idle', 'moved: nor counted');

# ---- and the number of workers changes

$kafka->create_topic('shared');
kafka_stream($node, 'shared', batch_messages => 20);
$kafka->produce('shared', $mixed);
foreach my $workers (3, 2, 1, 2)
{
	$node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM evilnet.stream_offset o, evilnet.stat_stream s
		 WHERE o.stream = 'shared'::regclass AND s.relation = o.stream AND s.last_batch_at IS NULL")
	  or die 'no batch';
	$node->safe_psql('postgres', "UPDATE evilnet.stream SET workers = $workers WHERE stream = 'shared'::regclass");
}
wait_consumed($node, $kafka, 'shared');
is_exact($node, 'shared', 'mixed', \%totals, 'shared', $mixed);
is($node->safe_psql('postgres', "SELECT count(DISTINCT worker) > 1 FROM evilnet.batch WHERE stream = 'shared'::regclass"), 't',
	'shared: by several workers');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP/, 'nothing died');
done_testing();
