# Workers do not stand in the way of commands that want a database to
# themselves, and come back where there is still something to do.
use strict;
use warnings;

use EvilnetProcesses;
use EvilnetTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = prepared_node('main', 'allow_in_place_tablespaces = on');

sub admin
{
	return $node->safe_psql('template1', @_);
}

# One more post, which a worker has to store.
my $rows = 0;

sub goes_on
{
	my ($db, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	publish($node, 'a', posts(++$rows));
	return wait_for_rows($node, 'tweets', $rows, $name, $db);
}

admin('CREATE DATABASE a');
add_stream($node, 'a', 'tweets', 'a', ++$rows);

# --- copy

admin('CREATE DATABASE copy TEMPLATE a');
goes_on('a', 'the worker comes back after CREATE DATABASE ... TEMPLATE');
is($node->safe_psql('copy', 'SELECT state FROM evilnet.stat_stream'),
	'restored', 'the copy does not start to consume');
is($node->safe_psql('copy', 'SELECT count(*) FROM tweets'), '1', 'the copy has the rows of its time');
admin('DROP DATABASE copy');

# --- rename

admin('ALTER DATABASE a RENAME TO b');
goes_on('b', 'the worker comes back after ALTER DATABASE ... RENAME');

# --- move

admin(q{CREATE TABLESPACE elsewhere LOCATION ''});
my ($status, $out, $err) = $node->psql('template1', 'ALTER DATABASE b SET TABLESPACE elsewhere');
is($status, 0, 'ALTER DATABASE ... SET TABLESPACE') or diag($err);
goes_on('b', 'the worker comes back after ALTER DATABASE ... SET TABLESPACE');

# --- those who may not

admin('CREATE ROLE nobody LOGIN; CREATE ROLE maker LOGIN CREATEDB');
my $pids = admin(worker_query('b'));
sql_fails_as($node, 'template1', 'nobody', 'DROP DATABASE b', '42501', 'must be owner', 'DROP DATABASE by another user');
sql_fails_as($node, 'template1', 'nobody', 'ALTER DATABASE b RENAME TO c', '42501', 'must be owner', 'RENAME by another user');
sql_fails_as($node, 'template1', 'maker', 'CREATE DATABASE c TEMPLATE b', '42501', 'permission denied to copy database "b"',
	'copy by another user who may create databases');
same_worker($node, 'b', $pids, 'those who may not drop or copy the database do not end its worker');

# --- commands that fail

my $other = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('b'), '-c', 'SELECT pg_sleep(600)' ],
	'<', \undef, '>', \my $other_out, '2>', \my $other_err);
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'b' AND query LIKE '%pg_sleep(600)'},
	'1', 'another session is in the database', 'template1');
sql_fails($node, 'template1', 'DROP DATABASE b', '55006', 'being accessed by other users.*There is 1 other session',
	'DROP DATABASE names the other session only');
goes_on('b', 'the worker comes back after a DROP DATABASE that failed');
admin(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND datname = 'b'});
$other->finish;

# --- drop

my $offset = log_size($node);
my $start = time;
admin('DROP DATABASE b');
cmp_ok(time - $start, '<', 10, 'DROP DATABASE does not wait long');

# by the time that this one runs, the launcher has been over all worker slots
admin('CREATE DATABASE d');
add_stream($node, 'd', 'tweets', 'd', 1);
admin('DROP DATABASE d WITH (FORCE)');
admin('CREATE DATABASE e');
add_stream($node, 'e', 'tweets', 'e', 1);
is(admin(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'evilnet ingest worker'}),
	'1', 'no worker of a dropped database is left');
is(complaints($node, $offset), '', 'nothing looks for a dropped database');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing died');

done_testing();
