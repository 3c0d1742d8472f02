/*
 * guc.h
 *		The settings evilnet.*; see doc/settings.md.
 */
#ifndef EVN_GUC_H
#define EVN_GUC_H

extern PGDLLIMPORT int	evn_max_workers;
extern PGDLLIMPORT bool evn_embedded_broker;
extern PGDLLIMPORT int	evn_journal_retention; /* seconds, -1 for ever */
extern PGDLLIMPORT int	evn_rescan_interval;   /* seconds */
extern PGDLLIMPORT int	evn_max_future;		   /* seconds */

/* of the sources' clock, for tests; see clock.h */
extern PGDLLIMPORT int evn_clock_speed;
extern PGDLLIMPORT int evn_clock_offset; /* seconds */

/* of each backend; the Parquet module, which links to nothing here, looks it up by name */
extern PGDLLIMPORT int evn_parquet_memory; /* kB */

/* called from _PG_init */
extern void evn_guc_init(void);

#endif /* EVN_GUC_H */
