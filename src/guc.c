/*
 * guc.c
 *		The settings evilnet.*
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "guc.h"

int	 evn_max_workers = 16;
bool evn_embedded_broker = false;
int	 evn_journal_retention = 7 * 24 * 3600;
int	 evn_rescan_interval = 300;
int	 evn_max_future = 600;
int	 evn_clock_speed = 1;
int	 evn_clock_offset = 0;
int	 evn_parquet_memory = 256 * 1024;

void
evn_guc_init(void)
{
	/* these two size or start things at server start only */
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable(
			"evilnet.max_workers",
			"Number of stream workers that can run at the same time in this cluster.",
			"Each also needs one of max_worker_processes.", &evn_max_workers, 16, 1, 1024,
			PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"evilnet.embedded_broker",
		"Runs an in-memory Kafka broker on loopback, for trying out only.",
		"It keeps 5 MiB per partition, drops the oldest messages silently, and forgets all at restart.",
		&evn_embedded_broker, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("evilnet.journal_retention", "How long rows of evilnet.batch are kept.",
							"-1 keeps them for ever.", &evn_journal_retention, 7 * 24 * 3600, -1,
							INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"evilnet.rescan_interval", "How often the launcher looks for streams in every database.",
		"Changes made through SQL are followed at commit; this finds what was missed.",
		&evn_rescan_interval, 300, 1, 24 * 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("evilnet.max_future",
							"How far ahead of the server's clock the time of a post may be.",
							"Posts beyond it become dead letters.", &evn_max_future, 600, 0,
							7 * 24 * 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"evilnet.clock_speed", "How many times as fast as the clock time passes for sources.",
		"For tests against a server whose time is simulated as well.", &evn_clock_speed, 1, 1,
		10000, PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("evilnet.clock_offset", "How far the clock of sources is ahead.",
							"For tests, which step time by it.", &evn_clock_offset, 0, 0, INT_MAX,
							PGC_SIGHUP, GUC_NOT_IN_SAMPLE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"evilnet.parquet_memory", "Memory that reading and writing Parquet files may take.",
		"For each server process; a statement that needs more ends with an error.",
		&evn_parquet_memory, 256 * 1024, 16 * 1024, INT_MAX, PGC_USERSET, GUC_UNIT_KB, NULL, NULL,
		NULL);
	MarkGUCPrefixReserved("evilnet");
}
