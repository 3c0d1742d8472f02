# On a standby nothing runs; after promotion it goes on where the primary was.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bus = prepared_node('bus');
my $primary = PostgreSQL::Test::Cluster->new('primary');
my $address = $bus->safe_psql('postgres', 'SELECT evilnet.embedded_broker_address()');

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf',
	"shared_preload_libraries = 'evilnet'\nmax_worker_processes = 32\nlog_line_prefix = '%m [%p] %b '\nlog_statement = none");
$primary->start;
$primary->safe_psql(
	'postgres', qq{
	SET client_min_messages = warning;
	CREATE EXTENSION hll;
	CREATE EXTENSION evilnet;
	CREATE SERVER bus FOREIGN DATA WRAPPER evilnet_kafka OPTIONS ("bootstrap.servers" '$address');
	SELECT evilnet.create_stream('tweets', server => 'bus', topic => 'tweets', dedup => false)});
publish($bus, 'tweets', posts(1 .. 10));
wait_for_rows($primary, 'tweets', 10, 'the primary has its posts');

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
publish($bus, 'tweets', posts(11 .. 20));
wait_for_rows($primary, 'tweets', 20, 'the primary goes on');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT count(*), (SELECT sum(tweets) FROM tweets_by_city) FROM tweets'),
	'20|20', 'the standby has the same rows and counts');
is($standby->safe_psql('postgres', 'SELECT stream, worker, state, pid, messages FROM evilnet.stat_stream'),
	'tweets|0|waiting||20', 'stat_stream can be read there');
# all reports, one after the other
my $span = q{since => now() - interval '1 day', until => now() + interval '1 minute'};
is($standby->safe_psql('postgres', $_->[0]), $_->[1], "the standby reports: $_->[0]")
  foreach [ qq{SELECT sum(tweets) FROM evilnet.city_counts('tweets', '1 hour', '-infinity', 'infinity', timezone => 'local')}, '20' ],
  [ qq{SELECT sum(tweets) FROM evilnet.city_series('tweets', '1 day', '-infinity', 'infinity', compare => 'week')}, '20' ],
  [ qq{SELECT city, tweets, authors FROM evilnet.top_cities('tweets', $span)}, 'Toronto|20|7' ],
  [ qq{SELECT city, tweets FROM evilnet.bottom_cities('tweets', $span)}, 'Toronto|20' ],
  [ qq{SELECT jsonb_array_length(evilnet.city_map('tweets', $span) -> 'features')}, '1' ],
  [ q{SELECT count(*) FROM evilnet.trending_cities('tweets', now(), covered => false)}, '0' ],
  [ q{SELECT count(*) FROM evilnet.trending_hashtags('tweets', 'Toronto', covered => false)}, '0' ],
  [ q{SELECT count(*) > 0 FROM evilnet.coverage('tweets')}, 't' ],
  [ q{SELECT count(*) FROM evilnet.stat_retention}, '2' ],
  [ q{SELECT count(*) FROM evilnet.stat_schedule}, '0' ];
is(scalar(processes($standby, 'evilnet')), 0, 'no process of evilnet runs there');
sql_fails($standby, 'postgres', q{SELECT evilnet.pause('tweets')}, '25006', 'read-only transaction', 'a stream cannot be paused there');
unlike(slurp_file($standby->logfile), qr/\] evilnet |evilnet.*ERROR/, 'nothing of evilnet is in its log');

$primary->stop('immediate');
$standby->promote;
publish($bus, 'tweets', posts(21 .. 30));
wait_for_rows($standby, 'tweets', 30, 'after promotion it goes on');
is($standby->safe_psql('postgres', 'SELECT sum(tweets) FROM tweets_by_city'), '30', 'counting each post once');
is($standby->safe_psql('postgres', 'SELECT sum(next_offset), sum(gaps) + sum(duplicates) FROM evilnet.stream_offset'),
	'30|0', 'from where the primary was');

$standby->stop;
$bus->stop;
unlike(slurp_file($standby->logfile), qr/PANIC|was terminated by signal/, 'nothing died');

done_testing();
