# Parquet files: written here and read by others, written by others and read
# here, in transactions that are rolled back, killed or seen late.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use File::Copy;
use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tools = "$FindBin::RealBin/../tools";
our $python = "$ENV{EVILNET_CACHE}/lake-python/bin/python";
my $lake = PostgreSQL::Test::Utils::tempdir('lake');
my $node = evilnet_node('main', 'restart_after_crash = on', "TimeZone = 'UTC'", 'log_statement = none');

# a test that ends too early leaves a directory that can be removed
END
{
	chmod(0700, "$lake/t") if defined $lake && -d "$lake/t";
}

sub sql
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

sql(qq{
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER lake FOREIGN DATA WRAPPER evilnet_parquet OPTIONS (location '$lake')});

sub python
{
	my (@arguments) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ $python, "$tools/lake.py", @arguments ], '>', \$out, '2>', \$err) or BAIL_OUT("lake.py @arguments: $err");
	chomp($out);
	return $out;
}

# Names in a directory, those that begin with a dot included.
sub names
{
	my ($table) = @_;

	opendir(my $dir, "$lake/$table") or return ();
	return sort grep { !/^\.\.?$/ } readdir($dir);
}

# ---- every type, at its edges

my $columns = <<'SQL';
	id int, b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric(38,10), n5 numeric(5,0), t text, v varchar(20),
	by bytea, d date, ts timestamp, tz timestamptz, u uuid, j json, jb jsonb, at text[], ai int[], ad date[]
