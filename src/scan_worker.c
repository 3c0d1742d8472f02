/*
 * scan_worker.c
 *		Reads what one database wants and writes it into the worker slots.
 *
 * Runs whenever the launcher was told that a database's catalog changed, and
 * at every rescan.  A database without evilnet, or with a catalog of another
 * version, wants nothing.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"

#include "compat.h"
#include "kafka_config.h"
#include "scan_worker.h"
#include "shmem.h"
#include "spi.h"
#include "worker.h"

typedef struct WantedWorker
{
	Oid	  stream;
	int32 number;
	int32 workers;
	int64 generation;
} WantedWorker;

static void
scan_exit(int code, Datum arg)
{
	int launcher_pid;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	if (evn_shared->scan_pid == MyProcPid)
	{
		evn_shared->scan_pid = 0;
		evn_shared->scan_dbid = InvalidOid;
	}
	launcher_pid = evn_shared->launcher_pid;
	LWLockRelease(evn_shared->lock);
	evn_shmem_wake(launcher_pid);
}

/* False when the database is held: somebody drops, renames or copies it. */
static bool
scan_enter(Oid dbid)
{
	EvnDatabaseNote *note;
	bool			 allowed;

	before_shmem_exit(scan_exit, (Datum) 0);
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	note = evn_shmem_note(dbid, false);
	allowed = note == NULL || !note->held;
	evn_shared->scan_pid = MyProcPid;
	LWLockRelease(evn_shared->lock);
	return allowed;
}

/* the embedded broker's address, where the server means it */
#define BROKER(server) \
	" (SELECT evilnet.embedded_broker_address() FROM pg_catalog.pg_foreign_server f" \
	"  WHERE f.srvname = s." server " AND 'bootstrap.servers=" EVN_KAFKA_EMBEDDED \
	"' = ANY (f.srvoptions))"

/*
 * The generation is a hash of row versions and, for the embedded broker, of its
 * address: whatever a worker was started with, a change of it restarts it.
 */
#define GENERATION \
	"pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', s.xmin," \
	" (SELECT f.xmin FROM pg_catalog.pg_foreign_server f WHERE f.srvname = s.server)," \
	" (SELECT pg_catalog.string_agg(m.xmin::pg_catalog.text, ',') FROM pg_catalog.pg_user_mapping m" \
	"  JOIN pg_catalog.pg_foreign_server f ON f.oid = m.umserver WHERE f.srvname = s.server)," BROKER( \
		"server") "), 0)"

/* one for each source, but for those into a stream that is paused */
#define FETCHERS \
	"SELECT s.source_id::pg_catalog.oid, " CppAsString2( \
		EVN_FETCHER) ", 1, pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', s.xmin," \
					 " (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', f.xmin, m.xmin), ',' ORDER BY f.oid, m.oid)" \
					 "  FROM pg_catalog.pg_foreign_server f LEFT JOIN pg_catalog.pg_user_mapping m ON m.umserver = f.oid" \
					 "  WHERE f.srvname IN (s.server, s.to_server))," BROKER( \
						 "to_server") "), 0)" \
									  " FROM evilnet.source s WHERE s.enabled AND s.home = evilnet.home()" \
									  " AND NOT EXISTS (SELECT FROM evilnet.stream t WHERE t.stream = s.to_stream AND NOT t.enabled)"

/* one for each stream that has an aggregate to build, also when it is paused; never restarted */
#define BUILDERS \
	"SELECT s.stream::pg_catalog.oid, " CppAsString2( \
		EVN_BUILDER) ", s.workers, 0" \
					 " FROM evilnet.stream s WHERE s.home = evilnet.home() AND EXISTS" \
					 " (SELECT FROM evilnet.continuous_aggregate a" \
					 "  WHERE a.stream = s.stream AND a.enabled AND (a.built_from IS NOT NULL OR a.replaces IS NOT NULL))"

