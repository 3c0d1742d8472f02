# Aggregates of a dumped and restored stream: complete ones, one over another,
# one half built, one that is about to take another's place.  After resume() all
# of them go on, and count what a recount counts.
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

my $offsets = 'SELECT sum(next_offset) FROM evilnet.stream_offset';
my $states = q{SELECT string_agg(aggregate || ' ' || state, ', ' ORDER BY aggregate COLLATE "C") FROM evilnet.stat_continuous_aggregate};
my $waiting = q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted};

# Each aggregate that is not paused compared with its query over the table: name, rows, rows that differ.
sub recount
{
	my ($node, $db, @wanted) = @_;
	my $name = pop @wanted;
	my @found;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $row (split(/\n/, $node->safe_psql($db, 'SELECT aggregate, query FROM evilnet.continuous_aggregate WHERE enabled ORDER BY aggregate::text COLLATE "C"')))
	{
		my ($aggregate, $query) = split(/\|/, $row);

		push @found, $node->safe_psql(
			$db, qq{SELECT '$aggregate', (SELECT sum(tweets) FROM $aggregate), count(*) FROM (
				(SELECT t::text FROM $aggregate t EXCEPT ALL SELECT t::text FROM $query t)
				UNION ALL (SELECT t::text FROM $query t EXCEPT ALL SELECT t::text FROM $aggregate t)) d});
	}
	return is(join("\n", @found), join("\n", @wanted), $name);
}

# --- a stream with posts of now and of months ago; its builder is held where it comes to the older ones

$old->safe_psql(
	'postgres', qq{
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" '$address');
	CREATE SCHEMA lists;
	CREATE TABLE lists.language (lang text, name text);
	INSERT INTO lists.language VALUES ('en', 'English'), ('fr', 'French');
	CREATE FUNCTION lists.gate(id bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS \$\$
	BEGIN
		IF id <= 10 THEN
			PERFORM pg_catalog.pg_advisory_xact_lock_shared(4711);
		END IF;
		RETURN true;
	END \$\$;
	SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'tweets', workers => 2)});
publish($bus, 'tweets', (map { post($_, created_at => '2026-03-01T12:00:00Z', lang => 'fr') } 1 .. 10),
	(map { post($_, lang => 'en') } 11 .. 30));
wait_for_rows($old, 'tweets', 30, 'a stream has posts');
$old->safe_psql('postgres', q{SELECT evilnet.pause('tweets')});
wait_for($old, worker_query('postgres'), 'none', 'it is paused');
$old->safe_psql(
	'postgres', q{
	SELECT evilnet.create_continuous_aggregate('hourly', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, lang, count(*) AS tweets, max(id) AS latest FROM tweets GROUP BY 1, 2$$,
		in_background => false);
	SELECT evilnet.create_continuous_aggregate('"Per day"', $$SELECT evilnet.time_bucket('1 day', bucket, timezone => 'America/Toronto') AS "the Day", name, sum(tweets) AS tweets
		FROM hourly JOIN lists.language USING (lang) GROUP BY 1, 2$$, in_background => false);
	SELECT evilnet.create_continuous_aggregate('plain', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1$$, in_background => false);
	SELECT evilnet.create_continuous_aggregate('idle', $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, count(*) AS tweets FROM tweets GROUP BY 1$$, in_background => false);
	SELECT evilnet.alter_continuous_aggregate('hourly', retention => '30 years', notify => true);
	SELECT evilnet.pause('idle')});
my $keeper = $old->background_psql('postgres');
$keeper->query_safe('SELECT pg_advisory_lock(4711)');
$old->safe_psql(
	'postgres', q{
	SELECT evilnet.create_continuous_aggregate('gated', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket, count(*) AS tweets FROM tweets WHERE lists.gate(id) GROUP BY 1$$);
	SELECT evilnet.create_continuous_aggregate('over', $$SELECT evilnet.time_bucket('1 day', bucket) AS bucket, sum(tweets) AS tweets FROM gated GROUP BY 1$$)});
