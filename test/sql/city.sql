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

-- time zones: almost all cities have one, each is known here, and its clock goes with the sun (China's is 3 hours ahead in the west)
SELECT avg((timezone IS NOT NULL)::int) >= 0.99 AS almost_all, count(DISTINCT timezone) > 350 AS zones,
	count(*) FILTER (WHERE timezone NOT IN (SELECT name FROM pg_timezone_names)) AS unknown
FROM evilnet.city WHERE city_id <> 0;
SELECT count(*) FILTER (WHERE least(abs(hours), abs(hours - 24), abs(hours + 24)) > 3.5) AS off, count(*) > 140000 AS compared
FROM (SELECT extract(epoch FROM timezone(timezone, noon) - timezone('UTC', noon)) / 3600 - lon / 15 AS hours
	FROM evilnet.city, (VALUES (timestamptz '2026-01-15 12:00Z')) n(noon)
	WHERE timezone IS NOT NULL) h;
SELECT name, timezone, clock, (SELECT c.timezone FROM evilnet.find_city(name, country_code) c LIMIT 1) IS NOT DISTINCT FROM timezone AS same,
	timezone(timezone, timestamptz '2026-01-15 12:00Z')::time = clock AS same_clock
FROM (VALUES ('Honolulu', 'US', 'Pacific/Honolulu', time '02:00'), ('Taiohae', 'PF', 'Pacific/Marquesas', '02:30'),
	('Vancouver', 'CA', 'America/Vancouver', '04:00'), ('Phoenix', 'US', 'America/Phoenix', '05:00'),
	('Mexico City', 'MX', 'America/Mexico_City', '06:00'), ('Toronto', 'CA', 'America/Toronto', '07:00'),
	('Indianapolis', 'US', 'America/Indiana/Indianapolis', '07:00'), ('Caracas', 'VE', 'America/Caracas', '08:00'),
	('St. John''s', 'CA', 'America/St_Johns', '08:30'), ('São Paulo', 'BR', 'America/Sao_Paulo', '09:00'),
	('Lisbon', 'PT', 'Europe/Lisbon', '12:00'), ('London', 'GB', 'Europe/London', '12:00'),
	('Lagos', 'NG', 'Africa/Lagos', '13:00'), ('Cairo', 'EG', 'Africa/Cairo', '14:00'),
	('Moscow', 'RU', 'Europe/Moscow', '15:00'), ('Tehran', 'IR', 'Asia/Tehran', '15:30'),
	('Kabul', 'AF', 'Asia/Kabul', '16:30'), ('Karachi', 'PK', 'Asia/Karachi', '17:00'),
	('Mumbai', 'IN', 'Asia/Kolkata', '17:30'), ('Kathmandu', 'NP', 'Asia/Kathmandu', '17:45'),
	('Yangon', 'MM', 'Asia/Yangon', '18:30'), ('Bangkok', 'TH', 'Asia/Bangkok', '19:00'),
	('Tokyo', 'JP', 'Asia/Tokyo', '21:00'), ('Darwin', 'AU', 'Australia/Darwin', '21:30'),
	('Adelaide', 'AU', 'Australia/Adelaide', '22:30'), ('Sydney', 'AU', 'Australia/Sydney', '23:00'),
	('Auckland', 'NZ', 'Pacific/Auckland', '01:00')) v(name, country_code, timezone, clock);
SELECT a.country_code, a.admin1, a.timezone FROM evilnet.area a
WHERE (a.country_code, a.admin1) IN (('FR', ''), ('US', ''), ('US', 'CA'), ('US', 'TX')) ORDER BY 1, 2;

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
SELECT city_id, name, country, region_code, region, lon, lat, population, timezone, section, builtin
FROM evilnet.city WHERE NOT builtin ORDER BY city_id;
SELECT * FROM evilnet.city_alias WHERE NOT builtin ORDER BY city_id, alias;
SELECT pg_temp.city('Test Suburb, ON', 'CA'), pg_temp.city(lon => -79.9, lat => 43.5), pg_temp.city(profile => 'проба, Canada');
ROLLBACK;
-- a time zone that the server does not know is none; a city without one has that of its area, if that has one
SELECT pg_temp.write(
	E'990000001\tMarsville\tMarsville\t\t43.5\t-79.9\tP\tPPL\tCA\t\t08\t\t\t\t1\t\t1\tMars/Olympus\ty',
	E'990000002\tParisville\tParisville\t\t48.8\t2.3\tP\tPPL\tFR\t\t11\t\t\t\t1\t\t1\tEurope/Nowhere\ty',
	E'990000003\tLowerville\tLowerville\t\t48.8\t2.3\tP\tPPL\tFR\t\t11\t\t\t\t1\t\t1\teurope/paris\ty',
	E'990000004\tFrenchville\tFrenchville\t\t48.8\t2.3\tP\tPPL\tFR\t\t\t\t\t\t1\t\t1\t\ty',
	E'990000005\tSunnyville\tSunnyville\t\t37\t-120\tP\tPPL\tUS\t\tCA\t\t\t\t1\t\t1\t\ty',
	E'990000006\tSomeville\tSomeville\t\t37\t-100\tP\tPPL\tUS\t\tTX\t\t\t\t1\t\t1\t\ty',
	E'990000007\tNepalville\tNepalville\t\t27\t85\tP\tPPL\tNP\t\t\t\t\t\t1\t\t1\tAsia/Kathmandu\ty');
BEGIN;
SELECT evilnet.load_gazetteer(pg_temp.path());
SELECT name, timezone FROM evilnet.city WHERE NOT builtin ORDER BY city_id;
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
