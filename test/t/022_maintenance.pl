# What aggregates need from time to time, and what they tell: retention, the
# rows of several workers folded into one, late posts counted, NOTIFY.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;

my $node = prepared_node('main');

sub sql
{
	return $node->safe_psql('postgres', @_);
}

# posts of so many hours ago, as messages
sub posts_of
{
	my ($hours, @ids) = @_;
	my $time = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time - 3600 * $hours));

	return map { post($_, created_at => $time) } @ids;
}

# the same stored as a worker of that number does
sub store
{
	my ($worker, @messages) = @_;
	my $array = join(',', map { "'$_'" } @messages);

	return sql("SELECT rows FROM evilnet.store_messages('tweets', ARRAY[$array], $worker)");
}

# every aggregate against its query over what it reads
sub is_right
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(
		sql(q{
			SELECT count(*) FROM (
				(SELECT bucket, city_id, tweets FROM tweets_by_city EXCEPT SELECT bucket, city_id, tweets FROM tweets_by_city_query)
				UNION ALL
				(SELECT bucket, city_id, tweets FROM tweets_by_city_query EXCEPT SELECT bucket, city_id, tweets FROM tweets_by_city)) d}),
		'0', $name);
}

sql(q{
	SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'tweets');
	SELECT evilnet.create_continuous_aggregate('by_day', $$SELECT evilnet.time_bucket('1 day', bucket) AS bucket,
		evilnet.total(tweets) AS tweets FROM tweets_by_city GROUP BY 1$$);});
wait_for($node, "SELECT count(*) FROM evilnet.stat_continuous_aggregate WHERE state = 'complete'", 2, 'an aggregate over another is built');

# --- late posts, by a worker of flesh and blood

publish($node, 'tweets', posts_of(1, 1 .. 10));
wait_for_rows($node, 'tweets', 10, 'posts of an hour ago');
publish($node, 'tweets', posts_of(0, 11 .. 20));
wait_for_rows($node, 'tweets', 20, 'posts of now');
is(sql("SELECT late_rows FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'tweets_by_city'"), '0', 'in order none is late');
publish($node, 'tweets', posts_of(1, 21 .. 23));
wait_for_rows($node, 'tweets', 23, 'three more of an hour ago');
is(sql("SELECT late_rows FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'tweets_by_city'"), '3', 'these are late for their minute');
is(sql("SELECT sum(tweets) FROM by_day"), '23', 'and counted');
is_right('as the posts say');

# --- folding

sql("SELECT evilnet.pause('tweets')");
wait_for($node, worker_query('postgres'), 'none', 'the worker has ended');
store(1, posts_of(5, 101 .. 110));
store(2, posts_of(5, 111 .. 120));
store(1, posts_of(1, 121 .. 125));
is(sql("SELECT count(DISTINCT evilnet_slot) FROM tweets_by_city_slots"), '3', 'three workers have written');
is_right('the view takes them together');
# one round folds an hour that has something to fold
sql("SELECT evilnet.maintain('tweets')") for 1 .. 3;
is(sql("SELECT count(*) FROM tweets_by_city_slots WHERE bucket < now() - interval '4 hours'"), '1', 'what is over became one row');
is(sql("SELECT tweets FROM tweets_by_city_slots WHERE bucket < now() - interval '4 hours'"), '20', 'with the counts of both');
is(sql("SELECT count(*) > 0 FROM tweets_by_city_slots WHERE evilnet_slot = 1"), 't', 'what is fresh stays as it is');
is_right('still right');
store(2, posts_of(5, 126 .. 127));
is_right('also when a late post comes to a folded bucket');

# --- what can be subtracted is, and its bucket not computed again

sql(q{SELECT evilnet.create_continuous_aggregate('counted', $$SELECT evilnet.time_bucket('1 year', created_at) AS bucket,
	count(*) AS tweets, sum(CASE kind WHEN 'post' THEN 1 ELSE 0 END) AS posts FROM tweets GROUP BY 1$$, in_background => false)});