wait_for($old, $waiting, '1', 'an aggregate is half built');
is($old->safe_psql('postgres', 'SELECT sum(tweets) FROM gated'), '20', 'newest first');

# --- dumped as it is, the builder at work

my $file = $old->basedir . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $file, $old->connstr('postgres') ], 'pg_dump');
$new->safe_psql('postgres', 'CREATE DATABASE copy');
my $offset = log_size($new);
command_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('copy'), $file ], 'pg_restore');
is($new->safe_psql('copy', $states),
	'Per day complete, gated to be built, hourly complete, idle paused, over to be built, plain complete, tweets_by_city complete', 'aggregates are as they were');
is($new->safe_psql('copy', q{SELECT retention, notify FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'hourly'}), '30 years|t', 'so are options');
is($new->safe_psql('copy', q{SELECT sum(tweets) FROM gated}), '20', 'so is what was built');
is($new->safe_psql('copy', 'SELECT count(*) FROM evilnet.worker_slots()'), '0', 'nothing runs there');

# what pg_dump cannot know is known also to who does not resume the stream first
$new->safe_psql('copy', q{SELECT evilnet.drop_continuous_aggregate('plain')});
is($new->safe_psql('copy', q{SELECT string_agg(relname, ' ') FROM pg_class WHERE relname LIKE 'plain%'}), '', 'a restored aggregate is dropped with its parts');

# --- both go on, from the same offsets

publish($bus, 'tweets', post(31, created_at => '2026-03-01T12:30:00Z', lang => 'en'), post(32, lang => 'fr'),
	'{"delete":{"status":{"id":2,"user_id":1},"timestamp_ms":"1562135580658"}}', post(11));
$new->safe_psql('copy', q{SELECT evilnet.resume('tweets')});
wait_for($new, $offsets, '34', 'after resume the copy goes on from its offsets', 'copy');
wait_for($new, $states, 'Per day complete, gated complete, hourly complete, idle paused, over complete, tweets_by_city complete', 'and builds what was half built', 'copy');
recount($new, 'copy', '"Per day"|31|0', 'gated|31|0', 'hourly|31|0', 'over|31|0', 'tweets_by_city|31|0', 'all that is not paused is right');
is($new->safe_psql('copy', 'SELECT count(*) FROM evilnet.continuous_aggregate a, evilnet.verify_continuous_aggregate(a.aggregate) WHERE a.enabled'), '0', 'says verify, too');
$new->safe_psql('copy', q{SELECT evilnet.resume('idle')});
wait_for($new, $states, 'Per day complete, gated complete, hourly complete, idle complete, over complete, tweets_by_city complete', 'the paused one is resumed', 'copy');
recount($new, 'copy', '"Per day"|31|0', 'gated|31|0', 'hourly|31|0', 'idle|31|0', 'over|31|0', 'tweets_by_city|31|0', 'and right');
is($new->safe_psql('copy', q{SELECT string_agg(aggregate::text, ' ' ORDER BY aggregate::text COLLATE "C") FROM evilnet.continuous_aggregate WHERE level > 0}), '"Per day" over', 'levels are known');
sql_fails($new, 'copy', q{SELECT evilnet.drop_continuous_aggregate('hourly')}, '2BP01', 'depends on view public.hourly', 'as are dependencies');
sql_fails($new, 'copy', 'DROP VIEW hourly_query', '2BP01', 'view hourly requires it', 'and parts');
is(complaints($new, $offset), '', 'no process complained');
$new->safe_psql('copy', q{SELECT evilnet.drop_stream('tweets')});
is($new->safe_psql('copy', q{SELECT string_agg(relname, ' ') FROM pg_class WHERE relname ~ '^(tweets|hourly|Per day|plain|idle|gated|over)'}), '', 'drop_stream drops all');
is($new->safe_psql('copy', 'SELECT (SELECT count(*) FROM evilnet.continuous_aggregate) + (SELECT count(*) FROM evilnet.late_row)'), '0', 'also from the catalog');

