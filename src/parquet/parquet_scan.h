/*
 * parquet_scan.h
 *		Rows of the files of a foreign table, file by file.
 */
#ifndef EVN_PARQUET_SCAN_H
#define EVN_PARQUET_SCAN_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "parquet_prune.h"

typedef struct EvnParquetScan EvnParquetScan;

typedef struct EvnParquetSummary
{
	int64 files;
	int64 row_groups;
	int64 pruned; /* row groups that need not be read */
	int64 bytes;  /* to be read of the others, compressed */
} EvnParquetSummary;

/*
 * Begin to read columns (attribute numbers, from 1); with none of them, rows
 * are only counted.  Row groups that prune excludes when a file is opened are
 * passed over.  Raises unless the current user may read files of the server.
 * In the current context; what it holds besides memory goes with that.
 */
extern EvnParquetScan *evn_parquet_scan_begin(Relation rel, List *columns, EvnParquetPrune *prune);

/*
 * The next row into the slot, false after the last; columns not asked for are
 * null.  Values live in the current context.
 */
extern bool evn_parquet_scan_next(EvnParquetScan *scan, TupleTableSlot *slot);

/* From the first file on again. */
extern void evn_parquet_scan_restart(EvnParquetScan *scan);

/* What there is to read, from the footers; not in the middle of a scan. */
extern EvnParquetSummary evn_parquet_scan_summary(EvnParquetScan *scan);

#endif /* EVN_PARQUET_SCAN_H */
