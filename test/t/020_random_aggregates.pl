# Random continuous aggregates over random streams: after each batch every
# aggregate equals the same query run over the table.
#
# The seed is printed; EVILNET_SEED=n runs that one again.  EVILNET_SEEDS=n runs
# n seeds, one after the other: the long form.  Each seed makes 200 queries.
use strict;
use warnings;

use EvilnetAggregates;
use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $QUERIES = 200;
my $PER_STREAM = 25;

my $first_seed = $ENV{EVILNET_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $seeds = $ENV{EVILNET_SEEDS} // 1;

my $node = prepared_node('main', 'evilnet.max_workers = 16');
my $seed = $first_seed;
my $current;
my $has_tdigest = $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'tdigest'");

# ---- sessions: one that looks and changes, two that store

my $files = PostgreSQL::Test::Utils::tempdir('statements');
my $nfiles = 0;

# A statement goes through a file: batches would fill the log of the test.
sub file_of
{
	my ($sql) = @_;
	my $file = "$files/" . $nfiles++ % 8;

	open(my $out, '>', $file) or die "$file: $!";
	print $out "$sql;\n";
	close $out;
	return $file;
}

sub session
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->set_query_timer_restart();
	$session->query_safe('SET client_min_messages = warning; SET timezone = \'UTC\'; SET jit = off');
	return $session;
}

my $admin = session();
my @writers = (session(), session());

sub query
{
	my ($sql) = @_;

	return answer($admin, '\i ' . file_of($sql), $sql);
}

