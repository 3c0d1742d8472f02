/*
 * shmem.c
 *		What the processes of evilnet share.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"

#include "guc.h"
#include "shmem.h"

EvnShared *evn_shared = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static Size
shared_size(void)
{
	return add_size(offsetof(EvnShared, slots), mul_size(evn_max_workers, sizeof(EvnWorkerSlot)));
}

static void
request_shmem(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche("evilnet", 1);
}

static void
startup_shmem(void)
{
	bool found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	evn_shared = ShmemInitStruct("evilnet", shared_size(), &found);
	if (!found)
	{
		memset(evn_shared, 0, shared_size());
		evn_shared->lock = &GetNamedLWLockTranche("evilnet")->lock;
		evn_shared->nslots = evn_max_workers;
		evn_shared->rescan_all = true;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
evn_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

void
evn_shmem_require(void)
{
	if (evn_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("evilnet is not loaded at server start"),
				 errhint("Add evilnet to shared_preload_libraries and restart the server.")));
}

EvnDatabaseNote *
evn_shmem_note(Oid dbid, bool create)
{
	EvnDatabaseNote *unused = NULL;

	for (int i = 0; i < EVN_MAX_DATABASE_NOTES; i++)
	{
		EvnDatabaseNote *note = &evn_shared->databases[i];

		if (note->dbid == dbid)
			return note;
		if (unused == NULL && !OidIsValid(note->dbid))
			unused = note;
	}
	if (unused == NULL || !create)
		return NULL;
	memset(unused, 0, sizeof(EvnDatabaseNote));
	unused->dbid = dbid;
	return unused;
}

void
evn_shmem_wake(int pid)
{
	PGPROC *proc = pid == 0 ? NULL : BackendPidGetProc(pid);

	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

EvnWorkerSlot *
evn_shmem_slots(int *nslots)
{
	EvnWorkerSlot *slots;

	*nslots = 0;
	if (evn_shared == NULL)
		return NULL;
	slots = palloc(sizeof(EvnWorkerSlot) * evn_shared->nslots);
	LWLockAcquire(evn_shared->lock, LW_SHARED);
	for (int i = 0; i < evn_shared->nslots; i++)
		if (evn_shared->slots[i].in_use && evn_shared->slots[i].dbid == MyDatabaseId)
			slots[(*nslots)++] = evn_shared->slots[i];
	LWLockRelease(evn_shared->lock);
	return slots;
}

const char *
evn_shmem_state_name(EvnWorkerState state)
{
	static const char *const names[] = {"waiting", "starting", "connecting",  "running",
										"idle",	   "backoff",  "budget spent"};

	return names[state];
}

void
evn_shmem_mark_dirty(Oid dbid)
{
	EvnDatabaseNote *note;
	int				 launcher_pid;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	note = evn_shmem_note(dbid, true);
	if (note != NULL)
		note->dirty = true;
	else
		evn_shared->rescan_all = true;
	launcher_pid = evn_shared->launcher_pid;
	LWLockRelease(evn_shared->lock);
	evn_shmem_wake(launcher_pid);
}

static bool dirty_at_commit = false;

static void
mark_at_commit(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (event == XACT_EVENT_COMMIT && dirty_at_commit)
		evn_shmem_mark_dirty(MyDatabaseId);
	dirty_at_commit = false;
}

void
evn_shmem_mark_dirty_at_commit(void)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(mark_at_commit, NULL);
	registered = true;
	dirty_at_commit = true;
}

void
evn_shmem_rescan(void)
{
	int launcher_pid;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	evn_shared->rescan_all = true;
	launcher_pid = evn_shared->launcher_pid;
	LWLockRelease(evn_shared->lock);
	evn_shmem_wake(launcher_pid);
}

bool
evn_shmem_broker_address(char out[EVN_ADDRESS_LEN])
{
	LWLockAcquire(evn_shared->lock, LW_SHARED);
	strlcpy(out, evn_shared->broker_address, EVN_ADDRESS_LEN);
	LWLockRelease(evn_shared->lock);
	return out[0] != '\0';
}
