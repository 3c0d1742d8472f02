/*
 * parquet_build.c
 *		Rows of PostgreSQL to a batch of Arrow.
 *
 * A column has up to five buffers: of a list, which elements are whose and
 * which lists are null; which values are null; the values; and, when they are
 * of any length, where each begins.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "parquet_build.h"

typedef struct Bytes
{
	char *data;
	Size  used;
	Size  size;
} Bytes;

/* what can be null: values, or lists of them */
typedef struct Level
{
	int64			  length;
	int64			  nulls;
	Bytes			  validity;
	Bytes			  offsets;
	Bytes			  values;
	const void		 *pointers[3];
	struct ArrowArray array;
} Level;

typedef struct Column
{
	EvnParquetType	  *type;
	int				   attribute; /* of the slot, from 0 */
	Level			   lists;
	Level			   leaf;
	struct ArrowArray *child;
} Column;

struct EvnParquetBuild
{
	MemoryContext		per_row; /* what converting a row leaves behind */
	int64				rows;
	int					ncolumns;
	Column			   *columns;
	struct ArrowArray **children;
	const void		   *pointers[1];
};

/* ---- buffers */

static char *
extend(Bytes *buffer, Size len)
{
	char *place;

	if (buffer->used + len > buffer->size)
	{
		Size size = Max(buffer->used + len, buffer->size * 2);

		buffer->data = repalloc_huge(buffer->data, size);
		buffer->size = size;
	}
	place = buffer->data + buffer->used;
	buffer->used += len;
	return place;
}

static void
init_buffer(Bytes *buffer)
{
	buffer->size = 1024;
	buffer->data = palloc(buffer->size);
}

static void
append_bit(Bytes *buffer, int64 index, bool bit)
{
	if (index % 8 == 0)
		*extend(buffer, 1) = 0;
	if (bit)
		buffer->data[index / 8] |= (char) (1 << (index % 8));
}

static void
append_offset(Level *level, int64 offset)
{
	int32 stored = (int32) offset;

	if (offset > PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a batch of rows is larger than 2 GB")));
	memcpy(extend(&level->offsets, sizeof(stored)), &stored, sizeof(stored));
}

static void
append_validity(Level *level, bool isnull)
{
	append_bit(&level->validity, level->length, !isnull);
	level->length++;
	level->nulls += isnull;
}

static void
reset_level(Level *level)
{
	level->length = level->nulls = 0;
	level->validity.used = level->offsets.used = level->values.used = 0;
	append_offset(level, 0);
}

static void
init_level(Level *level)
{
	init_buffer(&level->validity);
	init_buffer(&level->offsets);
	init_buffer(&level->values);
	reset_level(level);
}

/* ---- values */

/* What stands for a value that Parquet does not have. */
static void
replace_value(const EvnParquetType *type, const char *what, const Datum *nearest, Datum *value,
			  bool *isnull)
{
	if (type->policy == EVN_PARQUET_CLAMP && nearest != NULL)
		*value = *nearest;
	else if (type->policy != EVN_PARQUET_ERROR)
		*isnull = true;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\": Parquet has no %s", type->column, what),
				 errhint("Leave such rows out, or set option \"out_of_range\" of the foreign "
						 "table to null or clamp.")));
}

static void
fit_date(const EvnParquetType *type, Datum *value, bool *isnull)
{
	DateADT date = DatumGetDateADT(*value);
	Datum	nearest = DateADTGetDatum(
		  (DATE_IS_NOBEGIN(date) ? DATETIME_MIN_JULIAN : DATE_END_JULIAN - 1) - POSTGRES_EPOCH_JDATE);

	if (DATE_NOT_FINITE(date))
		replace_value(type, "infinite dates", &nearest, value, isnull);
}

/* Microseconds since 1970 end in the year 294246, a little before those since 2000. */
static void
fit_timestamp(const EvnParquetType *type, Datum *value, bool *isnull)
{
	const Timestamp last = PG_INT64_MAX - EVN_PARQUET_EPOCH_MICROS;
	Timestamp		timestamp = DatumGetTimestamp(*value);
	Datum			nearest = TimestampGetDatum(timestamp < 0 ? MIN_TIMESTAMP : last);

	if (TIMESTAMP_NOT_FINITE(timestamp))
		replace_value(type, "infinite timestamps", &nearest, value, isnull);
	else if (timestamp > last)
		replace_value(type, "timestamps as late", &nearest, value, isnull);
}

