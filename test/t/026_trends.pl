# Trends over a simulated stream with planted bursts, global surges and an
# outage: what is found is compared with what the simulator planted.
#
# EVILNET_SEEDS=n simulates n streams: the long form, `make bench-trends`.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seeds = $ENV{EVILNET_SEEDS} // 2;
my $node = prepared_node('main', 'autovacuum = off');
my $files = PostgreSQL::Test::Utils::tempdir('simulation');

sub sql { return $node->safe_psql('postgres', "SET timezone = 'UTC'; SET jit = off; $_[0]"); }

sub simulate
{
	my ($seed) = @_;

	sql(q{SELECT evilnet.drop_stream(stream) FROM evilnet.stream});
	sql(q{BEGIN; SELECT evilnet.create_stream('sim', server => 'bus', topic => 'none'); SELECT evilnet.pause('sim'); COMMIT;
		CREATE TABLE sim_all PARTITION OF sim_by_city_slots DEFAULT});
	system_or_bail('sh', '-c', "python3 test/tools/simulate_trends.py --seed $seed --truth '$files/truth' > '$files/sql'");
	$node->command_ok([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-f', "$files/sql" ], "stream $seed is simulated");
	sql(q{SELECT evilnet.create_rollup('sim', '1 hour', in_background => false); ANALYZE sim_by_city_slots, sim_by_city_1h_slots});
	sql(qq{DROP TABLE IF EXISTS truth, found;
		CREATE TABLE truth (city int, since timestamptz, until timestamptz, factor float8, posts int);
		COPY truth FROM '$files/truth';
		CREATE TABLE found AS SELECT t.at, c.* FROM generate_series(timestamptz '2026-06-14 01:00+00', '2026-06-15 00:00+00', '15 minutes') t(at),
			evilnet.trending_cities('sim', t.at, n => 1000) c});
	return;
}

# found at all, found where a burst was, large bursts, large bursts found
sub judge
{
	return split(/\|/, sql(q{
		SELECT (SELECT count(*) FROM found),
			(SELECT count(*) FROM found f WHERE EXISTS (SELECT FROM truth b
				WHERE b.city = f.city_id AND b.since < f.at AND b.until > f.at - interval '1 hour')),
			(SELECT count(*) FROM truth WHERE factor >= 3 AND posts >= 30),
			(SELECT count(*) FROM truth b WHERE b.factor >= 3 AND b.posts >= 30 AND EXISTS (SELECT FROM found f
				WHERE f.city_id = b.city AND f.at > b.since AND f.at < b.until + interval '1 hour'))}));
}

my ($found, $right, $bursts, $caught) = (0) x 4;
foreach my $seed (1 .. $seeds)
{
	simulate($seed);
	my @counts = judge();
	diag(sprintf('stream %d: precision %d of %d, recall %d of %d', $seed, @counts[ 1, 0, 3, 2 ]));
	$found += $counts[0];
	$right += $counts[1];
	$bursts += $counts[2];
	$caught += $counts[3];
}
diag(sprintf('precision %.3f, recall %.3f', $right / $found, $caught / $bursts));
cmp_ok($right / $found, '>=', 0.9, 'nine of ten trends are bursts');
cmp_ok($caught / $bursts, '>=', 0.8, 'four of five bursts of at least three times and 30 posts are found');

is(sql(q{SELECT count(*) FROM found f WHERE f.tweets <> (SELECT sum(s.tweets) FROM sim_by_city_slots s
	WHERE s.city_id = f.city_id AND s.bucket >= f.window_start AND s.bucket < f.window_end)}), '0', 'their posts are those of the window');

# --- the outage, from 12:00 to 12:45

is(sql(q{SELECT count(*) FROM found WHERE window_end > '2026-06-14 12:00+00' AND window_start < '2026-06-14 12:45+00'}), '0',
	'nothing is said about a window with a hole');
is(sql(q{SELECT count(*) > 0 FROM evilnet.trending_cities('sim', '2026-06-14 13:00+00', covered => false)}), 't', 'unless asked for');

# --- catching up: consumed up to 20:10 only, though posts after that are there

sql(q{UPDATE evilnet.stream_offset SET covered_until = '2026-06-14 20:10:30+00'});
is(sql(q{SELECT count(*) FROM evilnet.trending_cities('sim', '2026-06-14 21:00+00')}), '0', 'nothing about a time that is not consumed');
my $waiting = sql(q{SELECT string_agg(city_id || ' ' || tweets || ' ' || window_end, ',' ORDER BY score DESC) FROM evilnet.trending_cities('sim')});
is($waiting, sql(q{SELECT string_agg(city_id || ' ' || tweets || ' ' || window_end, ',' ORDER BY score DESC) FROM evilnet.trending_cities('sim', '2026-06-14 20:10+00')}),
	'the last hour is the one up to the watermark');
sql(q{UPDATE evilnet.stream_offset SET covered_until = '2026-06-15 00:00+00'});
is(sql(q{SELECT string_agg(city_id || ' ' || tweets || ' ' || window_end, ',' ORDER BY score DESC) FROM evilnet.trending_cities('sim', '2026-06-14 20:10+00')}),
	$waiting, 'and the same when all is consumed');

# --- hysteresis, filters, rights, a standby's transactions

is(sql(q{SELECT count(*) > 0, bool_and(q_value > 0.02 OR tweets < 1.5 * expected) FROM found WHERE state = 'staying'}), 't|t', 'some stay below what it takes to enter');
is(sql(q{SELECT count(*) FROM found f WHERE state = 'staying' AND NOT EXISTS (
	SELECT FROM found b WHERE b.city_id = f.city_id AND b.state = 'trending' AND b.at = f.at - interval '1 hour')}), '0', 'all of which had entered an hour before');
is(sql(q{BEGIN READ ONLY; SELECT count(*) FROM evilnet.trending_cities('sim', '2026-06-14 20:10+00', n => 1)}), '1', 'reports write nothing');
is(sql(q{SELECT count(*) FROM evilnet.trending_cities('sim', '2026-06-14 20:10+00', countries => '{CA}')}), '0', 'filters hold');
sql('CREATE ROLE nobody LOGIN');
sql_fails_as($node, 'postgres', 'nobody', q{SELECT * FROM evilnet.trending_cities('sim')}, '42501', 'permission denied for view sim_by_city', 'not for everybody');
sql_fails($node, 'postgres', "SELECT * FROM evilnet.trending_cities('sim', $_->[0])", '22023', $_->[1], "not with $_->[0]")
  foreach ["span => '2 days'", 'span'], ["span => '90 seconds'", 'whole minutes'], ['n => -1', '"n" is too small'], ['min_tweets => 0', 'min_tweets'],
  ['min_ratio => 0.5', 'min_ratio'], ['max_fdr => 1', 'max_fdr'];

done_testing();
