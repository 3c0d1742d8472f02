-- rows of 200 bytes in the table, as text
DROP TABLE IF EXISTS copied;
CREATE TABLE copied (id bigint, created_at timestamptz, city int, body text, lang smallint);
COPY (SELECT g, timestamptz '2026-01-01' + g * interval '1 ms', g % 30000, left(repeat(md5(g::text), 5), 140), 1
	FROM generate_series(1, :messages) g) TO STDOUT;
