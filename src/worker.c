/*
 * worker.c
 *		What all background processes of evilnet do alike.
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "worker.h"

#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 60000

static EvnWorkerSlot *my_slot = NULL;
static bool			  released = false;

void
evn_worker_start(Oid dbid)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dbid, InvalidOid, 0);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	/* notice a deadlock before the user's session does, and give way to it */
	SetConfigOption("deadlock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("work_mem", "64MB", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_OVERRIDE);
	/* plans here run once per batch over a few thousand rows */
	SetConfigOption("jit", "off", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("max_parallel_workers_per_gather", "0", PGC_USERSET, PGC_S_OVERRIDE);
}

void
evn_worker_wait(long timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

void
evn_worker_check_interrupts(void)
{
	/* between transactions an asked-for end is no error worth a FATAL line */
	if (ProcDiePending && !IsTransactionState())
	{
		evn_worker_release();
		/* exit code 0 means never again, and the launcher is to come back */
		proc_exit(MyBgworkerEntry->bgw_restart_time == BGW_NEVER_RESTART ? 0 : 1);
	}
	CHECK_FOR_INTERRUPTS();
	/* one that is never idle would not learn it from waiting */
	if (!PostmasterIsAlive())
		proc_exit(1);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* A worker runs no statement that would tell now() the time. */
void
evn_worker_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
evn_worker_commit_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

static int64
backoff_ms(int failures)
{
	return Min((int64) BACKOFF_MIN_MS << Min(failures - 1, 16), BACKOFF_MAX_MS);
}

/* Give the slot back; an end that was not asked for delays the next start. */
static void
worker_exit(int code, Datum arg)
{
	int launcher_pid;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	if (my_slot->pid == MyProcPid)
	{
		my_slot->pid = 0;
		my_slot->state = EVN_WORKER_STOPPED;
		my_slot->not_before = 0;
		if (!released)
			my_slot->not_before =
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(), backoff_ms(++my_slot->failures));
	}
	/* a slot given up is one that others wait for */
	if (!my_slot->in_use && evn_shared->missing_slots > 0)
		evn_shared->rescan_all = true;
	launcher_pid = evn_shared->launcher_pid;
	LWLockRelease(evn_shared->lock);
	evn_shmem_wake(launcher_pid);
}

EvnWorkerSlot *
evn_worker_attach(int slot_index)
{
	EvnWorkerSlot	*slot = &evn_shared->slots[slot_index];
	EvnDatabaseNote *note;
	bool			 mine;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	note = evn_shmem_note(slot->dbid, false);
	mine = (note == NULL || !note->held) && slot->in_use && slot->pid == 0 &&
		   slot->state == EVN_WORKER_STARTING && slot->generation == slot->running_generation;
	if (mine)
	{
		slot->pid = MyProcPid;
		slot->state = EVN_WORKER_CONNECTING;
		slot->lag_messages = -1;
		slot->lag_seconds = -1;
	}
	else if (slot->pid == 0 && slot->state == EVN_WORKER_STARTING)
		slot->state = EVN_WORKER_STOPPED; /* wanted otherwise by now: started afresh */
	LWLockRelease(evn_shared->lock);
	if (!mine)
		return NULL;
	my_slot = slot;
	before_shmem_exit(worker_exit, (Datum) 0);
	return slot;
}

void
evn_worker_release(void)
{
	released = true;
}

void
evn_worker_retire(void)
{
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	my_slot->in_use = false;
	LWLockRelease(evn_shared->lock);
	released = true;
}

void
evn_worker_set_state(EvnWorkerState state)
{
	/* an int-sized store; readers take it as it comes */
	my_slot->state = state;
}

void
evn_worker_set_error(const char *message)
{
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	strlcpy(my_slot->last_error, message,
			pg_mbcliplen(message, strlen(message), EVN_ERROR_LEN - 1) + 1);
	my_slot->last_error_at = GetCurrentTimestamp();
	LWLockRelease(evn_shared->lock);
}

void
evn_worker_succeeded(void)
{
	my_slot->failures = 0;
}

long
evn_worker_backoff(void)
{
	return backoff_ms(++my_slot->failures);
}