static WantedWorker *
read_wanted(MemoryContext context, int *nwanted)
{
	WantedWorker *wanted = NULL;

	*nwanted = 0;
	if (!evn_spi_catalog_usable(LOG))
		return NULL;
	SPI_connect();
	if (SPI_execute("SELECT s.stream::pg_catalog.oid, n, s.workers, " GENERATION
					" FROM evilnet.stream s, evilnet.worker_numbers(0, s.workers - 1) n"
					" WHERE s.enabled AND s.home = evilnet.home() AND s.server IS NOT NULL"
					" UNION ALL " BUILDERS " UNION ALL " FETCHERS " ORDER BY 1, 2",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "reading evilnet.stream failed");
	wanted = MemoryContextAllocZero(context, sizeof(WantedWorker) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		wanted[i].stream = DatumGetObjectId(evn_spi_value(i, 1));
		wanted[i].number = DatumGetInt32(evn_spi_value(i, 2));
		wanted[i].workers = DatumGetInt32(evn_spi_value(i, 3));
		wanted[i].generation = DatumGetInt64(evn_spi_value(i, 4));
	}
	*nwanted = SPI_processed;
	SPI_finish();
	return wanted;
}

static EvnWorkerSlot *
find_slot(Oid dbid, const WantedWorker *w)
{
	EvnWorkerSlot *unused = NULL;

	for (int i = 0; i < evn_shared->nslots; i++)
	{
		EvnWorkerSlot *slot = &evn_shared->slots[i];

		if (slot->in_use && slot->dbid == dbid && slot->stream == w->stream &&
			slot->number == w->number)
			return slot;
		if (unused == NULL && !slot->in_use && slot->pid == 0)
			unused = slot;
	}
	if (unused == NULL)
		return NULL;
	memset(unused, 0, sizeof(EvnWorkerSlot));
	unused->dbid = dbid;
	unused->stream = w->stream;
	unused->number = w->number;
	unused->lag_messages = -1;
	unused->lag_seconds = -1;
	return unused;
}

static bool
is_wanted(const EvnWorkerSlot *slot, const WantedWorker *wanted, int nwanted)
{
	for (int i = 0; i < nwanted; i++)
		if (slot->stream == wanted[i].stream && slot->number == wanted[i].number)
			return true;
	return false;
}

/* Make the slots of this database what is wanted; returns how many found none, and if that is news. */
static int
write_slots(Oid dbid, const WantedWorker *wanted, int nwanted, bool *news)
{
	int missing = 0;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < evn_shared->nslots; i++)
	{
		EvnWorkerSlot *slot = &evn_shared->slots[i];

		if (slot->in_use && slot->dbid == dbid && !is_wanted(slot, wanted, nwanted))
			slot->in_use = false;
	}
	for (int i = 0; i < nwanted; i++)
	{
		EvnWorkerSlot *slot = find_slot(dbid, &wanted[i]);

		if (slot == NULL)
		{
			missing++;
			continue;
		}
		slot->in_use = true;
		slot->workers = wanted[i].workers;
		if (slot->generation != wanted[i].generation)
		{
			/* a changed row is a fresh chance */
			slot->generation = wanted[i].generation;
			slot->failures = 0;
			slot->not_before = 0;
		}
	}
	*news = missing != evn_shared->missing_slots;
	evn_shared->missing_slots = missing;
	LWLockRelease(evn_shared->lock);
	return missing;
}

void
evn_scan_worker_main(Datum arg)
{
	Oid			  dbid = DatumGetObjectId(arg);
	WantedWorker *wanted;
	char		 *name;
	int			  nwanted;
	int			  missing;
	bool		  news;

	if (!scan_enter(dbid))
		proc_exit(0);
	evn_worker_start(dbid);
	evn_worker_begin_transaction();
	wanted = read_wanted(TopMemoryContext, &nwanted);
	name = MemoryContextStrdup(TopMemoryContext, get_database_name(dbid));
	evn_worker_commit_transaction();
	missing = write_slots(dbid, wanted, nwanted, &news);
	if (missing > 0 && news)
		ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("no evilnet worker slot for %d stream workers of database \"%s\"",
								 missing, name),
						  errhint("Increase evilnet.max_workers and restart the server.")));
	proc_exit(0);
}
