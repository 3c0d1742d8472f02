/*
 * parquet_sweep.h
 *		What transactions that were killed left in a directory.
 */
#ifndef EVN_PARQUET_SWEEP_H
#define EVN_PARQUET_SWEEP_H

#include "parquet_table.h"

/*
 * Remove files of transactions that came to nothing, and publish those of
 * transactions that were killed after their commit.  Needs a transaction.
 */
extern void evn_parquet_sweep(const EvnParquetTable *table);

#endif /* EVN_PARQUET_SWEEP_H */
