/*
 * build_worker.h
 *		The process that builds aggregates over posts that are stored already.
 *
 * There is one per stream that has something to build, in the worker slot of
 * number EVN_BUILDER; it ends when nothing is left.
 */
#ifndef EVN_BUILD_WORKER_H
#define EVN_BUILD_WORKER_H

extern PGDLLEXPORT void evn_build_worker_main(Datum arg);

#endif /* EVN_BUILD_WORKER_H */
