# Messages that cannot be stored, each kind of stream's own way with them, and
# the options that change what is stored.
use strict;
use warnings;

use EvilnetKafka;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = start_kafka();
my $node = kafka_node($kafka, 'main', 'evilnet.max_workers = 40', 'max_worker_processes = 60');

# One flat post; the time is a day of 2024 unless given.
sub post
{
	my ($id, %fields) = @_;
	my %all = (created_at => '"2024-03-01T12:00:00Z"', author_id => 1, city => '"Paris"', text => '"t"', %fields);

	return "{\"id\":$id," . join(',', map { "\"$_\":$all{$_}" } sort keys %all) . '}';
}

sub delete_of { my ($id) = @_; return "{\"delete\":{\"status\":{\"id\":$id,\"user_id\":1}}}"; }

# A stream over a topic of its own that holds these lines, in one partition.
sub stream_of
{
	my ($stream, $lines, %options) = @_;

	$kafka->create_topic($stream, 1);
	$kafka->produce_lines($stream, $lines);
	kafka_stream($node, $stream, %options);
	return;
}

sub stat_is
{
	my ($stream, $columns, $wanted, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql('postgres', "SELECT $columns FROM evilnet.stat_stream WHERE stream = '$stream'"),
		$wanted, $name);
}

sub is_stopped
{
	my ($stream, $reason, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($node, "SELECT state, pid IS NULL FROM evilnet.stat_stream WHERE stream = '$stream'", 'stopped|t', "$name: stopped");
	like($node->safe_psql('postgres', "SELECT last_error FROM evilnet.stat_stream WHERE stream = '$stream'"),
		$reason, "$name: the reason is told");
	return;
}

# ---- on_error => 'stop'

my @lines = map { post($_) } 1 .. 10;
splice(@lines, 5, 0, '{"id":');
stream_of('stops', \@lines, on_error => "'stop'");
my $reason = qr/^message at partition 0, offset 5 cannot be stored: .+ \(bad_json\)$/;
is_stopped('stops', $reason, 'a broken message');
stat_is('stops', 'messages <= 5, dead_letters, lag_messages', 't|0|', 'nothing at or after it is taken for consumed');
$node->safe_psql('postgres', "SELECT evilnet.resume('stops')");
is_stopped('stops', $reason, 'the same again');
$node->safe_psql('postgres', "UPDATE evilnet.stream SET on_error = 'dead_letter' WHERE stream = 'stops'::regclass");
$node->safe_psql('postgres', "SELECT evilnet.resume('stops')");
wait_for_rows($node, 'stops', 10, 'set aside when told so');
stat_is('stops', 'messages, rows, dead_letters, state', '11|10|1|idle', 'and counted');

# ---- a constraint of the user's

sub checked_stream
{
	my ($stream, %options) = @_;

	$kafka->create_topic($stream, 1);
	kafka_stream($node, $stream, %options);
	$node->safe_psql('postgres', "ALTER TABLE $stream ADD CONSTRAINT not_seven CHECK (author_id % 1000 <> 7)");
	return;
}

# posts, a repetition and a delete notice around the bad ones
@lines = map { post($_, author_id => $_) } 1 .. 3000;
push @lines, post(5), delete_of(6), delete_of(2008), delete_of(4000), post(4000);
checked_stream('checked');
$kafka->produce_lines('checked', \@lines);
wait_consumed($node, $kafka, 'checked');
is( $node->safe_psql('postgres', "SELECT kafka_offset, reason, detail ~ 'not_seven.*SQLSTATE 23514' FROM evilnet.dead_letter
		WHERE stream = 'checked'::regclass ORDER BY 1"),
	"6|sql_error|t\n1006|sql_error|t\n2006|sql_error|t",
	'the messages that violate a constraint are set aside');
stat_is('checked', 'messages, rows - rows_deleted, rows + suppressed, duplicates, deletes, dead_letters, state',
	'3005|2995|2998|1|3|3|idle', 'and no others');
is($node->safe_psql('postgres', 'SELECT count(*), sum(id) FROM checked'), '2995|' . (4501500 - 6 - 7 - 1007 - 2007 - 2008),
	'all others are stored');
is($node->safe_psql('postgres', 'SELECT sum(tweets) FROM checked_by_city'), '2995', 'and counted');

checked_stream('checked_stops', on_error => "'stop'");
$kafka->produce_lines('checked_stops', [ @lines[ 0 .. 9 ] ]);
is_stopped('checked_stops', qr/not_seven/, 'a violation');
stat_is('checked_stops', 'messages <= 6, dead_letters', 't|0', 'it is not passed');

# ---- the error budget

my @third = map { $_ % 3 ? post($_) : 'broken' } 1 .. 6000;
stream_of('budget', \@third, error_budget => 0.3, batch_messages => 100);
is_stopped('budget', qr/^more than 30 % of the latest messages became dead letters$/, 'over the budget');
stat_is('budget', 'messages BETWEEN 1000 AND 1200, dead_letters = messages / 3, messages = rows + dead_letters', 't|t|t',
	'as soon as there is enough to judge by');
$node->safe_psql('postgres', "SELECT evilnet.resume('budget')");
is_stopped('budget', qr/^more than 30 %/, 'again');
stat_is('budget', 'messages BETWEEN 2000 AND 2400', 't', 'resume() grants as much once more');
stream_of('no_limit', [ ('broken') x 3000 ], error_budget => 1);
wait_consumed($node, $kafka, 'no_limit', 'a budget of 1 is none');
stat_is('no_limit', 'messages, dead_letters, state', '3000|3000|idle', 'all set aside');
stream_of('within', \@third, error_budget => 0.4, batch_messages => 1000);
wait_consumed($node, $kafka, 'within', 'within the budget it goes on');

# ---- keys, tombstones, no bytes

$kafka->create_topic('tombs', 1);
kafka_stream($node, 'tombs', error_budget => 1);
$node->safe_psql('postgres',
	"SELECT evilnet.produce('bus', 'tombs', ARRAY[NULL, '', ' ', 'x'], ARRAY['k', NULL, '', U&'gr\\00fcn'])");
wait_consumed($node, $kafka, 'tombs');
is( $node->safe_psql('postgres', "SELECT kafka_offset, reason, payload, key FROM evilnet.dead_letter
		WHERE stream = 'tombs'::regclass ORDER BY 1"),
	"0|empty||\\x6b\n1|empty|\\x|\n2|empty|\\x20|\\x\n3|bad_json|\\x78|\\x6772c3bc6e",
	'dead letters keep key and payload, and what is null');
is($node->safe_psql('postgres', "SELECT count(*) FROM evilnet.dead_letter WHERE stream = 'tombs'::regclass AND payload IS NULL"),
	1, 'a tombstone has no payload');

# ---- times

sub time_from_now
{
	my ($interval) = @_;

	return $node->safe_psql('postgres',
		"SELECT to_json(to_char(now() AT TIME ZONE 'UTC' + interval '$interval', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))");
}

stream_of('future',
	[ post(1, created_at => time_from_now('9 minutes')), post(2, created_at => time_from_now('12 minutes')),
		post(3, created_at => time_from_now('1 year')), post(4), post(5, created_at => '"2006-03-21T20:50:14Z"') ],
	error_budget => 1);
wait_consumed($node, $kafka, 'future');
is($node->safe_psql('postgres', 'SELECT array_agg(id ORDER BY id) FROM future'), '{1,4,5}', 'a post may be a little ahead, and old');
is( $node->safe_psql('postgres', "SELECT kafka_offset, reason FROM evilnet.dead_letter WHERE stream = 'future'::regclass ORDER BY 1"),
	"1|in_the_future\n2|in_the_future", 'but not far ahead');

# a batch of very many time partitions, written by two at once
my @days = map { my $id = $_; post($id, created_at => sprintf('"%04d-%02d-%02dT10:00:00Z"', 2016 + int($id / 336) % 8,
		1 + int($id / 28) % 12, 1 + $id % 28)) } 1 .. 400;
$kafka->create_topic('days', 2);
$kafka->produce_lines('days', \@days, '--partition', 0);
$kafka->produce_lines('days', [ map { s/"id":/"id":9/r } reverse @days ], '--partition', 1);
kafka_stream($node, 'days', workers => 2);
wait_consumed($node, $kafka, 'days');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT tableoid) FROM days'), '800|400', 'a batch of many days is stored');
is($node->safe_psql('postgres', 'SELECT sum(tweets), count(*) FROM days_by_city'), '800|400', 'and counted');
stat_is('days', 'bool_and(dead_letters = 0)', 't', 'without dead letters');

# ---- what is kept

@lines = (post(1), post(1), post(2, text => '"\u00e9 \ud83d\ude00"'), post(3), delete_of(1), post(1), post(3), "\t" . post(4) . " \r");
stream_of('no_dedup', \@lines, dedup => 'false');
wait_consumed($node, $kafka, 'no_dedup');
is($node->safe_psql('postgres', 'SELECT array_agg(id ORDER BY kafka_offset) FROM no_dedup'), '{2,3,3,4}',
	'dedup => false: repeated posts are stored, deleted ones are not');
stat_is('no_dedup', 'messages, duplicates, deletes, rows - rows_deleted, rows + suppressed', '8|0|1|4|7', 'and counted so');
is($node->safe_psql('postgres', 'SELECT sum(tweets) FROM no_dedup_by_city'), '4', 'and so per city');

stream_of('no_store', [ @lines, 'broken' ], store => 'false', error_budget => 1);
wait_consumed($node, $kafka, 'no_store');
is($node->safe_psql('postgres', 'SELECT count(*) FROM no_store'), 0, 'store => false: nothing is stored');
is($node->safe_psql('postgres', 'SELECT sum(tweets) FROM no_store_by_city'), '7', 'all posts are counted');
stat_is('no_store', 'messages, rows, duplicates, deletes, suppressed, dead_letters', '9|7|0|1|0|1', 'and so in the totals');

stream_of('raw', \@lines, keep_raw => 'true');
wait_consumed($node, $kafka, 'raw');
my %raw = map { /"id":(\d+)/ ? ($1 => $_) : () } grep { !/delete/ } reverse @lines;
is($node->safe_psql('postgres', "SELECT count(*), bool_and(raw IS NOT NULL) FROM raw"), '3|t', 'keep_raw => true: rows have their message');
is($node->safe_psql('postgres', "SELECT encode(convert_to(raw, 'UTF8'), 'hex') FROM raw WHERE id = $_"),
	unpack('H*', $raw{$_}), "keep_raw => true: message $_, byte for byte") foreach 2, 4;

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP/, 'nothing died');
done_testing();
