# Random reports over random posts, some late, some twice, some deleted, stored
# by two workers: each report equals a recount in plain SQL over the table, whose
# windows are made by generate_series and AT TIME ZONE.
#
# The seed is printed; EVILNET_SEED=n runs that one again.
use strict;
use warnings;

use EvilnetAggregates;
use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;

my $REPORTS = 60;    # after each batch
my $POSTS = 2500;    # in each

my $seed = $ENV{EVILNET_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $node = prepared_node('main');
my $next_id = 1;

# three weeks in which the clocks of Europe and then of America go back
my $FIRST = 1760918400;    # 2025-10-20 00:00 UTC
my $LAST = 1762732800;     # 2025-11-10 00:00 UTC
my %CITIES = (
	Toronto => 'America/Toronto', London => 'Europe/London', Paris => 'Europe/Paris', Tokyo => 'Asia/Tokyo',
	Kolkata => 'Asia/Kolkata', Sydney => 'Australia/Sydney', 'Los Angeles' => 'America/Los_Angeles', Cairo => 'Africa/Cairo');
my @NAMES = sort keys %CITIES;
my @ZONES = ('UTC', 'America/Toronto', 'Europe/London', 'Asia/Kolkata');

random_seed($seed);
diag("seed $seed");

sub sql
{
	return $node->safe_psql('postgres', "SET timezone = 'UTC'; SET jit = off; $_[0]");
}

sub timestamp { return strftime('%Y-%m-%d %H:%M:%S+00', gmtime($_[0])); }
sub random_second { return $FIRST + below($LAST - $FIRST); }

# ---- posts

my @stored;

sub random_message
{
	if (@stored && one_in(20))
	{
		return sprintf('{"delete": {"status": {"id": %d, "id_str": "%d", "user_id": 1}}}', (pick(@stored)) x 2);
	}
	my $id = @stored && one_in(25) ? pick(@stored) : $next_id++;
	push @stored, $id;
	my $place = one_in(10) ? '' : sprintf(', "city": "%s"', pick(@NAMES));
	return sprintf(
		'{"id": %d, "created_at": "%s", "author_id": %d, "is_retweet": %s%s}',
		$id, strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(random_second())),
		1 + below(60), one_in(3) ? 'true' : 'false', $place);
}

sub store
{
	my ($worker) = @_;
	my $array = join(',', map { "'" . random_message() . "'" } 1 .. $POSTS);

	sql("SELECT rows FROM evilnet.store_messages('tweets', ARRAY[$array], $worker)");
}

# ---- requests: what windows, and how the recount makes them

# width, slide (or undef), zone, what the grid begins with
sub random_windows
{
	my @clock = (['5 minutes'], ['1 hour'], ['6 hours'], ['15 minutes', '5 minutes'], ['2 hours', '30 minutes'], ['1 hour', '1 minute']);
	my @calendar = (
		['1 day', undef, 'day'], ['1 week', undef, 'week'], ['1 month', undef, 'month'],
		['3 days', '1 day', 'day'], ['2 months', '1 month', 'month']);

	if (one_in(2))
	{
		my ($width, $slide) = @{ pick(@clock) };
		return { width => $width, slide => $slide, zone => 'UTC', unit => 'day' };
	}
	my ($width, $slide, $unit) = @{ pick(@calendar) };
	return { width => $width, slide => $slide, unit => $unit, zone => one_in(3) ? 'local' : pick(@ZONES) };
}

