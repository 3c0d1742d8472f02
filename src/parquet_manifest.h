/*
 * parquet_manifest.h
 *		Which Parquet files transactions of this database have written: table
 *		evilnet.parquet_file, a row for each, by the transaction that wrote it.
 */
#ifndef EVN_PARQUET_MANIFEST_H
#define EVN_PARQUET_MANIFEST_H

#include "nodes/pg_list.h"

typedef struct EvnParquetListed
{
	char *path;
	int64 rows; /* -1: not known */
	int64 bytes;
} EvnParquetListed;

/* A file is written; needs a transaction, of which it becomes a part. */
extern void evn_parquet_manifest_add(const char *directory, const char *name, int64 rows,
									 int64 bytes);

/* EvnParquetListed * of a directory that the query's snapshot sees, by name; palloc'd. */
extern List *evn_parquet_manifest_read(const char *directory);

#endif /* EVN_PARQUET_MANIFEST_H */
