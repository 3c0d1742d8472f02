# Retention: disk stays flat over thirty days, readers and builds see complete
# data, aggregates keep what posts lose, and what comes too late is set aside.
#
# The clock stands still, so days pass by shortening the retention: posts of d
# days ago are kept for d + 3 days.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $DAYS = 30;
my $POSTS = 3000;    # a day

my $node = prepared_node('main', 'autovacuum = off');

sub sql { return $node->safe_psql('postgres', "SET timezone = 'UTC'; $_[0]"); }

# posts of a day so many days ago, some deleted again
sub store_day
{
	my ($ago) = @_;

	return sql(qq{
		SELECT rows, dead_letters FROM evilnet.store_messages('tweets', ARRAY(
			SELECT format('{"id": %s, "created_at": "%s", "author_id": %s, "city": "Toronto", "text": "%s"}', $ago * 100000 + i,
				to_char(date_trunc('day', now()) - interval '$ago days' + i * interval '28 seconds', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), i % 50, repeat('x', 100))
			FROM generate_series(1, $POSTS) i
			UNION ALL
			SELECT format('{"delete": {"status": {"id": %s, "user_id": 1}}}', $ago * 100000 + i) FROM generate_series(1, $POSTS, 100) i))});
}

sub size
{
	return sql(q{SELECT sum(pg_total_relation_size(t.relid)) + pg_total_relation_size('tweets_deletes')
		FROM unnest(ARRAY['tweets', 'tweets_by_city_slots']::regclass[]) r, pg_partition_tree(r) t});
}

sub partitions { return sql(q{SELECT partitions FROM evilnet.stat_retention WHERE relation = 'tweets'::regclass}); }

sql(q{
	BEGIN;
	SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'none');
	SELECT evilnet.pause('tweets');
	COMMIT;
	SELECT evilnet.create_continuous_aggregate('by_month', $$SELECT evilnet.time_bucket('1 month', created_at) AS bucket,
		count(*) AS tweets, max(author_id) AS last FROM tweets GROUP BY 1$$, in_background => false);
});

# --- thirty days

my @sizes;
foreach my $ago (reverse 1 .. $DAYS)
{
	is(store_day($ago), ($POSTS - $POSTS / 100) . "|0", "posts of $ago days ago") if $ago % 10 == 0;
	store_day($ago) if $ago % 10 != 0;
	sql("SELECT evilnet.set_retention('tweets', interval '$ago days' + '3 days'); SELECT evilnet.set_retention('tweets_by_city', interval '$ago days' + '5 days')");
	sql("SELECT evilnet.maintain('tweets')");
	$node->safe_psql('postgres', 'VACUUM tweets_deletes');
	push @sizes, size();
}
my @settled = sort { $a <=> $b } @sizes[ 7 .. $#sizes ];
note("bytes by day: @sizes");
cmp_ok($settled[-1], '<', 1.15 * $settled[0], 'the disk stays flat');
cmp_ok($settled[0], '<', 8 * $sizes[0], 'at some days\' worth');
is(partitions(), 4, 'the posts of three days are kept, in whole partitions');
my $live = $POSTS - $POSTS / 100;
is(sql('SELECT count(*) FROM tweets'), 4 * $live, 'all of them');
is(sql('SELECT sum(tweets) FROM by_month'), $DAYS * $live, 'no aggregate changed with the posts that were dropped');
is(sql('SELECT count(DISTINCT deleted_at) > 0, count(*) FROM tweets_deletes'), 't|' . $DAYS * $POSTS / 100,
	'notices that arrived today are kept, whatever posts they name');
is(sql(q{SELECT held_by IS NULL FROM evilnet.stat_retention WHERE relation = 'tweets'::regclass}), 't', 'nothing holds posts back');

# --- too late

is(store_day(20), '0|' . $POSTS, 'posts past the retention are not stored');
is(sql(q{SELECT reason, count(*) FROM evilnet.dead_letter GROUP BY 1}), "too_old|$POSTS", 'but set aside, with the reason');
is(sql('SELECT sum(tweets) FROM by_month'), $DAYS * $live, 'nor counted');
is(partitions(), 4, 'and make no partition');

# --- a report that is running

my $before = sql('SELECT count(*) FROM tweets');
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($reader->query_safe('SELECT count(*) FROM tweets'), $before, 'a report reads');
sql("SELECT evilnet.set_retention('tweets', '1 day')");
sql("SELECT evilnet.maintain('tweets')");
is($reader->query_safe('SELECT count(*) FROM tweets'), $before, 'and reads the same again: what it uses is not dropped');
$reader->query_safe('COMMIT');

# --- an aggregate that is being built

my $creator = $node->background_psql('postgres');
$creator->query_safe('BEGIN');
$creator->query_safe(q{SELECT evilnet.create_continuous_aggregate('late',
	$$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1$$)});
# first in the queue after the creator: the builder, which waits for whoever writes, comes later
$reader->query_until(qr/waiting/, "BEGIN;\n\\echo waiting\nLOCK TABLE tweets IN ROW EXCLUSIVE MODE;\n");
wait_for($node, q{SELECT count(*) FROM pg_locks WHERE relation = 'tweets'::regclass AND mode = 'RowExclusiveLock' AND NOT granted},
	1, 'a writer waits');
$creator->query_safe('COMMIT');
$creator->quit;
is(sql(q{SELECT held_by FROM evilnet.stat_retention WHERE relation = 'tweets'::regclass}),
	'continuous aggregate late is being built', 'the view says what holds posts back');
sql("SELECT evilnet.maintain('tweets')");
is(sql('SELECT count(*) FROM tweets'), $before, 'and they are still there');
$reader->query_safe('COMMIT');
wait_for($node, q{SELECT count(*) FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'late' AND state = 'complete'}, 1, 'it is built');
is(sql('SELECT sum(tweets) FROM late'), $before, 'of all posts there were when it was made');
sql("SELECT evilnet.maintain('tweets')");
is(sql('SELECT count(*) FROM tweets'), $live, 'then they are dropped');
is(sql('SELECT sum(tweets) FROM late'), $before, 'and it keeps its counts');
$reader->quit;

# --- who may, and what

is(sql(q{SELECT retention FROM evilnet.stat_retention WHERE relation = 'tweets_by_city'::regclass}), '6 days', 'an aggregate has a retention of its own');
sql("SELECT evilnet.set_retention('tweets', NULL), evilnet.set_retention('tweets_by_city', '0')");
is(sql(q{SELECT count(*) FROM evilnet.stat_retention WHERE retention IS NOT NULL}), '0', 'which ends with null or 0');
sql_fails($node, 'postgres', "SELECT evilnet.set_retention('tweets', '-1 day')", '22023', 'must not be negative');
sql_fails($node, 'postgres', "SELECT evilnet.set_retention('pg_class', '1 day')", '42809', 'is not a stream');
sql_fails($node, 'postgres', "SELECT evilnet.set_retention(NULL, '1 day')", '22004', 'must not be null');

done_testing();
