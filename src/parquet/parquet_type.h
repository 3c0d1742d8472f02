/*
 * parquet_type.h
 *		Which type of Arrow a column is written as, and which ones it is read
 *		from.
 */
#ifndef EVN_PARQUET_TYPE_H
#define EVN_PARQUET_TYPE_H

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "fmgr.h"

#include "parquet_arrow.h"

/* What to do with a value that Parquet does not have. */
typedef enum EvnParquetPolicy
{
	EVN_PARQUET_ERROR,
	EVN_PARQUET_NULL,
	EVN_PARQUET_CLAMP, /* the nearest one, null when there is none */
} EvnParquetPolicy;

/* A column of the table; of an array, its elements. */
typedef struct EvnParquetType
{
	const char		*column;
	EvnParquetPolicy policy; /* of who writes */
	Oid				 typid;
	int32			 typmod;
	bool			 is_array;
	int16			 typlen; /* of the type in PostgreSQL, for arrays of it */
	bool			 typbyval;
	char			 typalign;
	const char		*format; /* of Arrow; null of a numeric without a precision */
	int				 width;	 /* bytes of a value; EVN_PARQUET_BIT, or EVN_PARQUET_BYTES */
	int				 scale;	 /* of a numeric */
	FmgrInfo		 input;
	Oid				 ioparam;
	FmgrInfo		 output;
} EvnParquetType;

/* from 1970, where Parquet counts from, to 2000, where PostgreSQL does */
#define EVN_PARQUET_EPOCH_DAYS	 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)
#define EVN_PARQUET_EPOCH_MICROS ((int64) EVN_PARQUET_EPOCH_DAYS * USECS_PER_DAY)

#define EVN_PARQUET_BIT	  0
#define EVN_PARQUET_BYTES (-1) /* any number of them */

/* What a column of a file is, as far as it is read at all. */
typedef enum EvnParquetWire
{
	EVN_WIRE_OTHER,
	EVN_WIRE_NULL,
	EVN_WIRE_BOOL,
	EVN_WIRE_INT,
	EVN_WIRE_UINT,
	EVN_WIRE_FLOAT,
	EVN_WIRE_DECIMAL,
	EVN_WIRE_TEXT,
	EVN_WIRE_BINARY,
	EVN_WIRE_FIXED, /* binary of one width */
	EVN_WIRE_DATE,
	EVN_WIRE_TIMESTAMP,
	EVN_WIRE_LIST,
} EvnParquetWire;

typedef struct EvnParquetShape
{
	EvnParquetWire			wire;
	int						width;		/* bytes of a value, or of an offset */
	int64					per_second; /* of timestamps */
	bool					zoned;		/* they are instants */
	bool					either;		/* who wrote them did not say */
	int						scale;		/* of decimals */
	struct EvnParquetShape *element;	/* of lists */
	struct EvnParquetShape *dictionary; /* the values, which this holds indexes of; else null */
} EvnParquetShape;

/* Type of a column; raises (feature_not_supported) when no file can hold it; palloc'd. */
extern EvnParquetType *evn_parquet_type_get(Form_pg_attribute attribute);

/*
 * Schema that the columns are written by, palloc'd; its release frees nothing.
 * Raises for a numeric without a precision.
 */
extern void evn_parquet_type_schema(EvnParquetType **types, int ntypes, struct ArrowSchema *schema);

/* What a column of a file is; palloc'd. */
extern EvnParquetShape *evn_parquet_type_shape(const struct ArrowSchema *schema);

/* Whether it says that it is a UUID. */
extern bool evn_parquet_type_is_uuid(const struct ArrowSchema *schema);

/* Whether a column of the type can be read from it. */
extern bool evn_parquet_type_accepts(const EvnParquetType *type, const EvnParquetShape *shape);

#endif /* EVN_PARQUET_TYPE_H */
