/*
 * parquet_value.h
 *		Values of Arrow to PostgreSQL.
 */
#ifndef EVN_PARQUET_VALUE_H
#define EVN_PARQUET_VALUE_H

#include "parquet_type.h"

/*
 * The value of a row, from an array of a shape that the type accepts; palloc'd
 * in the current context.  Raises when PostgreSQL has no such value: a time
 * out of range, text that is not UTF-8 or longer than the column.
 */
extern Datum evn_parquet_value_get(EvnParquetType *type, const EvnParquetShape *shape,
								   const struct ArrowArray *array, int64 row, bool *isnull);

#endif /* EVN_PARQUET_VALUE_H */
