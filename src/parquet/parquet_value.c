/*
 * parquet_value.c
 *		Values of Arrow to PostgreSQL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "parquet_value.h"

/* ---- buffers, which need not be aligned */

static bool
bit_at(const void *bits, int64 index)
{
	return (((const uint8 *) bits)[index / 8] >> (index % 8)) & 1;
}

static const char *
bytes_at(const struct ArrowArray *array, int64 row, int width)
{
	return (const char *) array->buffers[1] + row * width;
}

static int64
int_at(const struct ArrowArray *array, int64 row, int width, bool is_signed)
{
	const char *place = bytes_at(array, row, width);
	int64		value = 0;
	int			unused = 64 - width * 8;

	/* little-endian, as Arrow's buffers are here */
	memcpy(&value, place, width);
	if (unused == 0)
		return value;
	return is_signed ? (int64) ((uint64) value << unused) >> unused : value;
}

static bool
is_null(const struct ArrowArray *array, const EvnParquetShape *shape, int64 row)
{
	return shape->wire == EVN_WIRE_NULL ||
		   (array->null_count != 0 && array->buffers[0] != NULL && !bit_at(array->buffers[0], row));
}

static void
value_range(const struct ArrowArray *array, const EvnParquetShape *shape, int64 row, int64 *begin,
			int64 *len)
{
	*begin = int_at(array, row, shape->width, true);
	*len = int_at(array, row + 1, shape->width, true) - *begin;
}

/* ---- values */

static void
out_of_range(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					errmsg("%s out of range of PostgreSQL", what)));
}

static Datum
get_date(int32 days)
{
	int32 date;

	if (pg_sub_s32_overflow(days, EVN_PARQUET_EPOCH_DAYS, &date) || !IS_VALID_DATE(date))
		out_of_range("date");
	return DateADTGetDatum(date);
}

/* Parts of a microsecond are dropped, towards the past. */
static Datum
get_timestamp(const EvnParquetShape *shape, int64 value)
{
	int64 per_micro = shape->per_second / USECS_PER_SEC;
	int64 micros = value;

	if (per_micro > 1)
		micros = value / per_micro - (value % per_micro < 0);
	else if (pg_mul_s64_overflow(value, USECS_PER_SEC / shape->per_second, &micros))
		out_of_range("timestamp");
	if (pg_sub_s64_overflow(micros, EVN_PARQUET_EPOCH_MICROS, &micros) ||
		!IS_VALID_TIMESTAMP(micros))
		out_of_range("timestamp");
	return TimestampGetDatum(micros);
}

/* The number as text, with its point, for numeric's own input. */
static Datum
get_decimal(EvnParquetType *type, const EvnParquetShape *shape, const char *bytes)
{
	char	text[64];
	char   *place = text + sizeof(text);
	int128	number;
	uint128 digits;

	memcpy(&number, bytes, sizeof(number));
	digits = number < 0 ? -(uint128) number : (uint128) number;
	*--place = '\0';
	for (int i = 0; digits != 0 || i <= shape->scale; i++)
	{
		if (i == shape->scale && i > 0)
			*--place = '.';
		*--place = (char) ('0' + (int) (digits % 10));
		digits /= 10;
	}
	if (number < 0)
		*--place = '-';
	return InputFunctionCall(&type->input, place, type->ioparam, type->typmod);
}

static Datum
get_bytea(const char *bytes, int64 len)
{
	bytea *value;

	if (len > MaxAllocSize - VARHDRSZ)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("value of " INT64_FORMAT " bytes is larger than 1 GB", len)));
	value = palloc(len + VARHDRSZ);
	SET_VARSIZE(value, len + VARHDRSZ);
	if (len > 0)
		memcpy(VARDATA(value), bytes, len);
	return PointerGetDatum(value);
}

/* By the type's own input where that has something to check. */
static Datum
get_text(EvnParquetType *type, const char *bytes, int64 len)
{
	char *text;

	if (len == 0)
		bytes = "";
	if (len > MaxAllocSize / 4)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("text of " INT64_FORMAT " bytes is larger than 256 MB", len)));
	text = pg_any_to_server(bytes, (int) len, PG_UTF8);
	if (text != bytes)
		len = (int64) strlen(text);
	if (type->typid == TEXTOID || (type->typid == VARCHAROID && type->typmod < 0))
		return PointerGetDatum(cstring_to_text_with_len(text, (int) len));
	return InputFunctionCall(&type->input, pnstrdup(text, len), type->ioparam, type->typmod);
}

static Datum
get_uuid(const char *bytes)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

	memcpy(uuid->data, bytes, UUID_LEN);
	return UUIDPGetDatum(uuid);
}

