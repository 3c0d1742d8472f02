/*
 * worker.h
 *		What all background processes of evilnet do alike: start, wait, notice
 *		signals, report their state, and end.
 */
#ifndef EVN_WORKER_H
#define EVN_WORKER_H

#include "shmem.h"

/* Signals, connection to the database as the bootstrap superuser, pinned search_path. */
extern void evn_worker_start(Oid dbid);

/* Wait on the latch for at most timeout_ms; ends the process on postmaster death. */
extern void evn_worker_wait(long timeout_ms);

/* Serve interrupts and reload the configuration when told to; outside a transaction
 * a SIGTERM ends the process quietly. */
extern void evn_worker_check_interrupts(void);

/*
 * Take the slot the launcher started this process for.  Returns NULL when it
 * is wanted no more.  The slot is let go at process exit; an exit that was not
 * announced by evn_worker_release holds the next start back.
 */
extern EvnWorkerSlot *evn_worker_attach(int slot_index);
extern void evn_worker_release(void);

/* The same for good: the slot is free, until a scan finds the stream wanted again. */
extern void evn_worker_retire(void);

/*
 * A transaction with a snapshot, at whose beginning now() is the time; the
 * caller's memory context is to be set again after each of them.
 */
extern void evn_worker_begin_transaction(void);
extern void evn_worker_commit_transaction(void);

/* the slot's state and last error, and a successful batch, which ends the backoff */
extern void evn_worker_set_state(EvnWorkerState state);
extern void evn_worker_set_error(const char *message);
extern void evn_worker_succeeded(void);

/* count a failure; how long to wait before the next try, in milliseconds */
extern long evn_worker_backoff(void);

#endif /* EVN_WORKER_H */