/* A column with a precision holds no infinity. */
static void
fit_numeric(const EvnParquetType *type, Datum *value, bool *isnull)
{
	if (numeric_is_nan(DatumGetNumeric(*value)))
		replace_value(type, "numeric NaN", NULL, value, isnull);
}

static void
fit(const EvnParquetType *type, Datum *value, bool *isnull)
{
	switch (type->typid)
	{
		case DATEOID:
			fit_date(type, value, isnull);
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			fit_timestamp(type, value, isnull);
			break;
		case NUMERICOID:
			fit_numeric(type, value, isnull);
			break;
	}
}

/* Digits of a numeric, which its typmod gave the scale, as one number. */
static int128
unscaled(const EvnParquetType *type, Datum value)
{
	char  *text = OutputFunctionCall(unconstify(FmgrInfo *, &type->output), value);
	char  *digit = text + (text[0] == '-');
	int	   decimals = -1;
	int128 number = 0;

	for (; *digit != '\0'; digit++)
	{
		if (*digit == '.')
			decimals = 0;
		else
		{
			number = number * 10 + (*digit - '0');
			decimals += decimals >= 0;
		}
	}
	for (decimals = Max(decimals, 0); decimals < type->scale; decimals++)
		number *= 10;
	return text[0] == '-' ? -number : number;
}

static void
put(char *place, const void *value, Size len)
{
	memcpy(place, value, len);
}

static void
append_fixed(Level *leaf, const EvnParquetType *type, Datum value)
{
	char  *place = extend(&leaf->values, type->width);
	int32  days;
	int64  micros;
	int128 number;

	switch (type->typid)
	{
		case INT2OID:
			put(place, &(int16) {DatumGetInt16(value)}, sizeof(int16));
			break;
		case INT4OID:
			put(place, &(int32) {DatumGetInt32(value)}, sizeof(int32));
			break;
		case INT8OID:
			put(place, &(int64) {DatumGetInt64(value)}, sizeof(int64));
			break;
		case FLOAT4OID:
			put(place, &(float4) {DatumGetFloat4(value)}, sizeof(float4));
			break;
		case FLOAT8OID:
			put(place, &(float8) {DatumGetFloat8(value)}, sizeof(float8));
			break;
		case DATEOID:
			days = DatumGetDateADT(value) + EVN_PARQUET_EPOCH_DAYS;
			put(place, &days, sizeof(days));
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			micros = DatumGetTimestamp(value) + EVN_PARQUET_EPOCH_MICROS;
			put(place, &micros, sizeof(micros));
			break;
		case UUIDOID:
			put(place, DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		case NUMERICOID:
			number = unscaled(type, value);
			put(place, &number, sizeof(number));
			break;
		default:
			elog(ERROR, "type %u has no fixed width", type->typid);
	}
}

static void
append_text(Level *leaf, const char *text, Size len)
{
	char *utf8 = pg_server_to_any(text, (int) len, PG_UTF8);

	if (utf8 != text)
		len = strlen(utf8);
	put(extend(&leaf->values, len), utf8, len);
}

static void
append_bytes(Level *leaf, const EvnParquetType *type, Datum value)
{
	if (type->typid == JSONBOID)
	{
		char *text = OutputFunctionCall(unconstify(FmgrInfo *, &type->output), value);

		append_text(leaf, text, strlen(text));
	}
	else
	{
		struct varlena *plain = PG_DETOAST_DATUM_PACKED(value);

		if (type->typid == BYTEAOID)
			put(extend(&leaf->values, VARSIZE_ANY_EXHDR(plain)), VARDATA_ANY(plain),
				VARSIZE_ANY_EXHDR(plain));
		else
			append_text(leaf, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	}
}

static void
append_leaf(Level *leaf, const EvnParquetType *type, Datum value, bool isnull)
{
	if (!isnull)
		fit(type, &value, &isnull);
	if (type->width == EVN_PARQUET_BIT)
		append_bit(&leaf->values, leaf->length, !isnull && DatumGetBool(value));
	else if (type->width > 0 && isnull)
		memset(extend(&leaf->values, type->width), 0, type->width);
	else if (type->width > 0)
		append_fixed(leaf, type, value);
	else
	{
		if (!isnull)
			append_bytes(leaf, type, value);
		append_offset(leaf, leaf->values.used);
	}
	append_validity(leaf, isnull);
}

static void
append_elements(Column *column, ArrayType *array)
{
	EvnParquetType *type = column->type;
	Datum		   *values;
	bool		   *nulls;
	int				n;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\": array of %d dimensions", type->column, ARR_NDIM(array)),
				 errhint("Parquet files hold arrays of one dimension.")));
	deconstruct_array(array, type->typid, type->typlen, type->typbyval, type->typalign, &values,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
		append_leaf(&column->leaf, type, values[i], nulls[i]);
}