my $count = sql('SELECT count(*) FROM tweets');
# a mark that computing again would wipe out
sql('UPDATE counted_slots SET tweets = tweets + 1000');
my $marked = sql('SELECT sum(tweets) FROM counted');
cmp_ok($marked, '>=', $count + 1000, 'counts are marked');
store(0, '{"delete":{"status":{"id":101,"user_id":3},"timestamp_ms":"1562135580658"}}');
is(sql('SELECT count(*) FROM tweets'), $count - 1, 'a post is deleted');
is(sql('SELECT sum(tweets) FROM counted'), $marked - 1, 'and taken away from the count');
sql("SELECT evilnet.drop_continuous_aggregate('counted')");

# --- NOTIFY

sql("SELECT evilnet.alter_continuous_aggregate('tweets_by_city', notify => true)");
my $heard = sql(
	q{LISTEN evilnet_tweets_by_city; BEGIN;
	SELECT evilnet.store_messages('tweets', ARRAY['{"id":"201","created_at":"2026-01-31T12:00:30Z","author_id":"1","text":"a","city":"Toronto"}',
		'{"id":"202","created_at":"2026-01-31T12:02:59Z","author_id":"1","text":"a","city":"Toronto"}']); COMMIT;});
my @notices = $heard =~ /Asynchronous notification "evilnet_tweets_by_city" with payload "(.*?)" received/g;
is_deeply(\@notices, ['{"since": "2026-01-31T12:00:00+00:00", "until": "2026-01-31T12:03:00+00:00"}'], 'one notice with the range of changed buckets');
$heard = sql(q{LISTEN evilnet_tweets_by_city; SELECT evilnet.store_messages('tweets', ARRAY['{"id":"202","created_at":"2026-01-31T12:02:59Z","author_id":"1","text":"a","city":"Toronto"}']);});
unlike($heard, qr/Asynchronous/, 'none when nothing changed');

# --- retention: of the counts, and of the posts

store(0, posts_of(24 * 10, 301 .. 310));
store(0, posts_of(24 * 5, 311 .. 320));
my $total = sql('SELECT sum(tweets) FROM by_day');
is(sql('SELECT count(*) FROM tweets'), $total, 'all is counted');
sql("SELECT evilnet.alter_continuous_aggregate('tweets_by_city', retention => '7 days'); SELECT evilnet.maintain('tweets')");
is(sql("SELECT count(*) FROM tweets_by_city WHERE bucket < now() - interval '9 days'"), '0', 'minutes past their retention are gone');
is(sql("SELECT sum(tweets) FROM tweets_by_city WHERE bucket BETWEEN now() - interval '6 days' AND now() - interval '4 days'"), '10', 'those within it are not');
is(sql('SELECT sum(tweets) FROM by_day'), $total, 'days made of them keep their counts');
store(0, posts_of(24 * 10, 321));
is(sql("SELECT count(*) FROM tweets_by_city WHERE bucket < now() - interval '9 days'"), '0', 'a post as old as that does not bring them back');
is(sql('SELECT count(*) FROM tweets WHERE id = 321'), '1', 'but is stored');

my $before = sql('SELECT sum(tweets) FROM tweets_by_city');
my $leaf = sql("SELECT relname FROM pg_class WHERE oid = (SELECT tableoid FROM tweets WHERE id = 311)");
sql("DROP TABLE $leaf");
is(sql("SELECT rows_since > now() - interval '5 days 1 hour' FROM evilnet.stream"), 't', 'evilnet knows which posts were dropped');
sql("SELECT evilnet.refresh_continuous_aggregate('tweets_by_city')");
is(sql('SELECT sum(tweets) FROM tweets_by_city'), $before, 'a refresh keeps the counts of dropped posts');
sql("SELECT evilnet.pause('tweets_by_city'); SELECT evilnet.resume('tweets_by_city')");
wait_for($node, "SELECT count(*) FROM evilnet.stat_continuous_aggregate WHERE state = 'complete'", 2, 'paused, resumed and built anew');
is(sql('SELECT sum(tweets) FROM tweets_by_city'), $before, 'so does building it anew');

$node->stop;
done_testing();