# a span that makes a few hundred windows at most
sub random_span
{
	my ($request) = @_;
	my $since = random_second();
	my $length = $request->{unit} ne 'day' || $request->{width} =~ /day/ ? 20 * 86400
	  : ($request->{slide} // '') eq '1 minute' ? 2 * 3600 : 12 * 3600;

	return ($since, $since + below($length));
}

# the filter for a report, and for the recount over tweets t and cities c
sub random_filter
{
	return (", countries => '{CA,gb}'", " AND c.country_code IN ('CA', 'GB')") if one_in(4);
	return (", cities => '{tokyo,PARIS}'",
		" AND t.city_id IN (SELECT city_id FROM evilnet.city WHERE name IN ('Tokyo', 'Paris'))") if one_in(4);
	return (", min_population => 5000000", " AND c.population >= 5000000") if one_in(6);
	return ('', '');
}

my $AUTHORS = 'count(DISTINCT t.author_id)';

# windows w(city zone, n, s, e) of a request
sub windows_sql
{
	my ($request, $since, $until, $shift) = @_;
	my $slide = $request->{slide} // $request->{width};
	my $zones = $request->{zone} eq 'local'
	  ? "(SELECT DISTINCT coalesce(timezone, 'UTC') AS zone FROM evilnet.city) z" : "(VALUES ('$request->{zone}')) z(zone)";
	my $from = sprintf(q{date_trunc('%s', timestamptz '%s' AT TIME ZONE z.zone)}, $request->{unit}, timestamp($since));
	my $starts = "generate_series($from - interval '1 $request->{unit}',"
	  . sprintf(q{ (timestamptz '%s' AT TIME ZONE z.zone) + interval '1 day', interval '%s') g}, timestamp($until), $slide);
	my $edges = sprintf(
		q{SELECT z.zone, g, g AT TIME ZONE z.zone AS s, (g + interval '%s') AT TIME ZONE z.zone AS e FROM %s, %s
			WHERE g AT TIME ZONE z.zone >= '%s' AND g AT TIME ZONE z.zone < '%s'},
		$request->{width}, $zones, $starts, timestamp($since), timestamp($until));

	$edges = "SELECT x.zone, x.g, min(x.s) OVER (PARTITION BY x.zone) AS s, x.e FROM ($edges) x" if $request->{cumulative};
	return $edges unless defined $shift;
	return sprintf(
		q{SELECT x.zone, x.s, x.e, (x.g - %s) AT TIME ZONE x.zone AS cs, (x.g + interval '%s' - %s) AT TIME ZONE x.zone AS ce FROM (%s) x},
		$shift, $request->{width}, $shift, $edges);
}

sub zone_of_city
{
	my ($request) = @_;
	return $request->{zone} eq 'local' ? "coalesce(c.timezone, 'UTC')" : "'$request->{zone}'";
}

# rows that one has and the other has not, and how many rows the recount has
sub compare
{
	my ($report, $recount, $name) = @_;
	my $answer = sql(qq{
		WITH report AS MATERIALIZED ($report), recount AS MATERIALIZED ($recount)
		SELECT (SELECT count(*) FROM (TABLE report EXCEPT ALL TABLE recount) x) + (SELECT count(*) FROM (TABLE recount EXCEPT ALL TABLE report) x),
			(SELECT count(*) FROM recount)});
	my ($different, $rows) = split(/\|/, $answer);

	diag("EVILNET_SEED=$seed\n$report\n$recount") if $different;
	is($different, '0', "$name, $rows rows");
	return $rows;
}

sub compare_counts
{
	my $request = random_windows();
	my ($since, $until) = random_span($request);
	my ($filter, $condition) = random_filter();
	my $zone = zone_of_city($request);

	$request->{cumulative} = !defined $request->{slide} && one_in(4);
	my $report = sprintf(
		q{SELECT window_start, window_end, city_id, tweets, retweets, authors
			FROM evilnet.city_counts('tweets', '%s', '%s', '%s', timezone => '%s'%s%s%s)},
		$request->{width}, timestamp($since), timestamp($until), $request->{zone},
		defined $request->{slide} ? ", slide => '$request->{slide}'" : '',
		$request->{cumulative} ? ', cumulative => true' : '', $filter);
	my $recount = sprintf(
		q{SELECT w.s, w.e, t.city_id, count(*), count(*) FILTER (WHERE t.kind = 'retweet'), %s
			FROM (%s) w, tweets t JOIN evilnet.city c ON c.city_id = t.city_id
			WHERE w.zone = %s AND t.created_at >= w.s AND t.created_at < w.e%s GROUP BY 1, 2, 3},
		$AUTHORS, windows_sql($request, $since, $until), $zone, $condition);
	return compare($report, $recount,
		join(' ', 'counts:', map { defined $_ ? $_ : () } @$request{qw(width slide zone)}, $request->{cumulative} ? 'cumulative' : ()));
}

