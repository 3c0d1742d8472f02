/*
 * ingest_worker.h
 *		The process that consumes a stream's partitions.
 */
#ifndef EVN_INGEST_WORKER_H
#define EVN_INGEST_WORKER_H

extern PGDLLEXPORT void evn_ingest_worker_main(Datum arg);

#endif /* EVN_INGEST_WORKER_H */
