/*
 * scan_worker.h
 *		Reads what one database wants and writes it into the worker slots.
 */
#ifndef EVN_SCAN_WORKER_H
#define EVN_SCAN_WORKER_H

extern PGDLLEXPORT void evn_scan_worker_main(Datum arg);

#endif /* EVN_SCAN_WORKER_H */