SQL
sql(qq{
	CREATE TABLE values_of ($columns);
	CREATE FOREIGN TABLE types ($columns) SERVER lake OPTIONS (path 'types', row_group_rows '3');
	INSERT INTO values_of VALUES
	(1, true, 32767, 9223372036854775807, 3.4028235e38, 1.7976931348623157e308, 9999999999999999999999999999.9999999999, 99999, 'text', 'varchar',
		'\\x00ff', '9999-12-31', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', 'ffffffff-ffff-ffff-ffff-ffffffffffff',
		'{"a" : [1, 2]}', '{"a": [1, 2]}', ARRAY['x', NULL, ''], ARRAY[1, NULL, -2147483648], ARRAY['2026-01-01'::date]),
	(2, false, -32768, -9223372036854775808, -1.1754944e-38, -2.2250738585072014e-308, -9999999999999999999999999999.9999999999, -99999, '', '',
		'', '0001-01-01', '0001-01-01 00:00:00', '0001-01-01 00:00:00+00', '00000000-0000-0000-0000-000000000000',
		'null', '"text"', '{}', '{}', '{}'),
	(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(4, true, 0, 0, 'infinity', '-infinity', 0, 0, E'Z\\u00fcrich \\u4eac\\u90fd \\U0001F600 "quoted" \\\\ \\n\\t', 'é', '\\x5c', '1970-01-01',
		'1970-01-01', '1970-01-01+00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[]', '{}', ARRAY['{a,b}', '"'], ARRAY[0], ARRAY[NULL::date]),
	(5, true, 1, 1, 'nan', 'nan', 0.0000000001, 1, repeat('long ', 20000), 'x', decode(repeat('00', 70000), 'hex'), '1969-12-31',
		'1969-12-31 23:59:59.999999', '2026-11-01 01:30:00.5-04', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '1', '1.50',
		array_fill('e'::text, ARRAY[1000]), ARRAY[1, 2, 3], ARRAY['0001-01-01'::date, '9999-12-31'::date]);
	INSERT INTO types SELECT * FROM values_of});

# A row's texts, as lake.py writes them.
sub as_json
{
	my ($rows) = @_;

	return join("\n", map { JSON::PP->new->encode(JSON::PP->new->decode($_)) } split(/\n/, $rows));
}

# Rows of a foreign table that are not in the table, and the other way round; json has no equality.
sub differences
{
	my ($foreign, @columns) = @_;
	my $comparable = join(', ', map { $_ eq 'j' ? 'j::text' : $_ } @columns);

	return sql("SELECT count(*) FROM ((SELECT $comparable FROM $foreign EXCEPT ALL SELECT $comparable FROM values_of)"
		  . " UNION ALL (SELECT $comparable FROM values_of EXCEPT ALL SELECT $comparable FROM $foreign)) d");
}

# What evilnet wrote into a table of some of the columns is read by others, and what they write here.
sub round_trip
{
	my ($table, $columns, $readers, $writers) = @_;
	my @names = $columns =~ /(\w+) \w[^,]*(?:,\d+\))?(?:,|$)/g;
	my %text = (f4 => 'f4::float8::text', n => 'trim_scale(n)::text', n5 => 'trim_scale(n5)::text', by => q{encode(by, 'hex')}, u => q{replace(u::text, '-', '')}, at => 'at', ai => 'ai::text[]', ad => 'ad::text[]');
	my $texts = join(', ', map { $text{$_} // "$_\::text" } @names);
	my $expected = as_json(sql("SELECT json_build_array($texts) FROM values_of ORDER BY id"));

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(as_json(python('read', $_, "$lake/$table")), $expected, "$_ reads what was written") foreach @$readers;
	is(differences($table, @names), 0, 'evilnet reads what it wrote');
	foreach my $writer (@$writers)
	{
		mkdir("$lake/$writer");
		python('rewrite', $writer, "$lake/$table", "$lake/$writer/file.parquet");
		chmod(0755, "$lake/$writer");
		sql("CREATE FOREIGN TABLE of_$writer ($columns) SERVER lake OPTIONS (path '$writer')");
		is(differences("of_$writer", @names), 0, "evilnet reads what $writer wrote");
	}
	return;
}

round_trip('types', $columns =~ s/\s+/ /gr, [ 'pyarrow', 'duckdb' ], [ 'duckdb', 'pyarrow', 'plain', 'int96', 'wide', 'dictionary' ]);

# Spark does not read UUIDs; it is large, so whoever wants it names a Python that has it
if ($ENV{EVILNET_SPARK_PYTHON})
{
	my $without = $columns =~ s/u uuid, //r =~ s/\s+/ /gr;

	local $python = $ENV{EVILNET_SPARK_PYTHON};
	local $ENV{TZ} = 'UTC';
	sql("CREATE FOREIGN TABLE for_spark ($without) SERVER lake OPTIONS (path 'for_spark');"
		  . ' INSERT INTO for_spark SELECT id, b, i2, i8, f4, f8, n, n5, t, v, by, d, ts, tz, j, jb, at, ai, ad FROM values_of');
	round_trip('for_spark', $without, ['spark'], ['spark']);
}

# beyond what Python's dates hold, and what Parquet does not
sql(q{
	CREATE FOREIGN TABLE far (d date, ts timestamp, tz timestamptz) SERVER lake OPTIONS (path 'far');
	INSERT INTO far VALUES ('4713-01-01 BC', '4713-01-01 00:00:00 BC', '294246-12-31 23:59:59.999999+00'), ('5874897-12-31', NULL, NULL)});
is(sql('SELECT d, ts, tz FROM far ORDER BY d'), "4713-01-01 BC|4713-01-01 00:00:00 BC|294246-12-31 23:59:59.999999+00\n5874897-12-31||", 'dates far away come back');
foreach my $value ([ 'd', 'infinity' ], [ 'ts', '-infinity' ], [ 'tz', 'infinity' ])
{
	my ($column, $infinity) = @$value;

	sql_fails($node, 'postgres', "INSERT INTO far ($column) VALUES ('$infinity')", '22023', "column \"$column\": Parquet has no ", "$infinity in $column");
}
sql(q{CREATE FOREIGN TABLE nan_of (n numeric(5,2)) SERVER lake OPTIONS (path 'nan')});
sql_fails($node, 'postgres', q{INSERT INTO nan_of VALUES (1), ('NaN')}, '22023', 'column "n": Parquet has no ', 'a numeric that is none');
is(sql('SELECT count(*) FROM nan_of'), 0, 'of which the statement leaves nothing');
sql(q{
	CREATE FOREIGN TABLE nulled (d date, ts timestamp, tz timestamptz, n numeric(5,2), ad date[]) SERVER lake OPTIONS (path 'nulled', out_of_range 'null');
	CREATE FOREIGN TABLE clamped (d date, ts timestamp, tz timestamptz, n numeric(5,2), ad date[]) SERVER lake OPTIONS (path 'clamped', out_of_range 'clamp')});
foreach my $table ('nulled', 'clamped')
{
	sql(qq{INSERT INTO $table VALUES ('infinity', '-infinity', 'infinity', 'NaN', ARRAY['-infinity', '2026-01-01']::date[]), (NULL, '294276-12-31 23:59:59.999999', '2026-01-01+00', 1, NULL)});
}
is(sql('SELECT * FROM nulled ORDER BY tz'), "|||1.00|\n||||{NULL,2026-01-01}" =~ s/\|\|\|1/||2026-01-01 00:00:00+00|1/r, 'or null');
is(sql('SELECT * FROM clamped ORDER BY tz'), "|294247-01-10 04:00:54.775807|2026-01-01 00:00:00+00|1.00|\n5874897-12-31|4714-11-24 00:00:00 BC|294247-01-10 04:00:54.775807+00||{\"4714-11-24 BC\",2026-01-01}", 'or the nearest');
sql_fails($node, 'postgres', q{CREATE FOREIGN TABLE bad (id int) SERVER lake OPTIONS (path 'x', out_of_range 'wrap')}, 'HV024', 'It is one of: error, null, clamp', 'or no other');
sql(q{CREATE FOREIGN TABLE money_of (m money) SERVER lake OPTIONS (path 'm'); CREATE FOREIGN TABLE bare (n numeric) SERVER lake OPTIONS (path 'n')});
sql_fails($node, 'postgres', q{INSERT INTO money_of VALUES (1)}, '0A000', 'column "m" is of type money, which evilnet_parquet does not have', 'a type that is not there');
sql_fails($node, 'postgres', q{INSERT INTO bare VALUES (1)}, '0A000', 'numeric without a precision', 'a bare numeric');

# columns by name: one more, one less, another order
sql(q{CREATE FOREIGN TABLE evolved (extra text, t text, id bigint) SERVER lake OPTIONS (path 'types')});
is(sql('SELECT count(*), count(extra), sum(id), count(t) FROM evolved'), '5|0|15|4', 'columns are found by name');
sql_fails($node, 'postgres', q{CREATE FOREIGN TABLE wrong (t int) SERVER lake OPTIONS (path 'types'); SELECT t FROM wrong}, 'HV004', 'is not of a type that is read as integer', 'a column of another type');

# ---- tables of what is there, and statistics

sql(q{CREATE SCHEMA imported; IMPORT FOREIGN SCHEMA "/" LIMIT TO (types, int96, dictionary) FROM SERVER lake INTO imported});
is(sql(q{SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'imported.types'::regclass AND attnum > 0}),
	'integer, boolean, smallint, bigint, real, double precision, numeric(38,10), numeric(5,0), text, text, bytea, date, timestamp without time zone, '
	  . 'timestamp with time zone, uuid, text, text, text[], integer[], date[]',
	'IMPORT FOREIGN SCHEMA finds directories and types');
is(sql(q{SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'imported'::regnamespace}), 'dictionary,int96,types', 'of what was asked for');
is(sql(q{SELECT count(*), sum(id), count(u), max(tz) FROM imported.types}), '5|15|4|9999-12-31 23:59:59.999999+00', 'and they can be read');
is(sql(q{SELECT max(tz), count(ts) FROM imported.int96}), '9999-12-31 23:59:59.999999+00|4', 'also those of others');
sql_fails($node, 'postgres', q{IMPORT FOREIGN SCHEMA "../x" FROM SERVER lake INTO imported}, 'HV00Q', 'invalid directory', 'nothing outside of the location');
sql(q{ANALYZE types});
is(sql(q{SELECT string_agg(null_frac::text, ',') FROM pg_stats WHERE tablename = 'types' AND attname IN ('id', 'b')}), '0,0.2', 'ANALYZE');

# ---- row groups that are not read

sql(q{
	CREATE TABLE r AS SELECT i AS id, nullif(i % 700, 13) * 10000000000 AS i8, DATE '1969-06-01' + i AS d, TIMESTAMP '1969-12-31 23:00' + i * INTERVAL '1.5 s' AS ts,
		TIMESTAMPTZ '2026-11-01 00:00+00' - i * INTERVAL '1 day 1 us' AS tz, nullif('t' || (i / 250), 't3') AS t FROM generate_series(1, 3000) i;
	CREATE FOREIGN TABLE r_own (id int, i8 bigint, d date, ts timestamp, tz timestamptz, t text) SERVER lake OPTIONS (path 'r_own', row_group_rows '100');
	CREATE FOREIGN TABLE r_duckdb (id bigint, i8 bigint, d date, ts timestamp, tz timestamptz, t text) SERVER lake OPTIONS (path 'r_duckdb');
	CREATE FOREIGN TABLE r_millis (id int, i8 bigint, d date, ts timestamp, tz timestamptz, t text) SERVER lake OPTIONS (path 'r_millis');
	CREATE FOREIGN TABLE r_int96 (id int, i8 bigint, d date, ts timestamp, tz timestamptz, t text) SERVER lake OPTIONS (path 'r_int96');
	INSERT INTO r_own SELECT * FROM r});
foreach my $writer ('duckdb', 'millis', 'int96')
{
	mkdir("$lake/r_$writer");
	python('rewrite', $writer, "$lake/r_own", "$lake/r_$writer/file.parquet");
	chmod(0755, "$lake/r_$writer");
}
# thousands of comparisons with values that are there, or are not, as constants and as parameters
my $missed = sql(q{
	CREATE TABLE missed (condition text, foreign_table text);
	DO $$
	DECLARE
		c text; o text; v text; f text; condition text; wanted bigint; found bigint;
	BEGIN
		PERFORM setseed(0.5);
		FOR n IN 1 .. 300 LOOP
			c := (ARRAY['id', 'i8', 'd', 'ts', 'tz', 't'])[1 + floor(random() * 6)];
			o := CASE WHEN c = 't' AND random() < 0.7 THEN '=' ELSE (ARRAY['<', '<=', '=', '>=', '>'])[1 + floor(random() * 5)] END;
			EXECUTE format('SELECT CASE floor(random() * 4)::int WHEN 0 THEN min(%1$I)::text WHEN 1 THEN max(%1$I)::text ELSE (SELECT %1$I::text FROM r ORDER BY random() LIMIT 1) END FROM r', c) INTO v;
			condition := CASE WHEN random() < 0.5 THEN format('%I %s %L', c, o, v) ELSE format('%L %s %I', v, o, c) END;
			FOREACH f IN ARRAY ARRAY['r_own', 'r_duckdb', 'r_millis', 'r_int96'] LOOP
				CONTINUE WHEN f = 'r_millis' AND c = 'tz';
				EXECUTE format('SELECT count(*), (SELECT count(*) FROM %I WHERE %s) FROM r WHERE %s', f, condition, condition) INTO wanted, found;
				IF found <> wanted THEN INSERT INTO missed VALUES (condition, f); END IF;
			END LOOP;
		END LOOP;
	END $$;
	SELECT count(*), min(foreign_table || ': ' || condition) FROM missed});
is($missed, '0|', 'no row is missed');
like(sql(q{SET plan_cache_mode = force_generic_plan; PREPARE p (int) AS SELECT count(*) FROM r_own WHERE id > $1; EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) EXECUTE p (2950)}),
	qr/Row Groups: 30\n *Row Groups Pruned: 29\n/, 'row groups are passed over, by parameters too');
like(sql(q{EXPLAIN (COSTS off) SELECT * FROM r_duckdb WHERE t = 'none'}), qr/Row Groups: (\d+)\n *Row Groups Pruned: \1\n *Bytes: 0/, 'and by text');
like(sql('EXPLAIN SELECT * FROM r_own'), qr/rows=3000 /, 'the manifest tells how many rows there are');

# ---- transactions

sql(q{CREATE FOREIGN TABLE t (id bigint, who text) SERVER lake OPTIONS (path 't', file_rows '1000')});
sql(q{INSERT INTO t SELECT i, 'first' FROM generate_series(1, 2500) i});
is(scalar(() = names('t')), 3, 'files are of so many rows at most');
is(sql(q{SELECT count(*), sum(rows), sum(bytes) > 0 FROM evilnet.parquet_file WHERE directory LIKE '%/t'}), '3|2500|t', 'all are in the manifest');
sql(q{
	BEGIN;
	INSERT INTO t VALUES (1, 'kept');
	SAVEPOINT a;
	INSERT INTO t VALUES (2, 'undone');
	ROLLBACK TO a;
	SAVEPOINT b;
	INSERT INTO t VALUES (3, 'kept');
	RELEASE b;
	COMMIT;
	BEGIN;
	INSERT INTO t VALUES (4, 'undone');
	ROLLBACK});
is(sql(q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t WHERE who <> 'first'}), '1,3', 'what was rolled back is not there');
is(sql(q{COPY t FROM PROGRAM 'seq 10 12 | sed "s/$/\tcopied/"'; SELECT count(*) FROM t WHERE who = 'copied'}), 3, 'COPY');
is(scalar(grep { /^\./ } names('t')), 0, 'and nothing is left of it');

