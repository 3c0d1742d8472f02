# Roles that read and operate all streams, and schedules run by the real pg_cron.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = evilnet_node('main', "shared_preload_libraries = 'evilnet,pg_cron'", "cron.database_name = 'postgres'",
	"cron.use_background_workers = on", "cron.log_run = on");

sub sql { return $node->safe_psql('postgres', @_); }

sub sql_as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

sub fails_as { my ($role, @rest) = @_; return sql_fails_as($node, 'postgres', $role, @rest); }

create_stream($node, 'public_posts');
sql(q{
	CREATE ROLE alice LOGIN;
	CREATE ROLE rita LOGIN IN ROLE evilnet_reader;
	CREATE ROLE oscar LOGIN IN ROLE evilnet_operator;
	CREATE ROLE nobody LOGIN;
	GRANT CREATE ON SCHEMA public TO alice, oscar;
	GRANT USAGE ON FOREIGN SERVER bus TO alice;
});
sql_as('alice', q{SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'tweets')});
sql_as('alice', q{SELECT evilnet.create_continuous_aggregate('by_lang', $$SELECT evilnet.time_bucket('1 hour', created_at) AS bucket,
	lang, count(*) AS tweets FROM tweets GROUP BY 1, 2$$)});
publish($node, 'tweets', posts(1 .. 5), 'no post');
wait_for_rows($node, 'tweets', 5, 'alice has a stream');

# --- reading

foreach my $relation (qw(stream stream_offset batch dead_letter continuous_aggregate stat_stream stat_stage stat_watermark
	stat_continuous_aggregate stat_retention))
{
	isnt(sql_as('rita', "SELECT count(*) FROM evilnet.$relation"), '0', "a reader sees evilnet.$relation");
	is(sql_as('nobody', "SELECT count(*) FROM evilnet.$relation"), '0', 'somebody else does not');
}
is(sql_as('rita', 'SELECT count(*) FROM tweets'), '5', 'a reader reads posts');
is(sql_as('rita', 'SELECT sum(tweets) FROM by_lang'), '5', 'aggregates');
is(sql_as('rita', q{SELECT tweets FROM evilnet.top_cities('tweets')}), '5', 'and reports');
fails_as('nobody', 'SELECT count(*) FROM tweets', '42501', 'permission denied', 'somebody else does not');
is(sql_as('rita', 'WITH d AS (DELETE FROM evilnet.dead_letter RETURNING 1) SELECT count(*) FROM d'), '0', 'a reader clears no dead letters');
is(sql_as('oscar', 'WITH d AS (DELETE FROM evilnet.dead_letter RETURNING 1) SELECT count(*) FROM d'), '0', 'nor does an operator');

# --- operating

my @operations = (
	q{SELECT evilnet.pause('tweets')}, q{SELECT evilnet.resume('tweets')}, q{SELECT evilnet.maintain('tweets')},
	q{SELECT evilnet.set_retention('tweets', '100 days')}, q{SELECT evilnet.set_retention('by_lang', '100 days')},
	q{SELECT evilnet.refresh_continuous_aggregate('by_lang')}, q{SELECT evilnet.pause('by_lang')}, q{SELECT evilnet.resume('by_lang')});
foreach my $operation (@operations)
{
	fails_as('rita', $operation, '42501', 'must be owner of table tweets', "a reader must not: $operation");
	is(sql_as('oscar', $operation), '', 'an operator may');
}
fails_as('oscar', $_, '42501', 'must be owner', "an operator must not: $_")
  foreach q{SELECT evilnet.drop_stream('tweets')}, q{SELECT evilnet.seek('tweets', 'earliest')},
  q{SELECT evilnet.drop_continuous_aggregate('by_lang')}, q{SELECT evilnet.alter_continuous_aggregate('by_lang', rename_to => 'x')},
  q{SELECT evilnet.store_messages('tweets', ARRAY['{}'])}, q{SELECT evilnet.create_rollup('tweets', '1 hour')},
  q{SELECT evilnet.create_alert('a', 'by_lang', 'tweets > 1')};
wait_for($node, q{SELECT state FROM evilnet.stat_continuous_aggregate WHERE aggregate = 'by_lang'}, 'complete', 'the resumed aggregate is built');
is(sql('SELECT sum(tweets) FROM by_lang'), '5', 'and right');

# --- schedules without pg_cron

fails_as('alice', q{SELECT evilnet.schedule_maintenance('tweets')}, '55000', 'extension pg_cron is not installed in this database.*CREATE EXTENSION',
	'without the extension there are no schedules');
sql('CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION hll; CREATE EXTENSION evilnet; CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded');
	SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'other')});
sql_fails($node, 'other', q{SELECT evilnet.schedule_maintenance('tweets')}, '55000', 'lives in another database, "postgres".*schedule_in_database',
	'nor where pg_cron does not live');

# --- with it

