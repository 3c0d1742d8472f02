-- The gazetteer: what is built in, how posts are resolved, cities of one's own.
\encoding UTF8

-- built in
SELECT count(*) > 100000 AS cities, count(*) FILTER (WHERE NOT builtin) AS own,
	count(*) FILTER (WHERE city_id = 0) AS no_city
FROM evilnet.city;
SELECT city_id, name, ascii_name, country_code, country, region_code, region,
	round(lon) AS lon, round(lat) AS lat, population > 10000000 AS large
FROM evilnet.city WHERE city_id IN (0, 3448439);
SELECT count(*) AS without_country FROM evilnet.city WHERE city_id <> 0 AND country = country_code;
SELECT count(*) AS aliases_of_nothing FROM evilnet.city_alias a
WHERE NOT EXISTS (SELECT FROM evilnet.city c WHERE c.city_id = a.city_id);
SELECT count(*) AS aliases_of_no_area FROM evilnet.area_alias a
WHERE NOT EXISTS (SELECT FROM evilnet.area r WHERE (r.country_code, r.admin1) = (a.country_code, a.admin1));

-- names
SELECT evilnet.name_key('São Paulo') = evilnet.name_key(' SAO  paulo!') AS same,
	evilnet.name_key('Saint-Étienne') = evilnet.name_key('St. Etienne') AS short,
	evilnet.name_key('Paris') = evilnet.name_key('Pari') AS other,
	evilnet.name_key(' ,') AS nothing;
SELECT city_id, name, country_code FROM evilnet.find_city('köln');
SELECT city_id, name, country_code FROM evilnet.find_city('LONDON', 'ca');
SELECT name, region_code FROM evilnet.find_city('portland', 'US') LIMIT 2;
SELECT count(*) FROM evilnet.find_city('no such city');
SELECT count(*) AS no_city FROM evilnet.find_city('Earth') WHERE city_id = 0;

