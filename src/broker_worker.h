/*
 * broker_worker.h
 *		The process that hosts the embedded broker.
 */
#ifndef EVN_BROKER_WORKER_H
#define EVN_BROKER_WORKER_H

extern PGDLLEXPORT void evn_broker_worker_main(Datum arg);

#endif /* EVN_BROKER_WORKER_H */
