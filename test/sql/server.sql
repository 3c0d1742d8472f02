-- Servers of evilnet_kafka: which properties may be set where, by whom; publishing.
SET client_min_messages = warning;
CREATE ROLE regress_evilnet_reader;
CREATE ROLE regress_evilnet_files IN ROLE pg_read_server_files;
GRANT USAGE ON FOREIGN DATA WRAPPER evilnet_kafka TO regress_evilnet_reader, regress_evilnet_files;
GRANT CREATE ON SCHEMA public TO regress_evilnet_reader;

-- what became of a statement
CREATE FUNCTION public.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN sqlstate || ' ' || message || coalesce(nullif('; ' || detail, '; '), '');
END $$;

-- brokers are required, and cannot be taken away
CREATE SERVER none FOREIGN DATA WRAPPER evilnet_kafka;
CREATE SERVER none FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" '');
CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'embedded', "linger.ms" '1');
ALTER SERVER bus OPTIONS (DROP "bootstrap.servers");

-- librdkafka judges names and values; its wording differs between versions
ALTER SERVER bus OPTIONS (ADD "linger" '5');
\set VERBOSITY sqlstate
ALTER SERVER bus OPTIONS (SET "linger.ms" 'soon');
ALTER SERVER bus OPTIONS (SET "linger.ms" '1000000000');
ALTER SERVER bus OPTIONS (ADD "security.protocol" 'none');
ALTER SERVER bus OPTIONS (ADD "dr_msg_cb" '1');
\set VERBOSITY default
ALTER SERVER bus OPTIONS (SET "linger.ms" '2', ADD "isolation.level" 'read_committed', ADD "client.rack" 'r1');

-- refused everywhere, with the reason
SELECT name, public.attempt(format('ALTER SERVER bus OPTIONS (ADD %I ''1'')', name)) AS on_server
FROM unnest(ARRAY['auto.commit.interval.ms', 'auto.offset.reset', 'debug', 'delivery.report.only.error',
	'enable.auto.commit', 'enable.auto.offset.store', 'enable.partition.eof',
	'enable.sasl.oauthbearer.unsecure.jwt', 'enabled_events', 'group.id', 'group.instance.id',
	'group.protocol', 'internal.termination.signal', 'log.queue', 'log_level', 'metadata.broker.list',
	'offset.store.path', 'partition.assignment.strategy', 'plugin.library.paths', 'sasl.kerberos.keytab',
	'sasl.kerberos.kinit.cmd', 'sasl.kerberos.min.time.before.relogin', 'sasl.oauthbearer.config',
	'session.timeout.ms', 'ssl.engine.id', 'ssl.engine.location', 'ssl.providers', 'statistics.interval.ms',
	'test.mock.num.brokers', 'transactional.id', 'ut_handle_ProduceResponse']) name;
SELECT name, public.attempt(format('CREATE USER MAPPING FOR PUBLIC SERVER bus OPTIONS (%I ''1'')', name)) AS in_mapping
FROM unnest(ARRAY['ssl.providers', 'sasl.kerberos.kinit.cmd', 'plugin.library.paths']) name;

-- secrets belong into mappings, the cluster's properties onto the server
SELECT name, public.attempt(format('ALTER SERVER bus OPTIONS (ADD %I ''hush'')', name)) AS on_server
FROM unnest(ARRAY['sasl.password', 'ssl.key.password', 'ssl.key.pem', 'ssl.keystore.password',
	'sasl.oauthbearer.client.secret', 'some.password.of.later']) name;
CREATE USER MAPPING FOR CURRENT_USER SERVER bus OPTIONS ("linger.ms" '5');
CREATE USER MAPPING FOR CURRENT_USER SERVER bus OPTIONS ("sasl.oauthbearer.token.endpoint.url" 'http://localhost:1');
CREATE USER MAPPING FOR CURRENT_USER SERVER bus OPTIONS ("sasl.pasword" 'hush');
CREATE USER MAPPING FOR CURRENT_USER SERVER bus
	OPTIONS ("sasl.username" 'u', "sasl.password" 'hush', "ssl.key.password" 'hush');
ALTER USER MAPPING FOR CURRENT_USER SERVER bus OPTIONS (DROP "ssl.key.password", SET "sasl.password" 'hush hush');

-- files are for who may read the server's files
SET ROLE regress_evilnet_reader;
CREATE SERVER files FOREIGN DATA WRAPPER evilnet_kafka
	OPTIONS ("bootstrap.servers" 'localhost:1', "ssl.ca.location" '/etc/passwd');
CREATE SERVER mine FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'localhost:1');
CREATE USER MAPPING FOR CURRENT_USER SERVER mine OPTIONS ("ssl.key.location" '/etc/passwd');
SET ROLE regress_evilnet_files;
CREATE SERVER files FOREIGN DATA WRAPPER evilnet_kafka
	OPTIONS ("bootstrap.servers" 'localhost:1', "ssl.ca.location" '/etc/passwd');
