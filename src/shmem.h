/*
 * shmem.h
 *		What the processes of evilnet share: the worker slots, the launcher's
 *		to-do list and the embedded broker's address.  Plain values only.
 */
#ifndef EVN_SHMEM_H
#define EVN_SHMEM_H

#include "datatype/timestamp.h"
#include "storage/lwlock.h"

#define EVN_ERROR_LEN	256
#define EVN_ADDRESS_LEN 64

/* states of a worker slot, in the order a worker lives through them */
typedef enum EvnWorkerState
{
	EVN_WORKER_STOPPED,	   /* wanted, not running: to be started when due */
	EVN_WORKER_STARTING,   /* registered, has not reported yet */
	EVN_WORKER_CONNECTING, /* opening the broker connection, reading positions */
	EVN_WORKER_RUNNING,	   /* consuming */
	EVN_WORKER_IDLE,	   /* consuming, at the end of its partitions */
	EVN_WORKER_BACKOFF,	   /* alive, waiting to retry after an error */
	EVN_WORKER_SPENT	   /* a source whose budget is used up, until the next month */
} EvnWorkerState;

/* stages of a batch, timed by the worker */
typedef enum EvnStage
{
	EVN_STAGE_FETCH,
	EVN_STAGE_DECODE,
	EVN_STAGE_RESOLVE,
	EVN_STAGE_INSERT, /* dedup probe, rows, indexes, deletes */
	EVN_STAGE_MERGE,  /* continuous aggregates */
	EVN_STAGE_COMMIT, /* offsets, journal, commit */
	EVN_NSTAGES
} EvnStage;

#define EVN_BUILDER (-1) /* number of the process that builds a stream's aggregates */
#define EVN_FETCHER (-2) /* of the one that fetches a source; its number stands for the stream */

/* What the worker of a source says of its connection; times are of evn_clock_now(), 0 for none. */
typedef struct EvnSourceStatus
{
	EvnWorkerState state;
	TimestampTz	   connected_at;
	TimestampTz	   received_at; /* the latest byte, keep-alives included */
	int64		   connections; /* how often it was connected */
	int64		   rate_left;	/* requests that the network still takes, -1: not known */
	TimestampTz	   rate_reset_at;
} EvnSourceStatus;

typedef struct EvnWorkerSlot
{
	bool in_use;
	Oid	 dbid;
	Oid	 stream; /* the stream's table */
	int32
		number; /* this worker's number within the stream, 0 .. workers - 1, or one of the above */
	int32		   workers;
	int64		   generation;		   /* catalog generation the launcher wants */
	int64		   running_generation; /* the one the process was started with */
	EvnWorkerState state;
	int			   pid;		   /* 0 when no process */
	int			   failures;   /* in a row, for the restart backoff */
	TimestampTz	   not_before; /* do not start earlier */

	/* statistics since the slot was taken; written by the worker only */
	double			rows_per_second;
	int64			lag_messages; /* -1 unknown */
	double			lag_seconds;  /* -1 unknown */
	int64			batches;
	int64			batch_messages; /* total */
	int32			last_batch_messages;
	int64			last_batch_us;
	TimestampTz		last_batch_at;
	int64			stage_us[EVN_NSTAGES];
	EvnSourceStatus source; /* of a fetch worker */
	TimestampTz		last_error_at;
	char			last_error[EVN_ERROR_LEN];
} EvnWorkerSlot;

/* a database the launcher is to look into, or to keep out of */
typedef struct EvnDatabaseNote
{
	Oid	 dbid;		 /* InvalidOid: free */
	bool dirty;		 /* catalog changed: scan again */
	bool held;		 /* somebody drops, renames or copies it: no process may enter */
	int	 holder_pid; /* who, so that a crash of the holder frees it */
} EvnDatabaseNote;

#define EVN_MAX_DATABASE_NOTES 64

typedef struct EvnShared
{
	LWLock		   *lock;		   /* protects everything below */
	int				launcher_pid;  /* 0 when not running */
	int				missing_slots; /* stream workers that found no slot, as last counted */
	bool			rescan_all;	   /* more changed than there are notes, or the time has come */
	int				scan_pid;	   /* the scan worker at work, 0 when none */
	Oid				scan_dbid;
	int				broker_pid;
	char			broker_address[EVN_ADDRESS_LEN]; /* empty when not running */
	EvnDatabaseNote databases[EVN_MAX_DATABASE_NOTES];
	int				nslots;
	EvnWorkerSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} EvnShared;

/* NULL unless evilnet was preloaded */
extern EvnShared *evn_shared;

/* called from _PG_init while shared_preload_libraries are loaded */
extern void evn_shmem_init(void);

/* true when the shared state is there; otherwise raises with a hint */
extern void evn_shmem_require(void);

/* the note of a database, made if create and there is room; call with the lock held */
extern EvnDatabaseNote *evn_shmem_note(Oid dbid, bool create);

/* a copy of this database's slots that are in use, palloc'd */
extern EvnWorkerSlot *evn_shmem_slots(int *nslots);

/* a state as statistics call it */
extern const char *evn_shmem_state_name(EvnWorkerState state);

/* set the latch of the process, if it is still there; 0 is nobody */
extern void evn_shmem_wake(int pid);

/* note that a database's catalog changed and wake the launcher; any lock state but ours */
extern void evn_shmem_mark_dirty(Oid dbid);

/* the same for this database when the transaction commits */
extern void evn_shmem_mark_dirty_at_commit(void);

/* have the launcher look into every database now; any lock state but ours */
extern void evn_shmem_rescan(void);

/* the embedded broker's address copied to out; false when it is not running */
extern bool evn_shmem_broker_address(char out[EVN_ADDRESS_LEN]);

#endif /* EVN_SHMEM_H */
