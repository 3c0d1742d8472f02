# What an ordinary user may do, what he may not, and what he may not see.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'Zebra-71-Quartz';
my $node = prepared_node('main', 'log_min_messages = debug5', 'log_min_error_statement = panic');

sub sql
{
	return $node->safe_psql('postgres', @_);
}

sub sql_as
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

sub fails_as
{
	my ($role, @rest) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_fails_as($node, 'postgres', $role, @rest);
}

sub is_ordinary
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql(q{SELECT count(*) FROM pg_roles WHERE rolname IN ('alice', 'bob') AND rolsuper}), '0', $name);
}

sql(q{
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	GRANT CREATE ON SCHEMA public TO alice, bob;
	CREATE FUNCTION become_superuser(role text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE format('ALTER ROLE %I SUPERUSER', role);
		RETURN true;
	END $$});

# --- the right to a server

my $create = q{SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'tweets')};
fails_as('alice', $create, '42501', 'permission denied for foreign server bus', 'a stream needs USAGE on the server');
fails_as('alice', q{SELECT evilnet.produce('bus', 'tweets', ARRAY['1'])}, '42501', 'permission denied for foreign server bus',
	'so does publishing');
fails_as('alice', q{CREATE SERVER mine FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'x')}, '42501',
	'permission denied for foreign-data wrapper evilnet_kafka', 'and a server, USAGE on the wrapper');
sql('GRANT USAGE ON FOREIGN SERVER bus TO alice');
sql_as('alice', q{CREATE USER MAPPING FOR alice SERVER bus});
fails_as('alice', q{ALTER USER MAPPING FOR alice SERVER bus OPTIONS ("ssl.key.location" '/etc/passwd')}, '42501',
	'pg_read_server_files', 'files of the server are for those who may read them');
sql_as('alice', $create);
publish($node, 'tweets', posts(1 .. 3), 'no post');
wait_for_rows($node, 'tweets', 3, 'with USAGE alice has a stream');
wait_for($node, 'SELECT count(*) FROM evilnet.dead_letter', '1', 'and a dead letter');

# --- what others see of it, and what she sees herself

foreach my $relation (qw(stream stream_offset batch dead_letter continuous_aggregate stat_stream stat_stage))
{
	isnt(sql_as('alice', "SELECT count(*) FROM evilnet.$relation"), '0', "evilnet.$relation has rows for the owner");
	is(sql_as('bob', "SELECT count(*) FROM evilnet.$relation"), '0', "and none for another user");
}
is(sql_as('bob', 'SELECT count(*) FROM evilnet.worker_slots()'), '0', 'nor have the worker slots');
fails_as('bob', 'SELECT * FROM tweets', '42501', 'permission denied for table tweets', 'another user cannot read the posts');
fails_as('bob', q{SELECT * FROM evilnet.city_counts('tweets')}, '42501', 'permission denied for view tweets_by_city', 'nor the counts');
sql_as('alice', 'GRANT SELECT ON tweets_by_city TO bob');
is(sql_as('bob', q{SELECT sum(tweets) FROM evilnet.city_counts('tweets')}), '3', 'until the owner grants it');

# --- what others may do to it

fails_as('bob', "SELECT evilnet.$_", '42501', 'must be owner of table tweets', "another user cannot $_")
  foreach q{pause('tweets')}, q{resume('tweets')}, q{drop_stream('tweets')}, q{seek('tweets', 'earliest')};
is(sql_as('bob', 'WITH d AS (DELETE FROM evilnet.dead_letter RETURNING 1) SELECT count(*) FROM d'), '0', 'nor clear its dead letters');
fails_as('alice', $_, '42501', 'permission denied for table', "not even the owner may: $_")
  foreach q{UPDATE evilnet.stream SET server = 'x'}, q{DELETE FROM evilnet.stream},
  q{INSERT INTO evilnet.stream SELECT * FROM evilnet.stream}, q{UPDATE evilnet.stream_offset SET next_offset = 0},
  q{DELETE FROM evilnet.batch}, q{INSERT INTO evilnet.dead_letter (stream, kafka_partition, kafka_offset, reason) VALUES (1, 1, 1, 'x')},
  q{DELETE FROM evilnet.continuous_aggregate}, q{DELETE FROM evilnet.city},
  q{INSERT INTO evilnet.mergeable_aggregate (provider, aggregate, combine, read) VALUES ('pg_catalog', 'x', 'x', 'x')};
