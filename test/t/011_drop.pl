# What a stream is made of can be dropped from under its worker: catalog rows,
# worker and the objects that only evilnet uses go along, other streams go on.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = prepared_node('main');
my $offset = log_size($node);

sub sql
{
	return $node->safe_psql('postgres', @_);
}

# what the catalog still knows of streams that are no longer there
my $left = q{
	SELECT count(*) FROM (
		SELECT stream FROM evilnet.stream
		UNION ALL SELECT stream FROM evilnet.stream_offset
		UNION ALL SELECT stream FROM evilnet.batch
		UNION ALL SELECT stream FROM evilnet.dead_letter
		UNION ALL SELECT stream FROM evilnet.continuous_aggregate) s
	WHERE stream NOT IN (SELECT oid FROM pg_class WHERE relname = 'bystander')};
my $relations = q{SELECT count(*) FROM pg_class WHERE relname LIKE 'tweets%'};

# A stream with a post, and a dead letter, in its books.
my $made = 0;

sub make_stream
{
	my $topic = 'topic' . ++$made;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	publish($node, $topic, 'no post');
	add_stream($node, 'postgres', 'tweets', $topic, 1);
	wait_for($node, q{SELECT reason FROM evilnet.dead_letter WHERE stream = 'tweets'::regclass},
		'bad_json', 'tweets has a dead letter');
	isnt(sql($left), '0', 'the catalog knows the stream');
	return;
}

sub gone
{
	my ($how) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql($left), '0', "$how: nothing of the stream is left in the catalog");
	is(sql($relations), '0', "$how: no relation is left");
	soon($node, 10, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet ingest worker'},
		'1', "$how: the worker has ended, the other stream's has not");
	return;
}

add_stream($node, 'postgres', 'bystander', 'bystander', 1);

# --- the stream's own way

make_stream();
sql(q{SELECT evilnet.drop_stream('tweets')});
gone('drop_stream');

# --- the table

make_stream();
sql('CREATE VIEW mine AS SELECT id FROM tweets');
sql_fails($node, 'postgres', 'DROP TABLE tweets', '2BP01', 'view mine depends on table tweets',
	'a table that a view of the user reads is not dropped');
sql_fails($node, 'postgres', q{SELECT evilnet.drop_stream('tweets')}, '2BP01', 'view public.mine depends on table public.tweets',
	'nor is its stream');
sql('DROP VIEW mine; DROP TABLE tweets');
gone('DROP TABLE');

# --- an aggregate

make_stream();
sql_fails($node, 'postgres', 'DROP TABLE tweets_by_city_slots', '2BP01', 'depends on|requires it', 'what an aggregate reads is not dropped');
sql_fails($node, 'postgres', 'DROP VIEW tweets_by_city_query', '2BP01', 'requires it', 'nor is its query');
sql_fails($node, 'postgres', 'DROP TABLE tweets_deletes', '2BP01', 'requires it', 'nor is what a stream keeps its delete notices in');
sql('DROP VIEW tweets_by_city');
is(sql(q{SELECT count(*) FROM evilnet.continuous_aggregate WHERE stream = 'tweets'::regclass}),
	'0', 'DROP VIEW of an aggregate: it is not in the catalog any more');
is(sql(q{SELECT count(*) FROM pg_class WHERE relname LIKE 'tweets_by_city%'}), '0', 'nor are its relations there');
publish($node, "topic$made", posts(2));
wait_for_rows($node, 'tweets', 2, 'the stream goes on without the aggregate');

# --- the server

sql_fails($node, 'postgres', 'DROP SERVER bus', '2BP01', 'table tweets depends on server bus',
	'a server that a stream reads from is not dropped');
sql(q{
	CREATE SERVER second FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
	SELECT evilnet.drop_stream('tweets');
	SELECT evilnet.create_stream('tweets', server => 'second', topic => 'topic1');
});
wait_for_rows($node, 'tweets', 1, 'a stream of another server has its posts');
sql('DROP SERVER second CASCADE');
gone('DROP SERVER ... CASCADE');

# --- the owner

sql('CREATE ROLE joe LOGIN; GRANT CREATE ON SCHEMA public TO joe; GRANT USAGE ON FOREIGN SERVER bus TO joe');
$node->safe_psql('postgres', q{SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'topic1')},
	extra_params => [ '-U', 'joe' ]);
wait_for_rows($node, 'tweets', 1, 'a stream of another user has its posts');
sql_fails($node, 'postgres', 'DROP ROLE joe', '2BP01', 'owner of table tweets', 'the owner of a stream is not dropped');
sql('DROP OWNED BY joe; DROP ROLE joe');
gone('DROP OWNED BY');

# --- the extension

publish($node, 'bystander', posts(2));
wait_for_rows($node, 'bystander', 2, 'the other stream went on all the while');
sql_fails($node, 'postgres', 'DROP EXTENSION evilnet', '2BP01', 'server bus depends on foreign-data wrapper evilnet_kafka',
	'the extension is not dropped from under servers and streams');
sql('DROP EXTENSION evilnet CASCADE');
is(sql(q{SELECT count(*) FROM pg_class WHERE relname LIKE 'bystander%'}), '0', 'with CASCADE, streams and their tables go along');
soon($node, 10, worker_query('postgres'), 'none', 'and so does the worker');
create_stream($node, 'bystander');
wait_for_rows($node, 'bystander', 2, 'created again, it consumes the topic from its beginning');
sql('DROP SCHEMA evilnet CASCADE');
soon($node, 10, worker_query('postgres'), 'none', 'dropping its schema ends the worker, too');

is(complaints($node, $offset), '', 'no process complained');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing died');

done_testing();
