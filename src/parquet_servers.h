/*
 * parquet_servers.h
 *		What evilnet and its second module, which reads and writes Parquet
 *		files, agree on.  They link to nothing of each other: evilnet loads
 *		the module when a foreign table is used.
 */
#ifndef EVN_PARQUET_SERVERS_H
#define EVN_PARQUET_SERVERS_H

#include "foreign/fdwapi.h"

#include "parquet_manifest.h"

/* What the module needs of evilnet, to which it is not linked; lives for ever. */
typedef struct EvnParquetHost
{
	/* of parquet_manifest.h */
	void (*add_file)(const char *directory, const char *name, int64 rows, int64 bytes);
	List *(*read_files)(const char *directory);
} EvnParquetHost;

/* Of the module: the callbacks, palloc'd.  Its name has to change when its arguments do. */
#define EVN_PARQUET_MODULE	"evilnet_parquet"
#define EVN_PARQUET_ROUTINE "evn_parquet_fdw_routine"
typedef FdwRoutine *(*EvnParquetRoutine)(const EvnParquetHost *host);

#endif /* EVN_PARQUET_SERVERS_H */
