# The extension is created, lives through a restart and goes without a trace.
use strict;
use warnings;

use EvilnetTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = evilnet_node('main');

$node->safe_psql('postgres', 'CREATE EXTENSION evilnet');
is( $node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'evilnet'"),
	$node->safe_psql('postgres',
		"SELECT default_version FROM pg_available_extensions WHERE name = 'evilnet'"),
	'created in the version of the control file');

is( $node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_depend d, pg_extension e
		  WHERE e.extname = 'evilnet' AND d.refobjid = e.oid AND d.deptype = 'e'
			AND d.classid = 'pg_proc'::regclass
			AND obj_description(d.objid, 'pg_proc') IS NULL}),
	'0',
	'every function has a comment');

$node->restart;
wait_for($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type LIKE 'evilnet%'",
	't', 'the launcher runs after a restart');

$node->safe_psql('postgres', 'DROP EXTENSION evilnet');
is( $node->safe_psql('postgres',
		q{SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = n.oid)
			   + (SELECT count(*) FROM pg_proc WHERE pronamespace = n.oid)
			   + (SELECT count(*) FROM pg_foreign_data_wrapper WHERE fdwname LIKE 'evilnet%')
		  FROM pg_namespace n WHERE nspname = 'evilnet'}),
	'0', 'dropped without a trace');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing died');

done_testing();
