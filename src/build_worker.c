/*
 * build_worker.c
 *		The process that builds aggregates over posts that are stored already.
 *
 * Each piece is a transaction of its own, during which ingest of the stream
 * waits; between two pieces the batches that waited go first.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "aggregate_build.h"
#include "build_worker.h"
#include "compat.h"
#include "spi.h"
#include "worker.h"

#define BLOCKED_MS	500 /* until somebody has read what is to be swapped */
#define FIRST_WIDTH (INT64CONST(60) * USECS_PER_MINUTE)

/* Do one step; nothing is left either when the stream is gone. */
static EvnBuildProgress
step(Oid relid, int64 *width)
{
	EvnStream		*stream = NULL;
	EvnBuildProgress progress = EVN_BUILD_DONE;

	evn_worker_begin_transaction();
	if (evn_spi_catalog_usable(LOG))
		stream = evn_stream_load(relid);
	if (stream != NULL)
		progress = evn_aggregate_build_step(evn_aggregate_build_open(stream, ShareRowExclusiveLock),
											width);
	evn_worker_commit_transaction();
	return progress;
}

static void
build(EvnWorkerSlot *slot)
{
	int64					  width = FIRST_WIDTH;
	volatile EvnBuildProgress progress = EVN_BUILD_MORE;

	evn_worker_set_state(EVN_WORKER_RUNNING);
	PG_TRY();
	{
		while (progress != EVN_BUILD_DONE)
		{
			evn_worker_check_interrupts();
			progress = step(slot->stream, &width);
			if (progress == EVN_BUILD_BLOCKED)
				evn_worker_wait(BLOCKED_MS);
		}
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		evn_worker_set_error(error->message);
		/* the process ends; the launcher starts another one after a while */
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
evn_build_worker_main(Datum arg)
{
	EvnWorkerSlot *slot = evn_worker_attach(DatumGetInt32(arg));
	Oid			   dbid;

	memcpy(&dbid, MyBgworkerEntry->bgw_extra, sizeof(dbid));
	if (slot == NULL || slot->dbid != dbid)
		proc_exit(0);
	evn_worker_start(dbid);
	build(slot);
	evn_worker_retire();
	/* what was asked for while we ended is found by another look */
	evn_shmem_mark_dirty(MyDatabaseId);
	proc_exit(0);
}
