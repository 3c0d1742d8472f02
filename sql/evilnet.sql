/* evilnet: fresh install.  The build copies this file to the versioned script. */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION evilnet" to load this file. \quit

-- Everything below lives in schema evilnet (evilnet.control) and is usable by
-- everybody; who may do what is decided by table ownership, USAGE on servers
-- and row policies.
GRANT USAGE ON SCHEMA evilnet TO PUBLIC;

-- Roles belong to the cluster: another database may have made them, and dropping
-- the extension leaves them.
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'evilnet_reader') THEN
		CREATE ROLE evilnet_reader;
		COMMENT ON ROLE evilnet_reader IS 'reads all streams of evilnet, their aggregates and their state';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'evilnet_operator') THEN
		CREATE ROLE evilnet_operator IN ROLE evilnet_reader;
		COMMENT ON ROLE evilnet_operator IS 'reads all streams of evilnet; pauses, resumes, maintains, refreshes and schedules them, and sets their retention';
	END IF;
END $$;

-- ---------------------------------------------------------------------------
-- Servers
-- ---------------------------------------------------------------------------

CREATE FUNCTION evilnet.kafka_fdw_validator(options text[], catalog oid) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_fdw_servers_validate';
COMMENT ON FUNCTION evilnet.kafka_fdw_validator(text[], oid) IS
'checks the options of evilnet_kafka servers and user mappings';

CREATE FOREIGN DATA WRAPPER evilnet_kafka VALIDATOR evilnet.kafka_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER evilnet_kafka IS
'Kafka clusters; options are librdkafka''s properties, secrets go into user mappings';

CREATE FUNCTION evilnet.embedded_broker_address() RETURNS text
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'evn_fdw_servers_broker_address';
COMMENT ON FUNCTION evilnet.embedded_broker_address() IS
'host:port of the embedded broker, null when evilnet.embedded_broker is off; option "bootstrap.servers" ''embedded'' stands for it';