-- resolution
CREATE FUNCTION pg_temp.city(place text DEFAULT NULL, country_code text DEFAULT NULL,
	lon float8 DEFAULT NULL, lat float8 DEFAULT NULL, profile text DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', r.city_source, c.name, c.region_code, c.country_code)
	FROM evilnet.resolve_city(place, country_code, lon, lat, profile) r JOIN evilnet.city c USING (city_id)
$$;
SELECT place, country_code, pg_temp.city(place, country_code)
FROM (VALUES ('Toronto, Ontario', 'CA'), ('Portland, OR', 'US'), ('Portland, ME', 'US'), ('Adelaide', 'AU'),
	('München, Bayern', 'DE'), ('St Louis, MO', 'US'), ('Paddington, London', 'GB'), ('Distrito Federal, México', 'MX'),
	('California, USA', 'US'), ('New York, USA', 'US'), ('Australia', 'AU'), ('Singapore', 'SG'),
	('', 'US'), (NULL, 'US')) v(place, country_code);
SELECT lon, lat, pg_temp.city(lon => lon, lat => lat)
FROM (VALUES (151.2, -33.9), (151.27, -33.89), (-79.38, 43.65), (2.35, 48.85), (0, 0), (179.99, -89.9), (200, 0), ('NaN', 0)) v(lon, lat);
SELECT left(profile, 24) AS profile, pg_temp.city(profile => profile)
FROM (VALUES ('NYC'), ('austin tx'), ('London, Ontario'), ('London'), ('Washington DC'), ('Москва'), ('東京'), ('القاهرة'),
	('📍 Lagos 🇳🇬'), ('Living life | Chicago'), ('Earth'), ('Home'), ('USA'), ('日本'), ('she/her'),
	(repeat('London ', 100))) v(profile);
SELECT pg_temp.city('Toronto', 'CA', 2.35, 48.85, 'Tokyo') AS all_of_them,
	pg_temp.city('Canada', 'CA', 2.35, 48.85, 'Tokyo') AS no_place,
	pg_temp.city('Canada', 'CA', 0, 0, 'Tokyo') AS at_sea,
	pg_temp.city('Canada', 'CA', 0, NULL, 'Tokyo') AS half_a_point,
	pg_temp.city() AS nothing;

-- a change is seen at once, by everybody at commit, and not after a rollback
BEGIN;
INSERT INTO evilnet.city_alias (city_id, alias) VALUES (6167865, 'Hogtown');
SELECT pg_temp.city(profile => 'Hogtown');
ROLLBACK;
SELECT pg_temp.city(profile => 'Hogtown');
BEGIN;
INSERT INTO evilnet.area_alias (country_code, alias) VALUES ('CA', 'Canuckistan');
SELECT pg_temp.city(profile => 'London, Canuckistan');
SAVEPOINT s;
TRUNCATE evilnet.city;
SELECT * FROM evilnet.resolve_city('Toronto', 'CA');
ROLLBACK TO s;
SELECT pg_temp.city('Toronto', 'CA');
ROLLBACK;

-- a row of one's own takes the place of the built-in one; a changed one is one's own
BEGIN;
INSERT INTO evilnet.city (city_id, name, ascii_name, country_code, country, lon, lat, population)
VALUES (6167865, 'Toronto', 'Toronto', 'CA', 'Canada', -79.4, 43.7, 1);
UPDATE evilnet.city SET population = 2 WHERE city_id = 3448439;
SELECT city_id, population, builtin FROM evilnet.city WHERE city_id IN (6167865, 3448439) ORDER BY 1;
INSERT INTO evilnet.city_alias (city_id, alias) SELECT city_id, alias FROM evilnet.city_alias WHERE city_id = 6167865;
SELECT bool_or(builtin) FROM evilnet.city_alias WHERE city_id = 6167865;
ROLLBACK;

-- a GeoNames file: cities only, of the present only, without codes and machine transliterations
CREATE FUNCTION pg_temp.path() RETURNS text LANGUAGE sql AS $$
	SELECT current_setting('data_directory') || '/evilnet_city_test.txt'
$$;
CREATE FUNCTION pg_temp.write(VARIADIC lines text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COPY (SELECT line FROM unnest(%L::text[]) line) TO %L WITH (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\x02'')',
		lines, pg_temp.path());
END $$;
CREATE FUNCTION pg_temp.load_error() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	context text;
BEGIN
	PERFORM evilnet.load_gazetteer(pg_temp.path());
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
	RETURN message || ' @ ' || split_part(context, E'\n', 1);
END $$;
SELECT pg_temp.write(
	E'990000001\tTestville "one" \\ two\tTestville\tProbeville,Проба,xin shi,TVL\t43.5\t-79.9\tP\tPPL\tCA\t\t08\t\t\t\t120000\t\t100\tAmerica/Toronto\t2024-01-01',
	E'990000002\tTest Suburb\tTest Suburb\t\t43.5\t-79.9\tP\tPPLX\tCA\t\t08\t\t\t\t\t\t100\tAmerica/Toronto\t2024-01-01',
	E'990000003\tTest Ruin\tTest Ruin\t\t43.5\t-79.9\tP\tPPLH\tCA\t\t08\t\t\t\t0\t\t100\tAmerica/Toronto\t2024-01-01',
	E'990000004\tTest Hill\tTest Hill\t\t43.5\t-79.9\tT\tHLL\tCA\t\t08\t\t\t\t0\t\t100\tAmerica/Toronto\t2024-01-01',
	E'6167865\tToronto\tToronto\tHogtown\t43.7\t-79.4\tP\tPPLA\tCA\t\t08\t\t\t\t2794356\t\t100\tAmerica/Toronto\t2024-01-01');
BEGIN;
SELECT evilnet.load_gazetteer(pg_temp.path());
SELECT evilnet.load_gazetteer(pg_temp.path()) AS again;
SELECT city_id, name, country, region_code, region, lon, lat, population, section, builtin
FROM evilnet.city WHERE NOT builtin ORDER BY city_id;
SELECT * FROM evilnet.city_alias WHERE NOT builtin ORDER BY city_id, alias;
SELECT pg_temp.city('Test Suburb, ON', 'CA'), pg_temp.city(lon => -79.9, lat => 43.5), pg_temp.city(profile => 'проба, Canada');
ROLLBACK;
SELECT pg_temp.write(E'1\ta\ta\t\t1\t1\tP\tPPL\tCA\t\t08\t\t\t\t1\t\t1\tx\ty', E'2\tb');
SELECT pg_temp.load_error();
SELECT pg_temp.write(E'1\ta\ta\t\t91\t1\tP\tPPL\tCA\t\t08\t\t\t\t1\t\t1\tx\ty');
SELECT regexp_replace(pg_temp.load_error(), ':.*', '');
SELECT pg_temp.write(E'1\ta\ta\t\t1\t1\tP\tPPL\tCA\t\t08\t\t\t\tmany\t\t1\tx\ty');
SELECT pg_temp.load_error();
COPY (SELECT) TO PROGRAM 'rm -f evilnet_city_test.txt';

-- who may
CREATE ROLE regress_evilnet_city;
SET ROLE regress_evilnet_city;
SELECT city_id FROM evilnet.find_city('Toronto', 'CA');
SELECT pg_temp.city(profile => 'Toronto');
SELECT evilnet.load_gazetteer('/nowhere');
INSERT INTO evilnet.city_alias (city_id, alias) VALUES (6167865, 'Hogtown');
RESET ROLE;
GRANT pg_read_server_files TO regress_evilnet_city;
SET ROLE regress_evilnet_city;
\set VERBOSITY terse
SELECT evilnet.load_gazetteer('/no such file');
\set VERBOSITY default
RESET ROLE;
DROP ROLE regress_evilnet_city;