# An error ends the test, which tells the seed and the statement.
sub answer
{
	my ($session, $command, $sql) = @_;
	my $answer = $session->query($command);

	return $answer if $session->{stderr} eq '';
	my $error = "EVILNET_SEED=$seed: $session->{stderr}" . substr($sql, 0, 2000);
	diag($_) foreach @{ $current->{history} // [] };
	die $error;
}

# Run statements in several sessions at the same time: pairs of session and statement.
sub at_once
{
	my @runs = @_;
	my @answers;

	foreach my $run (@runs)
	{
		$run->[0]->query_until(qr/started/, "\\echo started\n\\i " . file_of($run->[1]) . "\n");
	}
	push @answers, answer($_->[0], '\echo', $_->[1]) foreach @runs;
	return map { s/^\s+|\s+$//gr } @answers;
}

sub literal
{
	my ($text) = @_;

	return q{E'} . $text =~ s/([\\'])/$1$1/gr . q{'};
}

query(
	($has_tdigest ? 'CREATE EXTENSION tdigest;' : '') . q{
	CREATE TABLE place (city_id int, region text, weight int, active boolean);
	INSERT INTO place SELECT city_id, left(region, 4), length(name) % 5, ascii(name) % 2 = 0 FROM evilnet.city
		WHERE (name, country_code) IN (('Toronto', 'CA'), ('Ottawa', 'CA'), ('Paris', 'FR'), ('London', 'GB'), ('Tokyo', 'JP')) AND population > 500000;
	-- a city that counts twice, and one of which nothing is known
	INSERT INTO place SELECT city_id, 'again', 3, true FROM place WHERE region LIKE 'O%' LIMIT 1;
	INSERT INTO place SELECT city_id, NULL, NULL, NULL FROM evilnet.city WHERE name = 'Berlin' AND country_code = 'DE';
	CREATE TABLE language (lang text NOT NULL, name text, family int);
	INSERT INTO language VALUES ('en', 'English', 1), ('fr', 'French', 2), ('de', 'German', 1);

	CREATE VIEW active_place AS SELECT * FROM place WHERE active;
	CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

	-- what each aggregate must come to: columns to compare, and queries over the table
	CREATE TABLE expected (aggregate text PRIMARY KEY, columns text, written text, plain text, total text, verifiable boolean);

	-- what differs from it; and whether verify says the same, and the types are those of the query
	CREATE FUNCTION differences(stream regclass) RETURNS TABLE (aggregate text, difference text) LANGUAGE plpgsql SET jit = off AS $$
	DECLARE
		e expected;
		other text;
		n bigint;
	BEGIN
		FOR e IN SELECT x.* FROM expected x JOIN evilnet.stat_continuous_aggregate s ON s.relation = x.aggregate::regclass
			WHERE s.state <> 'paused' ORDER BY x.aggregate
		LOOP
			aggregate := e.aggregate;
			FOREACH other IN ARRAY ARRAY[e.written, e.plain] LOOP
				CONTINUE WHEN other IS NULL;
				EXECUTE format('WITH kept AS MATERIALIZED (SELECT %1$s FROM %2$s q), counted AS MATERIALIZED (SELECT %1$s FROM (%3$s) q)
					SELECT string_agg(d, ''; '' ORDER BY d) FROM (
						(SELECT ''kept '' || d::text FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM counted) d LIMIT 5)
						UNION ALL (SELECT ''counted '' || d::text FROM (SELECT * FROM counted EXCEPT ALL SELECT * FROM kept) d LIMIT 5)) d(d)',
					e.columns, e.aggregate, other) INTO difference;
				IF difference IS NOT NULL THEN
					difference := difference || ' by ' || other;
					RETURN NEXT;
				END IF;
			END LOOP;
			IF e.total IS NOT NULL THEN
				EXECUTE format('SELECT (SELECT sum(%s) FROM %s) || '' counted of '' || count(*) FROM %s
					HAVING (SELECT coalesce(sum(%1$s), 0) FROM %2$s) <> count(*)', e.total, e.aggregate, stream) INTO difference;
				IF difference IS NOT NULL THEN
					RETURN NEXT;
				END IF;
			END IF;
			SELECT 'types: ' || string_agg(attname, ', ') INTO difference FROM (
				SELECT k.attname FROM evilnet.continuous_aggregate c, pg_attribute k, pg_attribute q
				WHERE c.aggregate = e.aggregate::regclass AND k.attrelid = c.aggregate AND q.attrelid = c.query AND k.attnum = q.attnum
					AND (k.attname, k.atttypid, k.atttypmod, k.attcollation) IS DISTINCT FROM (q.attname, q.atttypid, q.atttypmod, q.attcollation)) d;
			IF difference IS NOT NULL THEN
				RETURN NEXT;
			END IF;
			CONTINUE WHEN NOT e.verifiable;
			SELECT 'verify: ' || string_agg(v::text, '; ') INTO difference FROM evilnet.verify_continuous_aggregate(e.aggregate::regclass) v;
			IF difference IS NOT NULL THEN
				RETURN NEXT;
			END IF;
		END LOOP;
	END $$;

	-- until the builder has done what there is; each look is a transaction of its own
	CREATE PROCEDURE await_consumed(stream regclass, messages bigint) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 12000 LOOP
			IF (SELECT sum(o.next_offset) FROM evilnet.stream_offset o WHERE o.stream = await_consumed.stream) = messages THEN
				RETURN;
			END IF;
			COMMIT;
			PERFORM pg_sleep(0.01);
		END LOOP;
		RAISE EXCEPTION 'not consumed: %', (SELECT string_agg(s::text, '; ') FROM evilnet.stat_stream s WHERE s.relation = await_consumed.stream);
	END $$;
	CREATE PROCEDURE await_builder() LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 12000 LOOP
			IF NOT EXISTS (SELECT FROM evilnet.stat_continuous_aggregate WHERE state NOT IN ('complete', 'paused') OR replaces IS NOT NULL) THEN
				RETURN;
			END IF;
			COMMIT;
			PERFORM pg_sleep(0.01);
		END LOOP;
		RAISE EXCEPTION 'not built: %', (SELECT string_agg(a::text, '; ') FROM evilnet.stat_continuous_aggregate a WHERE state <> 'complete');
	END $$});

# ---- one seed

my $streams = 0;
my ($queries, $checks, $rows, %misfits);

# The aggregates are what their queries say; tells seed and statements when they are not.
sub exact
{
	my ($run, $name) = @_;
	my $found = query("SELECT aggregate, difference FROM differences('$run->{stream}')");
	my $count = query("SELECT count(*) FROM expected x JOIN evilnet.stat_continuous_aggregate s ON s.relation = x.aggregate::regclass WHERE s.state <> 'paused'");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($found, '', "$run->{stream}: $count aggregates are exact $name") or explain_failure($run, $found);
	$checks += $count;
	return;
}

sub explain_failure
{
	my ($run, $found) = @_;
	my %wrong = map { ((split /\|/)[0] => 1) } split(/\n/, $found);

	diag("EVILNET_SEED=$seed");
	foreach my $query (grep { $wrong{ $_->{name} } } values %{ $run->{queries} })
	{
		for (my $q = $query; $q; $q = $q->{below})
		{
			diag("$q->{name}: $q->{text}");
		}
	}
	# it may be a reader of the failed one that is told first, so all are
	diag($_) foreach @{ $run->{history} };
	return;
}

sub change
{
	my ($run, $sql) = @_;

	push @{ $run->{history} }, $sql;
	return query($sql);
}

sub next_name
{
	my ($run) = @_;
	my $number = ++$run->{number};

	return one_in(6) ? qq{"$run->{stream} Q$number"} : "$run->{stream}_q$number";
}

# A query that can be kept: buckets that do not fit those of the aggregate below are tried, and told so.
sub random_query
{
	my ($run) = @_;
	my @below = grep { $_->{level} < 2 } map { $run->{queries}{$_} } sort keys %{ $run->{queries} };
	my $name = next_name($run);

	return base_query($run->{stream}, $name, tdigest => $has_tdigest) if !@below || !one_in(3);
	my $below = pick(@below);
	foreach my $bucket (one_in(3) ? 'own' : (), 'multiple', 'same')
	{
		my $query = query_over($below, $name, bucket => $bucket);
		my $refused = query('SELECT message FROM evilnet.check_continuous_aggregate(' . literal($query->{text}) . q{) WHERE kind = 'refused'});

		return $query if $refused ne 'its buckets are not made of whole buckets of the aggregate it reads' || $bucket eq 'same';
		$misfits{$bucket}++;
	}
}

sub create_sql
{
	my ($query, $in_background) = @_;

	return 'SELECT evilnet.create_continuous_aggregate(' . literal($query->{name}) . ', ' . literal($query->{text}) . ", in_background => $in_background)";
}

sub expect_sql
{
	my ($query) = @_;
	my ($total) = map { $_->{name} } grep { $_->{call} eq 'count' && $_->{argument} eq '*' && !@{ $_->{filters} } && !@{ $_->{later_filters} } } @{ $query->{results} };

	return 'INSERT INTO expected VALUES (' . join(', ', literal($query->{name}), literal(comparison($query)), literal($query->{text}),
		literal(plain_query($query)), $query->{is_total} && defined $total ? literal($total) : 'NULL',
		is_verifiable($query) ? 'true' : 'false') . ')';
}

# Create so many aggregates; returns the statements when they are to run beside batches.
sub create_some
{
	my ($run, $count, $in_background) = @_;

	foreach (1 .. $count)
	{
		my $query = random_query($run);

		change($run, create_sql($query, one_in(3) ? ($in_background ? 'false' : 'true') : ($in_background ? 'true' : 'false')));
		query(expect_sql($query));
		$run->{queries}{ $query->{name} } = $query;
		$queries++;
	}
	return;
}

# Those that read one, and itself.
sub with_readers
{
	my ($run, $query) = @_;

	return grep {
		my $found = 0;
		for (my $q = $_; $q; $q = $q->{below}) { $found ||= $q == $query; }
		$found
	} map { $run->{queries}{$_} } sort keys %{ $run->{queries} };
}

sub any_query
{
	my ($run) = @_;

	return pick(grep { !$_->{paused} } map { $run->{queries}{$_} } sort keys %{ $run->{queries} });
}

sub drop_one
{
	my ($run) = @_;
	my $query = any_query($run);

	delete $run->{queries}{ $_->{name} } foreach with_readers($run, $query);
	return (sprintf('SELECT evilnet.drop_continuous_aggregate(%s, true)', literal($query->{name})),
		'DELETE FROM expected WHERE to_regclass(aggregate) IS NULL');
}

sub pause_one
{
	my ($run) = @_;
	my $query = any_query($run);

	$_->{paused} = 1 foreach with_readers($run, $query);
	return 'SELECT evilnet.pause(' . literal($query->{name}) . ')';
}

# Another query for one that nothing reads.
sub alter_one
{
	my ($run) = @_;
	my @alone = grep { !$_->{paused} && with_readers($run, $_) == 1 } map { $run->{queries}{$_} } sort keys %{ $run->{queries} };
	my $old = pick(@alone) or return;
	my $new = base_query($run->{stream}, $old->{name}, tdigest => $has_tdigest);

	$run->{queries}{ $new->{name} } = $new;
	$queries++;
	return (sprintf('SELECT evilnet.alter_continuous_aggregate(%s, query => %s)', literal($new->{name}), literal($new->{text})),
		'DELETE FROM expected WHERE aggregate = ' . literal($new->{name}), expect_sql($new));
}

sub refresh_one
{
	my ($run) = @_;
	my $since = one_in(2) ? '' : q{, since => '2024-01-10'};
	my $until = one_in(2) ? '' : q{, until => '2024-03-10 12:34:56'};

	return 'SELECT evilnet.refresh_continuous_aggregate(' . literal(any_query($run)->{name}) . "$since$until)";
}

sub store_sql
{
	my ($stream, $writer, @messages) = @_;
	my @calls;

	while (@messages)
	{
		my @part = splice(@messages, 0, 1 + below(120));

		push @calls, "SELECT rows + duplicates + suppressed, deletes, dead_letters FROM evilnet.store_messages('$stream', ARRAY["
		  . join(', ', map { literal($_) } @part) . "], $writer)";
	}
	return join(";\n", @calls, rolled_back($stream, $writer));
}

# Now and then messages that are stored and rolled back.
sub rolled_back
{
	my ($stream, $writer) = @_;
	my @messages = map { sprintf('{"id":"%d","created_at":"2024-03-10T0%d:59:59Z","lang":"en"}', 5000000 + $_, below(10)) } 1 .. 5;

	return one_in(3)
	  ? ("BEGIN; SELECT 0, 0, dead_letters FROM evilnet.store_messages('$stream', ARRAY[" . join(', ', map { literal($_) } @messages) . "], $writer); ROLLBACK")
	  : ();
}

# Posts of one id go to one partition, notices to any.
sub produce_sql
{
	my ($stream, @messages) = @_;
	my @keys = map { /"delete"/ ? below(100) : /"id":"(\d+)"/ } @messages;

	return "SELECT evilnet.produce('bus', '$stream', ARRAY[" . join(', ', map { literal($_) } @messages) . '], ARRAY[' . join(', ', map { "'$_'" } @keys) . '])';
}

# A batch of each writer, both at the same time, beside what else is to be done.
sub store_batches
{
	my ($run, $deletes, @changes) = @_;
	my @batches = map { [ feed_messages($run->{feed}, $_, 40 + below(160), deletes => $deletes) ] } 0, 1;
	my $count = @{ $batches[0] } + @{ $batches[1] };
	my $stored;

	$run->{feed}{progress} += 0.25;
	push @{ $run->{history} }, "-- two batches, $count messages", @changes;
	if ($run->{consumes})
	{
		at_once((map { [ $writers[$_], produce_sql($run->{stream}, @{ $batches[$_] }) ] } 0, 1),
			@changes ? [ $admin, join(";\n", @changes) ] : ());
		$run->{produced} += $count;
		query("CALL await_consumed('$run->{stream}', $run->{produced})");
		is(query("SELECT sum(rows + duplicates + suppressed + deletes), sum(dead_letters) FROM evilnet.stat_stream WHERE stream = '$run->{stream}'"),
			"$run->{produced}|0", "$run->{stream}: $count messages are consumed");
	}
	else
	{
		my @answers = at_once((map { [ $writers[$_], store_sql($run->{stream}, $_, @{ $batches[$_] }) ] } 0, 1),
			@changes ? [ $admin, join(";\n", @changes) ] : ());
		my ($stored, $dead) = (0, 0);

		foreach my $line (map { split /\n/ } @answers[ 0, 1 ])
		{
			my ($posts, $notices, $dead_letters) = split(/\|/, $line);
			$stored += $posts + $notices;
			$dead += $dead_letters;
		}
		is("$stored $dead", "$count 0", "$run->{stream}: $count messages are stored");
	}
	is(query("SELECT count(*), coalesce(sum(id), 0) FROM $run->{stream}"), feed_ids($run->{feed}), "$run->{stream}: no post is missing, repeated or left");
	return;
}

sub new_run
{
	my ($consumes) = @_;
	my $stream = 's' . ++$streams;
	my $interval = pick('1 day', '7 days', '30 days', '30 days');
	my $options = $consumes ? ', batch_interval => \'5 ms\', batch_messages => ' . (10 + below(200)) : '';
	my $pause = $consumes ? '' : "SELECT evilnet.pause('$stream');";

	query('TRUNCATE expected');
	change({}, "BEGIN; SELECT evilnet.create_stream('$stream', server => 'bus', topic => '$stream', workers => 2, partition_interval => '$interval'$options); $pause COMMIT");
	return { stream => $stream, consumes => $consumes, number => 0, queries => {}, feed => new_feed(writers => 2), history => ["-- stream $stream, partitions of $interval"] };
}

# A stream, fed by its own workers or by store_messages; its aggregates, and batches while these are made, changed and dropped.
sub run_stream
{
	my ($consumes) = @_;
	my $run = $current = new_run($consumes);
	my $early = int($PER_STREAM / 3);

	create_some($run, $early, 1);
	store_batches($run, 0);
	query('CALL await_builder()');
	exact($run, 'that were there before the posts');

	create_some($run, $PER_STREAM - $early, one_in(2));
	store_batches($run, 1);
	query('CALL await_builder()');
	exact($run, 'that were made and built beside batches');

	change($run, $_) foreach drop_one($run), pause_one($run), pause_one($run);
	change($run, $_) foreach alter_one($run), 'CALL await_builder()';
	store_batches($run, 1, refresh_one($run), "SELECT evilnet.maintain('$run->{stream}')", drop_one($run), refresh_one($run), alter_one($run));
	query('CALL await_builder()');
	exact($run, 'while some are paused');

	$_->{paused} = 0 foreach values %{ $run->{queries} };
	store_batches($run, 1, "SELECT evilnet.resume(aggregate) FROM evilnet.continuous_aggregate WHERE NOT enabled AND stream = '$run->{stream}'::regclass ORDER BY level",
		"SELECT evilnet.maintain('$run->{stream}')");
	query('CALL await_builder()');
	exact($run, 'after they were resumed');
	is(query("SELECT count(*) FROM evilnet.stat_continuous_aggregate WHERE stream = '$run->{stream}'::regclass AND state <> 'complete'"), 0,
		"$run->{stream}: all are complete");
	is(query("SELECT count(DISTINCT worker) || ' of ' || (SELECT count(*) FROM evilnet.stream_offset WHERE stream = '$run->{stream}'::regclass)
		FROM evilnet.batch WHERE stream = '$run->{stream}'::regclass"), '2 of 4', "$run->{stream}: by two workers, from four partitions") if $run->{consumes};
	$rows += query("SELECT count(*) FROM $run->{stream}");
	plant_differences($run);
	change_lookups($run);
	return $run;
}

# What is wrong in the storage is found, and repaired.
sub plant_differences
{
	my ($run) = @_;

	foreach my $query (map { any_query($run) } 1 .. 3)
	{
		my $name = literal($query->{name});
		my $storage = query("SELECT storage FROM evilnet.continuous_aggregate WHERE aggregate = $name\::regclass");
		my $bucket = query("SELECT $query->{bucket_name} FROM $query->{name} ORDER BY 1 " . pick('', 'DESC') . ' LIMIT 1');

		# its WHERE may leave nothing
		next if $bucket eq '';
		query("DELETE FROM $storage WHERE $query->{bucket_name} = '$bucket'");
		is(query("SELECT count(*) > 0 FROM evilnet.verify_continuous_aggregate($name) WHERE bucket = '$bucket'")
			. query("SELECT count(*) > 0 FROM differences('$run->{stream}') WHERE aggregate = $name"),
			'tt', "$query->{name}: a bucket that is missing is found");
		query("SELECT evilnet.refresh_continuous_aggregate($name, '$bucket', '$bucket'::timestamptz + '1 us')");
	}
	exact($run, 'after they were repaired');
	return;
}

# Posts counted by lookups that changed are counted again by refresh.
sub change_lookups
{
	my ($run) = @_;

	change($run, $_) foreach (
		'UPDATE place SET weight = (coalesce(weight, 0) + 2) % 5, active = NOT active WHERE city_id % 2 = ' . below(2),
		q{UPDATE place SET region = md5(region) WHERE region <> 'again' AND weight = 1},
		"UPDATE language SET family = 3 - family",
		"SELECT evilnet.refresh_continuous_aggregate(aggregate) FROM evilnet.continuous_aggregate WHERE stream = '$run->{stream}'::regclass ORDER BY level");
	exact($run, 'after lookups changed and they were refreshed');
	return;
}

sub finish
{
	my ($run) = @_;

	query("SELECT evilnet.drop_stream('$run->{stream}')");
	is(query("SELECT count(*) FROM pg_class WHERE relname ~ '^$run->{stream}( |_)'"), 0, "$run->{stream}: nothing is left of it");
	return;
}

sub run_seed
{
	($seed) = @_;
	($queries, $checks, $rows, %misfits) = (0, 0, 0);
	note("EVILNET_SEED=$seed");
	random_seed($seed);
	# one stream is fed by its own workers, the others are paused and fed by store_messages
	finish(run_stream(1));
	finish(run_stream(0)) while $queries < $QUERIES;
	note("seed $seed: $queries queries, $checks comparisons, $rows posts; buckets that did not fit: "
		  . join(', ', map { "$misfits{$_} $_" } sort keys %misfits));
	return;
}

# ---- how deleted posts go: they are subtracted where they can be, which shows by what was planted

my %results = (
	'count(*)' => [ 'gone', 1001 ],
	'sum(t.id)' => [ 'gone t', 1002 ],
	'count(h.tag)' => [ 'gone t LEFT JOIN LATERAL unnest(t.hashtags) AS h(tag) ON true', 1000 ],
	'sum(t.author_id)' => [ 'gone t', 6 ],
	'max(t.id)' => [ 'gone t', 2 ],
	'count(p.city_id)' => [ 'gone t LEFT JOIN place p ON p.city_id = t.city_id', 0 ]);
my $nresults = 0;

sub gone_message { return sprintf('\'{"id":%d,"author_id":%d,"created_at":"2024-03-01T00:00:00Z"}\'', $_[0], 3 * $_[0]); }

query("BEGIN; SELECT evilnet.create_stream('gone', server => 'bus', topic => 'gone'); SELECT evilnet.pause('gone'); COMMIT");
query('SELECT evilnet.store_messages(\'gone\', ARRAY[' . join(', ', map { gone_message($_) } 1, 2) . '])');
foreach my $result (sort keys %results)
{
	my $name = 'gone_' . ++$nresults;

	query("SELECT evilnet.create_continuous_aggregate('$name', 'SELECT evilnet.time_bucket(''1 hour'', created_at) AS bucket, $result AS r FROM $results{$result}[0] GROUP BY 1', in_background => false);
		UPDATE ${name}_slots SET r = r + 1000");
}
query(q{SELECT evilnet.store_messages('gone', ARRAY['{"delete":{"status":{"id":1}}}'])});
$nresults = 0;
is(query('SELECT r FROM gone_' . ++$nresults), $results{$_}[1], "$_ " . ($results{$_}[1] < 1000 ? 'is computed again' : 'is subtracted from'))
  foreach sort keys %results;

# ---- the seeds

run_seed($_) foreach $first_seed .. $first_seed + $seeds - 1;

$_->quit foreach $admin, @writers;
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP/, 'nothing died');
done_testing();