my $writer = $node->background_psql('postgres');
my $reader = $node->background_psql('postgres');
$writer->query_safe(q{BEGIN; INSERT INTO t VALUES (5, 'late')});
is($writer->query_safe(q{SELECT count(*) FROM t WHERE who = 'late'}), 1, 'a transaction sees its own rows');
is($reader->query_safe(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t WHERE who = 'late'}), 0, 'others do not');
is(python('read', 'pyarrow', "$lake/t") =~ /late/ ? 1 : 0, 0, 'nor does pyarrow');
$writer->query_safe('COMMIT');
is($reader->query_safe(q{SELECT count(*) FROM t WHERE who = 'late'}), 0, 'an old snapshot does not see what was committed since');
is($reader->query_safe(q{COMMIT; SELECT count(*) FROM t WHERE who = 'late'}), 1, 'a new one does');
is(python('read', 'pyarrow', "$lake/t") =~ /late/ ? 1 : 0, 1, 'and pyarrow');
$reader->quit;
sql_fails($node, 'postgres', q{BEGIN; INSERT INTO t VALUES (6, 'prepared'); PREPARE TRANSACTION 'p'}, '0A000', 'cannot PREPARE', 'two phases');

# ---- killed at each step

my $rows = sql('SELECT count(*) FROM t');