RESET ROLE;
REVOKE pg_read_server_files FROM regress_evilnet_files;
SET ROLE regress_evilnet_files;
ALTER SERVER files OPTIONS (ADD "client.id" 'me');
ALTER SERVER files OPTIONS (DROP "ssl.ca.location", ADD "client.id" 'me');
RESET ROLE;

-- nothing else takes options
ALTER FOREIGN DATA WRAPPER evilnet_kafka OPTIONS (ADD "bootstrap.servers" 'localhost:1');
CREATE FOREIGN TABLE messages (value text) SERVER bus;

-- the embedded broker comes up by itself, on loopback
DO $$
BEGIN
	FOR attempt IN 1..600 LOOP
		EXIT WHEN evilnet.embedded_broker_address() IS NOT NULL;
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT evilnet.embedded_broker_address() ~ '^127\.0\.0\.1:[0-9]+$' AS loopback;

-- publishing
SELECT evilnet.produce('bus', 'server_test', ARRAY['one', NULL, 'three']);
SELECT evilnet.produce('bus', 'server_test', ARRAY['one', 'two'], keys => ARRAY['k', NULL]);
SELECT evilnet.produce('bus', 'server_test', (SELECT array_agg('message ' || g) FROM generate_series(1, 5000) g));
SELECT evilnet.produce('bus', 'server_test', '{}');
SELECT evilnet.produce('bus', 'server_test', ARRAY['one', 'two'], ARRAY['k']);
SELECT evilnet.produce('bus', NULL, ARRAY['one']);
SELECT evilnet.produce('no such server', 'server_test', ARRAY['one']);
\set VERBOSITY sqlstate
SELECT evilnet.produce('bus', 'server_test', ARRAY['one', repeat('x', 2000000)]);
\set VERBOSITY default
SELECT evilnet.produce('bus', 'server_test', ARRAY['after an error']);

-- a server of another wrapper
CREATE FOREIGN DATA WRAPPER regress_evilnet_other;
CREATE SERVER other FOREIGN DATA WRAPPER regress_evilnet_other;
SELECT evilnet.produce('other', 'server_test', ARRAY['one']);

-- USAGE is asked of whoever publishes, whoever published before in the session
SET ROLE regress_evilnet_reader;
SELECT evilnet.produce('bus', 'server_test', ARRAY['one']);
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER bus TO regress_evilnet_reader;
SET ROLE regress_evilnet_reader;
SELECT evilnet.produce('bus', 'server_test', ARRAY['one']);
RESET ROLE;

-- the session's connection follows the server and the mapping
SELECT evilnet.produce('bus', 'server_test', ARRAY['one']);
ALTER SERVER bus OPTIONS (SET "bootstrap.servers" '127.0.0.1:1', ADD "message.timeout.ms" '300');
\set VERBOSITY sqlstate
SELECT evilnet.produce('bus', 'server_test', ARRAY['nobody is there']);
ALTER SERVER bus OPTIONS (SET "bootstrap.servers" 'embedded', DROP "message.timeout.ms");
SELECT evilnet.produce('bus', 'server_test', ARRAY['back again']);
ALTER USER MAPPING FOR CURRENT_USER SERVER bus OPTIONS (ADD "ssl.key.pem" 'hush');
ALTER SERVER bus OPTIONS (ADD "security.protocol" 'ssl');
SELECT evilnet.produce('bus', 'server_test', ARRAY['no such key']);
ALTER USER MAPPING FOR CURRENT_USER SERVER bus OPTIONS (DROP "ssl.key.pem");
ALTER SERVER bus OPTIONS (DROP "security.protocol");
SELECT evilnet.produce('bus', 'server_test', ARRAY['back again']);

-- what librdkafka refuses only as a whole is told on use, and what it tells holds no secret
ALTER SERVER bus OPTIONS (ADD acks '1');
SELECT evilnet.produce('bus', 'server_test', ARRAY['not idempotent']);
ALTER SERVER bus OPTIONS (ADD "enable.idempotence" 'false');
SELECT evilnet.produce('bus', 'server_test', ARRAY['so be it']);
\set VERBOSITY default
ALTER SERVER bus OPTIONS (DROP acks, DROP "enable.idempotence", ADD "security.protocol" 'ssl');
ALTER USER MAPPING FOR CURRENT_USER SERVER bus OPTIONS (ADD "ssl.key.pem" 'hush');
SELECT public.attempt($$SELECT evilnet.produce('bus', 'server_test', ARRAY['one'])$$) ~ '^HV00N (?!.*hush)' AS no_secret_told;

REVOKE USAGE ON FOREIGN DATA WRAPPER evilnet_kafka FROM regress_evilnet_reader, regress_evilnet_files;
DROP SERVER bus, mine, files, other CASCADE;
DROP FOREIGN DATA WRAPPER regress_evilnet_other;
DROP FUNCTION public.attempt;
REVOKE CREATE ON SCHEMA public FROM regress_evilnet_reader;
DROP ROLE regress_evilnet_reader, regress_evilnet_files;