static Datum
get_float(const EvnParquetType *type, const EvnParquetShape *shape, const char *bytes)
{
	float8 wide;
	float4 narrow;

	if (shape->width == sizeof(float8))
	{
		memcpy(&wide, bytes, sizeof(wide));
		return Float8GetDatum(wide);
	}
	memcpy(&narrow, bytes, sizeof(narrow));
	return type->typid == FLOAT4OID ? Float4GetDatum(narrow) : Float8GetDatum((float8) narrow);
}

static Datum
get_integer(const EvnParquetType *type, int64 value)
{
	switch (type->typid)
	{
		case INT2OID:
			return Int16GetDatum((int16) value);
		case INT4OID:
			return Int32GetDatum((int32) value);
		default:
			return Int64GetDatum(value);
	}
}

static Datum
get_range(EvnParquetType *type, const EvnParquetShape *shape, const struct ArrowArray *array,
		  int64 row)
{
	int64		begin;
	int64		len;
	const char *bytes;

	value_range(array, shape, row, &begin, &len);
	bytes = (const char *) array->buffers[2] + begin;
	return shape->wire == EVN_WIRE_TEXT ? get_text(type, bytes, len) : get_bytea(bytes, len);
}

static Datum
get_value(EvnParquetType *type, const EvnParquetShape *shape, const struct ArrowArray *array,
		  int64 row)
{
	switch (shape->wire)
	{
		case EVN_WIRE_BOOL:
			return BoolGetDatum(bit_at(array->buffers[1], row));
		case EVN_WIRE_INT:
		case EVN_WIRE_UINT:
			return get_integer(type, int_at(array, row, shape->width, shape->wire == EVN_WIRE_INT));
		case EVN_WIRE_FLOAT:
			return get_float(type, shape, bytes_at(array, row, shape->width));
		case EVN_WIRE_DECIMAL:
			return get_decimal(type, shape, bytes_at(array, row, shape->width));
		case EVN_WIRE_DATE:
			return get_date((int32) int_at(array, row, shape->width, true));
		case EVN_WIRE_TIMESTAMP:
			return get_timestamp(shape, int_at(array, row, shape->width, true));
		case EVN_WIRE_FIXED:
			if (type->typid == UUIDOID)
				return get_uuid(bytes_at(array, row, shape->width));
			return get_bytea(bytes_at(array, row, shape->width), shape->width);
		case EVN_WIRE_TEXT:
		case EVN_WIRE_BINARY:
			return get_range(type, shape, array, row);
		default:
			elog(ERROR, "column of a file cannot be read");
	}
}

static Datum
get_leaf(EvnParquetType *type, const EvnParquetShape *shape, const struct ArrowArray *array,
		 int64 row, bool *isnull)
{
	int64 index;

	row += array->offset;
	*isnull = is_null(array, shape, row);
	if (*isnull)
		return (Datum) 0;
	if (shape->dictionary == NULL)
		return get_value(type, shape, array, row);
	index = int_at(array, row, shape->width, shape->wire == EVN_WIRE_INT);
	if (index < 0 || index >= array->dictionary->length)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("Parquet file names a value that its dictionary does not have")));
	return get_leaf(type, shape->dictionary, array->dictionary, index, isnull);
}

static Datum
get_array(EvnParquetType *type, const EvnParquetShape *shape, const struct ArrowArray *array,
		  int64 row, bool *isnull)
{
	int64  begin;
	int64  len;
	int	   lower = 1;
	int	   count;
	Datum *values;
	bool  *nulls;

	row += array->offset;
	*isnull = is_null(array, shape, row);
	if (*isnull)
		return (Datum) 0;
	value_range(array, shape, row, &begin, &len);
	if (len == 0)
		return PointerGetDatum(construct_empty_array(type->typid));
	if (len > (int64) (MaxAllocSize / sizeof(Datum)))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("list of " INT64_FORMAT " elements is too long", len)));
	count = (int) len;
	values = palloc(sizeof(Datum) * count);
	nulls = palloc(sizeof(bool) * count);
	for (int i = 0; i < count; i++)
		values[i] = get_leaf(type, shape->element, array->children[0], begin + i, &nulls[i]);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &count, &lower, type->typid,
											  type->typlen, type->typbyval, type->typalign));
}

Datum
evn_parquet_value_get(EvnParquetType *type, const EvnParquetShape *shape,
					  const struct ArrowArray *array, int64 row, bool *isnull)
{
	if (shape->wire == EVN_WIRE_LIST)
		return get_array(type, shape, array, row, isnull);
	return get_leaf(type, shape, array, row, isnull);
}
