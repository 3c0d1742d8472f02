/*
 * broker_worker.c
 *		The process that hosts the embedded broker.
 *
 * Started by the launcher while evilnet.embedded_broker is on.  What it holds
 * is gone when it ends, and it listens at another port when it comes again.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"

#include "broker_worker.h"
#include "compat.h"
#include "guc.h"
#include "kafka_broker.h"
#include "shmem.h"
#include "worker.h"

#define LOOK_MS 60000 /* a reload and a signal set the latch; this is for nothing in particular */

static EvnKafkaBroker *broker = NULL;

static void
broker_exit(int code, Datum arg)
{
	int launcher_pid;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	if (evn_shared->broker_pid == MyProcPid)
	{
		evn_shared->broker_pid = 0;
		evn_shared->broker_address[0] = '\0';
	}
	launcher_pid = evn_shared->launcher_pid;
	LWLockRelease(evn_shared->lock);
	evn_shmem_wake(launcher_pid);
	if (broker != NULL)
		evn_kafka_broker_stop(broker);
	broker = NULL;
}

/* False when there is one already. */
static bool
take_place(void)
{
	bool taken;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	taken = evn_shared->broker_pid != 0;
	if (!taken)
		evn_shared->broker_pid = MyProcPid;
	LWLockRelease(evn_shared->lock);
	return !taken;
}

void
evn_broker_worker_main(Datum arg)
{
	EvnKafkaError error = {0};

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	/* a launcher that has not read the new setting yet may have started us */
	if (!evn_embedded_broker || !take_place())
		proc_exit(0);
	before_shmem_exit(broker_exit, (Datum) 0);
	broker = evn_kafka_broker_start(&error);
	if (broker == NULL)
		ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
						errmsg("could not start the embedded broker: %s", error.message)));
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	strlcpy(evn_shared->broker_address, evn_kafka_broker_address(broker), EVN_ADDRESS_LEN);
	LWLockRelease(evn_shared->lock);
	/* streams that read from it have another address now */
	evn_shmem_rescan();
	ereport(LOG, (errmsg("evilnet embedded broker listens on %s: in memory, for trying out only",
						 evn_kafka_broker_address(broker))));
	while (evn_embedded_broker)
	{
		evn_worker_wait(LOOK_MS);
		evn_worker_check_interrupts();
	}
	proc_exit(0);
}
