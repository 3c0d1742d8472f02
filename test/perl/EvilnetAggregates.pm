# Random continuous aggregates: queries with what they must come to by plain
# SQL over the table, and messages that try them.  Everything comes from a seed.
#
# A query is a hash: the text that is kept, and the parts of the same query over
# the stream's table (from, where, group keys, results), from which the queries
# of aggregates over it are made, and what those must come to.
package EvilnetAggregates;

use strict;
use warnings;

use Exporter 'import';
use POSIX qw(floor strftime);
use Time::Local qw(timegm);

our @EXPORT = qw(random_seed one_in pick some shuffled below base_query query_over plain_query
  comparison is_verifiable new_feed feed_messages feed_ids);

# ---- chance: a generator of our own, as rand() is also used by others

my $state;

sub random_seed
{
	my ($seed) = @_;

	$state = $seed;
	below(2) for 1 .. 8;
	return;
}

sub below
{
	my ($n) = @_;
	my $bits;

	{
		use integer;
		$state = $state * 6364136223846793005 + 1442695040888963407;
		$bits = ($state >> 33) & 0x7fffffff;
	}
	return $bits % $n;
}

sub one_in { my ($n) = @_; return below($n) == 0; }
sub pick { return $_[ below(scalar @_) ]; }

sub shuffled
{
	my @list = @_;

	for (my $i = $#list; $i > 0; $i--)
	{
		my $k = below($i + 1);
		@list[ $i, $k ] = @list[ $k, $i ];
	}
	return @list;
}

# A few of a list, at least one if there is one, at most $most.
sub some
{
	my ($most, @list) = @_;
	my $n = 1 + below($most);

	@list = shuffled(@list);
	return @list[ 0 .. ($n < @list ? $n : scalar @list) - 1 ];
}

# What is left out because it fails; each of these is to become 1.
my %allowed = (
	# one expression under two names as two group keys: check says yes, create refuses
	same_key_twice => 0,
	# verify over keys of which equal ones are written differently ('1 mon' and '30 days'): it compares what is written
	verify_equal_keys => 0);

sub distinct_keys
{
	my @keys = @_;
	my %seen;

	return grep { $allowed{same_key_twice} || !$seen{ $_->{sql} }++ } @keys;
}

# ---- time buckets

# those of one line are multiples of the ones before
my @families = (
	[ '1 minute', '5 minutes', '15 minutes', '1 hour', '12 hours', '1 day', '7 days', '28 days' ],
	[ '1 minute', '30 minutes', '90 minutes', '6 hours', '1 day', '3 days', '30 days' ],
	[ '7 minutes', '42 minutes', '7 hours', '21 hours', '10 days 12 hours' ],
	[ '5 minutes', '25 minutes', '25 hours', '50 hours' ],
	[ '15 minutes', '1 hour', '1 day', '1 month', '3 months', '1 year' ],
	[ '1 day', '1 week', '2 weeks', '8 weeks' ],
	[ '1 month', '2 months', '6 months', '12 months', '10 years' ]);
my @zones = ('UTC', 'America/Toronto', 'Europe/London', 'Asia/Kolkata', 'Australia/Lord_Howe', 'America/St_Johns', 'Africa/Casablanca',
	'-03:30');
my @origins = ('2024-01-01 00:00:00+00', '2024-03-10 05:00:00+00', '1999-12-31 23:17:00+00', '2030-06-15 12:00:00.000001+00');

sub random_bucket
{
	my $family = below(scalar @families);
	my $step = below(scalar @{ $families[$family] } - (one_in(3) ? 0 : 1));
	my $zone = one_in(2) ? pick(@zones) : undef;
	my $origin = one_in(5) ? pick(@origins) : undef;

	# those of months begin where a month does in their zone
	$origin = undef if grep { /month/ } @{ $families[$family] };
	$origin = '2001-03-01 00:00:00+00' if "@{ $families[$family] }" !~ /day|hour/ && !defined $zone && one_in(2);
	return { family => $family, step => $step, zone => $zone, origin => $origin };
}

# A multiple of a bucket, in the same zone and from the same origin, or the same again.
sub coarser_bucket
{
	my ($bucket) = @_;
	my $steps = @{ $families[ $bucket->{family} ] } - $bucket->{step};

	return { %$bucket, step => $bucket->{step} + below($steps) };
}

sub bucket_sql
{
	my ($bucket, $time) = @_;
	my $width = $families[ $bucket->{family} ][ $bucket->{step} ];
	my $origin = defined $bucket->{origin} ? "'$bucket->{origin}'" : undef;
	my $zone = defined $bucket->{zone} ? "'$bucket->{zone}'" : undef;
	my $form = below(3);

	return "evilnet.time_bucket('$width', $time, " . ($origin // 'NULL') . ', ' . ($zone // 'NULL') . ')' if $form == 0;
	return 'evilnet.time_bucket(' . join(', ',
		shuffled("width => '$width'", "ts => $time", $origin ? "origin => $origin" : (), $zone ? "timezone => $zone" : ()))
	  . ')' if $form == 1;
	return 'evilnet.time_bucket(' . join(', ',
		"interval '$width'", $time, $origin ? "origin => $origin" : (), $zone ? "timezone => $zone" : ())
	  . ')';
}

# ---- what queries over a stream are made of; the stream is t

# What else FROM may hold: as it is written, the same as a join, keys and results it brings.
my @joins = (
	[ 'JOIN place p ON p.city_id = t.city_id', [ 'text p.region', 'int p.weight' ], [ 'sum p.weight', 'bool_or p.active', 'min p.region' ] ],
	[ 'JOIN place p USING (city_id)', ['bool p.active'], [ 'count p.weight', 'max p.weight' ] ],
	[ 'LEFT JOIN place p ON p.city_id = t.city_id', [ q{text coalesce(p.region, 'none')}, 'int p.weight' ], [ 'sum p.weight', 'count p.region' ] ],
	[ 'LEFT JOIN place p ON p.city_id = t.city_id AND p.active AND t.author_id % 2 = 0', ['text p.region'], [ 'sum coalesce(p.weight, 0)', 'sum CASE WHEN p.active THEN 1 ELSE 0 END' ] ],
	[ 'JOIN evilnet.city c ON c.city_id = t.city_id', [ 'text c.country_code', 'text c.region_code' ], [ 'sum c.population', 'max c.name' ] ],
	[ 'LEFT JOIN evilnet.city c USING (city_id)', ['text c.country'], ['min c.population'] ],
	[ q{JOIN (VALUES ('en', 'English'), ('fr', 'French'), ('fr', 'Francais'), (NULL, 'none')) v(lang, word) ON v.lang IS NOT DISTINCT FROM t.lang}, ['text v.word'], [ 'count v.lang', 'max v.word' ] ],
	[ 'JOIN (SELECT city_id, count(*) AS n, max(weight) AS weight FROM place GROUP BY 1) q ON q.city_id = t.city_id', ['int q.n'], [ 'sum q.n', 'sum q.weight' ] ],
	[ 'JOIN LATERAL (SELECT l.name FROM language l WHERE l.lang = t.lang) w ON true', ['text w.name'], ['count w.name'] ],
	[ 'LEFT JOIN LATERAL unnest(t.hashtags) AS h(tag) ON true', ['text h.tag'], ['count h.tag'] ],
	[ 'CROSS JOIN LATERAL unnest(t.hashtags) WITH ORDINALITY AS h(tag, n)', [ 'text h.tag', 'int h.n' ], [ 'sum h.n', 'max h.tag' ] ],
	[ 'LEFT JOIN active_place y ON y.city_id = t.city_id', ['text y.region'], ['sum y.weight'] ],
	[ 'CROSS JOIN (SELECT family FROM language UNION SELECT 0) f', ['int f.family'], ['sum f.family'] ],
	[ 'CROSS JOIN LATERAL ROWS FROM (unnest(t.hashtags), generate_series(1, 2)) AS h(tag, n)', [ 'text h.tag', 'int h.n' ], [ 'sum h.n', 'count h.tag' ] ],
	[ q{, regexp_split_to_table(t.text, ' ') AS x(word)}, ['text x.word'], ['max x.word'], q{CROSS JOIN LATERAL regexp_split_to_table(t.text, ' ') AS x(word)} ],
	[ ', unnest(t.hashtags) AS h(tag)', ['text h.tag'], ['min h.tag'], 'CROSS JOIN LATERAL unnest(t.hashtags) AS h(tag)' ],
	[ ', generate_series(0, (t.author_id % 3)::int) AS g(n)', ['int g.n'], ['sum g.n'], 'CROSS JOIN LATERAL generate_series(0, (t.author_id % 3)::int) AS g(n)' ]);

my @keys = (
	'int t.city_id', 'text t.lang', 'text t.kind', 'text t.city_source',
	'int t.city_id', 'text t.lang', 'text t.kind', 'text t.city_source',
	'int t.author_id % 3', 'int t.author_id % 7', 'int t.id % 2', 'bool t.author_id % 3 = 0', 'bool t.lang IS NULL', 'bool t.lang = \'en\'',
	q{text CASE WHEN t.kind = 'retweet' THEN 'again' WHEN t.author_id % 2 = 0 THEN t.lang ELSE 'new' END},
	q{text coalesce(t.lang, '?')}, 'text upper(t.lang)', 'text left(t.text, 3)', 'text left(t.text, 2) COLLATE "C"', 'int length(t.text)', 'text md5(t.kind)',
	'int cardinality(t.hashtags)', 'other t.hashtags', 'text t.hashtags[1]', q{other decode(md5(t.kind), 'hex')},
	q{other extract(hour FROM t.created_at AT TIME ZONE 'America/Toronto')}, q{other (t.created_at AT TIME ZONE 'UTC')::date},
	q{other date_trunc('hour', t.created_at AT TIME ZONE 'Asia/Kolkata')}, q{other evilnet.time_bucket('6 hours', t.created_at)},
	'other t.author_id / 4.0', 'other ((t.author_id % 5) - 2) * 0.5::float8', 'other ((t.author_id % 3) - 1) * 0.0::float8', q{other NULLIF(t.kind, 'post')}, 'other (t.author_id % 8)::bit(3)',
	q{other '{"post": 1, "reply": 2}'::jsonb - t.kind}, q{bool t.text ~ '[05]$'}, 'text NULL::text', q{text 'all'},
	'text (SELECT max(p0.region) FROM place p0 WHERE p0.city_id = t.city_id)', 'bool t.city_id IN (SELECT p0.city_id FROM place p0 WHERE p0.active)',
	'other t.lang::char(5)', 'other t.lang::varchar(1)', 'other t.lang::name', 'other t.kind::"char"', 'other md5(t.kind)::uuid', 'other ARRAY[t.lang, t.kind]', 'other t.city_id::oid',
	q{other date_trunc('minute', (t.created_at AT TIME ZONE 'UTC')::time)}, 'other int8range(t.author_id % 5, t.author_id % 5 + 2)', 'other CASE WHEN t.id % 2 = 0 THEN 1.0 ELSE 1.00 END',
	q{other CASE WHEN t.id % 2 = 0 THEN interval '1 month' ELSE interval '30 days' END}, 'other t.hashtags[1] COLLATE nocase');

my @conditions = (
	q{t.lang = 'en'}, 't.lang IS NOT NULL', 't.author_id % 3 <> 1', q{t.kind IN ('post', 'retweet')}, 't.city_id <> 0', 't.id % 5 > 0',
	q{t.created_at >= '2024-03-01 00:00:00+00'}, q{'one' = ANY(t.hashtags)}, 'cardinality(t.hashtags) > 0', q{t.text <> ''}, 't.author_id IS NULL OR t.author_id < 9',
	q{extract(dow FROM t.created_at AT TIME ZONE 'Europe/London') IN (0, 3, 5)});
my @lookup_conditions = (
	't.city_id IN (SELECT city_id FROM place WHERE active)', 'EXISTS (SELECT FROM place p0 WHERE p0.city_id = t.city_id AND p0.weight > 2)',
	'NOT EXISTS (SELECT FROM place p0 WHERE p0.city_id = t.city_id)', '(SELECT count(*) FROM place p0 WHERE p0.city_id = t.city_id) <> 1',
	't.lang NOT IN (SELECT l0.lang FROM language l0 WHERE l0.family = 1)', 't.lang = ANY(ARRAY(SELECT l0.lang FROM language l0))');

# results: function and argument, most of any kind
my @results = (
	'count *', 'count *', 'count t.lang', 'count t.author_id', q{count NULLIF(t.kind, 'post')}, 'sum 1', 'sum t.author_id', 'sum length(t.text)',
	q{sum CASE WHEN t.kind = 'retweet' THEN 1 ELSE 0 END}, 'sum t.city_id', 'sum t.id', 'sum coalesce(t.author_id, 0)', q{sum CASE WHEN t.lang = 'en' THEN t.author_id END},
	'sum t.author_id / 8.0', 'sum (t.author_id % 16) / 8.0::float8', 'sum (t.id % 16)::real', q{sum t.created_at - '2024-01-01 00:00:00+00'::timestamptz}, 'sum t.id::numeric / 3', 'sum (t.id % 100)::int2',
	'evilnet.total t.id', 'evilnet.total t.author_id', 'evilnet.total length(t.text)::bigint',
	'min t.id', 'max t.id', 'min t.created_at', 'max t.created_at', 'min t.text', 'max t.lang', 'min t.kind COLLATE "C"', 'max t.hashtags', 'min t.author_id / 4.0', 'max (t.author_id % 9) * 0.25::float8',
	q{bool_and t.lang = 'en'}, q{bool_or t.lang = 'fr'}, 'every t.id > 0', 'bool_or t.author_id > 10', 'bit_and t.author_id', 'bit_or t.id', 'bit_or t.id::bit(12)', 'bit_and (t.id % 8)::int2',
	'sum (SELECT max(p0.weight) FROM place p0 WHERE p0.city_id = t.city_id)', 'count CASE WHEN t.city_id IN (SELECT p0.city_id FROM place p0) THEN 1 END', 'max t.lang::char(3)', 'min t.city_id::oid',
	q{max t.created_at - '2024-03-01 00:00:00+00'::timestamptz}, 'max ARRAY[t.author_id, t.id]', 'bool_and NULL::boolean', 'sum NULL::int', q{sum CASE WHEN t.lang IS NULL THEN interval '1 month' ELSE interval '1 day' END},
	'hll_add_agg hll_hash_bigint(t.author_id)', q{hll_add_agg hll_hash_text(t.lang)}, 'hll_add_agg hll_hash_bigint(t.id), 11, 5, -1, 1');
# what deleted posts can be subtracted from, or nearly
my @subtractable = (
	'count *', 'count t.lang', 'count t.author_id', 'sum 1', 'sum length(t.text)', 'sum t.author_id', 'evilnet.total t.author_id', 'evilnet.total t.id', 'sum t.id', 'sum t.city_id', 'sum coalesce(t.author_id, 0)',
	q{sum CASE WHEN t.kind = 'retweet' THEN 1 ELSE 0 END}, q{sum CASE WHEN t.lang = 'en' THEN 1 END}, q{sum CASE WHEN t.lang = 'en' THEN t.id ELSE t.author_id END}, 'sum coalesce(t.author_id, cardinality(NULLIF(t.hashtags, \'{}\')))',
	q{sum CASE WHEN t.lang IS NULL THEN interval '1 month' ELSE interval '1 day' END});
my @sketches = ('tdigest t.author_id::float8, 100', 'tdigest t.id % 10, 50');

sub typed
{
	my ($type, $sql) = split(/ /, $_[0], 2);

	return { type => $type, sql => $sql };
}

# Names of columns: mostly plain, now and then such as need quotes.
sub column_name
{
	my ($letter, $number) = @_;

	return one_in(15) ? pick(qq{"$letter $number"}, qq{"Select$letter$number"}, qq{"$letter""$number"}, qq{"{column}$letter$number"}, qq{"{new}$letter$number"}) : "$letter$number";
}

sub random_result
{
	my ($options, $subtractable, $number, @more) = @_;
	my ($call, $argument) = split(/ /, $subtractable ? pick(@subtractable) : pick(@results, @more, @more, $options->{tdigest} ? @sketches : ()), 2);

	return {
		name => column_name('r', $number),
		call => $call,
		argument => $argument,
		filters => one_in(4) ? [ pick(@conditions, $subtractable ? () : @lookup_conditions) ] : [],
		later_filters => [] };
}

sub filter_sql
{
	my @filters = @_;

	return @filters ? ' FILTER (WHERE ' . join(' AND ', map { "($_)" } @filters) . ')' : '';
}

sub join_place
{
	my ($join) = @_;

	return $join->[0] =~ /^,/ ? 2 : $join->[0] =~ /USING/ ? 0 : 1;
}

# A random query over a stream's table.
sub base_query
{
	my ($stream, $name, %options) = @_;
	# a query that reads no lookups and keeps nothing but counts and sums is subtracted from
	my $subtractable = one_in(3);
	my @joins_used = one_in(2) ? some(2, $subtractable ? (grep { $_->[0] !~ /place|city|language/ } @joins) : @joins) : ();
	my %aliases;
	my @written;
	my @plain;
	my (@join_keys, @join_results);

	# an alias stands once; USING wants one city_id on its left, and what is behind a comma comes last
	@joins_used = grep { my ($alias) = $_->[0] =~ /\b([a-z])(?:\(| ON| USING)/; !$aliases{$alias}++ } @joins_used;
	foreach my $join (sort { join_place($a) <=> join_place($b) } @joins_used)
	{
		my ($text, $keys, $results, $plain) = @$join;

		push @written, $text;
		push @plain, $plain // $text;
		push @join_keys, map { typed($_) } @$keys;
		push @join_results, @$results;
	}
	my $from = "$stream t";
	if (@written == 1 && $written[0] =~ /^LEFT JOIN (place p|evilnet\.city c) ON/ && one_in(2))
	{
		# the same the other way round
		$from = "$1 RIGHT JOIN $stream t " . $written[0] =~ s/^LEFT JOIN \S+ \S //r;
		$plain[0] = $written[0];
		@written = ();
	}

	my @keys_used = one_in(12) ? () : distinct_keys(some(3, (map { typed($_) } $subtractable ? (grep { !/place/ } @keys) : @keys), @join_keys, @join_keys, @join_keys));
	my $set = !(grep { /\bh\b/ } @written) && one_in(12);
	push @keys_used, { type => 'text', sql => 'h.tag', written => 'unnest(t.hashtags)' } if $set;
	push @plain, 'CROSS JOIN LATERAL unnest(t.hashtags) AS h(tag)' if $set;
	my $number = 0;
	$_->{name} = column_name('k', ++$number) foreach @keys_used;
	my @results_used = map { random_result(\%options, $subtractable, $_, @join_results) } 1 .. (one_in(15) ? 0 : 1 + below(4));
	$results_used[0] = { name => 'tweets', call => 'count', argument => '*', filters => [], later_filters => [] } if @results_used && one_in(3);
	my @where = one_in(3) ? some(2, @conditions, $subtractable ? () : @lookup_conditions) : ();
	my $bucket = random_bucket();
	my $query = {
		name => $name,
		level => 0,
		stream => $stream,
		from => join(' ', "$stream t", @plain),
		where => [@where],
		bucket => $bucket,
		time => 't.created_at',
		bucket_name => column_name('bucket', ''),
		keys => \@keys_used,
		results => \@results_used,
		# each post is one row of one group
		is_total => !@plain && !@where };

	$query->{text} = select_sql(
		$query,
		bucket_sql($bucket, 't.created_at'),
		[ map { $_->{written} // $_->{sql} } @keys_used ],
		[ map { "$_->{call}($_->{argument})" . filter_sql(@{ $_->{filters} }) } @results_used ],
		join(' ', $from, @written),
		@where);
	return $query;
}

# SELECT of these parts, in any order, grouped by number or by expression.
sub select_sql
{
	my ($query, $bucket, $keys, $results, $from, @where) = @_;
	my @columns = (
		{ name => $query->{bucket_name}, sql => $bucket, is_key => 1 },
		(map { { name => $query->{keys}[$_]{name}, sql => $keys->[$_], is_key => 1 } } 0 .. $#$keys),
		(map { { name => $query->{results}[$_]{name}, sql => $results->[$_] } } 0 .. $#$results));
	my @groups;

	# the first time bucket is the one that counts
	@columns = shuffled(@columns) if one_in(3) && !grep { /time_bucket/ } @$keys;
	foreach my $i (0 .. $#columns)
	{
		push @groups, one_in(4) && $columns[$i]{sql} !~ /^(?:'|NULL)/ ? $columns[$i]{sql} : $i + 1 if $columns[$i]{is_key};
	}
	return 'SELECT ' . join(', ', map { "$_->{sql} AS $_->{name}" } @columns)
	  . " FROM $from"
	  . (@where ? ' WHERE ' . join(' AND ', map { "($_)" } @where) : '')
	  . ' GROUP BY ' . join(', ', shuffled(@groups));
}

# ---- queries over other aggregates

my %merged_by = (
	count => 'sum', sum => 'sum', 'evilnet.total' => 'evilnet.total', min => 'min', max => 'max', bool_and => 'bool_and', every => 'every', bool_or => 'bool_or',
	bit_and => 'bit_and', bit_or => 'bit_or', hll_add_agg => 'hll_union_agg', tdigest => 'tdigest');

# Whether a result is a bigint that is added up: it may be merged in three ways.
sub is_bigint
{
	my ($result) = @_;

	return defined $result->{is_bigint} ? $result->{is_bigint} : $result->{call} eq 'count';
}

# What may be computed of a group key, by its type.
sub key_expressions
{
	my ($key) = @_;
	my %forms = (
		int => [ '%s % 2', 'coalesce(%s, -1)', '%s > 2', 'CASE WHEN %s IS NULL THEN 0 ELSE 1 END' ],
		text => [ q{coalesce(%s, '')}, 'length(%s)', q{%s = 'en'}, 'md5(%s)', '%s IS NULL' ],
		bool => [ 'NOT %s', '%s IS TRUE' ],
		other => ['%s IS NULL']);

	return @{ $forms{ $key->{type} } };
}

sub key_conditions
{
	my ($key) = @_;
	my %forms = (
		int => [ '%s % 2 = 0', '%s IS NOT NULL', '%s > 1' ],
		text => [ q{%s <> 'fr'}, '%s IS NOT NULL', 'length(%s) > 2', '%s NOT IN (SELECT l0.lang FROM language l0 WHERE l0.family = 1)' ],
		bool => [ '%s', '%s IS NOT TRUE' ],
		other => ['%s IS NOT NULL']);

	return @{ $forms{ $key->{type} } };
}

sub fill
{
	my ($form, $sql) = @_;

	return $form =~ s/%s/$sql/gr;
}

# A condition on a key of the aggregate below: as it is written, and over the table.
sub random_condition
{
	my ($below) = @_;
	my $key = pick(@{ $below->{keys} });
	my $form = pick(key_conditions($key));

	return [ fill($form, "a.$key->{name}"), fill($form, "($key->{sql})") ];
}

# A random query over another one.  Buckets of its own are in any zone, and may not fit; multiples fit but
# where the clock of a zone jumps; the same always do.
sub query_over
{
	my ($below, $name, %options) = @_;
	my %buckets = (own => \&random_bucket, multiple => \&coarser_bucket, same => sub { return $_[0] });
	my $bucket = $buckets{ $options{bucket} }->($below->{bucket});
	my @from = ("$below->{name} a");
	my @plain = ($below->{from});
	my $level = $below->{level} + 1;
	my (@written_keys, @keys, @written_results, @results, @where, @plain_where);

	foreach my $key (one_in(4) || !@{ $below->{keys} } ? () : some(3, @{ $below->{keys} }))
	{
		my $form = one_in(3) ? pick(key_expressions($key)) : '%s';
		my $type = $form eq '%s' ? $key->{type} : 'other';

		push @written_keys, fill($form, "a.$key->{name}");
		push @keys, { type => $type, sql => fill($form, "($key->{sql})") };
	}
	foreach my $key (@{ $below->{keys} })
	{
		my $join = $key->{sql} eq 't.city_id' ? pick('JOIN', 'LEFT JOIN') . " place p$level ON p$level.city_id = %s" : undef;

		next unless $join && one_in(2) && !grep { /place p$level/ } @from;
		push @from, fill($join, "a.$key->{name}");
		push @plain, fill($join, "($key->{sql})");
		push @written_keys, "p$level.region";
		push @keys, { type => 'text', sql => "p$level.region" };
	}
	if (@{ $below->{keys} } && one_in(4))
	{
		my $condition = random_condition($below);
		push @where, $condition->[0];
		push @plain_where, $condition->[1];
	}
	foreach my $result (@{ $below->{results} })
	{
		my $call = $merged_by{ $result->{call} };
		my $is_bigint = is_bigint($result);
		my $condition = @{ $below->{keys} } && one_in(4) ? random_condition($below) : undef;
		my $cast = '';

		next if one_in(4);
		$call = $result->{merge} if defined $result->{merge};
		$is_bigint = 1 if $call eq 'evilnet.total';
		if ($is_bigint && $call eq 'sum')
		{
			$call = pick('sum', 'evilnet.total');
			$cast = '::bigint' if $call eq 'sum' && one_in(2);
		}
		push @written_results, "$call(a.$result->{name})" . filter_sql($condition ? $condition->[0] : ()) . $cast;
		push @results, {
			%$result,
			merge => $call,
			is_bigint => $is_bigint && ($call ne 'sum' || $cast ne '') ? 1 : 0,
			later_filters => [ @{ $result->{later_filters} }, $condition ? $condition->[1] : () ] };
	}
	my $number = 0;
	$_->{name} = column_name('k', ++$number) foreach @keys;
	$number = 0;
	$_->{name} = column_name('m', ++$number) foreach @results;
	my $query = {
		name => $name,
		level => $level,
		stream => $below->{stream},
		below => $below,
		from => join(' ', @plain),
		where => [ @{ $below->{where} }, @plain_where ],
		bucket => $bucket,
		time => 't.created_at',
		bucket_name => column_name('bucket', ''),
		keys => \@keys,
		results => \@results,
		is_total => $below->{is_total} && @from == 1 && !@where };

	$query->{text} = select_sql($query, bucket_sql($bucket, "a.$below->{bucket_name}"),
		\@written_keys, \@written_results, join(' ', @from), @where);
	return $query;
}

# ---- what it must come to

# A result over the table.  Merged counts are null where no group passed a filter that was applied to groups.
sub plain_result
{
	my ($result) = @_;
	my @later = @{ $result->{later_filters} };
	my $sql = "$result->{call}($result->{argument})" . filter_sql(@{ $result->{filters} }, @later);

	return "CASE WHEN count(*)" . filter_sql(@later) . " > 0 THEN $sql END" if $result->{call} eq 'count' && @later;
	return $sql;
}

# The query over the stream's table, whatever aggregates are between.
sub plain_query
{
	my ($query) = @_;
	my @columns = (
		bucket_sql($query->{bucket}, $query->{time}) . " AS $query->{bucket_name}",
		(map { "$_->{sql} AS $_->{name}" } @{ $query->{keys} }),
		(map { plain_result($_) . " AS $_->{name}" } @{ $query->{results} }));
	my $groups = @{ $query->{keys} } + 1;

	return 'SELECT ' . join(', ', @columns) . " FROM $query->{from}"
	  . (@{ $query->{where} } ? ' WHERE ' . join(' AND ', map { "($_)" } @{ $query->{where} }) : '')
	  . ' GROUP BY ' . join(', ', 1 .. $groups);
}

# What is compared of a query's rows: all columns, sketches by what they tell.
sub comparison
{
	my ($query) = @_;
	my %told_by = (hll_add_agg => 'hll_cardinality(%s)', tdigest => 'tdigest_count(%s)');

	return join(', ', $query->{bucket_name}, (map { $_->{name} } @{ $query->{keys} }),
		(map { fill($told_by{ $_->{call} } // '%s', $_->{name}) } @{ $query->{results} }));
}

# Whether verify can be asked.
sub is_verifiable
{
	my ($query) = @_;

	return $allowed{verify_equal_keys} || !grep { $_->{sql} =~ /nocase|interval '30 days'/ && $_->{sql} !~ /IS (?:NOT )?NULL/ } @{ $query->{keys} };
}

# ---- messages

my @moments = ('2024-03-10T07:00:00Z', '2024-03-31T01:00:00Z', '2024-02-29T23:59:59Z', '2023-11-05T06:00:00Z', '2024-04-06T15:00:00Z', '2024-01-01T00:00:00Z');
my @old = ('2019-02-28T23:59:59.999Z', '2020-02-29T00:00:00Z', '2012-12-31T23:30:00.5Z', '2024-06-30T23:59:60Z');
my @places = ([ 'Toronto', 'CA' ], [ 'Ottawa', 'CA' ], [ 'Halifax', 'CA' ], [ 'Paris', 'FR' ], [ 'London', 'GB' ], [ 'Berlin', 'DE' ], [ 'Tokyo', 'JP' ], [ 'Atlantis', 'XX' ], undef);
my @tags = ('one', 'two', 'three', 'One', 'fünf', '六');
my @texts = ('', 'a post', 'Another post', 'été', 'x 5', q{quote' and \\\\\\\\ 10}, '日本語 0');

# A stream's messages come from here: posts of a span of time that moves on, old ones among them.  Writers
# write ids of their own; each knows which it has written, and both which are deleted.
sub new_feed
{
	my (%options) = @_;
	my ($year, $month, $day, $hour, $minute, $second) = pick(@moments) =~ /\d+/g;

	return {
		middle => timegm($second, $minute, $hour, $day, $month - 1, $year),
		span => pick(3600 * 6, 86400 * 2, 86400 * 4, 86400 * 9),
		progress => 0,
		last_id => 0,
		writers => [ map { { ids => {}, stored => [] } } 1 .. $options{writers} ],
		gone => {},
		later => [] };
}

sub random_time
{
	my ($feed) = @_;
	my $seconds;

	return pick(@old) if one_in(40);
	$seconds = $feed->{middle} - $feed->{span} / 2 + floor($feed->{span} * $feed->{progress});
	# late by all the span now and then
	$seconds -= one_in(5) ? below($feed->{span}) : below(floor($feed->{span} / 4));
	$seconds -= $seconds % pick(60, 300, 3600, 86400) if one_in(5);
	return strftime('%Y-%m-%dT%H:%M:%S', gmtime($seconds)) . (one_in(4) ? sprintf('.%06dZ', below(1000000)) : 'Z');
}

sub fresh_id
{
	my ($feed) = @_;

	$feed->{last_id} += 1 + below(3);
	return $feed->{last_id};
}

sub post_message
{
	my ($feed, $id) = @_;
	my $place = pick(@places);
	my $lang = pick('en', 'en', 'fr', 'de', 'ja', undef);
	my $author = one_in(12) ? undef : below(pick(4, 14, 300));
	my $kind = pick('post', 'post', 'retweet', 'reply', 'quote');
	my @fields = (qq("id":"$id"), sprintf('"created_at":"%s"', random_time($feed)), sprintf('"text":"%s"', pick(@texts)),
		sprintf('"entities":{"hashtags":[%s]}', join(',', map { qq({"text":"$_"}) } one_in(2) ? () : some(4, @tags, @tags))));

	push @fields, qq("author_id":"$author") if defined $author;
	push @fields, qq("lang":"$lang") if defined $lang;
	push @fields, qq("city":"$place->[0]","country_code":"$place->[1]") if $place && !one_in(4);
	push @fields, '"lon":-79.38,"lat":43.65' if one_in(8);
	push @fields, { retweet => '"is_retweet":true', reply => '"in_reply_to_status_id":5', quote => '"is_quote_status":true' }->{$kind} if $kind ne 'post';
	return '{' . join(',', shuffled(@fields)) . '}';
}

sub delete_message
{
	my ($feed, $id) = @_;

	$feed->{gone}{$id} = 1;
	return qq({"delete":{"status":{"id":$id,"user_id":1},"timestamp_ms":"1562135580658"}});
}

# Messages of one writer.  Options: deletes, whether there are any, few or many.
sub feed_messages
{
	my ($feed, $number, $count, %options) = @_;
	my $writer = $feed->{writers}[$number];
	my @messages;
	my $share = pick(3, 12, 12);

	while (@messages < $count)
	{
		if ($options{deletes} && one_in($share))
		{
			my @known = map { @{ $_->{stored} } } @{ $feed->{writers} };
			my $form = below(8);

			# of a post that is there, of one to come, of none
			push @messages, delete_message($feed, $form < 6 && @known ? pick(@known) : 1000000 + below(1000)) if $form != 6;
			next if $form != 6;
			my $id = fresh_id($feed);
			push @{ $feed->{later} }, $id;
			push @messages, delete_message($feed, $id);
		}
		elsif (@{ $feed->{later} } && one_in(10))
		{
			my $id = shift @{ $feed->{later} };
			$writer->{ids}{$id} = 1;
			push @messages, post_message($feed, $id);
		}
		elsif (@{ $writer->{stored} } && one_in(12))
		{
			# again, and now it says something else
			push @messages, post_message($feed, pick(@{ $writer->{stored} }));
		}
		else
		{
			my $id = fresh_id($feed);
			$writer->{ids}{$id} = 1;
			push @{ $writer->{stored} }, $id;
			push @messages, post_message($feed, $id);
		}
	}
	return @messages;
}

# Number and sum of the ids that must be stored.
sub feed_ids
{
	my ($feed) = @_;
	my ($count, $sum) = (0, 0);

	foreach my $id (map { keys %{ $_->{ids} } } @{ $feed->{writers} })
	{
		next if $feed->{gone}{$id};
		$count++;
		$sum += $id;
	}
	return "$count|$sum";
}

1;