CREATE FUNCTION evilnet.produce(server name, topic text, messages text[], keys text[] DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'evn_produce';
COMMENT ON FUNCTION evilnet.produce(name, text, text[], text[]) IS
'publish messages to a topic and wait until the broker has them; returns how many; published at once, whatever becomes of the transaction; a null message is a record without a value; needs USAGE on the server';

CREATE FUNCTION evilnet.http_fdw_validator(options text[], catalog oid) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_http_servers_validate';
COMMENT ON FUNCTION evilnet.http_fdw_validator(text[], oid) IS
'checks the options of evilnet_http servers and user mappings';

CREATE FOREIGN DATA WRAPPER evilnet_http VALIDATOR evilnet.http_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER evilnet_http IS
'social networks, and archives of their posts, that sources fetch from; secrets go into user mappings';

-- (end of servers)

-- ---------------------------------------------------------------------------
-- Parquet files
-- ---------------------------------------------------------------------------

CREATE TABLE evilnet.parquet_file (
	directory text NOT NULL,
	name text NOT NULL,
	rows bigint NOT NULL,
	bytes bigint NOT NULL,
	written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (directory, name)
);
COMMENT ON TABLE evilnet.parquet_file IS 'Parquet files that transactions of this database wrote through foreign tables of evilnet_parquet; a query sees those that it sees here';
COMMENT ON COLUMN evilnet.parquet_file.directory IS 'absolute path of its directory';
COMMENT ON COLUMN evilnet.parquet_file.name IS 'its name there, once the transaction is committed';
COMMENT ON COLUMN evilnet.parquet_file.rows IS 'rows in it';
COMMENT ON COLUMN evilnet.parquet_file.bytes IS 'its size';
COMMENT ON COLUMN evilnet.parquet_file.written_at IS 'when its end was written';

CREATE FUNCTION evilnet.parquet_fdw_validator(options text[], catalog oid) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_parquet_servers_validate';
COMMENT ON FUNCTION evilnet.parquet_fdw_validator(text[], oid) IS
'checks the options of evilnet_parquet servers and foreign tables';

CREATE FUNCTION evilnet.parquet_fdw_handler() RETURNS fdw_handler
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_parquet_servers_handler';
COMMENT ON FUNCTION evilnet.parquet_fdw_handler() IS
'loads the module that reads and writes Parquet files';

CREATE FOREIGN DATA WRAPPER evilnet_parquet HANDLER evilnet.parquet_fdw_handler VALIDATOR evilnet.parquet_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER evilnet_parquet IS
'directories of Parquet files; a foreign table is one directory';

-- (end of Parquet files)

-- ---------------------------------------------------------------------------
-- Time
-- ---------------------------------------------------------------------------

-- one function: a second one of two arguments would make the call ambiguous for a width given as a literal
CREATE FUNCTION evilnet.time_bucket(width interval, ts timestamptz, origin timestamptz DEFAULT NULL, timezone text DEFAULT NULL)
RETURNS timestamptz
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'evn_time_bucket';
COMMENT ON FUNCTION evilnet.time_bucket(interval, timestamptz, timestamptz, text) IS
'start of the time bucket of the given width that ts falls into, by the clock and calendar of a time zone (UTC if null); a bucket starts at origin, if null at Monday 2000-01-03 00:00 local time, 2000-01-01 for widths of months';

-- ---------------------------------------------------------------------------
-- Cities
-- ---------------------------------------------------------------------------

CREATE TABLE evilnet.area (
	country_code text NOT NULL CHECK (country_code ~ '^[A-Z]{2}$'),
	admin1 text NOT NULL DEFAULT '',
	code text NOT NULL DEFAULT '',
	name text NOT NULL,
	timezone text,
	builtin boolean NOT NULL DEFAULT false,
	PRIMARY KEY (country_code, admin1)
);
COMMENT ON TABLE evilnet.area IS 'countries and their first-level regions; a row of yours takes the place of the built-in one';
COMMENT ON COLUMN evilnet.area.country_code IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN evilnet.area.admin1 IS 'GeoNames admin1 code of a region, empty for the country itself';
COMMENT ON COLUMN evilnet.area.code IS 'what a region is written as in short ("ON"), else its admin1 code; empty for countries';
COMMENT ON COLUMN evilnet.area.name IS 'name in English';
COMMENT ON COLUMN evilnet.area.timezone IS 'IANA time zone of all its cities; null if they are in several, or unknown';
COMMENT ON COLUMN evilnet.area.builtin IS 'came with evilnet; such rows are not dumped';

CREATE TABLE evilnet.area_alias (
	country_code text NOT NULL,
	admin1 text NOT NULL DEFAULT '',
	alias text NOT NULL,
	builtin boolean NOT NULL DEFAULT false,
	PRIMARY KEY (country_code, admin1, alias)
);
COMMENT ON TABLE evilnet.area_alias IS 'further names of countries and regions, in any language';
COMMENT ON COLUMN evilnet.area_alias.country_code IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN evilnet.area_alias.admin1 IS 'GeoNames admin1 code of a region, empty for the country itself';
COMMENT ON COLUMN evilnet.area_alias.alias IS 'the name';
COMMENT ON COLUMN evilnet.area_alias.builtin IS 'came with evilnet; such rows are not dumped';

CREATE TABLE evilnet.city (
	city_id int NOT NULL,
	name text NOT NULL,
	ascii_name text NOT NULL,
	country_code text NOT NULL,
	country text NOT NULL,
	region_code text,
	region text,
	lon float8 NOT NULL CHECK (lon BETWEEN -180 AND 180),
	lat float8 NOT NULL CHECK (lat BETWEEN -90 AND 90),
	population bigint NOT NULL DEFAULT 0,
	timezone text,
	section boolean NOT NULL DEFAULT false,
	builtin boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE evilnet.city IS 'the cities a post can come from; a row of yours takes the place of the built-in one';
COMMENT ON COLUMN evilnet.city.city_id IS 'GeoNames id; 0 stands for no city';
COMMENT ON COLUMN evilnet.city.name IS 'name, mostly as it is called there';
COMMENT ON COLUMN evilnet.city.ascii_name IS 'name in ASCII where diacritics are all that differs';
COMMENT ON COLUMN evilnet.city.country_code IS 'ISO 3166-1 alpha-2; empty for no city';
COMMENT ON COLUMN evilnet.city.country IS 'country in English';
COMMENT ON COLUMN evilnet.city.region_code IS 'first-level region in short ("ON"), else its GeoNames admin1 code; see evilnet.area';
COMMENT ON COLUMN evilnet.city.region IS 'first-level region in English';
COMMENT ON COLUMN evilnet.city.lon IS 'longitude of the centre, degrees';
COMMENT ON COLUMN evilnet.city.lat IS 'latitude of the centre, degrees';
COMMENT ON COLUMN evilnet.city.population IS 'number of inhabitants, 0 if unknown; decides among cities of one name and how far a city reaches';
COMMENT ON COLUMN evilnet.city.timezone IS 'IANA time zone, one of pg_timezone_names; null if unknown, which reports by local time count by UTC';
COMMENT ON COLUMN evilnet.city.section IS 'part of another city: found by name, but coordinates belong to the city';
COMMENT ON COLUMN evilnet.city.builtin IS 'came with evilnet; such rows are not dumped';

CREATE TABLE evilnet.city_alias (
	city_id int NOT NULL,
	alias text NOT NULL,
	builtin boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE evilnet.city_alias IS 'further names of cities, in any script; aliases of city 0 are texts that name no city';
COMMENT ON COLUMN evilnet.city_alias.city_id IS 'the city; see evilnet.city';
COMMENT ON COLUMN evilnet.city_alias.alias IS 'the name; case, diacritics and punctuation make no difference';
COMMENT ON COLUMN evilnet.city_alias.builtin IS 'came with evilnet; such rows are not dumped';

GRANT SELECT ON evilnet.area, evilnet.area_alias, evilnet.city, evilnet.city_alias TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('evilnet.area', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('evilnet.area_alias', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('evilnet.city', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('evilnet.city_alias', 'WHERE NOT builtin');

CREATE FUNCTION evilnet.name_key(name text) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10
AS 'MODULE_PATHNAME', 'evn_gazetteer_name_key';
COMMENT ON FUNCTION evilnet.name_key(text) IS
'hash of a name without case, diacritics and punctuation: equal for "São Paulo" and "sao paulo"; null when nothing is left';

-- One file, of GeoNames' format or of some of its columns, into the tables
CREATE FUNCTION evilnet.read_gazetteer(path text, columns text, builtin boolean) RETURNS bigint
-- jit: the planner guesses 200 times the aliases that there are and would compile for them
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	cities bigint;
	unknown_zones text[];
BEGIN
	-- typed and constrained, so that COPY itself reports what is wrong in which line
	CREATE TEMPORARY TABLE gazetteer_file (
		geonameid int PRIMARY KEY CHECK (geonameid >= 0), name text NOT NULL, asciiname text, alternatenames text,
		latitude float8 NOT NULL CHECK (latitude BETWEEN -90 AND 90),
		longitude float8 NOT NULL CHECK (longitude BETWEEN -180 AND 180),
		feature_class text, feature_code text, country_code text, cc2 text,
		admin1 text, admin2 text, admin3 text, admin4 text,
		population bigint, elevation text, dem text, timezone text, modified text);
	-- GeoNames has neither quotes nor escapes: a quote that does not occur turns both off
	EXECUTE format($copy$COPY pg_temp.gazetteer_file (%s) FROM %L
		WITH (FORMAT csv, DELIMITER E'\t', QUOTE E'\x01', ENCODING 'UTF8')$copy$, columns, path);
	-- a zone that the server has no rules for would fail later, in every report by local time
	unknown_zones := ARRAY(
		SELECT z.timezone
		FROM (SELECT timezone FROM pg_temp.gazetteer_file UNION SELECT timezone FROM evilnet.area) z
		WHERE z.timezone NOT IN (SELECT name FROM pg_timezone_names)
		ORDER BY z.timezone COLLATE "C");
	IF unknown_zones <> '{}' THEN
		RAISE WARNING '% time zones that this server does not know: %', cardinality(unknown_zones), array_to_string(unknown_zones[:10], ', ')
			USING HINT = 'Their cities get no time zone. Update the server''s time zone data, then load them again.';
	END IF;

	DELETE FROM evilnet.city c USING pg_temp.gazetteer_file f WHERE c.city_id = f.geonameid;
	INSERT INTO evilnet.city (city_id, name, ascii_name, country_code, country, region_code, region,
			lon, lat, population, timezone, section, builtin)
		SELECT f.geonameid, f.name, coalesce(f.asciiname, f.name), coalesce(f.country_code, ''),
			coalesce(n.name, f.country_code, ''), coalesce(r.code, f.admin1), r.name,
			f.longitude, f.latitude, coalesce(f.population, 0),
			CASE WHEN coalesce(f.timezone, r.timezone, n.timezone) <> ALL (unknown_zones)
				THEN coalesce(f.timezone, r.timezone, n.timezone) END,
			f.feature_code IS NOT DISTINCT FROM 'PPLX', read_gazetteer.builtin
		FROM pg_temp.gazetteer_file f
			LEFT JOIN evilnet.area n ON n.country_code = f.country_code AND n.admin1 = ''
			LEFT JOIN evilnet.area r ON r.country_code = f.country_code AND r.admin1 = f.admin1
		-- populated places that still are; a file without feature classes has nothing else
		WHERE coalesce(f.feature_class, 'P') = 'P' AND coalesce(f.feature_code, '') NOT IN ('PPLH', 'PPLQ', 'PPLW', 'PPLCH');
	GET DIAGNOSTICS cities = ROW_COUNT;

	IF builtin THEN
		INSERT INTO evilnet.city_alias (city_id, alias, builtin)
			SELECT f.geonameid, a.alias, true
			FROM pg_temp.gazetteer_file f, string_to_table(f.alternatenames, ',') a(alias);
	ELSE
		-- of GeoNames' alternate names not the codes ("YYZ") and machine transliterations ("duo lun duo")
		INSERT INTO evilnet.city_alias (city_id, alias)
			SELECT f.geonameid, a.alias
			FROM pg_temp.gazetteer_file f
				JOIN evilnet.city c ON c.city_id = f.geonameid,
				string_to_table(f.alternatenames, ',') a(alias)
			WHERE a.alias !~ '^([a-z]|[A-Z]{0,3}$)'
				AND evilnet.name_key(a.alias) <> evilnet.name_key(f.name)
			ON CONFLICT (city_id, alias) DO NOTHING;
	END IF;
	DROP TABLE pg_temp.gazetteer_file;
	RETURN cities;
END $$;
REVOKE EXECUTE ON FUNCTION evilnet.read_gazetteer(text, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION evilnet.read_gazetteer(text, text, boolean) IS 'internal: see load_gazetteer';

CREATE FUNCTION evilnet.load_gazetteer(path text) RETURNS bigint
LANGUAGE sql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT evilnet.read_gazetteer(path,
		'geonameid, name, asciiname, alternatenames, latitude, longitude, feature_class, feature_code, country_code, cc2, '
		'admin1, admin2, admin3, admin4, population, elevation, dem, timezone, modified', false)
$$;
REVOKE EXECUTE ON FUNCTION evilnet.load_gazetteer(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION evilnet.load_gazetteer(text) TO pg_read_server_files;
COMMENT ON FUNCTION evilnet.load_gazetteer(text) IS
'add the populated places of a 19-column GeoNames file on the server, replacing cities of the same ids; returns their number; cities in time zones that the server does not know get none, with a warning; needs pg_read_server_files';

DO $$
DECLARE
	directory text := (SELECT setting || '/extension/' FROM pg_catalog.pg_config() WHERE name = 'SHAREDIR');
BEGIN
	CREATE TEMPORARY TABLE area_file (country_code text, admin1 text, code text, name text, timezone text, alternate_names text);
	EXECUTE pg_catalog.format($copy$COPY pg_temp.area_file FROM %L
		WITH (FORMAT csv, DELIMITER E'\t', QUOTE E'\x01', NULL E'\x02', ENCODING 'UTF8')$copy$, directory || 'evilnet-areas.tsv');
	INSERT INTO evilnet.area (country_code, admin1, code, name, timezone, builtin)
		SELECT f.country_code, f.admin1, CASE f.code WHEN '' THEN f.admin1 ELSE f.code END, f.name, nullif(f.timezone, ''), true
		FROM pg_temp.area_file f;
	INSERT INTO evilnet.area_alias (country_code, admin1, alias, builtin)
		SELECT f.country_code, f.admin1, a.alias, true
		FROM pg_temp.area_file f, pg_catalog.string_to_table(f.alternate_names, ',') a(alias);
	DROP TABLE pg_temp.area_file;
	ANALYZE evilnet.area;
	PERFORM evilnet.read_gazetteer(directory || 'evilnet-cities.tsv',
		'geonameid, name, asciiname, country_code, admin1, feature_code, longitude, latitude, population, timezone, alternatenames', true);
END $$;
-- keys and indexes are built in one go over the loaded rows
ALTER TABLE evilnet.city ADD PRIMARY KEY (city_id);
ALTER TABLE evilnet.city_alias ADD PRIMARY KEY (city_id, alias);
CREATE INDEX ON evilnet.city (evilnet.name_key(name));
CREATE INDEX ON evilnet.city_alias (evilnet.name_key(alias));
-- names are almost unique, which the planner must know before anybody analyzes
ANALYZE evilnet.city;
ANALYZE evilnet.city_alias;

-- A row of the user's own takes the place of a built-in one, also when a dump
-- is restored into a version that has it built in.
CREATE FUNCTION evilnet.replace_builtin() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' THEN
		NEW.builtin := false;
	ELSE
		EXECUTE format('DELETE FROM evilnet.%I t WHERE t.builtin AND %s', TG_TABLE_NAME, TG_ARGV[0]) USING NEW;
	END IF;
	RETURN NEW;
END $$;
-- it runs text of its argument with our rights: for no trigger but ours
REVOKE EXECUTE ON FUNCTION evilnet.replace_builtin() FROM PUBLIC;
COMMENT ON FUNCTION evilnet.replace_builtin() IS 'trigger: a user''s row of the gazetteer replaces the built-in one, a changed one is the user''s';
CREATE FUNCTION evilnet.gazetteer_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_gazetteer_changed';
REVOKE EXECUTE ON FUNCTION evilnet.gazetteer_changed() FROM PUBLIC;
COMMENT ON FUNCTION evilnet.gazetteer_changed() IS 'trigger: every process builds its index of cities anew';

CREATE TRIGGER builtin_replaced BEFORE INSERT ON evilnet.area FOR EACH ROW WHEN (NOT NEW.builtin)
	EXECUTE FUNCTION evilnet.replace_builtin('t.country_code = ($1).country_code AND t.admin1 = ($1).admin1');
CREATE TRIGGER builtin_replaced BEFORE INSERT ON evilnet.area_alias FOR EACH ROW WHEN (NOT NEW.builtin)
	EXECUTE FUNCTION evilnet.replace_builtin('t.country_code = ($1).country_code AND t.admin1 = ($1).admin1 AND t.alias = ($1).alias');
CREATE TRIGGER builtin_replaced BEFORE INSERT ON evilnet.city FOR EACH ROW WHEN (NOT NEW.builtin)
	EXECUTE FUNCTION evilnet.replace_builtin('t.city_id = ($1).city_id');
CREATE TRIGGER builtin_replaced BEFORE INSERT ON evilnet.city_alias FOR EACH ROW WHEN (NOT NEW.builtin)
	EXECUTE FUNCTION evilnet.replace_builtin('t.city_id = ($1).city_id AND t.alias = ($1).alias');
CREATE TRIGGER builtin_changed BEFORE UPDATE ON evilnet.area FOR EACH ROW WHEN (OLD.builtin)
	EXECUTE FUNCTION evilnet.replace_builtin();
CREATE TRIGGER builtin_changed BEFORE UPDATE ON evilnet.area_alias FOR EACH ROW WHEN (OLD.builtin)
	EXECUTE FUNCTION evilnet.replace_builtin();
CREATE TRIGGER builtin_changed BEFORE UPDATE ON evilnet.city FOR EACH ROW WHEN (OLD.builtin)
	EXECUTE FUNCTION evilnet.replace_builtin();
CREATE TRIGGER builtin_changed BEFORE UPDATE ON evilnet.city_alias FOR EACH ROW WHEN (OLD.builtin)
	EXECUTE FUNCTION evilnet.replace_builtin();
CREATE TRIGGER gazetteer_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evilnet.area
	FOR EACH STATEMENT EXECUTE FUNCTION evilnet.gazetteer_changed();
CREATE TRIGGER gazetteer_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evilnet.area_alias
	FOR EACH STATEMENT EXECUTE FUNCTION evilnet.gazetteer_changed();
CREATE TRIGGER gazetteer_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evilnet.city
	FOR EACH STATEMENT EXECUTE FUNCTION evilnet.gazetteer_changed();
CREATE TRIGGER gazetteer_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evilnet.city_alias
	FOR EACH STATEMENT EXECUTE FUNCTION evilnet.gazetteer_changed();

CREATE FUNCTION evilnet.resolve_city(
	place text DEFAULT NULL,
	country_code text DEFAULT NULL,
	lon float8 DEFAULT NULL,
	lat float8 DEFAULT NULL,
	profile text DEFAULT NULL,
	OUT city_id int,
	OUT city_source text)
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'evn_gazetteer_resolve_city';
COMMENT ON FUNCTION evilnet.resolve_city(text, text, float8, float8, text) IS
'the city of a post, found as streams find it: by the place attached to it (in a country, if given), else its coordinates, else its author''s profile text; city_source says by which';

CREATE FUNCTION evilnet.find_city(name text, country_code text DEFAULT NULL) RETURNS SETOF evilnet.city
LANGUAGE sql STABLE ROWS 10
BEGIN ATOMIC
	SELECT c.*
	FROM evilnet.city c
	WHERE c.city_id IN (
			SELECT n.city_id FROM evilnet.city n WHERE evilnet.name_key(n.name) = evilnet.name_key(find_city.name)
			UNION
			SELECT a.city_id FROM evilnet.city_alias a WHERE evilnet.name_key(a.alias) = evilnet.name_key(find_city.name))
		AND c.city_id <> 0
		AND (find_city.country_code IS NULL OR c.country_code = upper(find_city.country_code))
	ORDER BY c.population DESC, c.city_id;
END;
COMMENT ON FUNCTION evilnet.find_city(text, text) IS 'cities of a name, most populous first; case, diacritics and punctuation make no difference';

-- (end of cities)

-- ---------------------------------------------------------------------------
-- Streams: catalog
-- ---------------------------------------------------------------------------

-- A stream belongs to the database it was made in: a copy of the database, or
-- a restored dump, must not start to consume by itself, least of all while it
-- is still being restored.
CREATE FUNCTION evilnet.home() RETURNS text
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'evn_admin_home';
COMMENT ON FUNCTION evilnet.home() IS 'identity of this database: system identifier of the cluster and OID of the database';

CREATE TABLE evilnet.stream (
	stream regclass PRIMARY KEY,
	server name,
	topic text CHECK (topic <> ''),
	start_at text NOT NULL,
	workers int NOT NULL CHECK (workers BETWEEN 1 AND 64),
	dedup boolean NOT NULL,
	store boolean NOT NULL,
	keep_raw boolean NOT NULL,
	on_error text NOT NULL CHECK (on_error IN ('dead_letter', 'stop')),
	error_budget float8 NOT NULL CHECK (error_budget BETWEEN 0 AND 1),
	partition_interval interval NOT NULL,
	batch_messages int NOT NULL CHECK (batch_messages BETWEEN 1 AND 1000000),
	batch_bytes int NOT NULL CHECK (batch_bytes BETWEEN 1024 AND 1073741823),
	batch_interval interval NOT NULL CHECK (batch_interval BETWEEN '1 ms' AND '1 hour'),
	deletes regclass,
	retention interval NOT NULL DEFAULT '0' CHECK (retention >= '0'),
	rows_since timestamptz,
	enabled boolean NOT NULL DEFAULT true,
	stop_reason text,
	home text NOT NULL DEFAULT evilnet.home(),
	created_at timestamptz NOT NULL DEFAULT now(),
	CHECK (store OR NOT (dedup OR keep_raw)),
	CHECK ((server IS NULL) = (topic IS NULL))
);
COMMENT ON TABLE evilnet.stream IS 'streams of this database: posts of a Kafka topic each, or of what stores into them, in a table and counted';
COMMENT ON COLUMN evilnet.stream.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.stream.server IS 'foreign server of wrapper evilnet_kafka; null for a stream without a topic';
COMMENT ON COLUMN evilnet.stream.topic IS 'Kafka topic; null for none';
COMMENT ON COLUMN evilnet.stream.start_at IS 'where partitions without a stored position start: earliest, latest, or a timestamp';
COMMENT ON COLUMN evilnet.stream.workers IS 'number of worker processes; worker w reads the partitions p with p mod workers = w';
COMMENT ON COLUMN evilnet.stream.dedup IS 'posts whose id is already stored are dropped and counted as duplicates';
COMMENT ON COLUMN evilnet.stream.store IS 'posts are stored; when false only the aggregates are kept';
COMMENT ON COLUMN evilnet.stream.keep_raw IS 'the message is stored beside the columns';
COMMENT ON COLUMN evilnet.stream.on_error IS 'dead_letter: a message that cannot be stored is set aside; stop: the stream stops at it';
COMMENT ON COLUMN evilnet.stream.error_budget IS 'share of dead letters among the latest messages (about 10,000) above which the stream stops; 1 for never';
COMMENT ON COLUMN evilnet.stream.partition_interval IS 'time span of one table partition';
COMMENT ON COLUMN evilnet.stream.batch_messages IS 'a batch is stored when it has this many messages';
COMMENT ON COLUMN evilnet.stream.batch_bytes IS 'a batch is stored when its messages have this many bytes';
COMMENT ON COLUMN evilnet.stream.batch_interval IS 'a batch is stored when its first message is this old';
COMMENT ON COLUMN evilnet.stream.deletes IS 'table of the ids that delete notices named, so that a post that comes after its notice is not stored; null with store => false';
COMMENT ON COLUMN evilnet.stream.retention IS 'how long posts are kept; 0 for ever';
COMMENT ON COLUMN evilnet.stream.rows_since IS 'posts before this time were dropped, so nothing is computed from them; null for none';
COMMENT ON COLUMN evilnet.stream.enabled IS 'false after pause() and after the stream stopped by itself';
COMMENT ON COLUMN evilnet.stream.stop_reason IS 'why the stream stopped by itself; null after resume()';
COMMENT ON COLUMN evilnet.stream.home IS 'evilnet.home() of the database that consumes it; in a copy or a restored dump nothing starts until resume()';
COMMENT ON COLUMN evilnet.stream.created_at IS 'when create_stream was called';

CREATE TABLE evilnet.stream_offset (
	stream regclass NOT NULL REFERENCES evilnet.stream ON DELETE CASCADE,
	kafka_partition int NOT NULL,
	next_offset bigint NOT NULL,
	topic_partitions int NOT NULL,
	epoch bigint NOT NULL DEFAULT 0,
	anchor_offset bigint,
	anchor_timestamp bigint,
	anchor_hash bigint,
	messages bigint NOT NULL DEFAULT 0,
	rows bigint NOT NULL DEFAULT 0,
	duplicates bigint NOT NULL DEFAULT 0,
	deletes bigint NOT NULL DEFAULT 0,
	suppressed bigint NOT NULL DEFAULT 0,
	notices bigint NOT NULL DEFAULT 0,
	dead_letters bigint NOT NULL DEFAULT 0,
	rows_deleted bigint NOT NULL DEFAULT 0,
	gaps bigint NOT NULL DEFAULT 0,
	updated_at timestamptz NOT NULL DEFAULT now(),
	event_until timestamptz,
	covered_since timestamptz,
	covered_until timestamptz,
	PRIMARY KEY (stream, kafka_partition)
) WITH (fillfactor = 20);	-- updated at every batch: leave room for HOT
COMMENT ON TABLE evilnet.stream_offset IS 'position and totals of each Kafka partition of a stream, moved in the transaction that stores the messages: the only authority on what was consumed';
COMMENT ON COLUMN evilnet.stream_offset.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.stream_offset.kafka_partition IS 'Kafka partition number';
COMMENT ON COLUMN evilnet.stream_offset.next_offset IS 'offset of the next message to store';
COMMENT ON COLUMN evilnet.stream_offset.topic_partitions IS 'partitions the topic had when this position was made: one that is added later is read from its beginning, whatever start_at says';
COMMENT ON COLUMN evilnet.stream_offset.epoch IS 'counts the workers that have owned the partition; a former owner is fenced off by it';
COMMENT ON COLUMN evilnet.stream_offset.anchor_offset IS 'offset of the last stored message, checked at start to detect a re-created topic';
COMMENT ON COLUMN evilnet.stream_offset.anchor_timestamp IS 'Kafka timestamp of that message, milliseconds since 1970';
COMMENT ON COLUMN evilnet.stream_offset.anchor_hash IS 'hash of that message';
COMMENT ON COLUMN evilnet.stream_offset.messages IS 'messages consumed: rows + duplicates + deletes + suppressed + notices + dead_letters';
COMMENT ON COLUMN evilnet.stream_offset.rows IS 'posts stored (with store => false: counted)';
COMMENT ON COLUMN evilnet.stream_offset.duplicates IS 'posts dropped because their id was stored already';
COMMENT ON COLUMN evilnet.stream_offset.deletes IS 'delete notices';
COMMENT ON COLUMN evilnet.stream_offset.suppressed IS 'posts not stored because their delete notice came first';
COMMENT ON COLUMN evilnet.stream_offset.notices IS 'other notices (limit, scrub_geo, ...), nothing to store';
COMMENT ON COLUMN evilnet.stream_offset.dead_letters IS 'messages set aside in evilnet.dead_letter';
COMMENT ON COLUMN evilnet.stream_offset.rows_deleted IS 'stored posts removed by the delete notices of this partition';
COMMENT ON COLUMN evilnet.stream_offset.gaps IS 'offsets that the broker did not deliver: expired, compacted, or aborted by a transaction';
COMMENT ON COLUMN evilnet.stream_offset.updated_at IS 'when the position last moved';
COMMENT ON COLUMN evilnet.stream_offset.event_until IS 'latest created_at of a post that came through this partition';
COMMENT ON COLUMN evilnet.stream_offset.covered_since IS 'everything of this partition from this time on, by Kafka''s time, was consumed without a hole ...; null until the first message after the start or after a hole';
COMMENT ON COLUMN evilnet.stream_offset.covered_until IS '... up to this time: Kafka''s time of the last message, or when the worker last found nothing left to read';

-- What ended is kept here, as a row is written only when messages are lost or
-- skipped; the span that goes on is in stream_offset.
CREATE TABLE evilnet.coverage_span (
	stream regclass NOT NULL REFERENCES evilnet.stream ON DELETE CASCADE,
	kafka_partition int NOT NULL,
	since timestamptz NOT NULL,
	until timestamptz NOT NULL CHECK (since <= until),
	ended_by text NOT NULL CHECK (ended_by IN ('expired', 'seek', 'topic')),
	ended_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON evilnet.coverage_span (stream, kafka_partition);
COMMENT ON TABLE evilnet.coverage_span IS 'spans of Kafka''s time that were consumed without a hole and ended; the one that goes on is in evilnet.stream_offset; see evilnet.coverage';
COMMENT ON COLUMN evilnet.coverage_span.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.coverage_span.kafka_partition IS 'Kafka partition number';
COMMENT ON COLUMN evilnet.coverage_span.since IS 'beginning of the span';
COMMENT ON COLUMN evilnet.coverage_span.until IS 'its end, itself outside';
COMMENT ON COLUMN evilnet.coverage_span.ended_by IS 'expired: messages expired in Kafka before they were read; seek: evilnet.seek(); topic: the topic was re-created or truncated';
COMMENT ON COLUMN evilnet.coverage_span.ended_at IS 'when that was found';

CREATE TABLE evilnet.batch (
	stream regclass NOT NULL,
	kafka_partition int NOT NULL,
	from_offset bigint NOT NULL,
	to_offset bigint NOT NULL,
	worker int NOT NULL,
	messages int NOT NULL,
	rows int NOT NULL,
	duplicates int NOT NULL,
	deletes int NOT NULL,
	suppressed int NOT NULL,
	notices int NOT NULL,
	dead_letters int NOT NULL,
	rows_deleted int NOT NULL,
	gaps bigint NOT NULL,
	started_at timestamptz NOT NULL,
	committed_at timestamptz NOT NULL,
	PRIMARY KEY (stream, kafka_partition, from_offset)
);
CREATE INDEX ON evilnet.batch USING brin (committed_at);
COMMENT ON TABLE evilnet.batch IS 'journal: one row per batch and Kafka partition, kept for evilnet.journal_retention';
COMMENT ON COLUMN evilnet.batch.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.batch.kafka_partition IS 'Kafka partition number';
COMMENT ON COLUMN evilnet.batch.from_offset IS 'first offset of the batch';
COMMENT ON COLUMN evilnet.batch.to_offset IS 'offset after the last one of the batch';
COMMENT ON COLUMN evilnet.batch.worker IS 'number of the worker that stored it';
COMMENT ON COLUMN evilnet.batch.messages IS 'messages of this partition in the batch';
COMMENT ON COLUMN evilnet.batch.rows IS 'posts stored';
COMMENT ON COLUMN evilnet.batch.duplicates IS 'posts dropped because their id was stored already';
COMMENT ON COLUMN evilnet.batch.deletes IS 'delete notices';
COMMENT ON COLUMN evilnet.batch.suppressed IS 'posts not stored because their delete notice came first';
COMMENT ON COLUMN evilnet.batch.notices IS 'other notices, nothing to store';
COMMENT ON COLUMN evilnet.batch.dead_letters IS 'messages set aside in evilnet.dead_letter';
COMMENT ON COLUMN evilnet.batch.rows_deleted IS 'stored posts removed by delete notices';
COMMENT ON COLUMN evilnet.batch.gaps IS 'offsets that the broker did not deliver';
COMMENT ON COLUMN evilnet.batch.started_at IS 'when the batch''s first message arrived';
COMMENT ON COLUMN evilnet.batch.committed_at IS 'just before the commit';

CREATE TABLE evilnet.dead_letter (
	dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stream regclass NOT NULL,
	kafka_partition int NOT NULL,
	kafka_offset bigint NOT NULL,
	kafka_timestamp timestamptz,
	reason text NOT NULL,
	detail text,
	key bytea,
	payload bytea,
	received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON evilnet.dead_letter (stream, kafka_partition, kafka_offset);
COMMENT ON TABLE evilnet.dead_letter IS 'messages that could not be stored, with the reason';
COMMENT ON COLUMN evilnet.dead_letter.dead_letter_id IS 'number of the dead letter';
COMMENT ON COLUMN evilnet.dead_letter.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.dead_letter.kafka_partition IS 'Kafka partition number';
COMMENT ON COLUMN evilnet.dead_letter.kafka_offset IS 'offset of the message';
COMMENT ON COLUMN evilnet.dead_letter.kafka_timestamp IS 'Kafka''s time of the message';
COMMENT ON COLUMN evilnet.dead_letter.reason IS 'stable code: bad_json, no_id, in_the_future, sql_error, ...';
COMMENT ON COLUMN evilnet.dead_letter.detail IS 'the reason for people; for sql_error, the error';
COMMENT ON COLUMN evilnet.dead_letter.key IS 'the message''s key, byte for byte';
COMMENT ON COLUMN evilnet.dead_letter.payload IS 'the message, byte for byte';
COMMENT ON COLUMN evilnet.dead_letter.received_at IS 'when it was set aside';

-- A stream's rows are for those who own its table, and for evilnet_reader.
CREATE FUNCTION evilnet.owns_stream(stream regclass) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c WHERE c.oid = stream;
END;
COMMENT ON FUNCTION evilnet.owns_stream(regclass) IS 'whether the current user owns the stream''s table';
CREATE FUNCTION evilnet.sees_stream(stream regclass) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT evilnet.owns_stream(stream)
		OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'evilnet_reader' AND pg_catalog.pg_has_role(r.oid, 'USAGE'));
END;
COMMENT ON FUNCTION evilnet.sees_stream(regclass) IS 'whether the current user owns the stream''s table or is a member of evilnet_reader';

ALTER TABLE evilnet.stream ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.stream_offset ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.coverage_span ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.batch ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.dead_letter ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON evilnet.stream FOR SELECT USING (evilnet.sees_stream(stream));
CREATE POLICY see ON evilnet.stream_offset FOR SELECT USING (evilnet.sees_stream(stream));
CREATE POLICY see ON evilnet.coverage_span FOR SELECT USING (evilnet.sees_stream(stream));
CREATE POLICY see ON evilnet.batch FOR SELECT USING (evilnet.sees_stream(stream));
CREATE POLICY see ON evilnet.dead_letter FOR SELECT USING (evilnet.sees_stream(stream));
CREATE POLICY own ON evilnet.dead_letter FOR DELETE USING (evilnet.owns_stream(stream));
GRANT SELECT ON evilnet.stream, evilnet.stream_offset, evilnet.coverage_span, evilnet.batch TO PUBLIC;
GRANT SELECT, DELETE ON evilnet.dead_letter TO PUBLIC;	-- an owner may clear what was dealt with

SELECT pg_catalog.pg_extension_config_dump('evilnet.stream', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.stream_offset', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.coverage_span', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.batch', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.dead_letter', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.dead_letter_dead_letter_id_seq', '');

-- Workers follow the catalog: a change is told to the launcher at commit.
CREATE FUNCTION evilnet.stream_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_admin_stream_changed';
REVOKE EXECUTE ON FUNCTION evilnet.stream_changed() FROM PUBLIC;
COMMENT ON FUNCTION evilnet.stream_changed() IS 'trigger: tells the launcher at commit that streams changed';
CREATE TRIGGER stream_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evilnet.stream
	FOR EACH STATEMENT EXECUTE FUNCTION evilnet.stream_changed();

-- ---------------------------------------------------------------------------
-- Continuous aggregates: catalog
-- ---------------------------------------------------------------------------

CREATE AGGREGATE evilnet.total(bigint) (
	SFUNC = pg_catalog.int8pl,
	STYPE = bigint,
	COMBINEFUNC = pg_catalog.int8pl,
	PARALLEL = SAFE);
COMMENT ON AGGREGATE evilnet.total(bigint) IS 'sum of bigint as bigint, several times as fast as sum(), which gives numeric; null for no values, an error where the total is out of range';

CREATE TABLE evilnet.mergeable_aggregate (
	provider name NOT NULL,
	aggregate name NOT NULL,
	combine text NOT NULL,
	negate text,
	read text NOT NULL,
	merge name NOT NULL,
	compare text NOT NULL DEFAULT '{column}',
	builtin boolean NOT NULL DEFAULT false,
	PRIMARY KEY (provider, aggregate)
);
COMMENT ON TABLE evilnet.mergeable_aggregate IS 'aggregate functions whose partial results can be merged, and how; in the expressions {old} and {new} are partial results, {column} the stored column, {type} its type, {schema} the schema of the provider';
COMMENT ON COLUMN evilnet.mergeable_aggregate.provider IS 'pg_catalog, or the extension the aggregate belongs to';
COMMENT ON COLUMN evilnet.mergeable_aggregate.aggregate IS 'name of the aggregate function';
COMMENT ON COLUMN evilnet.mergeable_aggregate.combine IS 'expression of {old} and {new}: both taken together';
COMMENT ON COLUMN evilnet.mergeable_aggregate.negate IS 'expression of {new}: what combined takes {new} away again; null when it cannot be taken away, then touched buckets are recomputed';
COMMENT ON COLUMN evilnet.mergeable_aggregate.read IS 'aggregate expression of {column}: all partial results of a group taken together';
COMMENT ON COLUMN evilnet.mergeable_aggregate.merge IS 'the aggregate function of the same provider that an aggregate over this one applies to the column: sum for count';
COMMENT ON COLUMN evilnet.mergeable_aggregate.compare IS 'expression of {column} that evilnet.verify_continuous_aggregate compares; what is approximate needs one that is not';
COMMENT ON COLUMN evilnet.mergeable_aggregate.builtin IS 'came with evilnet';
INSERT INTO evilnet.mergeable_aggregate (provider, aggregate, combine, negate, read, merge, builtin) VALUES
	('pg_catalog', 'count', '{old} + {new}', '- {new}', 'evilnet.total({column})', 'sum', true),
	('pg_catalog', 'sum', 'coalesce({old} + {new}, {old}, {new})', '- {new}', 'pg_catalog.sum({column})::{type}', 'sum', true),
	('evilnet', 'total', 'coalesce({old} + {new}, {old}, {new})', '- {new}', 'evilnet.total({column})', 'total', true),
	('pg_catalog', 'min', 'least({old}, {new})', NULL, 'pg_catalog.min({column})', 'min', true),
	('pg_catalog', 'max', 'greatest({old}, {new})', NULL, 'pg_catalog.max({column})', 'max', true),
	('pg_catalog', 'bool_and', 'coalesce({old} AND {new}, {old}, {new})', NULL, 'pg_catalog.bool_and({column})', 'bool_and', true),
	('pg_catalog', 'every', 'coalesce({old} AND {new}, {old}, {new})', NULL, 'pg_catalog.every({column})', 'every', true),
	('pg_catalog', 'bool_or', 'coalesce({old} OR {new}, {old}, {new})', NULL, 'pg_catalog.bool_or({column})', 'bool_or', true),
	('pg_catalog', 'bit_and', 'coalesce({old} & {new}, {old}, {new})', NULL, 'pg_catalog.bit_and({column})', 'bit_and', true),
	('pg_catalog', 'bit_or', 'coalesce({old} | {new}, {old}, {new})', NULL, 'pg_catalog.bit_or({column})', 'bit_or', true),
	('hll', 'hll_add_agg', 'coalesce({schema}.hll_union({old}, {new}), {old}, {new})', NULL, '{schema}.hll_union_agg({column})', 'hll_union_agg', true),
	('hll', 'hll_union_agg', 'coalesce({schema}.hll_union({old}, {new}), {old}, {new})', NULL, '{schema}.hll_union_agg({column})', 'hll_union_agg', true);
INSERT INTO evilnet.mergeable_aggregate (provider, aggregate, combine, negate, read, merge, compare, builtin) VALUES
	('tdigest', 'tdigest', 'coalesce({schema}.tdigest_union({old}, {new}), {old}, {new})', NULL, '{schema}.tdigest({column})', 'tdigest',
		'{schema}.tdigest_count({column})', true);
GRANT SELECT ON evilnet.mergeable_aggregate TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('evilnet.mergeable_aggregate', 'WHERE NOT builtin');

CREATE TABLE evilnet.continuous_aggregate (
	aggregate regclass PRIMARY KEY,
	stream regclass NOT NULL REFERENCES evilnet.stream ON DELETE CASCADE,
	source regclass NOT NULL,
	level int NOT NULL,
	query regclass NOT NULL UNIQUE,
	storage regclass NOT NULL UNIQUE,
	enabled boolean NOT NULL DEFAULT true,
	built_from timestamptz,
	results_since timestamptz,
	folded_until timestamptz,
	retention interval NOT NULL DEFAULT '0',
	notify boolean NOT NULL DEFAULT false,
	replaces regclass,
	rollup interval,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON evilnet.continuous_aggregate (stream);
COMMENT ON TABLE evilnet.continuous_aggregate IS 'GROUP BY queries over streams that are kept up to date in the transaction that stores the posts';
COMMENT ON COLUMN evilnet.continuous_aggregate.aggregate IS 'the view to read: partial results of all workers merged';
COMMENT ON COLUMN evilnet.continuous_aggregate.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.continuous_aggregate.source IS 'what the query reads: the stream''s table, or another continuous aggregate';
COMMENT ON COLUMN evilnet.continuous_aggregate.level IS '0 over a stream, else one more than that of the aggregate it reads';
COMMENT ON COLUMN evilnet.continuous_aggregate.query IS 'the defining query, as a view';
COMMENT ON COLUMN evilnet.continuous_aggregate.storage IS 'partial results, one row per group and slot (the worker that wrote it)';
COMMENT ON COLUMN evilnet.continuous_aggregate.enabled IS 'false after pause()';
COMMENT ON COLUMN evilnet.continuous_aggregate.built_from IS 'buckets before this time are still to be built; null when it is complete';
COMMENT ON COLUMN evilnet.continuous_aggregate.results_since IS 'buckets before this time were dropped by its retention; null for none';
COMMENT ON COLUMN evilnet.continuous_aggregate.folded_until IS 'rows of several workers were merged into one per group for buckets before this time';
COMMENT ON COLUMN evilnet.continuous_aggregate.retention IS 'how long buckets are kept; 0 for ever';
COMMENT ON COLUMN evilnet.continuous_aggregate.notify IS 'each batch that changes it notifies channel evilnet_<aggregate>';
COMMENT ON COLUMN evilnet.continuous_aggregate.replaces IS 'the aggregate whose name it takes as soon as it is built';
COMMENT ON COLUMN evilnet.continuous_aggregate.rollup IS 'width of its buckets when it is a roll-up, the stream''s counts per city that reports read; else null';
COMMENT ON COLUMN evilnet.continuous_aggregate.created_at IS 'when it was created';
ALTER TABLE evilnet.continuous_aggregate ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON evilnet.continuous_aggregate FOR SELECT USING (evilnet.sees_stream(stream));
GRANT SELECT ON evilnet.continuous_aggregate TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('evilnet.continuous_aggregate', '');
CREATE FUNCTION evilnet.continuous_aggregate_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_aggregate_admin_changed';
REVOKE EXECUTE ON FUNCTION evilnet.continuous_aggregate_changed() FROM PUBLIC;
COMMENT ON FUNCTION evilnet.continuous_aggregate_changed() IS 'trigger: workers read the aggregates of a stream again with their next batch';
CREATE TRIGGER continuous_aggregate_changed AFTER INSERT OR UPDATE OR DELETE ON evilnet.continuous_aggregate
	FOR EACH ROW EXECUTE FUNCTION evilnet.continuous_aggregate_changed();

CREATE TABLE evilnet.late_row (
	aggregate regclass NOT NULL,
	slot int NOT NULL,
	rows bigint NOT NULL,
	counted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (aggregate, slot),
	FOREIGN KEY (aggregate) REFERENCES evilnet.continuous_aggregate ON DELETE CASCADE
) WITH (fillfactor = 50);	-- updated at many batches: leave room for HOT
COMMENT ON TABLE evilnet.late_row IS 'posts that were counted late: into a bucket that was over by the time of posts stored before; evilnet.stat_continuous_aggregate has the sums';
COMMENT ON COLUMN evilnet.late_row.aggregate IS 'the continuous aggregate';
COMMENT ON COLUMN evilnet.late_row.slot IS 'number of the worker that counted them';
COMMENT ON COLUMN evilnet.late_row.rows IS 'how many, since the aggregate was created';
COMMENT ON COLUMN evilnet.late_row.counted_at IS 'when the last one was counted';
ALTER TABLE evilnet.late_row ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON evilnet.late_row FOR SELECT
	USING (EXISTS (SELECT FROM evilnet.continuous_aggregate a WHERE a.aggregate = late_row.aggregate));
GRANT SELECT ON evilnet.late_row TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('evilnet.late_row', '');

-- A table dropped by hand takes its catalog rows along.
CREATE FUNCTION evilnet.forget_dropped() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part record;
BEGIN
	-- a dropped extension takes the catalog itself along
	IF to_regclass('evilnet.stream') IS NULL THEN
		RETURN;
	END IF;
	-- after a restore, which knows of no dependencies of ours, something may be left of it
	FOR part IN
		WITH gone AS (DELETE FROM evilnet.continuous_aggregate a USING pg_event_trigger_dropped_objects() d
			WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0
				AND d.objid IN (a.aggregate, a.query, a.storage)
			RETURNING a.aggregate, a.query, a.storage)
		SELECT DISTINCT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
		FROM gone JOIN pg_class c ON c.oid IN (gone.aggregate, gone.query, gone.storage)
		ORDER BY kind DESC
	LOOP
		IF EXISTS (SELECT FROM pg_class WHERE oid = part.name) THEN
			EXECUTE format('DROP %s %s', part.kind, part.name);
		END IF;
	END LOOP;
	-- a partition of a stream's table, which was named after its first day and time
	UPDATE evilnet.stream s SET rows_since = greatest(s.rows_since, p.since + s.partition_interval)
		FROM (SELECT d.schema_name, m.m[1] AS base,
				to_timestamp(m.m[2] || coalesce(m.m[3], '_0000') || ' +00', 'YYYYMMDD_HH24MI TZH') AS since
			FROM pg_event_trigger_dropped_objects() d
				CROSS JOIN LATERAL regexp_match(d.object_name, '^(.*)_p(\d{8})(_\d{4})?$') m(m)
			WHERE d.object_type = 'table') p,
			pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = s.stream AND n.nspname = p.schema_name
			-- a stream that was renamed has partitions of its former name
			AND (c.relname = p.base OR EXISTS (SELECT FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid
				WHERE i.inhparent = s.stream AND regexp_replace(l.relname, '_p\d{8}(_\d{4})?$', '') = p.base));
	DELETE FROM evilnet.stream s USING pg_event_trigger_dropped_objects() d
		WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.objid = s.stream;
	DELETE FROM evilnet.batch b USING pg_event_trigger_dropped_objects() d
		WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.objid = b.stream;
	DELETE FROM evilnet.dead_letter l USING pg_event_trigger_dropped_objects() d
		WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.objid = l.stream;
END $$;
REVOKE EXECUTE ON FUNCTION evilnet.forget_dropped() FROM PUBLIC;
COMMENT ON FUNCTION evilnet.forget_dropped() IS 'event trigger: removes the catalog rows of dropped stream tables and aggregates';
CREATE EVENT TRIGGER evilnet_forget_dropped ON sql_drop EXECUTE FUNCTION evilnet.forget_dropped();
COMMENT ON EVENT TRIGGER evilnet_forget_dropped IS 'removes the catalog rows of dropped stream tables and aggregates';

-- What belongs to a stream follows its table to another owner, with whose
-- rights it is maintained then.
CREATE FUNCTION evilnet.follow_owner() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part record;
BEGIN
	FOR part IN
		SELECT DISTINCT p.oid::regclass AS name, c.relowner::regrole AS owner
		FROM pg_event_trigger_ddl_commands() d
			JOIN evilnet.stream s ON d.classid = 'pg_class'::regclass AND d.objid = s.stream
			JOIN pg_class c ON c.oid = s.stream
			LEFT JOIN evilnet.continuous_aggregate a ON a.stream = s.stream
			CROSS JOIN LATERAL (
				SELECT unnest(ARRAY[s.deletes, a.aggregate, a.query])::oid
				UNION ALL SELECT t.relid FROM pg_partition_tree(s.stream) t
				UNION ALL SELECT t.relid FROM pg_partition_tree(a.storage) t) o(oid)
			JOIN pg_class p ON p.oid = o.oid
		WHERE p.relowner <> c.relowner
	LOOP
		EXECUTE format('ALTER TABLE %s OWNER TO %s', part.name, part.owner);
	END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION evilnet.follow_owner() FROM PUBLIC;
COMMENT ON FUNCTION evilnet.follow_owner() IS 'event trigger: what belongs to a stream follows its table to another owner';
CREATE EVENT TRIGGER evilnet_follow_owner ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
	EXECUTE FUNCTION evilnet.follow_owner();
COMMENT ON EVENT TRIGGER evilnet_follow_owner IS 'what belongs to a stream follows its table to another owner';

-- ---------------------------------------------------------------------------
-- Streams: functions
-- ---------------------------------------------------------------------------

CREATE FUNCTION evilnet.create_stream(
	name text,
	server name DEFAULT NULL,
	topic text DEFAULT NULL,
	start_at text DEFAULT 'earliest',
	workers int DEFAULT 1,
	dedup boolean DEFAULT NULL,
	store boolean DEFAULT true,
	keep_raw boolean DEFAULT false,
	on_error text DEFAULT 'dead_letter',
	error_budget float8 DEFAULT 0.5,
	partition_interval interval DEFAULT '1 day',
	batch_messages int DEFAULT 10000,
	batch_bytes int DEFAULT 8388608,
	batch_interval interval DEFAULT '200 ms',
	if_not_exists boolean DEFAULT false)
RETURNS regclass
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_admin_create_stream';
COMMENT ON FUNCTION evilnet.create_stream(text, name, text, text, int, boolean, boolean, boolean, text, float8, interval, int, int, interval, boolean) IS
'create a table that is filled from a Kafka topic, and the continuous aggregate <name>_by_city over it; needs USAGE on the server; workers start at commit; without server and topic, one that sources and evilnet.store_messages fill';

CREATE FUNCTION evilnet.drop_stream(stream regclass) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_admin_drop_stream';
COMMENT ON FUNCTION evilnet.drop_stream(regclass) IS
'drop a stream: its table with all posts, its aggregates, position, journal and dead letters; needs ownership';

CREATE FUNCTION evilnet.pause(stream regclass) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_admin_pause';
COMMENT ON FUNCTION evilnet.pause(regclass) IS
'stop the workers of a stream at commit; its position is kept; needs ownership or evilnet_operator';

CREATE FUNCTION evilnet.resume(stream regclass) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_admin_resume';
COMMENT ON FUNCTION evilnet.resume(regclass) IS
'start the workers of a paused, stopped or restored stream at commit, from the position kept; needs ownership or evilnet_operator';

CREATE FUNCTION evilnet.seek(stream regclass, start_at text) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_admin_seek';
COMMENT ON FUNCTION evilnet.seek(regclass, text) IS
'forget the position of a stream and start at earliest, latest or a timestamp, for a topic that was re-created; with dedup posts stored before are not stored again; needs ownership';

CREATE FUNCTION evilnet.store_messages(
	stream regclass,
	messages text[],
	worker int DEFAULT 0,
	OUT rows bigint, OUT duplicates bigint, OUT deletes bigint, OUT suppressed bigint, OUT notices bigint,
	OUT dead_letters bigint)
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_store_messages';
COMMENT ON FUNCTION evilnet.store_messages(regclass, text[], int) IS
'store messages that do not come from Kafka, such as those of an archive, as a worker of that number does: decoded, counted, or set aside as dead letters, in this transaction; returns what became of them; Kafka''s position is not moved; needs ownership';

-- ---------------------------------------------------------------------------
-- Continuous aggregates: functions
-- ---------------------------------------------------------------------------

CREATE FUNCTION evilnet.create_continuous_aggregate(
	name text,
	query text,
	notify boolean DEFAULT false,
	in_background boolean DEFAULT true,
	if_not_exists boolean DEFAULT false)
RETURNS regclass
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_aggregate_admin_create';
COMMENT ON FUNCTION evilnet.create_continuous_aggregate(text, text, boolean, boolean, boolean) IS
'keep the result of a GROUP BY query over a stream, or over another continuous aggregate, up to date in the transaction that stores the posts; what is stored already is counted by a background process, newest first (see evilnet.stat_continuous_aggregate), or with in_background => false before the function returns; needs ownership of the stream';

CREATE FUNCTION evilnet.create_rollup(
	stream regclass,
	width interval,
	name text DEFAULT NULL,
	in_background boolean DEFAULT true,
	if_not_exists boolean DEFAULT false)
RETURNS regclass
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_aggregate_admin_create_rollup';
COMMENT ON FUNCTION evilnet.create_rollup(regclass, interval, text, boolean, boolean) IS
'keep the stream''s counts per city also by longer buckets, a continuous aggregate over <stream>_by_city named <stream>_by_city_<width> unless named otherwise: reports over long spans read it by themselves; width is whole minutes that divide a day; needs ownership of the stream';

CREATE FUNCTION evilnet.check_continuous_aggregate(query text)
RETURNS TABLE (kind text, message text, hint text)
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_aggregate_admin_check';
COMMENT ON FUNCTION evilnet.check_continuous_aggregate(text) IS
'whether a query can be kept as a continuous aggregate, creating nothing: a row of kind refused for every reason against it, with what to do instead, else rows of kind note, such as how many rows per day it would have';

CREATE FUNCTION evilnet.drop_continuous_aggregate(aggregate regclass, cascade boolean DEFAULT false) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_aggregate_admin_drop';
COMMENT ON FUNCTION evilnet.drop_continuous_aggregate(regclass, boolean) IS
'drop a continuous aggregate with its results, with cascade also the views and aggregates that read it; needs ownership of the stream';

CREATE FUNCTION evilnet.refresh_continuous_aggregate(
	aggregate regclass,
	since timestamptz DEFAULT '-infinity',
	until timestamptz DEFAULT 'infinity')
RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_aggregate_admin_refresh';
COMMENT ON FUNCTION evilnet.refresh_continuous_aggregate(regclass, timestamptz, timestamptz) IS
'compute the buckets that hold [since, until) again from the stored posts, and those of aggregates that read them; buckets whose posts were dropped stay as they are; ingest of the stream waits until the transaction ends; needs ownership of the stream or evilnet_operator';

CREATE FUNCTION evilnet.alter_continuous_aggregate(
	aggregate regclass,
	rename_to name DEFAULT NULL,
	query text DEFAULT NULL,
	retention interval DEFAULT NULL,
	notify boolean DEFAULT NULL,
	schedule text DEFAULT NULL)
RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_aggregate_admin_alter';
COMMENT ON FUNCTION evilnet.alter_continuous_aggregate(regclass, name, text, interval, boolean, text) IS
'change what is not null: its name; its query, which is built as <name>_next and then takes its place; how long buckets are kept (0 for ever), whatever becomes of the posts; whether batches notify; when its last day is refreshed, as evilnet.schedule_refresh does (empty for never); needs ownership of the stream';

CREATE FUNCTION evilnet.set_retention(relation regclass, retention interval) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_admin_set_retention';
COMMENT ON FUNCTION evilnet.set_retention(regclass, interval) IS
'how long the posts of a stream, or the buckets of a continuous aggregate, are kept; null or 0 for ever; older ones are dropped by whole partitions, within a minute of the last reader''s end, and posts that come later than that are dead letters; dropping posts changes no aggregate; needs ownership or evilnet_operator';

-- Later things that need posts add their reason here.
CREATE FUNCTION evilnet.posts_held_by(stream regclass) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT pg_catalog.min(pg_catalog.format('continuous aggregate %s is being built', a.aggregate))
	FROM evilnet.continuous_aggregate a
	WHERE a.stream = posts_held_by.stream AND a.source = a.stream AND a.enabled AND a.built_from IS NOT NULL;
END;
COMMENT ON FUNCTION evilnet.posts_held_by(regclass) IS
'why posts past the retention are kept for now: what still reads them; null when nothing does';

CREATE FUNCTION evilnet.maintain(stream regclass) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_aggregate_admin_maintain';
COMMENT ON FUNCTION evilnet.maintain(regclass) IS
'do now what the stream''s first worker does every minute: drop posts and buckets past their retention, merge the rows that several workers wrote for one group of a bucket that is over, and let groups leave alerts; needs ownership or evilnet_operator';

CREATE FUNCTION evilnet.verify_continuous_aggregate(
	aggregate regclass,
	since timestamptz DEFAULT '-infinity',
	until timestamptz DEFAULT 'infinity')
RETURNS TABLE (bucket timestamptz, keys jsonb, result text, kept text, counted text)
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_aggregate_admin_verify';
COMMENT ON FUNCTION evilnet.verify_continuous_aggregate(regclass, timestamptz, timestamptz) IS
'run the query of a continuous aggregate over what it reads and return every result of buckets in [since, until) that differs from what is kept: none when all is well; ingest goes on; buckets that are not built, or whose posts were dropped, are left out; needs ownership of the stream';

-- ---------------------------------------------------------------------------
-- Alerts
-- ---------------------------------------------------------------------------

CREATE TABLE evilnet.alert (
	name text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 63),
	aggregate regclass NOT NULL REFERENCES evilnet.continuous_aggregate ON DELETE CASCADE,
	condition text NOT NULL,
	leave_condition text,
	notify boolean NOT NULL DEFAULT true,
	enabled boolean NOT NULL DEFAULT true,
	error text,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON evilnet.alert (aggregate);
COMMENT ON TABLE evilnet.alert IS 'conditions over the groups of continuous aggregates, judged in the transaction that stores the posts';
COMMENT ON COLUMN evilnet.alert.name IS 'name of the alert';
COMMENT ON COLUMN evilnet.alert.aggregate IS 'the continuous aggregate';
COMMENT ON COLUMN evilnet.alert.condition IS 'a group enters when a bucket of it satisfies this expression over the aggregate''s columns; r is the row';
COMMENT ON COLUMN evilnet.alert.leave_condition IS 'a group leaves when a finished bucket of it satisfies this expression, and not the condition; null for whenever it does not satisfy the condition';
COMMENT ON COLUMN evilnet.alert.notify IS 'events notify channel evilnet_alert';
COMMENT ON COLUMN evilnet.alert.enabled IS 'false when it was disabled, by its owner or by an error';
COMMENT ON COLUMN evilnet.alert.error IS 'the error of an expression that disabled it; null after alter_alert';
COMMENT ON COLUMN evilnet.alert.created_at IS 'when it was created';

CREATE TABLE evilnet.alert_state (
	alert text NOT NULL REFERENCES evilnet.alert ON UPDATE CASCADE ON DELETE CASCADE,
	keys jsonb NOT NULL,
	bucket timestamptz NOT NULL,
	entered_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (alert, keys)
);
COMMENT ON TABLE evilnet.alert_state IS 'the groups for which an alert is on';
COMMENT ON COLUMN evilnet.alert_state.alert IS 'name of the alert';
COMMENT ON COLUMN evilnet.alert_state.keys IS 'the group: its keys but the time bucket';
COMMENT ON COLUMN evilnet.alert_state.bucket IS 'the bucket with which it entered';
COMMENT ON COLUMN evilnet.alert_state.entered_at IS 'when it entered';

CREATE TABLE evilnet.alert_event (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	alert text NOT NULL REFERENCES evilnet.alert ON UPDATE CASCADE ON DELETE CASCADE,
	keys jsonb NOT NULL,
	bucket timestamptz NOT NULL,
	event text NOT NULL CHECK (event IN ('enter', 'leave')),
	results jsonb,
	raised_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON evilnet.alert_event (alert, raised_at);
COMMENT ON TABLE evilnet.alert_event IS 'what entered and left alerts, in the transaction that stored what caused it; kept until you delete it';
COMMENT ON COLUMN evilnet.alert_event.id IS 'number of the event';
COMMENT ON COLUMN evilnet.alert_event.alert IS 'name of the alert';
COMMENT ON COLUMN evilnet.alert_event.keys IS 'the group: its keys but the time bucket';
COMMENT ON COLUMN evilnet.alert_event.bucket IS 'the bucket that was judged';
COMMENT ON COLUMN evilnet.alert_event.event IS 'enter or leave';
COMMENT ON COLUMN evilnet.alert_event.results IS 'the group''s results in that bucket, those of extensions'' types left out; null when it had none';
COMMENT ON COLUMN evilnet.alert_event.raised_at IS 'when it was found';

ALTER TABLE evilnet.alert ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.alert_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.alert_event ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON evilnet.alert FOR SELECT
	USING (EXISTS (SELECT FROM evilnet.continuous_aggregate a WHERE a.aggregate = alert.aggregate));
CREATE POLICY see ON evilnet.alert_state FOR SELECT USING (EXISTS (SELECT FROM evilnet.alert l WHERE l.name = alert_state.alert));
CREATE POLICY see ON evilnet.alert_event FOR SELECT USING (EXISTS (SELECT FROM evilnet.alert l WHERE l.name = alert_event.alert));
CREATE POLICY own ON evilnet.alert_event FOR DELETE
	USING (EXISTS (SELECT FROM evilnet.alert l JOIN evilnet.continuous_aggregate a ON a.aggregate = l.aggregate
		WHERE l.name = alert_event.alert AND evilnet.owns_stream(a.stream)));
GRANT SELECT ON evilnet.alert, evilnet.alert_state TO PUBLIC;
GRANT SELECT, DELETE ON evilnet.alert_event TO PUBLIC;	-- an owner may clear what was dealt with
SELECT pg_catalog.pg_extension_config_dump('evilnet.alert', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.alert_state', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.alert_event', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.alert_event_id_seq', '');

CREATE FUNCTION evilnet.alert_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_alert_admin_changed';
REVOKE EXECUTE ON FUNCTION evilnet.alert_changed() FROM PUBLIC;
COMMENT ON FUNCTION evilnet.alert_changed() IS 'trigger: workers read the alerts of an aggregate again with their next batch';
CREATE TRIGGER alert_changed AFTER INSERT OR UPDATE OR DELETE ON evilnet.alert
	FOR EACH ROW EXECUTE FUNCTION evilnet.alert_changed();

CREATE FUNCTION evilnet.create_alert(
	name text,
	aggregate regclass,
	condition text,
	leave text DEFAULT NULL,
	notify boolean DEFAULT true,
	if_not_exists boolean DEFAULT false)
RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_alert_admin_create';
COMMENT ON FUNCTION evilnet.create_alert(text, regclass, text, text, boolean, boolean) IS
'raise an event when a group of a continuous aggregate begins to satisfy a condition, an expression over its columns, and when with a bucket that is over it satisfies leave instead, or has no posts; with notify also on channel evilnet_alert, which everybody in the database may listen to; needs ownership of the stream';

CREATE FUNCTION evilnet.alter_alert(
	name text,
	condition text DEFAULT NULL,
	leave text DEFAULT NULL,
	notify boolean DEFAULT NULL,
	enabled boolean DEFAULT NULL,
	rename_to text DEFAULT NULL)
RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_alert_admin_alter';
COMMENT ON FUNCTION evilnet.alter_alert(text, text, text, boolean, boolean, text) IS
'change what is not null: the conditions (an empty leave is none), whether events notify, whether the alert is judged, its name; groups that are on stay so until they leave; needs ownership of the stream';

CREATE FUNCTION evilnet.drop_alert(name text, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_alert_admin_drop';
COMMENT ON FUNCTION evilnet.drop_alert(text, boolean) IS
'drop an alert with its states and events; needs ownership of the stream';

-- ---------------------------------------------------------------------------
-- Schedules, through pg_cron
-- ---------------------------------------------------------------------------

CREATE TABLE evilnet.schedule (
	name text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 200),
	stream regclass NOT NULL REFERENCES evilnet.stream ON DELETE CASCADE,
	aggregate regclass REFERENCES evilnet.continuous_aggregate ON DELETE CASCADE,
	kind text NOT NULL CHECK (kind IN ('maintenance', 'refresh', 'statement')),
	schedule text NOT NULL,
	span interval,
	statement text,
	owner regrole NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE evilnet.schedule IS 'what pg_cron runs for streams; each is removed with its stream or aggregate';
COMMENT ON COLUMN evilnet.schedule.name IS 'its name; the job of pg_cron is called evilnet: and this name';
COMMENT ON COLUMN evilnet.schedule.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.schedule.aggregate IS 'the continuous aggregate that is refreshed';
COMMENT ON COLUMN evilnet.schedule.kind IS 'maintenance (evilnet.maintain), refresh (evilnet.refresh_continuous_aggregate), statement';
COMMENT ON COLUMN evilnet.schedule.schedule IS 'when: five fields of cron, or what else pg_cron takes';
COMMENT ON COLUMN evilnet.schedule.span IS 'refresh: how far back from now';
COMMENT ON COLUMN evilnet.schedule.statement IS 'statement: what is run';
COMMENT ON COLUMN evilnet.schedule.owner IS 'who scheduled it, with whose rights it runs';
COMMENT ON COLUMN evilnet.schedule.created_at IS 'when it was scheduled';
ALTER TABLE evilnet.schedule ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON evilnet.schedule FOR SELECT
	USING (evilnet.sees_stream(stream) OR pg_catalog.pg_has_role(owner, 'USAGE'));
GRANT SELECT ON evilnet.schedule TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('evilnet.schedule', '');

CREATE FUNCTION evilnet.schedule_removed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
		PERFORM cron.unschedule(j.jobid) FROM cron.job j
			WHERE j.jobname = 'evilnet:' || OLD.name AND j.username = pg_get_userbyid(OLD.owner) AND j.database = current_database();
	END IF;
	RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION evilnet.schedule_removed() FROM PUBLIC;
COMMENT ON FUNCTION evilnet.schedule_removed() IS 'trigger: the job of pg_cron goes with its schedule';
CREATE TRIGGER schedule_removed AFTER DELETE ON evilnet.schedule
	FOR EACH ROW EXECUTE FUNCTION evilnet.schedule_removed();

CREATE FUNCTION evilnet.schedule_maintenance(stream regclass, schedule text DEFAULT '*/5 * * * *', name text DEFAULT NULL) RETURNS text
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_schedule_maintenance';
COMMENT ON FUNCTION evilnet.schedule_maintenance(regclass, text, text) IS
'have pg_cron run evilnet.maintain(stream): retention, merging, alerts, for streams that no worker maintains because they are paused or filled by evilnet.store_messages; returns the name (maintain <stream>); one of that name is replaced; needs ownership or evilnet_operator, and the right to use pg_cron';

CREATE FUNCTION evilnet.schedule_refresh(aggregate regclass, schedule text DEFAULT '17 * * * *', span interval DEFAULT '1 day', name text DEFAULT NULL) RETURNS text
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_schedule_refresh';
COMMENT ON FUNCTION evilnet.schedule_refresh(regclass, text, interval, text) IS
'have pg_cron compute the buckets of the last span again from the stored posts, for aggregates that join tables whose rows change; returns the name (refresh <aggregate>); one of that name is replaced; needs ownership or evilnet_operator, and the right to use pg_cron';

CREATE FUNCTION evilnet.schedule_statement(name text, stream regclass, schedule text, statement text) RETURNS text
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_schedule_statement';
COMMENT ON FUNCTION evilnet.schedule_statement(text, regclass, text, text) IS
'have pg_cron run a statement about a stream, such as INSERT INTO history SELECT * FROM evilnet.top_cities(...), with your rights and search_path, until the stream is dropped; returns the name; one of that name of yours is replaced; needs SELECT on the stream or one of its aggregates, and the right to use pg_cron';

CREATE FUNCTION evilnet.unschedule(name text, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_schedule_remove';
COMMENT ON FUNCTION evilnet.unschedule(text, boolean) IS
'remove a schedule and its job; for who scheduled it, the stream''s owner, and evilnet_operator';

-- What a job runs: by name, so that streams and aggregates may be renamed, dumped and restored.
CREATE FUNCTION evilnet.run_schedule(name text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	s evilnet.schedule;
BEGIN
	SELECT * INTO s FROM evilnet.schedule t WHERE t.name OPERATOR(pg_catalog.=) run_schedule.name;
	IF s.name IS NULL THEN
		RAISE undefined_object USING MESSAGE = pg_catalog.format('there is no schedule "%s"', run_schedule.name),
			HINT = 'evilnet.stat_schedule lists them.';
	END IF;
	-- nobody runs what another one wrote
	IF s.owner::oid OPERATOR(pg_catalog.<>) (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) THEN
		RAISE insufficient_privilege USING MESSAGE = pg_catalog.format('schedule "%s" belongs to %s', s.name, s.owner);
	END IF;
	CASE s.kind
		WHEN 'maintenance' THEN PERFORM evilnet.maintain(s.stream);
		WHEN 'refresh' THEN PERFORM evilnet.refresh_continuous_aggregate(s.aggregate, pg_catalog.now() OPERATOR(pg_catalog.-) s.span, pg_catalog.now());
		ELSE EXECUTE s.statement;
	END CASE;
END $$;
COMMENT ON FUNCTION evilnet.run_schedule(text) IS 'run now what a schedule of yours says; what the jobs of pg_cron call';

CREATE FUNCTION evilnet.schedule_jobs(
	OUT name text, OUT active boolean, OUT last_run timestamptz, OUT last_status text, OUT last_message text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') OR NOT has_schema_privilege('cron', 'USAGE') THEN
		RETURN;
	END IF;
	RETURN QUERY
		SELECT s.name, j.active, d.start_time, d.status, d.return_message
		FROM evilnet.schedule s
			JOIN cron.job j ON j.jobname = 'evilnet:' || s.name AND j.username = pg_get_userbyid(s.owner) AND j.database = current_database()
			LEFT JOIN LATERAL (SELECT r.start_time, r.status, r.return_message FROM cron.job_run_details r
				WHERE r.jobid = j.jobid ORDER BY r.runid DESC LIMIT 1) d ON true;
END $$;
COMMENT ON FUNCTION evilnet.schedule_jobs() IS 'the schedules'' jobs in pg_cron and their last runs, of which it shows the current user their own; see evilnet.stat_schedule';

-- ---------------------------------------------------------------------------
-- Coverage: what was consumed
-- ---------------------------------------------------------------------------

CREATE FUNCTION evilnet.stream_spans(
	stream regclass,
	OUT kafka_partition int, OUT since timestamptz, OUT until timestamptz, OUT current boolean)
RETURNS SETOF record
LANGUAGE C STABLE STRICT ROWS 10 AS 'MODULE_PATHNAME', 'evn_coverage_spans';
COMMENT ON FUNCTION evilnet.stream_spans(regclass) IS
'spans of Kafka''s time [since, until) that were consumed without a hole, per partition; current is the one that goes on, null where nothing was read yet; needs SELECT on the stream''s table or one of its aggregates';

-- the rows are locked in the order of the workers, so that none moves one in between
CREATE FUNCTION evilnet.end_spans(stream regclass, kafka_partition int, ended_by text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT FROM evilnet.stream_offset o
		WHERE o.stream = end_spans.stream AND o.kafka_partition = coalesce(end_spans.kafka_partition, o.kafka_partition)
		ORDER BY o.kafka_partition FOR UPDATE;
	INSERT INTO evilnet.coverage_span (stream, kafka_partition, since, until, ended_by)
		SELECT end_spans.stream, s.kafka_partition, s.since, s.until, end_spans.ended_by
		FROM evilnet.stream_spans(end_spans.stream) s
		WHERE s.current AND s.since <= s.until AND s.kafka_partition = coalesce(end_spans.kafka_partition, s.kafka_partition);
	UPDATE evilnet.stream_offset o SET covered_since = NULL
		WHERE o.stream = end_spans.stream AND o.kafka_partition = coalesce(end_spans.kafka_partition, o.kafka_partition);
END;
REVOKE EXECUTE ON FUNCTION evilnet.end_spans(regclass, int, text) FROM PUBLIC;
COMMENT ON FUNCTION evilnet.end_spans(regclass, int, text) IS
'internal: the current span of a partition, or of all, ends here; the next message begins a new one';

CREATE FUNCTION evilnet.watermark(stream regclass) RETURNS timestamptz
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN pg_catalog.bool_and(s.until IS NOT NULL) THEN pg_catalog.min(s.until) END
	FROM evilnet.stream_spans(watermark.stream) s
	WHERE s.current;
END;
COMMENT ON FUNCTION evilnet.watermark(regclass) IS
'the time, by Kafka''s clock, up to which all partitions of a stream were read; null while one of them never was; whether something was lost before it says evilnet.coverage; needs SELECT on the stream''s table or one of its aggregates';

CREATE FUNCTION evilnet.coverage(
	stream regclass,
	since timestamptz DEFAULT now() - interval '1 hour',
	until timestamptz DEFAULT now())
RETURNS TABLE (span_start timestamptz, span_end timestamptz, state text)
LANGUAGE plpgsql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF stream IS NULL OR since IS NULL OR until IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = format('argument "%s" must not be null',
			CASE WHEN stream IS NULL THEN 'stream' WHEN since IS NULL THEN 'since' ELSE 'until' END);
	END IF;
	IF since > until THEN
		RAISE invalid_parameter_value USING MESSAGE = 'argument "since" must not be later than "until"',
			DETAIL = format('"since" is %s, "until" is %s.', since, until),
			HINT = 'By default "since" is an hour ago and "until" is now.';
	END IF;
	RETURN QUERY
	WITH spans AS MATERIALIZED (
		SELECT * FROM evilnet.stream_spans(coverage.stream)),
	partitions AS (
		-- one that a re-created topic does not have any more owes nothing after its end
		SELECT s.kafka_partition, min(s.since) AS began, coalesce(max(s.until), '-infinity') AS ended,
			NOT bool_or(s.current) AS gone
		FROM spans s GROUP BY s.kafka_partition),
	edges AS (
		SELECT coverage.since AS edge
		UNION SELECT coverage.until
		UNION SELECT e.edge FROM spans s CROSS JOIN LATERAL (VALUES (s.since), (s.until)) e(edge)
			WHERE e.edge > coverage.since AND e.edge < coverage.until),
	pieces AS (
		SELECT e.edge AS low, lead(e.edge) OVER (ORDER BY e.edge) AS high FROM edges e),
	-- no edge lies inside a piece, so a span that holds its beginning holds all of it; the worst partition decides
	worst AS (
		SELECT q.low, q.high, max(CASE
			WHEN EXISTS (SELECT FROM spans s
				WHERE s.kafka_partition = p.kafka_partition AND s.since <= q.low AND s.until > q.low) THEN 1
			WHEN q.low < p.began THEN 3
			WHEN q.low >= p.ended THEN CASE WHEN p.gone THEN 1 ELSE 2 END
			ELSE 4 END) AS rank
		FROM pieces q CROSS JOIN partitions p
		WHERE q.high IS NOT NULL
		GROUP BY q.low, q.high),
	numbered AS (
		SELECT w.low, w.high, w.rank,
			row_number() OVER (ORDER BY w.low) - row_number() OVER (PARTITION BY w.rank ORDER BY w.low) AS run
		FROM worst w)
	SELECT min(n.low), max(n.high), (ARRAY['complete', 'pending', 'unknown', 'lost'])[n.rank]
	FROM numbered n
	GROUP BY n.rank, n.run
	ORDER BY 1;
END $$;
COMMENT ON FUNCTION evilnet.coverage(regclass, timestamptz, timestamptz) IS
'the range [since, until) of Kafka''s time cut into spans: complete (every partition was consumed), pending (not all is read yet), lost (messages of a partition expired or were skipped), unknown (before the stream began); needs SELECT on the stream''s table or one of its aggregates';

-- ---------------------------------------------------------------------------
-- Statistics
-- ---------------------------------------------------------------------------

CREATE FUNCTION evilnet.worker_slots(
	OUT stream regclass, OUT worker int, OUT state text, OUT pid int,
	OUT rows_per_second float8, OUT lag_messages bigint, OUT lag_seconds float8,
	OUT batches bigint, OUT batch_messages bigint, OUT last_batch_messages int, OUT last_batch_ms float8,
	OUT last_batch_at timestamptz, OUT last_error text, OUT last_error_at timestamptz,
	OUT stage_us bigint[])
RETURNS SETOF record
LANGUAGE C STRICT VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'evn_admin_worker_slots';
COMMENT ON FUNCTION evilnet.worker_slots() IS 'worker slots of this database in shared memory, of the streams the current user owns; see evilnet.stat_stream';

-- generate_series is estimated at a thousand rows, which makes a tiny query look
-- worth compiling
CREATE FUNCTION evilnet.worker_numbers(first int, last int) RETURNS SETOF int
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE ROWS 2 AS 'generate_series_int4';
COMMENT ON FUNCTION evilnet.worker_numbers(int, int) IS 'the numbers from first to last, estimated as few';

CREATE VIEW evilnet.stat_stream WITH (security_barrier) AS
	SELECT c.relname::text AS stream,
		s.stream AS relation,
		w.worker,
		CASE WHEN s.stop_reason IS NOT NULL THEN 'stopped'
			WHEN NOT s.enabled THEN 'paused'
			WHEN s.home <> evilnet.home() THEN 'restored'
			WHEN s.server IS NULL THEN 'no topic'
			ELSE coalesce(k.state, 'waiting') END AS state,
		k.pid,
		coalesce(k.rows_per_second, 0) AS rows_per_second,
		k.lag_messages,
		k.lag_seconds,
		o.messages, o.rows, o.duplicates, o.deletes, o.suppressed, o.notices, o.dead_letters, o.rows_deleted, o.gaps,
		k.batches,
		k.batch_messages::float8 / nullif(k.batches, 0) AS avg_batch_messages,
		k.last_batch_messages,
		k.last_batch_ms,
		k.last_batch_at,
		coalesce(s.stop_reason, k.last_error) AS last_error,
		k.last_error_at
	FROM evilnet.stream s
		JOIN pg_catalog.pg_class c ON c.oid = s.stream
		CROSS JOIN LATERAL evilnet.worker_numbers(0, s.workers - 1) w(worker)
		LEFT JOIN evilnet.worker_slots() k ON k.stream = s.stream AND k.worker = w.worker
		CROSS JOIN LATERAL (
			SELECT coalesce(sum(p.messages), 0)::bigint AS messages,
				coalesce(sum(p.rows), 0)::bigint AS rows,
				coalesce(sum(p.duplicates), 0)::bigint AS duplicates,
				coalesce(sum(p.deletes), 0)::bigint AS deletes,
				coalesce(sum(p.suppressed), 0)::bigint AS suppressed,
				coalesce(sum(p.notices), 0)::bigint AS notices,
				coalesce(sum(p.dead_letters), 0)::bigint AS dead_letters,
				coalesce(sum(p.rows_deleted), 0)::bigint AS rows_deleted,
				coalesce(sum(p.gaps), 0)::bigint AS gaps
			FROM evilnet.stream_offset p
			WHERE p.stream = s.stream AND p.kafka_partition % s.workers = w.worker) o
	WHERE evilnet.sees_stream(s.stream);
COMMENT ON VIEW evilnet.stat_stream IS 'one row per stream and worker: state, speed, lag, totals, last error; a stream is shown to its owner and evilnet_reader';
COMMENT ON COLUMN evilnet.stat_stream.stream IS 'name of the stream''s table';
COMMENT ON COLUMN evilnet.stat_stream.relation IS 'the stream''s table';
COMMENT ON COLUMN evilnet.stat_stream.worker IS 'number of the worker, from 0';
COMMENT ON COLUMN evilnet.stat_stream.state IS 'waiting (for the launcher or a free worker slot), starting, connecting, running, idle (nothing left to read), backoff (will retry), paused, stopped, restored (from a dump or as a copy: starts at resume()), no topic (filled by sources or evilnet.store_messages)';
COMMENT ON COLUMN evilnet.stat_stream.pid IS 'process id of the worker';
COMMENT ON COLUMN evilnet.stat_stream.rows_per_second IS 'messages stored per second, smoothed over about ten seconds';
COMMENT ON COLUMN evilnet.stat_stream.lag_messages IS 'messages the broker holds that are not stored yet';
COMMENT ON COLUMN evilnet.stat_stream.lag_seconds IS 'age of the last stored message by Kafka''s time while there is lag, else 0';
COMMENT ON COLUMN evilnet.stat_stream.messages IS 'messages consumed; this and the next columns are exact totals of evilnet.stream_offset';
COMMENT ON COLUMN evilnet.stat_stream.rows IS 'posts stored';
COMMENT ON COLUMN evilnet.stat_stream.duplicates IS 'posts dropped because their id was stored already';
COMMENT ON COLUMN evilnet.stat_stream.deletes IS 'delete notices';
COMMENT ON COLUMN evilnet.stat_stream.suppressed IS 'posts not stored because their delete notice came first';
COMMENT ON COLUMN evilnet.stat_stream.notices IS 'other notices, nothing to store';
COMMENT ON COLUMN evilnet.stat_stream.dead_letters IS 'messages set aside in evilnet.dead_letter';
COMMENT ON COLUMN evilnet.stat_stream.rows_deleted IS 'stored posts removed by delete notices';
COMMENT ON COLUMN evilnet.stat_stream.gaps IS 'offsets that the broker did not deliver';
COMMENT ON COLUMN evilnet.stat_stream.batches IS 'batches stored since the worker''s slot was taken';
COMMENT ON COLUMN evilnet.stat_stream.avg_batch_messages IS 'mean messages per batch';
COMMENT ON COLUMN evilnet.stat_stream.last_batch_messages IS 'messages of the last batch';
COMMENT ON COLUMN evilnet.stat_stream.last_batch_ms IS 'milliseconds the last batch took to store';
COMMENT ON COLUMN evilnet.stat_stream.last_batch_at IS 'when the last batch was committed';
COMMENT ON COLUMN evilnet.stat_stream.last_error IS 'why it stopped, or the last error of the worker';
COMMENT ON COLUMN evilnet.stat_stream.last_error_at IS 'when that error happened';
GRANT SELECT ON evilnet.stat_stream TO PUBLIC;

-- ---------------------------------------------------------------------------
-- Sources
-- ---------------------------------------------------------------------------

CREATE TABLE evilnet.source (
	source_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL UNIQUE CHECK (name <> ''),
	owner regrole NOT NULL,
	server name NOT NULL,
	endpoint text NOT NULL,
	params jsonb NOT NULL CHECK (jsonb_typeof(params) = 'object'),
	to_server name,
	topic text,
	to_stream regclass REFERENCES evilnet.stream ON DELETE CASCADE,
	enabled boolean NOT NULL DEFAULT true,
	stop_reason text,
	finished_at timestamptz,
	home text NOT NULL DEFAULT evilnet.home(),
	created_at timestamptz NOT NULL DEFAULT now(),
	CHECK ((to_server IS NULL) = (topic IS NULL) AND (to_server IS NULL) <> (to_stream IS NULL))
);
COMMENT ON TABLE evilnet.source IS 'sources of this database: what is fetched, and where to';
COMMENT ON COLUMN evilnet.source.source_id IS 'number of the source';
COMMENT ON COLUMN evilnet.source.name IS 'its name';
COMMENT ON COLUMN evilnet.source.owner IS 'who made it, and whose rights it fetches and publishes with';
COMMENT ON COLUMN evilnet.source.server IS 'foreign server of wrapper evilnet_http';
COMMENT ON COLUMN evilnet.source.endpoint IS 'what is fetched from it; see evilnet.create_source';
COMMENT ON COLUMN evilnet.source.params IS 'parameters of the endpoint';
COMMENT ON COLUMN evilnet.source.to_server IS 'foreign server of wrapper evilnet_kafka that posts are published to; null with to_stream';
COMMENT ON COLUMN evilnet.source.topic IS 'Kafka topic; null with to_stream';
COMMENT ON COLUMN evilnet.source.to_stream IS 'stream that posts are stored into without Kafka; the source is dropped along with it';
COMMENT ON COLUMN evilnet.source.enabled IS 'false after pause_source() and after the source ended by itself';
COMMENT ON COLUMN evilnet.source.stop_reason IS 'why the source ended by itself; null after resume_source()';
COMMENT ON COLUMN evilnet.source.finished_at IS 'when it had fetched all there is, and ended; null before';
COMMENT ON COLUMN evilnet.source.home IS 'evilnet.home() of the database that fetches; in a copy or a restored dump nothing starts until resume_source()';
COMMENT ON COLUMN evilnet.source.created_at IS 'when create_source was called';

CREATE TABLE evilnet.source_position (
	source_id int PRIMARY KEY REFERENCES evilnet.source ON DELETE CASCADE,
	cursor jsonb,
	messages bigint NOT NULL DEFAULT 0,
	bytes bigint NOT NULL DEFAULT 0,
	duplicates bigint NOT NULL DEFAULT 0,
	month date,
	month_messages bigint NOT NULL DEFAULT 0,
	updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);	-- updated at every checkpoint: leave room for HOT
COMMENT ON TABLE evilnet.source_position IS 'how far each source has fetched: written only after Kafka acknowledged, or the stream stored, all that it covers';
COMMENT ON COLUMN evilnet.source_position.source_id IS 'the source';
COMMENT ON COLUMN evilnet.source_position.cursor IS 'where to go on, in the words of the network or archive; null at the beginning';
COMMENT ON COLUMN evilnet.source_position.messages IS 'messages handed on so far; what was fetched again after a crash counts again';
COMMENT ON COLUMN evilnet.source_position.bytes IS 'their bytes';
COMMENT ON COLUMN evilnet.source_position.duplicates IS 'those of them that the stream had already; 0 with a topic';
COMMENT ON COLUMN evilnet.source_position.month IS 'first day (UTC) of the month of month_messages';
COMMENT ON COLUMN evilnet.source_position.month_messages IS 'messages handed on in that month, which the budget is for';
COMMENT ON COLUMN evilnet.source_position.updated_at IS 'when it was last written';

CREATE TABLE evilnet.source_dead_letter (
	source_id int NOT NULL REFERENCES evilnet.source ON DELETE CASCADE,
	cursor jsonb,
	reason text NOT NULL,
	payload bytea NOT NULL,
	received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE evilnet.source_dead_letter IS 'messages that a source could not hand on, with the reason; what a stream cannot store is in evilnet.dead_letter';
COMMENT ON COLUMN evilnet.source_dead_letter.source_id IS 'the source';
COMMENT ON COLUMN evilnet.source_dead_letter.cursor IS 'a position soon after the message';
COMMENT ON COLUMN evilnet.source_dead_letter.reason IS 'stable code: too_large (above message.max.bytes of the Kafka server, or 4 MB)';
COMMENT ON COLUMN evilnet.source_dead_letter.payload IS 'the first 64 kB of the message';
COMMENT ON COLUMN evilnet.source_dead_letter.received_at IS 'when it was set aside';

CREATE TABLE evilnet.source_gap (
	source_id int NOT NULL REFERENCES evilnet.source ON DELETE CASCADE,
	since timestamptz NOT NULL,
	until timestamptz NOT NULL,
	reason text NOT NULL,
	noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE evilnet.source_gap IS 'spans of time in which a source was not connected, and what was posted could not be fetched later';
COMMENT ON COLUMN evilnet.source_gap.source_id IS 'the source';
COMMENT ON COLUMN evilnet.source_gap.since IS 'when the last message before the gap came';
COMMENT ON COLUMN evilnet.source_gap.until IS 'when the source was connected again';
COMMENT ON COLUMN evilnet.source_gap.reason IS 'why it could not be filled';
COMMENT ON COLUMN evilnet.source_gap.noted_at IS 'when that was found';

GRANT SELECT ON evilnet.source, evilnet.source_position, evilnet.source_dead_letter, evilnet.source_gap TO PUBLIC;
CREATE FUNCTION evilnet.sees_source(owner regrole) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT pg_catalog.pg_has_role(sees_source.owner, 'USAGE')
		OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'evilnet_reader' AND pg_catalog.pg_has_role(r.oid, 'USAGE'));
END;
COMMENT ON FUNCTION evilnet.sees_source(regrole) IS 'whether the current user owns what that role owns or is a member of evilnet_reader';
ALTER TABLE evilnet.source ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.source_position ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.source_dead_letter ENABLE ROW LEVEL SECURITY;
ALTER TABLE evilnet.source_gap ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON evilnet.source FOR SELECT USING (evilnet.sees_source(owner));
CREATE POLICY see ON evilnet.source_position FOR SELECT
	USING (EXISTS (SELECT FROM evilnet.source s WHERE s.source_id = source_position.source_id));
CREATE POLICY see ON evilnet.source_dead_letter FOR SELECT
	USING (EXISTS (SELECT FROM evilnet.source s WHERE s.source_id = source_dead_letter.source_id));
CREATE POLICY see ON evilnet.source_gap FOR SELECT
	USING (EXISTS (SELECT FROM evilnet.source s WHERE s.source_id = source_gap.source_id));
SELECT pg_catalog.pg_extension_config_dump('evilnet.source', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.source_source_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.source_position', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.source_dead_letter', '');
SELECT pg_catalog.pg_extension_config_dump('evilnet.source_gap', '');
CREATE TRIGGER source_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evilnet.source
	FOR EACH STATEMENT EXECUTE FUNCTION evilnet.stream_changed();

CREATE FUNCTION evilnet.create_source(
	name text,
	server name,
	endpoint text,
	params jsonb DEFAULT '{}',
	to_server name DEFAULT NULL,
	topic text DEFAULT NULL,
	to_stream regclass DEFAULT NULL,
	if_not_exists boolean DEFAULT false)
RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'evn_source_admin_create';
COMMENT ON FUNCTION evilnet.create_source(text, name, text, jsonb, name, text, regclass, boolean) IS
'fetch posts from a server of evilnet_http and publish them to a Kafka topic, or store them into a stream; needs USAGE on the servers, ownership of the stream, for archives pg_read_server_files; starts at commit';

CREATE FUNCTION evilnet.check_source(server name, endpoint text, params jsonb DEFAULT '{}',
	OUT action text, OUT value text, OUT tag text, OUT problem text)
RETURNS SETOF record
LANGUAGE C STRICT VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'evn_source_admin_check';
COMMENT ON FUNCTION evilnet.check_source(name, text, jsonb) IS
'dry run of create_source: raises what it would raise, then asks the network and lists the rules that would be added, deleted (others of the same app) or kept, and what the network does not like about each; changes nothing; needs USAGE on the server';

CREATE FUNCTION evilnet.alter_source(name text, params jsonb) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_source_admin_alter';
COMMENT ON FUNCTION evilnet.alter_source(text, jsonb) IS
'give a source other parameters (rules, budget); its worker goes on with them, from where it is, at commit; needs ownership';

CREATE FUNCTION evilnet.drop_source(name text, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_source_admin_drop';
COMMENT ON FUNCTION evilnet.drop_source(text, boolean) IS
'stop a source at commit and forget it and its position; what it fetched stays; needs ownership';

CREATE FUNCTION evilnet.pause_source(name text) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_source_admin_pause';
COMMENT ON FUNCTION evilnet.pause_source(text) IS
'stop the worker of a source at commit; its position is kept; needs ownership or evilnet_operator';

CREATE FUNCTION evilnet.resume_source(name text) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'evn_source_admin_resume';
COMMENT ON FUNCTION evilnet.resume_source(text) IS
'start the worker of a paused, ended or restored source at commit, from the position kept; needs ownership or evilnet_operator';

CREATE FUNCTION evilnet.source_slots(
	OUT source_id int, OUT state text, OUT pid int, OUT messages_per_second float8,
	OUT connected_since timestamptz, OUT received_at timestamptz, OUT reconnects bigint,
	OUT requests_left bigint, OUT requests_reset_at timestamptz,
	OUT last_error text, OUT last_error_at timestamptz)
RETURNS SETOF record
LANGUAGE C STRICT VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'evn_source_admin_slots';
COMMENT ON FUNCTION evilnet.source_slots() IS 'worker slots of this database''s sources in shared memory, of those the current user sees; see evilnet.stat_source';

CREATE VIEW evilnet.stat_source WITH (security_barrier) AS
	SELECT s.name AS source,
		CASE WHEN s.stop_reason IS NOT NULL THEN 'stopped'
			WHEN s.finished_at IS NOT NULL THEN 'finished'
			WHEN NOT s.enabled THEN 'paused'
			WHEN s.home <> evilnet.home() THEN 'restored'
			WHEN EXISTS (SELECT FROM evilnet.stream t WHERE t.stream = s.to_stream AND NOT t.enabled) THEN 'stream paused'
			ELSE coalesce(k.state, 'waiting') END AS state,
		k.pid,
		coalesce(k.messages_per_second, 0) AS messages_per_second,
		coalesce(p.messages, 0) AS messages,
		coalesce(p.bytes, 0) AS bytes,
		coalesce(p.duplicates, 0) AS duplicates,
		k.connected_since,
		k.received_at,
		k.reconnects,
		k.requests_left,
		k.requests_reset_at,
		(SELECT count(*) FROM evilnet.source_gap g WHERE g.source_id = s.source_id) AS gaps,
		CASE WHEN p.month >= pg_catalog.date_trunc('month', pg_catalog.now() AT TIME ZONE 'UTC') THEN p.month_messages ELSE 0 END AS month_messages,
		CASE WHEN p.month >= pg_catalog.date_trunc('month', pg_catalog.now() AT TIME ZONE 'UTC') THEN p.month_messages ELSE 0 END
			* (s.params->>'price')::numeric AS month_spend,
		p.cursor,
		p.updated_at,
		coalesce(s.stop_reason, k.last_error) AS last_error,
		k.last_error_at
	FROM evilnet.source s
		LEFT JOIN evilnet.source_position p USING (source_id)
		LEFT JOIN evilnet.source_slots() k USING (source_id)
	WHERE evilnet.sees_source(s.owner);
COMMENT ON VIEW evilnet.stat_source IS 'one row per source: state, speed, totals, position, last error; a source is shown to its owner and evilnet_reader';
COMMENT ON COLUMN evilnet.stat_source.source IS 'name of the source';
COMMENT ON COLUMN evilnet.stat_source.state IS 'waiting (for the launcher or a free worker slot), starting, connecting, running, idle (nothing to fetch now), backoff (will retry), paused, finished (all there is was fetched; resume_source() looks for more), stopped (see last_error), restored (from a dump or as a copy: starts at resume_source()), budget spent (waits for the next month), stream paused (the stream it stores into is paused or stopped)';
COMMENT ON COLUMN evilnet.stat_source.pid IS 'process id of the worker';
COMMENT ON COLUMN evilnet.stat_source.messages_per_second IS 'messages handed on per second, smoothed over about ten seconds';
COMMENT ON COLUMN evilnet.stat_source.messages IS 'messages handed on so far; what was fetched again after a crash counts again';
COMMENT ON COLUMN evilnet.stat_source.bytes IS 'their bytes';
COMMENT ON COLUMN evilnet.stat_source.duplicates IS 'those of them that the stream had already; 0 with a topic, where the stream of the topic counts them';
COMMENT ON COLUMN evilnet.stat_source.connected_since IS 'when the connection that is open was made; null without one';
COMMENT ON COLUMN evilnet.stat_source.received_at IS 'when anything was last received, keep-alives included';
COMMENT ON COLUMN evilnet.stat_source.reconnects IS 'how often the worker, since its start, has connected again';
COMMENT ON COLUMN evilnet.stat_source.requests_left IS 'requests that the network still takes from this source, as far as it says so';
COMMENT ON COLUMN evilnet.stat_source.requests_reset_at IS 'when it takes more again';
COMMENT ON COLUMN evilnet.stat_source.gaps IS 'how often posts were missed that could not be fetched later; see evilnet.source_gap';
COMMENT ON COLUMN evilnet.stat_source.month_messages IS 'messages handed on in this month (UTC), which parameters monthly_posts and monthly_spend limit';
COMMENT ON COLUMN evilnet.stat_source.month_spend IS 'their price, by parameter price; null without';
COMMENT ON COLUMN evilnet.stat_source.cursor IS 'where it goes on after a restart';
COMMENT ON COLUMN evilnet.stat_source.updated_at IS 'when that position was stored';
COMMENT ON COLUMN evilnet.stat_source.last_error IS 'why it stopped, or the last error of the worker';
COMMENT ON COLUMN evilnet.stat_source.last_error_at IS 'when that error happened';
GRANT SELECT ON evilnet.stat_source TO PUBLIC;

CREATE VIEW evilnet.stat_stage AS
	SELECT c.relname::text AS stream, k.worker, t.stage, k.stage_us[t.position] AS microseconds, k.batch_messages AS messages
	FROM evilnet.worker_slots() k
		JOIN pg_catalog.pg_class c ON c.oid = k.stream AND k.worker >= 0
		CROSS JOIN LATERAL pg_catalog.unnest(ARRAY['fetch', 'decode', 'resolve', 'insert', 'merge', 'commit'])
			WITH ORDINALITY t(stage, position);
COMMENT ON VIEW evilnet.stat_stage IS 'time each stage of ingest has taken, per stream and worker, since the worker''s slot was taken';
COMMENT ON COLUMN evilnet.stat_stage.stream IS 'name of the stream''s table';
COMMENT ON COLUMN evilnet.stat_stage.worker IS 'number of the worker';
COMMENT ON COLUMN evilnet.stat_stage.stage IS 'fetch (without waiting), decode, resolve (city), insert (dedup, rows, deletes), merge (aggregates), commit (positions, journal, commit)';
COMMENT ON COLUMN evilnet.stat_stage.microseconds IS 'time taken, microseconds';
COMMENT ON COLUMN evilnet.stat_stage.messages IS 'messages stored in that time';
GRANT SELECT ON evilnet.stat_stage TO PUBLIC;

CREATE VIEW evilnet.stat_watermark WITH (security_barrier) AS
	SELECT c.relname::text AS stream,
		o.stream AS relation,
		o.kafka_partition,
		o.next_offset,
		o.event_until,
		o.covered_since,
		o.covered_until,
		(SELECT count(*) FROM evilnet.coverage_span s WHERE s.stream = o.stream AND s.kafka_partition = o.kafka_partition) AS holes,
		extract(epoch FROM clock_timestamp() - o.covered_until)::float8 AS seconds_behind
	FROM evilnet.stream_offset o
		JOIN pg_catalog.pg_class c ON c.oid = o.stream
	WHERE evilnet.sees_stream(o.stream);
COMMENT ON VIEW evilnet.stat_watermark IS 'one row per stream and Kafka partition: how far it was consumed, by time; a stream is shown to its owner and evilnet_reader';
COMMENT ON COLUMN evilnet.stat_watermark.stream IS 'name of the stream''s table';
COMMENT ON COLUMN evilnet.stat_watermark.relation IS 'the stream''s table';
COMMENT ON COLUMN evilnet.stat_watermark.kafka_partition IS 'Kafka partition number';
COMMENT ON COLUMN evilnet.stat_watermark.next_offset IS 'offset of the next message to store';
COMMENT ON COLUMN evilnet.stat_watermark.event_until IS 'latest created_at of a post that came through it';
COMMENT ON COLUMN evilnet.stat_watermark.covered_since IS 'everything from this time on, by Kafka''s time, was consumed ...; null until the first message after the start or after a hole';
COMMENT ON COLUMN evilnet.stat_watermark.covered_until IS '... up to this time';
COMMENT ON COLUMN evilnet.stat_watermark.holes IS 'how often that broke off: messages expired before they were read, seek(), a re-created topic; see evilnet.coverage_span';
COMMENT ON COLUMN evilnet.stat_watermark.seconds_behind IS 'how long ago covered_until is; an idle stream comes up to now once a minute';
GRANT SELECT ON evilnet.stat_watermark TO PUBLIC;

CREATE VIEW evilnet.stat_continuous_aggregate WITH (security_barrier) AS
	SELECT n.nspname::text AS schema,
		c.relname::text AS aggregate,
		a.aggregate AS relation,
		a.stream,
		a.source,
		CASE WHEN NOT a.enabled THEN 'paused'
			WHEN a.built_from IS NULL THEN 'complete'
			WHEN k.state IN ('starting', 'connecting', 'running') THEN 'building'
			ELSE 'to be built' END AS state,
		a.built_from,
		a.results_since,
		nullif(a.retention, '0') AS retention,
		a.notify,
		a.replaces,
		z.rows,
		z.bytes,
		(SELECT coalesce(sum(l.rows), 0)::bigint FROM evilnet.late_row l WHERE l.aggregate = a.aggregate) AS late_rows,
		CASE WHEN a.built_from IS NOT NULL THEN k.pid END AS builder_pid,
		CASE WHEN a.built_from IS NOT NULL THEN k.last_error END AS last_error
	FROM evilnet.continuous_aggregate a
		JOIN pg_catalog.pg_class c ON c.oid = a.aggregate
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN evilnet.worker_slots() k ON k.stream = a.stream AND k.worker = -1
		CROSS JOIN LATERAL (
			SELECT coalesce(sum(greatest(s.reltuples, 0)), 0)::bigint AS rows,
				coalesce(sum(pg_catalog.pg_total_relation_size(t.relid)), 0)::bigint AS bytes
			FROM pg_catalog.pg_partition_tree(a.storage) t
				JOIN pg_catalog.pg_class s ON s.oid = t.relid
			WHERE t.isleaf) z
	WHERE evilnet.sees_stream(a.stream);
COMMENT ON VIEW evilnet.stat_continuous_aggregate IS 'one row per continuous aggregate: state, progress of building, size; shown to the stream''s owner and evilnet_reader';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.schema IS 'schema of the view to read';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.aggregate IS 'name of the view to read';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.relation IS 'the view to read';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.source IS 'what its query reads: the stream''s table, or another aggregate';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.state IS 'complete, to be built (waits for its builder), building, paused';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.built_from IS 'while it is built: buckets from this time on are there and kept up to date, older ones follow, newest first';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.results_since IS 'buckets before this time were dropped by its retention';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.retention IS 'how long buckets are kept; null for ever';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.notify IS 'whether batches notify channel evilnet_<aggregate>';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.replaces IS 'the aggregate whose name it takes as soon as it is built';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.rows IS 'rows of its storage, as last analyzed';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.bytes IS 'size of its storage with indexes, bytes';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.late_rows IS 'posts counted into a bucket that was over by the time of posts stored before';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.builder_pid IS 'process id of the builder';
COMMENT ON COLUMN evilnet.stat_continuous_aggregate.last_error IS 'last error of the builder';
GRANT SELECT ON evilnet.stat_continuous_aggregate TO PUBLIC;

CREATE VIEW evilnet.stat_schedule WITH (security_barrier) AS
	SELECT s.name, s.stream, s.aggregate, s.kind, s.schedule, s.span, s.statement, s.owner,
		j.active, j.last_run, j.last_status, j.last_message
	FROM evilnet.schedule s LEFT JOIN evilnet.schedule_jobs() j ON j.name = s.name
	WHERE evilnet.sees_stream(s.stream) OR pg_catalog.pg_has_role(s.owner, 'USAGE');
COMMENT ON VIEW evilnet.stat_schedule IS 'one row per schedule, shown to who scheduled it, the stream''s owner and evilnet_reader';
COMMENT ON COLUMN evilnet.stat_schedule.name IS 'its name';
COMMENT ON COLUMN evilnet.stat_schedule.stream IS 'the stream''s table';
COMMENT ON COLUMN evilnet.stat_schedule.aggregate IS 'the continuous aggregate that is refreshed';
COMMENT ON COLUMN evilnet.stat_schedule.kind IS 'maintenance, refresh or statement';
COMMENT ON COLUMN evilnet.stat_schedule.schedule IS 'when it runs, as pg_cron writes it';
COMMENT ON COLUMN evilnet.stat_schedule.span IS 'refresh: how far back from now';
COMMENT ON COLUMN evilnet.stat_schedule.statement IS 'statement: what is run';
COMMENT ON COLUMN evilnet.stat_schedule.owner IS 'who scheduled it, with whose rights it runs';
COMMENT ON COLUMN evilnet.stat_schedule.active IS 'whether pg_cron has the job and runs it; this and the next columns are null for schedules of others, whose jobs pg_cron does not show';
COMMENT ON COLUMN evilnet.stat_schedule.last_run IS 'when it last began';
COMMENT ON COLUMN evilnet.stat_schedule.last_status IS 'what became of that run';
COMMENT ON COLUMN evilnet.stat_schedule.last_message IS 'its message or error';
GRANT SELECT ON evilnet.stat_schedule TO PUBLIC;

CREATE VIEW evilnet.stat_retention WITH (security_barrier) AS
	SELECT r.relation, r.kind, nullif(r.retention, '0') AS retention, p.partitions, p.bytes, r.dropped_until, r.held_by
	FROM (
		SELECT s.stream AS relation, s.stream AS table, 'stream' AS kind, s.retention, s.rows_since AS dropped_until,
			CASE WHEN s.retention > '0' THEN evilnet.posts_held_by(s.stream) END AS held_by
		FROM evilnet.stream s WHERE evilnet.sees_stream(s.stream)
		UNION ALL
		SELECT a.aggregate, a.storage, 'continuous aggregate', a.retention, a.results_since, NULL
		FROM evilnet.continuous_aggregate a WHERE evilnet.sees_stream(a.stream)) r
		CROSS JOIN LATERAL (
			SELECT count(*) AS partitions, coalesce(sum(pg_catalog.pg_total_relation_size(t.relid)), 0)::bigint AS bytes
			FROM pg_catalog.pg_partition_tree(r.table) t WHERE t.isleaf) p;
COMMENT ON VIEW evilnet.stat_retention IS 'one row per stream and continuous aggregate: how long it is kept, how large it is, what holds it back; shown to the stream''s owner and evilnet_reader';
COMMENT ON COLUMN evilnet.stat_retention.relation IS 'the stream''s table or the aggregate''s view';
COMMENT ON COLUMN evilnet.stat_retention.kind IS 'stream or continuous aggregate';
COMMENT ON COLUMN evilnet.stat_retention.retention IS 'how long posts or buckets are kept; null for ever';
COMMENT ON COLUMN evilnet.stat_retention.partitions IS 'partitions there are';
COMMENT ON COLUMN evilnet.stat_retention.bytes IS 'their size with indexes, bytes';
COMMENT ON COLUMN evilnet.stat_retention.dropped_until IS 'what is older than this was dropped; null for nothing';
COMMENT ON COLUMN evilnet.stat_retention.held_by IS 'why posts past the retention are still there; null when nothing needs them';
GRANT SELECT ON evilnet.stat_retention TO PUBLIC;

-- ---------------------------------------------------------------------------
-- Reports
-- ---------------------------------------------------------------------------

CREATE FUNCTION evilnet.city_counts(
	stream regclass,
	width interval DEFAULT '5 minutes',
	since timestamptz DEFAULT now() - interval '1 hour',
	until timestamptz DEFAULT now(),
	cities text[] DEFAULT NULL,
	countries text[] DEFAULT NULL,
	regions text[] DEFAULT NULL,
	box float8[] DEFAULT NULL,
	near text DEFAULT NULL,
	radius_km float8 DEFAULT 50,
	min_population bigint DEFAULT NULL,
	max_population bigint DEFAULT NULL,
	slide interval DEFAULT NULL,
	cumulative boolean DEFAULT false,
	timezone text DEFAULT 'UTC',
	fill text DEFAULT NULL)
RETURNS TABLE (window_start timestamptz, window_end timestamptz, city_id int, city text, country_code text, country text,
	tweets bigint, retweets bigint, authors bigint, coverage text)
LANGUAGE C STABLE PARALLEL SAFE ROWS 1000 AS 'MODULE_PATHNAME', 'evn_report_city_counts';
COMMENT ON FUNCTION evilnet.city_counts(regclass, interval, timestamptz, timestamptz, text[], text[], text[], float8[], text, float8, bigint, bigint, interval, boolean, text, text) IS
'posts per window and city: whole windows of the given width (minutes, days, months) that start in [since, until), by the clock of timezone (local: each city''s own); slide makes them hop, cumulative lets each begin where the first does; fill (zero, null, last) returns windows without posts too; authors are distinct by hll, null without it; coverage is the worst state of evilnet.coverage in the window; posts without a city have city_id 0; needs SELECT on <stream>_by_city';

CREATE FUNCTION evilnet.city_series(
	stream regclass,
	width interval DEFAULT '1 hour',
	since timestamptz DEFAULT now() - interval '1 day',
	until timestamptz DEFAULT now(),
	cities text[] DEFAULT NULL,
	countries text[] DEFAULT NULL,
	regions text[] DEFAULT NULL,
	box float8[] DEFAULT NULL,
	near text DEFAULT NULL,
	radius_km float8 DEFAULT 50,
	min_population bigint DEFAULT NULL,
	max_population bigint DEFAULT NULL,
	slide interval DEFAULT NULL,
	cumulative boolean DEFAULT false,
	timezone text DEFAULT 'UTC',
	fill text DEFAULT 'zero',
	compare text DEFAULT NULL)
RETURNS TABLE (window_start timestamptz, window_end timestamptz, city_id int, city text, country_code text, country text,
	tweets bigint, retweets bigint, authors bigint, coverage text,
	compared_start timestamptz, compared_tweets bigint, compared_retweets bigint, compared_authors bigint)
LANGUAGE C STABLE PARALLEL SAFE ROWS 1000 AS 'MODULE_PATHNAME', 'evn_report_city_series';
COMMENT ON FUNCTION evilnet.city_series(regclass, interval, timestamptz, timestamptz, text[], text[], text[], float8[], text, float8, bigint, bigint, interval, boolean, text, text, text) IS
'time series per city: as evilnet.city_counts, city by city, with gaps filled; compare puts beside each window the one of the period just before (previous), or of the same local time a day or a week earlier (day, week), null where it has no posts';

CREATE FUNCTION evilnet.top_cities(
	stream regclass,
	since timestamptz DEFAULT now() - interval '1 hour',
	until timestamptz DEFAULT now(),
	metric text DEFAULT 'tweets',
	n int DEFAULT 10,
	min_tweets bigint DEFAULT 1,
	cities text[] DEFAULT NULL,
	countries text[] DEFAULT NULL,
	regions text[] DEFAULT NULL,
	box float8[] DEFAULT NULL,
	near text DEFAULT NULL,
	radius_km float8 DEFAULT 50,
	min_population bigint DEFAULT NULL,
	max_population bigint DEFAULT NULL)
RETURNS TABLE (rank bigint, city_id int, city text, country_code text, country text,
	tweets bigint, retweets bigint, authors bigint, value float8, lon float8, lat float8)
LANGUAGE C STABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'evn_report_top_cities';
COMMENT ON FUNCTION evilnet.top_cities(regclass, timestamptz, timestamptz, text, int, bigint, text[], text[], text[], float8[], text, float8, bigint, bigint) IS
'the n best cities by a metric (tweets, retweets, authors, or one of these _per_100k inhabitants) over the one-minute buckets that start in [since, until); equals share a rank and are sorted by tweets, name and city_id; cities with fewer than min_tweets, posts without a city and, per 100k, cities of unknown population are left out; needs SELECT on <stream>_by_city';

CREATE FUNCTION evilnet.bottom_cities(
	stream regclass,
	since timestamptz DEFAULT now() - interval '1 hour',
	until timestamptz DEFAULT now(),
	metric text DEFAULT 'tweets',
	n int DEFAULT 10,
	min_tweets bigint DEFAULT 1,
	cities text[] DEFAULT NULL,
	countries text[] DEFAULT NULL,
	regions text[] DEFAULT NULL,
	box float8[] DEFAULT NULL,
	near text DEFAULT NULL,
	radius_km float8 DEFAULT 50,
	min_population bigint DEFAULT NULL,
	max_population bigint DEFAULT NULL)
RETURNS TABLE (rank bigint, city_id int, city text, country_code text, country text,
	tweets bigint, retweets bigint, authors bigint, value float8, lon float8, lat float8)
LANGUAGE C STABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'evn_report_bottom_cities';
COMMENT ON FUNCTION evilnet.bottom_cities(regclass, timestamptz, timestamptz, text, int, bigint, text[], text[], text[], float8[], text, float8, bigint, bigint) IS
'the n worst cities by a metric, of those with posts; as evilnet.top_cities';

CREATE FUNCTION evilnet.city_map(
	stream regclass,
	since timestamptz DEFAULT now() - interval '1 hour',
	until timestamptz DEFAULT now(),
	metric text DEFAULT 'tweets',
	n int DEFAULT 1000,
	min_tweets bigint DEFAULT 1,
	cities text[] DEFAULT NULL,
	countries text[] DEFAULT NULL,
	regions text[] DEFAULT NULL,
	box float8[] DEFAULT NULL,
	near text DEFAULT NULL,
	radius_km float8 DEFAULT 50,
	min_population bigint DEFAULT NULL,
	max_population bigint DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT jsonb_build_object('type', 'FeatureCollection', 'features', coalesce(jsonb_agg(
		jsonb_build_object('type', 'Feature', 'id', t.city_id,
			'geometry', jsonb_build_object('type', 'Point', 'coordinates', jsonb_build_array(t.lon, t.lat)),
			'properties', jsonb_build_object('rank', t.rank, 'city', t.city, 'country_code', t.country_code,
				'country', t.country, 'tweets', t.tweets, 'retweets', t.retweets, 'authors', t.authors, 'value', t.value))
		ORDER BY t.rank, t.tweets DESC, t.city, t.city_id), '[]'))
	FROM evilnet.top_cities(city_map.stream, city_map.since, city_map.until, city_map.metric, city_map.n, city_map.min_tweets,
		city_map.cities, city_map.countries, city_map.regions, city_map.box, city_map.near, city_map.radius_km,
		city_map.min_population, city_map.max_population) t;
END;
COMMENT ON FUNCTION evilnet.city_map(regclass, timestamptz, timestamptz, text, int, bigint, text[], text[], text[], float8[], text, float8, bigint, bigint) IS
'evilnet.top_cities as a map: a GeoJSON FeatureCollection (RFC 7946) with a point per city';

CREATE FUNCTION evilnet.trend_score(observed float8, expected float8, dispersion float8 DEFAULT 0) RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'evn_report_trend_score';
COMMENT ON FUNCTION evilnet.trend_score(float8, float8, float8) IS
'how surprising a count is: signed root of the deviance from a negative binomial distribution with that mean and variance expected + dispersion * expected^2; about standard normal when nothing happens';

CREATE FUNCTION evilnet.trend_p_value(score float8) RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'evn_report_trend_p_value';
COMMENT ON FUNCTION evilnet.trend_p_value(float8) IS 'probability of a score at least as high by chance';

CREATE FUNCTION evilnet.trending_cities(
	stream regclass,
	at timestamptz DEFAULT NULL,
	span interval DEFAULT '1 hour',
	n int DEFAULT 10,
	min_tweets bigint DEFAULT 10,
	min_ratio float8 DEFAULT 1.5,
	max_fdr float8 DEFAULT 0.02,
	covered boolean DEFAULT true,
	cities text[] DEFAULT NULL,
	countries text[] DEFAULT NULL,
	regions text[] DEFAULT NULL,
	box float8[] DEFAULT NULL,
	near text DEFAULT NULL,
	radius_km float8 DEFAULT 50,
	min_population bigint DEFAULT NULL,
	max_population bigint DEFAULT NULL)
RETURNS TABLE (city_id int, city text, country_code text, country text, state text,
	tweets bigint, expected float8, ratio float8, score float8, p_value float8, q_value float8,
	share float8, expected_share float8, baselines int, window_start timestamptz, window_end timestamptz, reason text)
LANGUAGE C STABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'evn_report_trending_cities';
COMMENT ON FUNCTION evilnet.trending_cities(regclass, timestamptz, interval, int, bigint, float8, float8, boolean, text[], text[], text[], float8[], text, float8, bigint, bigint) IS
'cities that post more than expected in the span before at (null: up to the watermark): at least min_tweets posts, min_ratio times the expectation, and a false discovery rate of max_fdr at most; staying is one that was so in the span before and is still out of the ordinary; the most surprising first; nothing while the window was not consumed completely, unless covered is false; needs SELECT on <stream>_by_city';

CREATE FUNCTION evilnet.trending_hashtags(
	stream regclass,
	city text DEFAULT NULL,
	at timestamptz DEFAULT NULL,
	span interval DEFAULT '1 hour',
	history interval DEFAULT '6 hours',
	n int DEFAULT 10,
	min_tweets bigint DEFAULT 10,
	min_ratio float8 DEFAULT 2,
	max_fdr float8 DEFAULT 0.02,
	covered boolean DEFAULT true)
RETURNS TABLE (hashtag text, state text, tweets bigint, expected float8, ratio float8, score float8, p_value float8, q_value float8,
	share float8, expected_share float8, window_start timestamptz, window_end timestamptz, reason text)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	until timestamptz := date_trunc('minute', coalesce(trending_hashtags.at, evilnet.watermark(trending_hashtags.stream)));
	-- rounded up to buckets of a minute, as all reports
	places int[];
BEGIN
	IF stream IS NULL OR span IS NULL OR history IS NULL OR n IS NULL OR min_tweets IS NULL OR min_ratio IS NULL
		OR max_fdr IS NULL OR covered IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'only "city" and "at" may be null';
	END IF;
	IF span < '1 minute' OR history < '1 minute' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'arguments "span" and "history" must be at least a minute';
	END IF;
	IF until IS NULL OR NOT isfinite(until) THEN
		RETURN;
	END IF;
	IF covered AND EXISTS (SELECT FROM evilnet.coverage(trending_hashtags.stream, until - 2 * span - history, until) c
			WHERE c.state <> 'complete') THEN
		RETURN;
	END IF;
	IF city IS NOT NULL THEN
		SELECT array_agg(c.city_id) INTO places FROM evilnet.find_city(trending_hashtags.city) c;
		IF places IS NULL THEN
			RAISE undefined_object USING MESSAGE = format('city "%s" is not in the gazetteer', city), HINT = 'Look it up in evilnet.city.';
		END IF;
	END IF;
	RETURN QUERY EXECUTE format($query$
		WITH eval(e, low, high) AS (
			VALUES (0, $1 - $2, $1), (1, $1 - 2 * $2, $1 - $2)),
		post AS MATERIALIZED (
			SELECT t.created_at, (SELECT array_agg(DISTINCT lower(h)) FROM unnest(t.hashtags) h) AS tags
			FROM %s t WHERE t.created_at >= $1 - 2 * $2 - $3 AND t.created_at < $1 AND ($4 IS NULL OR t.city_id = ANY ($4))),
		total AS (
			SELECT v.e, v.low, v.high, count(*) FILTER (WHERE p.created_at >= v.low) AS now, count(*) FILTER (WHERE p.created_at < v.low) AS before
			FROM eval v JOIN post p ON p.created_at >= v.low - $3 AND p.created_at < v.high GROUP BY 1, 2, 3),
		tag AS (
			SELECT v.e, h.tag, count(*) FILTER (WHERE p.created_at >= v.low) AS now, count(*) FILTER (WHERE p.created_at < v.low) AS before
			FROM eval v JOIN post p ON p.created_at >= v.low - $3 AND p.created_at < v.high CROSS JOIN LATERAL unnest(p.tags) h(tag)
			GROUP BY 1, 2),
		guess AS (
			SELECT g.e, g.tag, g.now, g.before, l.low, l.high, l.now AS posts, (g.before + 0.25) / (l.before + 0.25) AS share
			FROM tag g JOIN total l USING (e)),
		judged AS (
			SELECT u.*, u.posts * u.share AS mean,
				-- the share is known from so many posts only
				evilnet.trend_score(u.now, u.posts * u.share, 0.1 + 1 / (u.before + 0.5)) AS score
			FROM guess u WHERE u.posts > 0),
		ranked AS (
			SELECT j.*, evilnet.trend_p_value(j.score) AS p, count(*) OVER (PARTITION BY j.e) AS tests,
				row_number() OVER (PARTITION BY j.e ORDER BY j.score DESC, j.tag) AS place
			FROM judged j),
		adjusted AS (
			SELECT r.*, least(1, min(r.p * r.tests / r.place) OVER (PARTITION BY r.e ORDER BY r.place DESC)) AS q FROM ranked r),
		decided AS (
			SELECT a.*, a.now >= $6 AND a.now >= $7 * a.mean AND a.q <= $8 AS enters FROM adjusted a)
		SELECT d.tag, CASE WHEN d.enters THEN 'trending' ELSE 'staying' END, d.now, d.mean::float8, (d.now / d.mean)::float8,
			d.score, d.p, d.q::float8, d.now::float8 / d.posts, d.share::float8, d.low, d.high,
			format('%%s posts where %%s were expected: %%s %%%% of all posts, %%s %%%% in the %%s before',
				d.now, round(d.mean::numeric, 1), round(100.0 * d.now / d.posts, 2), round(100 * d.share::numeric, 2), $3)
		FROM decided d
		WHERE d.e = 0 AND (d.enters OR d.score >= 2 AND EXISTS (SELECT FROM decided b WHERE b.e = 1 AND b.tag = d.tag AND b.enters))
		ORDER BY d.score DESC, d.tag LIMIT $5 $query$, stream)
	USING until, span, history, places, n, min_tweets, min_ratio, max_fdr;
END $$;
COMMENT ON FUNCTION evilnet.trending_hashtags(regclass, text, timestamptz, interval, interval, int, bigint, float8, float8, boolean) IS
'hashtags of a city (null: of all) that stand in more posts than expected in the span before at (null: up to the watermark), by their share of the posts of the history before it; columns as in evilnet.trending_cities; reads the stream''s table, on which it needs SELECT';