static void
append_list(Column *column, Datum value, bool isnull)
{
	if (!isnull)
		append_elements(column, DatumGetArrayTypeP(value));
	append_offset(&column->lists, column->leaf.length);
	append_validity(&column->lists, isnull);
}

/* ---- batches */

EvnParquetBuild *
evn_parquet_build_new(EvnParquetType **types, const int *attributes, int ntypes)
{
	EvnParquetBuild *build = palloc0(sizeof(EvnParquetBuild));

	build->per_row =
		AllocSetContextCreate(CurrentMemoryContext, "Parquet row", ALLOCSET_DEFAULT_SIZES);
	build->ncolumns = ntypes;
	build->columns = palloc0(sizeof(Column) * (ntypes + 1));
	build->children = palloc0(sizeof(struct ArrowArray *) * (ntypes + 1));
	for (int i = 0; i < ntypes; i++)
	{
		build->columns[i].type = types[i];
		build->columns[i].attribute = attributes[i];
		init_level(&build->columns[i].lists);
		init_level(&build->columns[i].leaf);
	}
	return build;
}

void
evn_parquet_build_row(EvnParquetBuild *build, TupleTableSlot *slot)
{
	MemoryContext before = MemoryContextSwitchTo(build->per_row);

	slot_getallattrs(slot);
	for (Column *column = build->columns; column < build->columns + build->ncolumns; column++)
	{
		Datum value = slot->tts_values[column->attribute];
		bool  isnull = slot->tts_isnull[column->attribute];

		if (column->type->is_array)
			append_list(column, value, isnull);
		else
			append_leaf(&column->leaf, column->type, value, isnull);
	}
	build->rows++;
	MemoryContextSwitchTo(before);
	MemoryContextReset(build->per_row);
}

int64
evn_parquet_build_rows(const EvnParquetBuild *build)
{
	return build->rows;
}

int64
evn_parquet_build_bytes(const EvnParquetBuild *build)
{
	Size bytes = 0;

	for (int i = 0; i < build->ncolumns; i++)
		bytes += build->columns[i].leaf.values.used;
	return (int64) bytes;
}

void
evn_parquet_build_reset(EvnParquetBuild *build)
{
	build->rows = 0;
	for (int i = 0; i < build->ncolumns; i++)
	{
		reset_level(&build->columns[i].lists);
		reset_level(&build->columns[i].leaf);
	}
}

/* ---- the batch for Arrow, which frees nothing of it */

static void
release_array(struct ArrowArray *array)
{
	array->release = NULL;
}

static void
describe_level(Level *level, bool has_offsets, bool has_values)
{
	int n = 0;

	level->pointers[n++] = level->validity.data;
	if (has_offsets)
		level->pointers[n++] = level->offsets.data;
	if (has_values)
		level->pointers[n++] = level->values.data;
	level->array = (struct ArrowArray) {
		.length = level->length,
		.null_count = level->nulls,
		.n_buffers = n,
		.buffers = level->pointers,
		.release = release_array,
	};
}

static struct ArrowArray *
describe_column(Column *column)
{
	describe_level(&column->leaf, column->type->width == EVN_PARQUET_BYTES, true);
	if (!column->type->is_array)
		return &column->leaf.array;
	describe_level(&column->lists, true, false);
	column->child = &column->leaf.array;
	column->lists.array.n_children = 1;
	column->lists.array.children = &column->child;
	return &column->lists.array;
}

void
evn_parquet_build_array(EvnParquetBuild *build, struct ArrowArray *array)
{
	for (int i = 0; i < build->ncolumns; i++)
		build->children[i] = describe_column(&build->columns[i]);
	*array = (struct ArrowArray) {
		.length = build->rows,
		.n_buffers = 1,
		.buffers = build->pointers,
		.n_children = build->ncolumns,
		.children = build->children,
		.release = release_array,
	};
}