sql('CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO alice, oscar');
fails_as('rita', q{SELECT evilnet.schedule_maintenance('tweets')}, '42501', 'must be owner', 'a reader schedules no maintenance');
fails_as('alice', q{SELECT evilnet.schedule_maintenance('tweets', 'now and then')}, '22023', 'invalid schedule', 'pg_cron checks the schedule');
is(sql('SELECT count(*) FROM evilnet.schedule'), '0', 'of which nothing is left');
is(sql_as('alice', q{SELECT evilnet.schedule_maintenance('tweets', '* * * * *')}), 'maintain public.tweets', 'the owner schedules maintenance');
is(sql_as('oscar', q{SELECT evilnet.schedule_refresh('by_lang', '* * * * *')}), 'refresh public.by_lang', 'an operator a refresh');
is(sql_as('alice', q{SELECT evilnet.schedule_refresh('by_lang', '* * * * *', '1 hour')}), 'refresh public.by_lang', 'which the owner replaces');
is(sql(q{SELECT owner || ' ' || span FROM evilnet.schedule WHERE kind = 'refresh'}), 'alice 01:00:00', 'and owns then');
sql_as('oscar', q{
	CREATE TABLE history (at timestamptz DEFAULT now(), city text, tweets bigint, who text DEFAULT current_user);
	SELECT evilnet.schedule_statement('history', 'tweets', '* * * * *', 'INSERT INTO history (city, tweets) SELECT city, tweets FROM evilnet.top_cities(''tweets'', since => now() - interval ''1 day'')');
	SELECT evilnet.schedule_statement('broken', 'tweets', '* * * * *', 'SELECT 1 / 0')});
fails_as('nobody', q{SELECT evilnet.schedule_statement('x', 'tweets', '* * * * *', 'SELECT 1')}, '42501', 'permission denied', 'who must not read a stream schedules nothing about it');
fails_as('nobody', q{SELECT evilnet.unschedule('history')}, '42501', 'must be owner', 'nor removes what others schedule');
fails_as('alice', q{SELECT evilnet.run_schedule('history')}, '42501', 'belongs to oscar', 'nobody runs what another one wrote');
is(sql('SELECT count(*) FROM cron.job'), '4', 'pg_cron has the jobs');

# a broken aggregate, which only a refresh mends; it is renamed meanwhile
sql('UPDATE by_lang_slots SET tweets = 50');
sql_as('alice', q{SELECT evilnet.alter_continuous_aggregate('by_lang', rename_to => 'by_language')});
is(sql('SELECT sum(tweets) FROM by_language'), '50', 'an aggregate was tampered with');
wait_for($node, 'SELECT sum(tweets) FROM by_language', '5', 'pg_cron refreshes it');
wait_for($node, 'SELECT count(*) > 0 FROM history', 't', 'and keeps the history');
is(sql(q{SELECT DISTINCT city || ' ' || tweets || ' ' || who FROM history}), 'Toronto 5 oscar', 'with the rights of who scheduled it');
wait_for($node, q{SELECT last_status FROM evilnet.stat_schedule WHERE name = 'maintain public.tweets'}, 'succeeded', 'a run is listed');
wait_for($node, q{SELECT last_status, last_message LIKE '%division by zero%' FROM evilnet.stat_schedule WHERE name = 'broken'}, 'failed|t', 'and a failure');
is(sql_as('oscar', q{SELECT count(*), count(last_run) > 0 FROM evilnet.stat_schedule}), '4|t', 'an operator sees all schedules, and their own runs');
is(sql_as('nobody', 'SELECT count(*) FROM evilnet.stat_schedule'), '0', 'others see none');

# --- the end of schedules

sql_as('alice', q{SELECT evilnet.unschedule('history')});
is(sql(q{SELECT count(*) FROM cron.job WHERE jobname = 'evilnet:history'}), '0', 'the owner of a stream may remove what others schedule about it');
fails_as('alice', q{SELECT evilnet.unschedule('history')}, '42704', 'there is no schedule "history"', 'once');
is(sql_as('alice', q{SELECT evilnet.unschedule('history', if_exists => true)}), '', 'or never');
sql_as('alice', q{SELECT evilnet.alter_continuous_aggregate('by_language', schedule => '')});
is(sql(q{SELECT count(*) FROM evilnet.schedule WHERE kind = 'refresh'}), '0', 'an empty schedule is none');
sql_as('alice', q{SELECT evilnet.alter_continuous_aggregate('by_language', schedule => '0 3 * * *')});
is(sql(q{SELECT schedule || ' ' || span FROM evilnet.schedule WHERE kind = 'refresh'}), '0 3 * * * 1 day', 'it is altered with the aggregate');
sql_as('alice', q{SELECT evilnet.drop_continuous_aggregate('by_language')});
is(sql(q{SELECT count(*) FROM cron.job WHERE jobname LIKE 'evilnet:refresh%'}), '0', 'and goes with it');
sql_as('alice', q{SELECT evilnet.drop_stream('tweets')});
is(sql('SELECT count(*) FROM cron.job'), '0', 'the others with the stream');
is(sql('SELECT count(*) FROM evilnet.schedule'), '0', 'nothing is left');

# --- roles that are gone

sql('DROP DATABASE other WITH (FORCE)');
sql(q{DROP OWNED BY evilnet_reader; DROP ROLE evilnet_operator; DROP ROLE evilnet_reader});
sql_as('alice', q{SELECT evilnet.create_stream('later', server => 'bus', topic => 'tweets')});
wait_for_rows($node, 'later', 5, 'streams go on without the roles');
is(sql_as('alice', q{SELECT count(*) FROM evilnet.stat_stream}), '1', 'and owners see theirs');

done_testing();