sub compare_series
{
	my $request = one_in(2) ? { width => '1 hour', zone => 'UTC', unit => 'day' }
	  : { width => '1 day', zone => pick(@ZONES), unit => 'day' };
	my ($since, $until) = random_span($request);
	my $compare = pick('day', 'week', 'previous');
	my $windows = windows_sql($request, $since, $until);
	my $shift = $compare eq 'previous'
	  ? "(SELECT count(*) FROM ($windows) n) * interval '$request->{width}'"
	  : $compare eq 'day' ? "interval '1 day'" : "interval '7 days'";
	my $report = sprintf(
		q{SELECT window_start, city_id, coalesce(tweets, 0), compared_start, coalesce(compared_tweets, 0), coalesce(compared_authors, 0)
			FROM evilnet.city_series('tweets', '%s', '%s', '%s', timezone => '%s', compare => '%s', fill => 'null')
			WHERE tweets > 0},
		$request->{width}, timestamp($since), timestamp($until), $request->{zone}, $compare);
	my $recount = sprintf(
		q{SELECT w.s, t.city_id, count(*), w.cs,
				(SELECT count(*) FROM tweets x WHERE x.city_id = t.city_id AND x.created_at >= w.cs AND x.created_at < w.ce),
				(SELECT count(DISTINCT x.author_id) FROM tweets x WHERE x.city_id = t.city_id AND x.created_at >= w.cs AND x.created_at < w.ce)
			FROM (%s) w, tweets t WHERE t.created_at >= w.s AND t.created_at < w.e GROUP BY w.s, t.city_id, w.cs, w.ce},
		windows_sql($request, $since, $until, $shift));
	return compare($report, $recount, "series: $request->{width} $request->{zone}, compared with $compare");
}

sub compare_ranking
{
	my ($filter, $condition) = random_filter();
	my $since = random_second();
	my $until = $since + below(10 * 86400);
	my $best = one_in(2);
	my $n = 1 + below(6);
	my %values = (
		tweets => 'tweets', retweets => 'retweets', authors => 'authors',
		tweets_per_100k => 'tweets * 100000.0::float8 / population', authors_per_100k => 'authors * 100000.0::float8 / population');
	my $metric = pick(sort keys %values);
	my $report = sprintf(
		q{SELECT rank, city_id, tweets, retweets, authors, value FROM evilnet.%s('tweets', '%s', '%s', metric => '%s', n => %d%s)},
		$best ? 'top_cities' : 'bottom_cities', timestamp($since), timestamp($until), $metric, $n, $filter);
	my $recount = sprintf(
		q{SELECT rank, city_id, tweets, retweets, authors, value FROM (
			SELECT rank() OVER (ORDER BY (%s)::float8 %s), r.*, (%s)::float8 AS value FROM (
				SELECT t.city_id, c.name, c.population, count(*) AS tweets, count(*) FILTER (WHERE t.kind = 'retweet') AS retweets, %s AS authors
				FROM tweets t JOIN evilnet.city c USING (city_id)
				WHERE t.city_id <> 0 AND date_trunc('minute', t.created_at) >= '%s' AND date_trunc('minute', t.created_at) < '%s'%s
				GROUP BY 1, 2, 3) r) v
			ORDER BY rank, tweets DESC, name, city_id LIMIT %d},
		$values{$metric}, $best ? 'DESC' : 'ASC', $values{$metric}, $AUTHORS, timestamp($since), timestamp($until), $condition, $n);
	return compare($report, $recount, "ranking: $metric");
}

# ----

sql("BEGIN; SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'none', partition_interval => '7 days'); SELECT evilnet.pause('tweets'); COMMIT");
sql(join(';', map { "UPDATE evilnet.city SET timezone = '$CITIES{$_}' WHERE city_id = (SELECT city_id FROM evilnet.find_city('$_') LIMIT 1)" } @NAMES));
my $rows = 0;
foreach my $batch (0 .. 3)
{
	store($batch % 2);
	if ($batch == 1)
	{
		sql("SELECT evilnet.create_rollup('tweets', '5 minutes', in_background => false)");
		sql("SELECT evilnet.create_rollup('tweets', '1 hour', in_background => false)");
	}
	sql("SELECT evilnet.create_rollup('tweets', '1 day', in_background => false)") if $batch == 2;
	foreach (1 .. $REPORTS)
	{
		my $report = pick(\&compare_counts, \&compare_counts, \&compare_series, \&compare_ranking);
		$rows += $report->();
	}
}
cmp_ok($rows, '>', 1000, 'the reports had rows to compare');
is(sql("SELECT count(*) FROM evilnet.verify_continuous_aggregate('tweets_by_city_1d')"), '0', 'the roll-ups are those of the posts');

done_testing();
