-- Sources: what they are made of, who may do what, and what is refused in words.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
\set VERBOSITY default

-- servers
CREATE SERVER archive FOREIGN DATA WRAPPER evilnet_http;
CREATE SERVER archive FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'gopher');
CREATE SERVER net FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url 'https://user:secret@host');
CREATE SERVER net FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', proxy 'http://user:secret@host');
CREATE SERVER net FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', connect_timeout '0');
CREATE SERVER net FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', bearer_token 'secret');
CREATE SERVER net FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', url 'https://localhost:1', connect_timeout '100');
CREATE USER MAPPING FOR CURRENT_USER SERVER net OPTIONS (bearer_token E'a\nHost: elsewhere');
CREATE USER MAPPING FOR CURRENT_USER SERVER net OPTIONS (client_id 'me');
CREATE USER MAPPING FOR CURRENT_USER SERVER net OPTIONS (bearer_token 'secret');
CREATE ROLE reader_of_files;
GRANT USAGE ON FOREIGN DATA WRAPPER evilnet_http TO reader_of_files;
SET ROLE reader_of_files;
CREATE SERVER mine FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'x', ca_file '/etc/passwd');
SELECT * FROM evilnet.check_source('net', 'sample_stream');
RESET ROLE;
SELECT * FROM evilnet.check_source('net', 'sample_stream');
SELECT * FROM evilnet.check_source('net', 'sample_stream', '{"monthly_posts": "many"}');
SELECT * FROM evilnet.check_source('net', 'sample_stream', '{"monthly_posts": "0x10"}');
SELECT * FROM evilnet.check_source('net', 'sample_stream', '{"price": " 1"}');
SELECT * FROM evilnet.check_source('net', 'sample_stream', '[]');
DROP SERVER net CASCADE;
DROP OWNED BY reader_of_files;
DROP ROLE reader_of_files;
CREATE SERVER archive FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'file', url 'x');
CREATE SERVER archive FOREIGN DATA WRAPPER evilnet_http OPTIONS (api 'file');
CREATE USER MAPPING FOR CURRENT_USER SERVER archive OPTIONS (password 'x');
ALTER SERVER archive OPTIONS (DROP api);
CREATE SERVER source_bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" 'localhost:1');
BEGIN;
SELECT evilnet.create_stream('fed', server => 'source_bus', topic => 'fed');
SELECT evilnet.pause('fed');
COMMIT;

-- arguments
SELECT evilnet.create_source(NULL, server => 'archive', endpoint => '/x', to_stream => 'fed');
SELECT evilnet.create_source('', server => 'archive', endpoint => '/x', to_stream => 'fed');
SELECT evilnet.create_source('s', server => 'absent', endpoint => '/x', to_stream => 'fed');
SELECT evilnet.create_source('s', server => 'source_bus', endpoint => '/x', to_stream => 'fed');
SELECT evilnet.create_source('s', server => 'archive', endpoint => 'x', to_stream => 'fed');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_stream => 'fed', params => '[]');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_stream => 'fed', params => '{"pace": -1}');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_stream => 'fed', params => '{"pace": "fast"}');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_stream => 'fed', params => '{"pace": {}}');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_stream => 'fed', to_server => 'source_bus', topic => 'x');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_server => 'source_bus');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_server => 'source_bus', topic => 'a b');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_server => 'archive', topic => 'x');
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_stream => 'pg_class');

-- paused before it starts; what it is
BEGIN;
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_stream => 'fed');
SELECT evilnet.pause_source('s');
COMMIT;
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/x', to_stream => 'fed');
SET client_min_messages = notice;
SELECT evilnet.create_source('s', server => 'archive', endpoint => '/y', to_stream => 'fed', if_not_exists => true);
SELECT evilnet.drop_source('t', if_exists => true);
SET client_min_messages = warning;
SELECT name, owner::text = current_user AS mine, server, endpoint, params, to_server, topic, to_stream, enabled FROM evilnet.source;
SELECT source, state, pid, messages, bytes, cursor, last_error FROM evilnet.stat_source;
SELECT evilnet.drop_source('t');
SELECT evilnet.pause_source('t');

-- rights
CREATE ROLE source_owner;
CREATE ROLE source_reader IN ROLE evilnet_reader;
CREATE ROLE source_operator IN ROLE evilnet_operator;
SET ROLE source_owner;
SELECT evilnet.create_source('mine', server => 'archive', endpoint => '/x', to_server => 'source_bus', topic => 'x');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER archive TO source_owner;
SET ROLE source_owner;
SELECT evilnet.create_source('mine', server => 'archive', endpoint => '/x', to_server => 'source_bus', topic => 'x');
RESET ROLE;
GRANT pg_read_server_files TO source_owner;
SET ROLE source_owner;
SELECT evilnet.create_source('mine', server => 'archive', endpoint => '/x', to_server => 'source_bus', topic => 'x');
SELECT evilnet.create_source('mine', server => 'archive', endpoint => '/x', to_stream => 'fed');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER source_bus TO source_owner;
SET ROLE source_owner;
BEGIN;
SELECT evilnet.create_source('mine', server => 'archive', endpoint => '/x', to_server => 'source_bus', topic => 'x');
SELECT evilnet.pause_source('mine');
COMMIT;
SELECT source, state FROM evilnet.stat_source;
-- what a user's function is shown is what the user sees
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE WARNING 'shown %', $1; RETURN true; END $$;
SELECT source FROM evilnet.stat_source WHERE pg_temp.leak(source);
SELECT stream FROM evilnet.stat_stream WHERE pg_temp.leak(stream);
SELECT stream FROM evilnet.stat_watermark WHERE pg_temp.leak(stream);
SELECT aggregate FROM evilnet.stat_continuous_aggregate WHERE pg_temp.leak(aggregate::text);
SELECT relation FROM evilnet.stat_retention WHERE pg_temp.leak(relation::text);
DROP FUNCTION pg_temp.leak;
SELECT evilnet.pause_source('s');
SELECT evilnet.drop_source('s');
UPDATE evilnet.source SET endpoint = '/etc/passwd';
SET ROLE source_reader;
SELECT source, state FROM evilnet.stat_source ORDER BY 1;
SELECT evilnet.pause_source('s');
SET ROLE source_operator;
SELECT evilnet.pause_source('s');
SELECT evilnet.drop_source('s');
RESET ROLE;

-- a source goes with its stream
SELECT evilnet.drop_stream('fed');
SELECT name FROM evilnet.source;
SELECT evilnet.drop_source('mine');
SELECT count(*) FROM evilnet.source;
REVOKE USAGE ON FOREIGN SERVER archive, source_bus FROM source_owner;
DROP ROLE source_owner, source_reader, source_operator;
DROP SERVER archive;
DROP SERVER source_bus;