# What is there after a crash, and after the next statement that writes.
sub survives
{
	my ($name, $more) = @_;
	my @files = map { s/^\.//r } split(/\n/, sql(q{SELECT name FROM evilnet.parquet_file WHERE directory LIKE '%/t' ORDER BY 1}));

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$rows += $more;
	is(sql('SELECT count(*) FROM t'), $rows, "$name: the rows of what was committed");
	sql(q{INSERT INTO t VALUES (0, 'sweeps')});
	$rows++;
	is(join(' ', names('t')), join(' ', split(/\n/, sql(q{SELECT name FROM evilnet.parquet_file WHERE directory LIKE '%/t' ORDER BY name COLLATE "C"}))), "$name: no file is left that is not in the manifest");
	is(scalar(split(/\n/, python('read', 'duckdb', "$lake/t"))), $rows, "$name: DuckDB reads as many");
	return;
}

sub kill_backend
{
	my ($session) = @_;

	kill('KILL', $session->query_safe('SELECT pg_backend_pid()'));
	eval { $session->quit };
	$node->poll_query_until('postgres', 'SELECT true');
	return;
}

$writer = $node->background_psql('postgres', on_error_stop => 0);
$writer->query_until(qr/started/, q{
	\echo started
	INSERT INTO t SELECT i, pg_sleep(CASE WHEN i = 1500 THEN 1000 END)::text FROM generate_series(1, 2000) i;
});
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}, 1, 'a statement is half done');
is(join(' ', map { /\.(staged|parquet)$/ ? $1 : $_ } grep { /^\./ } names('t')), 'parquet', 'with a file of its own');
kill('KILL', sql(q{SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'}));
eval { $writer->quit };
$node->poll_query_until('postgres', 'SELECT true');
survives('killed within a statement', 0);

$writer = $node->background_psql('postgres', on_error_stop => 0);
$writer->query_safe(q{BEGIN; INSERT INTO t SELECT i, 'not committed' FROM generate_series(1, 2000) i});
kill_backend($writer);
survives('killed before the commit', 0);

# committed, but not renamed: as when it is killed in between
chmod(0500, "$lake/t");
my ($code, $out, $err) = $node->psql('postgres', q{INSERT INTO t SELECT i, 'x' FROM generate_series(1, 2000) i});
isnt($code, 0, 'a directory that cannot be written is an error');
chmod(0700, "$lake/t");
$writer = $node->background_psql('postgres');
$writer->query_safe(q{BEGIN; INSERT INTO t SELECT i, 'hidden' FROM generate_series(1, 2000) i});
chmod(0500, "$lake/t");
$writer->query(q{COMMIT});
$writer->quit;
chmod(0700, "$lake/t");
is(scalar(grep { /^\.evilnet/ } names('t')), 2, 'files of a committed transaction are still hidden');
survives('not renamed after the commit', 2000);

$node->stop('immediate');
$node->start;
survives('after a crash of the server', 0);

# a file that is gone is no empty file
my ($first) = names('t');
rename("$lake/t/$first", "$lake/gone");
sql_fails($node, 'postgres', q{SELECT count(*) FROM t}, '58P01', 'could not open file', 'a file of the manifest is missing');
rename("$lake/gone", "$lake/t/$first");

# ---- damage

sql(q{
	CREATE FOREIGN TABLE damaged (id bigint, t text, f float8) SERVER lake OPTIONS (path 'damaged', row_group_rows '50');
	INSERT INTO damaged SELECT i, 'text ' || i, i / 7.0 FROM generate_series(1, 200) i});
my ($victim) = names('damaged');
my $whole = slurp_file("$lake/damaged/$victim");
my $right = sql('SELECT md5(string_agg(d::text, chr(10) ORDER BY id)) FROM damaged d');
my %outcome = (right => 0, refused => 0, wrong => 0);
my $mutants = $ENV{EVILNET_MUTANTS} || 300;
my $session = $node->background_psql('postgres', on_error_stop => 0);

srand($ENV{EVILNET_SEED} || 50);
$session->query(q{CREATE TEMP TABLE outcome (state text); CREATE PROCEDURE pg_temp.look() LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO outcome SELECT md5(string_agg(d::text, chr(10) ORDER BY id)) FROM damaged d;
	EXCEPTION WHEN OTHERS THEN INSERT INTO outcome VALUES (SQLSTATE); END $$});
foreach my $mutant (1 .. $mutants)
{
	my $data = $whole;

	foreach (0 .. int(rand(3)))
	{
		my $place = int(rand(length($data)));
		substr($data, $place, 1) = chr(ord(substr($data, $place, 1)) ^ (1 << int(rand(8))));
	}
	$data = substr($data, 0, int(rand(length($data)))) if $mutant % 10 == 0;
	open(my $file, '>', "$lake/damaged/$victim") or die $!;
	print $file $data;
	close($file);
	$session->query('CALL pg_temp.look()');
}
foreach my $state (split(/\n/, $session->query('SELECT state FROM outcome')))
{
	$outcome{ $state eq $right ? 'right' : length($state) == 5 ? 'refused' : 'wrong' }++;
}
$session->quit;
is($outcome{right} + $outcome{refused}, $mutants, "$mutants damaged files: $outcome{refused} are refused, $outcome{right} read right, and the server lives");
is($outcome{wrong}, 0, 'none reads wrong');
cmp_ok($outcome{refused}, '>', $mutants / 2, 'most are refused');
unlike(slurp_file($node->logfile) =~ s/^.*was terminated by signal 9.*$//mgr, qr/terminated by signal/, 'no process crashed');

# ---- rights, options, memory

sql(q{CREATE ROLE plain; GRANT USAGE ON FOREIGN SERVER lake TO plain; GRANT ALL ON t TO plain});
sql_fails_as($node, 'postgres', 'plain', 'SELECT count(*) FROM t', '42501', 'permission denied to read files', 'an ordinary user may not read') if eval { sql('ALTER ROLE plain LOGIN'); 1 };
sql_fails_as($node, 'postgres', 'plain', 'INSERT INTO t VALUES (1)', '42501', 'permission denied to write files', 'nor write');
sql_fails_as($node, 'postgres', 'plain', 'SELECT * FROM evilnet.parquet_file', '42501', 'permission denied', 'nor see the manifest');
sql(q{GRANT pg_read_server_files TO plain});
is($node->safe_psql('postgres', 'SELECT count(*) FROM t', extra_params => [ '-U', 'plain' ]), $rows, 'a reader of files may');
sql_fails_as($node, 'postgres', 'plain', 'INSERT INTO t VALUES (1)', '42501', 'permission denied to write files', 'but not write');
foreach my $path ('../t', '/etc', 'a//b', '.hidden', 'a/../../b', '')
{
	sql_fails($node, 'postgres', "CREATE FOREIGN TABLE bad (id int) SERVER lake OPTIONS (path '$path')", 'HV024', 'invalid option "path"', "path '$path'");
}
sql_fails($node, 'postgres', q{CREATE FOREIGN TABLE bad (id int) SERVER lake OPTIONS (path 'x', compression 'snappy', compression_level '3')}, 'HV00D', 'has no levels', 'a level where there is none');
sql_fails($node, 'postgres', q{SET evilnet.parquet_memory = '16MB'; CREATE FOREIGN TABLE big (t text) SERVER lake OPTIONS (path 'big'); INSERT INTO big SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000000) i},
	'53200', 'out of memory for file', 'memory has a limit');
is(scalar(() = names('big')), 0, 'and nothing stays of what needed more');

# ---- what is dropped

sql(q{DROP FOREIGN TABLE t; CREATE FOREIGN TABLE again (id bigint, who text) SERVER lake OPTIONS (path 't')});
is(sql('SELECT count(*) FROM again'), $rows, 'files outlive their table');
sql(q{DROP EXTENSION evilnet CASCADE; CREATE EXTENSION evilnet});
sql(qq{CREATE SERVER lake FOREIGN DATA WRAPPER evilnet_parquet OPTIONS (location '$lake'); CREATE FOREIGN TABLE t (id bigint, who text) SERVER lake OPTIONS (path 't')});
is(sql('SELECT count(*) FROM t'), $rows, 'and the extension');
sql(q{INSERT INTO t VALUES (0, 'anew')});
is(sql('SELECT count(*) FROM t'), $rows + 1, 'which writes more of them');

$node->stop;
done_testing();
