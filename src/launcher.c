/*
 * launcher.c
 *		The one launcher per cluster.
 *
 * The launcher is connected to no database and reads shared catalogs only.
 * What each database wants is read by a short-lived scan worker, one at a
 * time, which writes it into the worker slots; the launcher then makes the
 * processes match the slots.  Workers are never restarted by the postmaster,
 * so a failing one is held back here, and a bad catalog row cannot loop.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "launcher.h"
#include "shmem.h"
#include "worker.h"

#define RESTART_SECONDS	 5	   /* the launcher itself, after an error */
#define START_TIMEOUT_MS 30000 /* registered but never seen: the postmaster could not fork */
#define SCAN_RETRY_MS	 500   /* as long as a worker takes to end */
#define NO_SLOT_RETRY_MS 10000 /* max_worker_processes is used up */

/* when a scan worker or the broker was last registered, so that a lost one is noticed */
static TimestampTz scan_registered_at = 0;
static TimestampTz broker_registered_at = 0;
static TimestampTz no_slot_until = 0;
static bool		   no_slot_told = false;
/* a scan that found no process: no worker starts before it has had one */
static TimestampTz scan_retry_at = 0;

void
evn_launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* on a hot standby nothing starts until promotion */
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "evilnet");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "evn_launcher_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "evilnet launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "evilnet launcher");
	RegisterBackgroundWorker(&worker);
}

static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	if (evn_shared->launcher_pid == MyProcPid)
		evn_shared->launcher_pid = 0;
	LWLockRelease(evn_shared->lock);
}

/* Register a dynamic worker; false when the cluster has no free worker slot. */
static bool
register_worker(const char *function, const char *name, Datum arg, Oid extra)
{
	BackgroundWorker		worker;
	BackgroundWorkerHandle *handle;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = arg;
	memcpy(worker.bgw_extra, &extra, sizeof(extra));
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "evilnet");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "%s", function);
	snprintf(worker.bgw_name, BGW_MAXLEN, "%s", name);
	snprintf(worker.bgw_type, BGW_MAXLEN, "%s", name);
	if (RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		pfree(handle);
		no_slot_told = false;
		return true;
	}
	if (!no_slot_told) /* said once until one was free again */
		ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("no free background worker slot for \"%s\"", name),
						  errhint("Increase max_worker_processes and restart the server.")));
	no_slot_told = true;
	no_slot_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_SLOT_RETRY_MS);
	return false;
}

/* Note every connectable database as dirty, and forget the slots of dropped ones. */
static void
rescan_databases(void)
{
	Relation	  rel;
	TableScanDesc scan;
	HeapTuple	  tuple;
	List		 *dbids = NIL;
	ListCell	 *cell;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);

		if (db->datallowconn)
			dbids = lappend_oid(dbids, db->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	evn_shared->rescan_all = false;
	foreach(cell, dbids)
	{
		EvnDatabaseNote *note = evn_shmem_note(lfirst_oid(cell), true);

		if (note != NULL)
			note->dirty = true;
		else
			evn_shared->rescan_all = true; /* the rest in a later round */
	}
	for (int i = 0; i < evn_shared->nslots; i++)
		if (evn_shared->slots[i].in_use && !list_member_oid(dbids, evn_shared->slots[i].dbid))
			evn_shared->slots[i].in_use = false;
	LWLockRelease(evn_shared->lock);
	CommitTransactionCommand();
}

/* A database to scan now, or InvalidOid.  Frees notes that say nothing any more. */
static Oid
next_scan(void)
{
	Oid dbid = InvalidOid;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < EVN_MAX_DATABASE_NOTES; i++)
	{
		EvnDatabaseNote *note = &evn_shared->databases[i];

		/* a holder that died without letting go */
		if (note->held && BackendPidGetProc(note->holder_pid) == NULL)
			note->held = false;
		if (!OidIsValid(note->dbid) || note->held)
			continue;
		if (!note->dirty)
			note->dbid = InvalidOid;
		else if (evn_shared->scan_dbid == InvalidOid && !OidIsValid(dbid))
		{
			dbid = note->dbid;
			note->dirty = false;
			evn_shared->scan_dbid = dbid;
		}
	}
	LWLockRelease(evn_shared->lock);
	return dbid;
}

/* The scan did not come about: its database stays dirty. */
static void
abandon_scan(void)
{
	EvnDatabaseNote *note;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	if (evn_shared->scan_pid == 0 && OidIsValid(evn_shared->scan_dbid))
	{
		note = evn_shmem_note(evn_shared->scan_dbid, true);
		if (note != NULL)
			note->dirty = true;
		else
			evn_shared->rescan_all = true;
		evn_shared->scan_dbid = InvalidOid;
	}
	LWLockRelease(evn_shared->lock);
}

/* Workers have taken every process there is, and what they should do may have changed. */
static void
make_room_for_scan(Oid dbid)
{
	int victim = 0;

	LWLockAcquire(evn_shared->lock, LW_SHARED);
	for (int i = 0; i < evn_shared->nslots; i++)
	{
		EvnWorkerSlot *slot = &evn_shared->slots[i];

		if (slot->pid != 0 && (victim == 0 || slot->dbid == dbid))
			victim = slot->pid;
	}
	if (victim != 0)
		kill(victim, SIGTERM);
	LWLockRelease(evn_shared->lock);
}