# --- in the middle of a change of a query: the first is let finish, then another query is held

$keeper->query_safe('SELECT pg_advisory_unlock(4711)');
$old->safe_psql('postgres', q{SELECT evilnet.resume('tweets'), evilnet.resume('idle')});
wait_for($old, $offsets, '34', 'the first goes on as well');
wait_for($old, "$states WHERE state <> 'complete'", '', 'and builds the rest');
recount($old, 'postgres', '"Per day"|31|0', 'gated|31|0', 'hourly|31|0', 'idle|31|0', 'over|31|0', 'plain|31|0', 'tweets_by_city|31|0', 'all is right');
$keeper->query_safe('SELECT pg_advisory_lock(4711)');
$old->safe_psql(
	'postgres', q{
	GRANT SELECT ON plain TO PUBLIC;
	SELECT evilnet.alter_continuous_aggregate('plain', retention => '20 years');
	SELECT evilnet.alter_continuous_aggregate('plain', query => $$SELECT evilnet.time_bucket('1 day', created_at) AS bucket, lang, count(*) AS tweets FROM tweets WHERE lists.gate(id) GROUP BY 1, 2$$)});
wait_for($old, $waiting, '1', 'a new query is half built');
command_ok([ 'pg_dump', '-Fc', '-f', "$file.2", $old->connstr('postgres') ], 'pg_dump');
$new->safe_psql('postgres', 'CREATE DATABASE other');
$offset = log_size($new);
command_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('other'), "$file.2" ], 'pg_restore');
is($new->safe_psql('other', q{SELECT aggregate, replaces, state FROM evilnet.stat_continuous_aggregate WHERE replaces IS NOT NULL}), 'plain_next|plain|to be built', 'the change is on its way');
is($new->safe_psql('other', 'SELECT sum(tweets) FROM plain'), '31', 'and the old one still there');
$new->safe_psql('other', q{SELECT evilnet.resume('tweets')});
wait_for($new, "$states WHERE state <> 'complete' OR replaces IS NOT NULL", '', 'after resume it comes to its end', 'other');
recount($new, 'other', '"Per day"|31|0', 'gated|31|0', 'hourly|31|0', 'idle|31|0', 'over|31|0', 'plain|31|0', 'tweets_by_city|31|0', 'all is right');
is($new->safe_psql('other', 'SELECT count(DISTINCT lang) FROM plain'), '2', 'the new query has taken its place');
is($new->safe_psql('other', q{SELECT retention FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'plain'}), '20 years', 'with its retention');
is($new->safe_psql('other', q{SELECT has_table_privilege('public', 'plain', 'SELECT')}), 't', 'and rights');
publish($bus, 'tweets', post(33, created_at => '2026-03-01T12:45:00Z', lang => 'en'), '{"delete":{"status":{"id":3,"user_id":1},"timestamp_ms":"1562135580658"}}');
wait_for($new, $offsets, '36', 'more comes', 'other');
recount($new, 'other', '"Per day"|31|0', 'gated|31|0', 'hourly|31|0', 'idle|31|0', 'over|31|0', 'plain|31|0', 'tweets_by_city|31|0', 'and is counted once');
is($new->safe_psql('other', q{SELECT string_agg(relname, ' ') FROM pg_class WHERE relname LIKE '%next%' AND relkind IN ('r', 'p', 'v')}), '', 'nothing is left of the change');
is(complaints($new, $offset), '', 'no process complained');
$keeper->quit;

$_->stop foreach $old, $new, $bus;
unlike(slurp_file($_->logfile), qr/PANIC|was terminated by signal/, 'nothing died') foreach $old, $new;

done_testing();
