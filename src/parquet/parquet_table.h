/*
 * parquet_table.h
 *		A foreign table of evilnet_parquet: its options, its directory, and
 *		who may use that.
 */
#ifndef EVN_PARQUET_TABLE_H
#define EVN_PARQUET_TABLE_H

#include "foreign/foreign.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

#include "compat.h"
#include "parquet_arrow.h"
#include "parquet_servers.h"
#include "parquet_type.h"

typedef struct EvnParquetTable
{
	char			*location;	/* of the server, absolute */
	char			*directory; /* of the table, under it */
	EvnParquetFormat format;
	EvnParquetPolicy policy;
	int64			 row_group_rows;
	int64			 file_rows;
} EvnParquetTable;

/* Options of the table; needs a transaction; palloc'd. */
extern EvnParquetTable *evn_parquet_table_get(Oid relid);

/* The server's directory, absolute; palloc'd. */
extern char *evn_parquet_table_location(const ForeignServer *server);

/* Raise unless it is a path under a location. */
extern void evn_parquet_table_check_path(const char *path);

/* Raise unless the current user may read, or write, files of the server. */
extern void evn_parquet_table_may_read(void);
extern void evn_parquet_table_may_write(void);

/* Where the manifest is; called before anything else. */
extern void evn_parquet_table_set_host(const EvnParquetHost *host);

/*
 * EvnParquetListed * of the files that the query sees, by name, palloc'd: those
 * of the manifest, and what others put into the directory.
 */
extern List *evn_parquet_table_files(const EvnParquetTable *table);

/* Add a file to the manifest. */
extern void evn_parquet_table_list(const EvnParquetTable *table, const char *name, int64 rows,
								   int64 bytes);

/* Make the directory of the table, but not the location. */
extern void evn_parquet_table_make(const EvnParquetTable *table);

/* The library, with the memory limit as it is set now. */
extern const EvnParquetArrow *evn_parquet_table_arrow(void);

/* Raise what the library says of a file; does not return. */
pg_noreturn extern void evn_parquet_table_raise(const EvnParquetError *error, const char *path);

#endif /* EVN_PARQUET_TABLE_H */
