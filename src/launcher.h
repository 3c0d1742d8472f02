/*
 * launcher.h
 *		The one launcher per cluster: starts and stops the workers so that they
 *		match the streams of all databases, and the embedded broker.
 */
#ifndef EVN_LAUNCHER_H
#define EVN_LAUNCHER_H

/* called from _PG_init while shared_preload_libraries are loaded */
extern void evn_launcher_register(void);

extern PGDLLEXPORT void evn_launcher_main(Datum arg);

#endif /* EVN_LAUNCHER_H */