/* Start the scan worker for the next dirty database; it clears scan_dbid when it ends. */
static void
start_scan(TimestampTz now)
{
	Oid dbid;

	if (OidIsValid(evn_shared->scan_dbid) &&
		TimestampDifferenceExceeds(scan_registered_at, now, START_TIMEOUT_MS))
		abandon_scan();
	if (now < scan_retry_at)
		return;
	scan_retry_at = 0;
	dbid = next_scan();
	if (!OidIsValid(dbid))
		return;
	scan_registered_at = now;
	if (register_worker("evn_scan_worker_main", "evilnet scan", ObjectIdGetDatum(dbid), dbid))
		return;
	abandon_scan();
	make_room_for_scan(dbid);
	scan_retry_at = TimestampTzPlusMilliseconds(now, SCAN_RETRY_MS);
}

static bool
database_is_held(Oid dbid)
{
	EvnDatabaseNote *note = evn_shmem_note(dbid, false);

	return note != NULL && note->held;
}

/* What is to be done about one slot; called with the lock held. */
static bool
slot_wants_start(EvnWorkerSlot *slot, TimestampTz now)
{
	/* the end of a process that the catalog no longer wants, or wants otherwise */
	if (slot->pid != 0 && (!slot->in_use || slot->running_generation != slot->generation))
		kill(slot->pid, SIGTERM);
	if (!slot->in_use || slot->pid != 0 || database_is_held(slot->dbid))
		return false;
	if (slot->state == EVN_WORKER_STARTING &&
		!TimestampDifferenceExceeds(slot->not_before, now, START_TIMEOUT_MS))
		return false;
	if (slot->not_before > now)
		return false;
	slot->state = EVN_WORKER_STARTING;
	slot->not_before = now;
	slot->running_generation = slot->generation;
	return true;
}

/* Register the process of slot i. */
static bool
register_for(int i, int32 number, Oid dbid)
{
	switch (number)
	{
		case EVN_BUILDER:
			return register_worker("evn_build_worker_main", "evilnet builder", Int32GetDatum(i),
								   dbid);
		case EVN_FETCHER:
			return register_worker("evn_fetch_worker_main", "evilnet fetch worker",
								   Int32GetDatum(i), dbid);
		default:
			return register_worker("evn_ingest_worker_main", "evilnet ingest worker",
								   Int32GetDatum(i), dbid);
	}
}

static void
start_slot(int i, TimestampTz now)
{
	EvnWorkerSlot *slot = &evn_shared->slots[i];
	bool		   wanted;
	int32		   number;
	Oid			   dbid;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	wanted = slot_wants_start(slot, now);
	number = slot->number;
	dbid = slot->dbid;
	LWLockRelease(evn_shared->lock);
	if (!wanted || register_for(i, number, dbid))
		return;
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	slot->state = EVN_WORKER_STOPPED;
	slot->not_before = no_slot_until;
	slot->last_error_at = now;
	strlcpy(slot->last_error, "no free background worker slot: increase max_worker_processes",
			EVN_ERROR_LEN);
	LWLockRelease(evn_shared->lock);
}

static void
start_broker(TimestampTz now)
{
	if (!evn_embedded_broker || evn_shared->broker_pid != 0)
		return;
	if (broker_registered_at != 0 &&
		!TimestampDifferenceExceeds(broker_registered_at, now, RESTART_SECONDS * 1000))
		return;
	broker_registered_at = now;
	(void) register_worker("evn_broker_worker_main", "evilnet embedded broker", (Datum) 0,
						   InvalidOid);
}

/* Reckoned anew each time, so that a changed interval counts at once. */
static TimestampTz
next_rescan(TimestampTz rescanned_at)
{
	return TimestampTzPlusMilliseconds(rescanned_at, evn_rescan_interval * INT64CONST(1000));
}

/* Milliseconds until something is due without anybody waking us. */
static long
next_due(TimestampTz now, TimestampTz rescan_at)
{
	TimestampTz due = rescan_at;

	if (evn_embedded_broker && evn_shared->broker_pid == 0)
		due = Min(due, TimestampTzPlusMilliseconds(now, RESTART_SECONDS * 1000));
	LWLockAcquire(evn_shared->lock, LW_SHARED);
	for (int i = 0; i < evn_shared->nslots; i++)
	{
		EvnWorkerSlot *slot = &evn_shared->slots[i];
		TimestampTz	   at = slot->not_before;

		if (!slot->in_use || slot->pid != 0)
			continue;
		if (slot->state == EVN_WORKER_STARTING)
			at = TimestampTzPlusMilliseconds(at, START_TIMEOUT_MS);
		/* a slot that could not be started at once is held: whoever holds it wakes us */
		if (at > now)
			due = Min(due, at);
	}
	if (scan_retry_at != 0)
		due = Min(due, scan_retry_at);
	if (OidIsValid(evn_shared->scan_dbid))
		due = Min(due, TimestampTzPlusMilliseconds(scan_registered_at, START_TIMEOUT_MS));
	LWLockRelease(evn_shared->lock);
	return Max(TimestampDifferenceMilliseconds(now, due), 10);
}

static void
launcher_attach(void)
{
	before_shmem_exit(launcher_exit, (Datum) 0);
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	evn_shared->launcher_pid = MyProcPid;
	evn_shared->rescan_all = true;
	LWLockRelease(evn_shared->lock);
}

void
evn_launcher_main(Datum arg)
{
	TimestampTz rescanned_at = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	launcher_attach();

	for (;;)
	{
		TimestampTz now;

		evn_worker_check_interrupts();
		now = GetCurrentTimestamp();
		if (no_slot_until != 0 && now >= no_slot_until)
			no_slot_until = 0;
		if (evn_shared->rescan_all || now >= next_rescan(rescanned_at))
		{
			rescan_databases();
			rescanned_at = now;
		}
		start_scan(now);
		for (int i = 0; i < evn_shared->nslots && scan_retry_at == 0; i++)
			start_slot(i, now);
		start_broker(now);
		evn_worker_wait(next_due(GetCurrentTimestamp(), next_rescan(rescanned_at)));
	}
}
