/*
 * parquet_write.h
 *		Rows of one statement to the files of a foreign table.
 */
#ifndef EVN_PARQUET_WRITE_H
#define EVN_PARQUET_WRITE_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

typedef struct EvnParquetWrite EvnParquetWrite;

/*
 * Begin; raises unless the current user may write files of the server and the
 * columns are of types that Parquet has.  No file is made before the first
 * row.  In the current context, which must live until the end.
 */
extern EvnParquetWrite *evn_parquet_write_begin(Relation rel);

/* Add a row; it is in memory first. */
extern void evn_parquet_write_row(EvnParquetWrite *write, TupleTableSlot *slot);

/* Write what is in memory; the files are the transaction's then. */
extern void evn_parquet_write_end(EvnParquetWrite *write);

#endif /* EVN_PARQUET_WRITE_H */
