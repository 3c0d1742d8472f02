# A dumped and restored stream waits to be resumed, and then goes on where the
# dump left it, with everything that belongs to a stream.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bus = prepared_node('bus');
my $address = $bus->safe_psql('postgres', 'SELECT evilnet.embedded_broker_address()');
my $old = evilnet_node('old', 'evilnet.embedded_broker = off', 'log_statement = none');
my $new = evilnet_node('new', 'evilnet.embedded_broker = off', 'log_statement = none', "log_line_prefix = '%m [%p] %b '");

my $books = q{SELECT sum(next_offset), sum(messages), sum(rows), sum(duplicates), sum(deletes), sum(rows_deleted), sum(dead_letters), sum(gaps)
	FROM evilnet.stream_offset};

# deletes of posts that are there, and of one that comes later
sub notice
{
	my ($id) = @_;

	return qq({"delete":{"status":{"id":$id,"user_id":1},"timestamp_ms":"1562135580658"}});
}

$old->safe_psql(
	'postgres', qq{
	CREATE SCHEMA "Social Media";
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" '$address');
	INSERT INTO evilnet.city (city_id, name, ascii_name, country_code, country, lon, lat)
		VALUES (-1, 'Nowhere', 'Nowhere', 'CA', 'Canada', 0, 0);
	SELECT evilnet.create_stream('"Social Media"."My Tweets"', server => 'bus', topic => 'tweets', workers => 2)});
publish($bus, 'tweets', posts(1 .. 20), 'no post');
wait_for_rows($old, '"Social Media"."My Tweets"', 20, 'a stream has posts');
publish($bus, 'tweets', notice(1), notice(2), notice(30));
wait_for($old, $books, '24|24|20|0|3|2|1|0', 'the books of the stream');
$old->safe_psql('postgres', q{SELECT evilnet.pause('"Social Media"."My Tweets"')});
wait_for($old, worker_query('postgres'), 'none', 'it is paused');

my $file = $old->basedir . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $file, $old->connstr('postgres') ], 'pg_dump');
$old->safe_psql('postgres', q{SELECT evilnet.resume('"Social Media"."My Tweets"')});
$new->safe_psql('postgres', 'CREATE DATABASE copy');
my $offset = log_size($new);
command_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('copy'), $file ], 'pg_restore');
is($new->safe_psql('copy', $books), '24|24|20|0|3|2|1|0', 'the books are the same');
is($new->safe_psql('copy', 'SELECT count(*), (SELECT sum(tweets) FROM "Social Media"."My Tweets_by_city") FROM "Social Media"."My Tweets"'),
	'18|18', 'so are posts and counts');
is($new->safe_psql('copy', 'SELECT count(*) FROM evilnet.city WHERE NOT builtin'), '1', 'so is a city of the user');
is($new->safe_psql('copy', 'SELECT DISTINCT stream, state FROM evilnet.stat_stream'), 'My Tweets|paused', 'it is paused, as it was');
is($new->safe_psql('copy', worker_query('copy')), 'none', 'and nothing runs');

# the id that was deleted before it came, one that is stored, a new one and a bad one
publish($bus, 'tweets', posts(30, 3, 21), 'no post either');
$new->safe_psql('copy', q{SELECT evilnet.resume('"Social Media"."My Tweets"')});
wait_for($new, $books, '28|28|21|1|3|2|2|0', 'after resume it goes on from its position', 'copy');
is($new->safe_psql('copy', 'SELECT count(*), (SELECT sum(tweets) FROM "Social Media"."My Tweets_by_city") FROM "Social Media"."My Tweets"'),
	'19|19', 'counting each post once');
is($new->safe_psql('copy', 'SELECT count(*), count(DISTINCT dead_letter_id) FROM evilnet.dead_letter'), '2|2', 'dead letters are numbered on');
wait_for($old, $books, '28|28|21|1|3|2|2|0', 'so does the first, by itself');
is(complaints($new, $offset), '', 'no process complained');

# --- what pg_dump cannot know: what the stream needs, and what belongs to it

sql_fails($new, 'copy', 'DROP SERVER bus', '2BP01', 'table "Social Media"."My Tweets" depends on server bus', 'the restored stream needs its server');
$new->safe_psql('copy', q{SELECT evilnet.drop_stream('"Social Media"."My Tweets"')});
is($new->safe_psql('copy', q{SELECT count(*) FROM pg_class WHERE relname LIKE 'My Tweets%'}), '0', 'and is dropped with all that belongs to it');
is($new->safe_psql('copy', 'SELECT count(*) FROM evilnet.stream_offset'), '0', 'also from the catalog');

# --- one that ran when it was dumped, in a second database of the cluster

command_ok([ 'pg_dump', '-Fc', '-f', "$file.2", $old->connstr('postgres') ], 'pg_dump of a stream that runs');
$old->safe_psql('postgres', 'CREATE DATABASE twin');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $old->connstr('twin'), "$file.2" ], 'pg_restore beside it');
is($old->safe_psql('twin', 'SELECT DISTINCT state FROM evilnet.stat_stream'), 'restored', 'the copy waits for resume');
publish($bus, 'tweets', posts(22));
wait_for($old, $books, '29|29|22|1|3|2|2|0', 'the first goes on');
is($old->safe_psql('twin', $books), '28|28|21|1|3|2|2|0', 'the copy does not');
is($old->safe_psql('twin', worker_query('twin')), 'none', 'and has no worker');

$_->stop foreach $old, $new, $bus;
unlike(slurp_file($_->logfile), qr/PANIC|was terminated by signal/, 'nothing died') foreach $old, $new;

done_testing();