is(sql_as('alice', 'WITH d AS (DELETE FROM evilnet.dead_letter RETURNING 1) SELECT count(*) FROM d'), '1', 'the owner may clear the dead letters');

# --- what runs with more rights than one's own

sql('CREATE SCHEMA attic AUTHORIZATION alice');
sql_as('alice', 'CREATE TABLE attic.city (builtin boolean)');
fails_as('alice', qq{CREATE OR REPLACE TRIGGER t BEFORE INSERT ON attic.city FOR EACH ROW EXECUTE FUNCTION evilnet.$_}, '42501',
	'permission denied for function', "no trigger of a user executes evilnet.$_")
  foreach q{replace_builtin('become_superuser(''alice'')')}, 'gazetteer_changed()', 'stream_changed()';
fails_as('alice', $_, '42501', 'permission denied for function', "an ordinary user cannot: $_")
  foreach q{SELECT evilnet.load_gazetteer('/etc/passwd')}, q{SELECT evilnet.read_gazetteer('/etc/passwd', 'name', true)};

# --- what runs for the owner of a stream

sql_as('alice', q{
	CREATE TABLE seen (how text, who text);
	CREATE FUNCTION note(how text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.seen VALUES (how, current_user);
		BEGIN
			PERFORM public.become_superuser('alice');
		EXCEPTION WHEN insufficient_privilege THEN NULL;
		END;
		RETURN true;
	END $$;
	-- called when the query is planned, and by every row
	CREATE FUNCTION plan_note(how text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		RETURN public.note(how);
	END $$;
	ALTER TABLE tweets ADD CHECK (public.note('check'));
	CREATE OR REPLACE VIEW tweets_by_city_query AS
		SELECT evilnet.time_bucket('1 minute', created_at) AS bucket, city_id,
			count(*) AS tweets, 
			count(*) FILTER (WHERE public.plan_note('plan') AND public.plan_note('run ' || kind)) AS retweets,
			hll_add_agg(hll_hash_bigint(author_id)) AS authors
		FROM tweets GROUP BY 1, 2;
	TRUNCATE seen});
publish($node, 'tweets', '{"id":"4","created_at":"2026-01-01T00:00:00Z","text":"RT","is_retweet":true,"author_id":"1"}');
wait_for_rows($node, 'tweets', 4, 'a post that runs functions of the owner is stored');
is(sql('SELECT DISTINCT who FROM seen'), 'alice', 'they ran with the rights of the owner');
is(sql(q{SELECT count(*) FROM seen WHERE how = 'check'}), '1', 'in a constraint');
is(sql(q{SELECT count(*) > 0 FROM seen WHERE how = 'plan'}), 't', 'when the query of an aggregate is planned');
is(sql(q{SELECT count(*) > 0 FROM seen WHERE how = 'run retweet'}), 't', 'and when it runs');
is_ordinary('nobody became superuser');

# a deferred trigger fires at commit, when the worker is itself again
sql_as('alice', q{
	CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.become_superuser('alice');
		RETURN NULL;
	END $$});
my %refused = (tweets => 'has an insert trigger', tweets_by_city_slots => 'security-restricted operation');
foreach my $table (sort keys %refused)
{
	my $leaf = sql("SELECT string_agg(inhrelid::regclass::text, ' ') FROM pg_inherits WHERE inhparent = '$table'::regclass");

	sql_as('alice', "CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE ON $_
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.later()") foreach split(/ /, $leaf);
	publish($node, 'tweets', posts(5));
	wait_for($node, "SELECT state = 'backoff' AND last_error ~ '$refused{$table}' FROM evilnet.stat_stream", 't',
		"a deferred trigger on $table: the worker waits");
	is_ordinary('nobody became superuser by it');
	sql_as('alice', "DROP TRIGGER later ON $_") foreach split(/ /, $leaf);
	wait_for($node, 'SELECT count(*) FROM tweets WHERE id = 5', '1', 'and goes on without it');
	sql_as('alice', q{DELETE FROM tweets WHERE id = 5});
}
sql_as('alice', q{SELECT evilnet.drop_stream('tweets')});

# --- secrets: a broker that does not know passwords, and one that is not there

my $offset = log_size($node);
my $broker = sql('SELECT evilnet.embedded_broker_address()');
sql(qq{
	CREATE SERVER locked FOREIGN DATA WRAPPER evilnet_kafka OPTIONS (
		"bootstrap.servers" '$broker', "security.protocol" 'sasl_plaintext', "sasl.mechanism" 'PLAIN');
	CREATE SERVER away FOREIGN DATA WRAPPER evilnet_kafka OPTIONS (
		"bootstrap.servers" '127.0.0.1:1', "security.protocol" 'sasl_plaintext', "sasl.mechanism" 'PLAIN');
	GRANT USAGE ON FOREIGN SERVER locked, away TO alice});
my $said = '';
foreach my $server ('locked', 'away')
{
	my ($status, $out, $err) = $node->psql(
		'postgres', qq{
		SET client_min_messages = debug5;
		CREATE USER MAPPING FOR alice SERVER $server OPTIONS ("sasl.username" 'alice', "sasl.password" '$secret',
			"ssl.key.password" '$secret');
		SELECT evilnet.create_stream('$server', server => '$server', topic => 'tweets')},
		extra_params => [ '-U', 'alice' ]);
	is($status, 0, "a stream of server $server, with a password");
	$said .= $out . $err;
}
wait_for($node, q{SELECT count(*) FROM evilnet.stat_stream WHERE last_error <> '' AND last_error_at IS NOT NULL}, '2',
	'both say what is wrong');
(undef, undef, my $err) = $node->psql('postgres', qq{
	SET client_min_messages = debug5;
	SET statement_timeout = '3s';
	SELECT evilnet.produce('locked', 'tweets', ARRAY['1'])}, extra_params => [ '-U', 'alice' ]);
like($err, qr/ERROR: /, 'publishing fails there');
$said .= $err;
(undef, undef, $err) = $node->psql('postgres', qq{
	ALTER USER MAPPING FOR alice SERVER locked OPTIONS (ADD "enable.ssl.certificate.verification" '$secret')},
	extra_params => [ '-U', 'alice' ]);
like($err, qr/ERROR: /, 'a property in the wrong place fails');
(undef, undef, $err) = $node->psql('postgres', qq{
	ALTER USER MAPPING FOR alice SERVER locked OPTIONS (ADD "ssl.key.pem" '$secret', ADD "sasl.nonsense" 'x')},
	extra_params => [ '-U', 'alice' ]);
like($err, qr/ERROR: .*no such property "sasl\.nonsense"/, 'so does one that does not exist');
$said .= $err;
unlike($said, qr/\Q$secret\E/, 'the password is in no message to the client');
unlike(log_since($node, $offset), qr/\Q$secret\E/, 'nor in the log, at debug5');
like(log_since($node, $offset), qr/DEBUG: /, 'which is at debug5');

my $dump_of_views = q{
	SELECT string_agg(query_to_xml(format('SELECT * FROM evilnet.%I', relname), true, false, '')::text, '')
	FROM pg_class WHERE relnamespace = 'evilnet'::regnamespace AND relkind IN ('r', 'v')
		AND relname NOT IN ('city', 'city_alias', 'area', 'area_alias')};
my $everything = sql($dump_of_views);
like($everything, qr/sasl|locked/, 'the views tell of the streams');
unlike($everything, qr/\Q$secret\E/, 'but not the password, not even to a superuser');
like(sql_as('alice', q{SELECT umoptions FROM pg_user_mappings WHERE srvname = 'locked'}), qr/\Q$secret\E/, 'who set it sees it');
unlike(sql_as('bob', 'SELECT * FROM pg_user_mappings'), qr/\Q$secret\E/, 'another user does not');
fails_as('bob', 'SELECT * FROM pg_user_mapping', '42501', 'permission denied', 'nor in the catalog');

# --- and a dump by somebody who may read everything, except secrets

sql('GRANT pg_read_all_data TO bob');
my ($out);
($out, $err) = run_command([
	'pg_dump', '--enable-row-security', '--host', $node->host, '--port', $node->port, '--username', 'bob', 'postgres' ]);
like($out, qr/CREATE USER MAPPING FOR alice SERVER locked/, 'another user dumps the user mapping');
unlike($out . $err, qr/\Q$secret\E/, 'without the password');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing died');

done_testing();
