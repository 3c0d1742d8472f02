/*
 * parquet_build.h
 *		Rows of PostgreSQL to a batch of Arrow, a column at a time.
 */
#ifndef EVN_PARQUET_BUILD_H
#define EVN_PARQUET_BUILD_H

#include "executor/tuptable.h"

#include "parquet_type.h"

typedef struct EvnParquetBuild EvnParquetBuild;

/* An empty batch of the columns; it and its buffers live in the current context. */
extern EvnParquetBuild *evn_parquet_build_new(EvnParquetType **types, const int *attributes,
											  int ntypes);

/*
 * Add a row.  Raises (22023, invalid_parameter_value, or 22008) for a value
 * that Parquet cannot hold; the batch is of no use then.
 */
extern void evn_parquet_build_row(EvnParquetBuild *build, TupleTableSlot *slot);

extern int64 evn_parquet_build_rows(const EvnParquetBuild *build);
extern int64 evn_parquet_build_bytes(const EvnParquetBuild *build);

/*
 * The rows as a struct array, which points into the batch: release it before
 * the next row or reset.
 */
extern void evn_parquet_build_array(EvnParquetBuild *build, struct ArrowArray *array);

/* Forget the rows and keep the buffers. */
extern void evn_parquet_build_reset(EvnParquetBuild *build);

#endif /* EVN_PARQUET_BUILD_H */
