/*
 * fetch_worker.h
 *		The process that fetches a source.
 */
#ifndef EVN_FETCH_WORKER_H
#define EVN_FETCH_WORKER_H

extern PGDLLEXPORT void evn_fetch_worker_main(Datum arg);

#endif /* EVN_FETCH_WORKER_H */
