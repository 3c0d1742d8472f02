/*
 * parquet_type.c
 *		Types of PostgreSQL and of Arrow.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "parquet_type.h"

#define MAX_PRECISION 38 /* of a decimal in 16 bytes */

static const struct
{
	Oid			typid;
	const char *format;
	int			width;
} written_as[] = {
	{BOOLOID, "b", EVN_PARQUET_BIT},
	{INT2OID, "s", 2},
	{INT4OID, "i", 4},
	{INT8OID, "l", 8},
	{FLOAT4OID, "f", 4},
	{FLOAT8OID, "g", 8},
	{NUMERICOID, NULL, 16},
	{TEXTOID, "u", EVN_PARQUET_BYTES},
	{VARCHAROID, "u", EVN_PARQUET_BYTES},
	{BYTEAOID, "z", EVN_PARQUET_BYTES},
	{DATEOID, "tdD", 4},
	{TIMESTAMPOID, "tsu:", 8},
	{TIMESTAMPTZOID, "tsu:UTC", 8},
	{UUIDOID, "w:16", 16},
	{JSONOID, "u", EVN_PARQUET_BYTES},
	{JSONBOID, "u", EVN_PARQUET_BYTES},
};

/* ---- of the table */

static bool
find_format(EvnParquetType *type)
{
	for (int i = 0; i < lengthof(written_as); i++)
		if (written_as[i].typid == type->typid)
		{
			type->format = written_as[i].format;
			type->width = written_as[i].width;
			return true;
		}
	return false;
}

static bool
holds_decimal(int32 typmod, int *precision, int *scale)
{
	if (typmod < (int32) VARHDRSZ)
		return false;
	*precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	/* eleven bits with a sign */
	*scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	return *precision <= MAX_PRECISION && *scale >= 0 && *scale <= *precision;
}

EvnParquetType *
evn_parquet_type_get(Form_pg_attribute attribute)
{
	EvnParquetType *type = palloc0(sizeof(EvnParquetType));
	Oid				element = get_element_type(attribute->atttypid);
	int				precision;
	Oid				function;
	bool			is_varlena;

	type->column = pstrdup(NameStr(attribute->attname));
	type->is_array = OidIsValid(element);
	type->typid = type->is_array ? element : attribute->atttypid;
	type->typmod = attribute->atttypmod;
	if (!find_format(type))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("column \"%s\" is of type %s, which evilnet_parquet does not have",
							   type->column, format_type_be(attribute->atttypid)),
						errhint("See the types in doc/parquet.md; text holds any other.")));
	if (type->typid == NUMERICOID && holds_decimal(type->typmod, &precision, &type->scale))
		type->format = psprintf("d:%d,%d", precision, type->scale);
	get_typlenbyvalalign(type->typid, &type->typlen, &type->typbyval, &type->typalign);
	getTypeInputInfo(type->typid, &function, &type->ioparam);
	fmgr_info(function, &type->input);
	getTypeOutputInfo(type->typid, &function, &is_varlena);
	fmgr_info(function, &type->output);
	return type;
}

/* ---- written */

static void
release_schema(struct ArrowSchema *schema)
{
	schema->release = NULL;
}

/* Makes a UUID of 16 bytes where Arrow knows that type, else it stays 16 bytes. */
static const char *
uuid_metadata(void)
{
	static const char *const words[] = {"ARROW:extension:name", "arrow.uuid",
										"ARROW:extension:metadata", ""};
	StringInfoData			 data;
	int32					 n = lengthof(words) / 2;

	initStringInfo(&data);
	appendBinaryStringInfo(&data, (char *) &n, sizeof(n));
	for (int i = 0; i < lengthof(words); i++)
	{
		n = (int32) strlen(words[i]);
		appendBinaryStringInfo(&data, (char *) &n, sizeof(n));
		appendBinaryStringInfo(&data, words[i], n);
	}
	return data.data;
}

static struct ArrowSchema *
make_field(const char *name, const char *format, int nchildren)
{
	struct ArrowSchema *field = palloc0(sizeof(struct ArrowSchema));

	field->name = name;
	field->format = format;
	field->flags = ARROW_FLAG_NULLABLE;
	field->release = release_schema;
	field->n_children = nchildren;
	field->children = palloc0(sizeof(struct ArrowSchema *) * (nchildren + 1));
	return field;
}

static struct ArrowSchema *
leaf_schema(const EvnParquetType *type, const char *name)
{
	struct ArrowSchema *field = make_field(name, type->format, 0);

	if (type->format == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" is of type numeric without a precision that Parquet has",
						type->column),
				 errhint("Declare it as numeric(p,s), with p up to 38 and s from 0 to p.")));
	if (type->typid == UUIDOID)
		field->metadata = uuid_metadata();
	return field;
}

static struct ArrowSchema *
column_schema(const EvnParquetType *type)
{
	const char		   *name = pg_server_to_any(type->column, strlen(type->column), PG_UTF8);
	struct ArrowSchema *list;

	if (!type->is_array)
		return leaf_schema(type, name);
	list = make_field(name, "+l", 1);
	list->children[0] = leaf_schema(type, "element");
	return list;
}

void
evn_parquet_type_schema(EvnParquetType **types, int ntypes, struct ArrowSchema *schema)
{
	*schema = *make_field("", "+s", ntypes);
	for (int i = 0; i < ntypes; i++)
		schema->children[i] = column_schema(types[i]);
}

/* ---- read */

static const struct
{
	const char	  *format; /* or how it begins, when it ends with a colon */
	EvnParquetWire wire;
	int			   width;
	int64		   per_second;
} read_as[] = {
	{"n", EVN_WIRE_NULL, 0, 0},
	{"b", EVN_WIRE_BOOL, 0, 0},
	{"c", EVN_WIRE_INT, 1, 0},
	{"s", EVN_WIRE_INT, 2, 0},
	{"i", EVN_WIRE_INT, 4, 0},
	{"l", EVN_WIRE_INT, 8, 0},
	{"C", EVN_WIRE_UINT, 1, 0},
	{"S", EVN_WIRE_UINT, 2, 0},
	{"I", EVN_WIRE_UINT, 4, 0},
	{"f", EVN_WIRE_FLOAT, 4, 0},
	{"g", EVN_WIRE_FLOAT, 8, 0},
	{"d:", EVN_WIRE_DECIMAL, 16, 0},
	{"u", EVN_WIRE_TEXT, 4, 0},
	{"U", EVN_WIRE_TEXT, 8, 0},
	{"z", EVN_WIRE_BINARY, 4, 0},
	{"Z", EVN_WIRE_BINARY, 8, 0},
	{"w:", EVN_WIRE_FIXED, 0, 0},
	{"tdD", EVN_WIRE_DATE, 4, 0},
	{"tss:", EVN_WIRE_TIMESTAMP, 8, INT64CONST(1)},
	{"tsm:", EVN_WIRE_TIMESTAMP, 8, INT64CONST(1000)},
	{"tsu:", EVN_WIRE_TIMESTAMP, 8, INT64CONST(1000000)},
	{"tsn:", EVN_WIRE_TIMESTAMP, 8, INT64CONST(1000000000)},
	{"+l", EVN_WIRE_LIST, 4, 0},
	{"+L", EVN_WIRE_LIST, 8, 0},
};

/* The part of a format that stands after its colon. */
static void
read_parameters(EvnParquetShape *shape, const char *parameters)
{
	int precision;
	int bits = 128;

	switch (shape->wire)
	{
		case EVN_WIRE_DECIMAL:
			if (sscanf(parameters, "%d,%d,%d", &precision, &shape->scale, &bits) < 2 || bits != 128)
				shape->wire = EVN_WIRE_OTHER;
			break;
		case EVN_WIRE_FIXED:
			shape->width = atoi(parameters);
			break;
		default:
			shape->zoned = parameters[0] != '\0';
			shape->either = strcmp(parameters, EVN_PARQUET_INT96) == 0;
	}
}

static void
read_format(EvnParquetShape *shape, const char *format)
{
	for (int i = 0; i < lengthof(read_as); i++)
	{
		size_t len = strlen(read_as[i].format);
		bool   has_parameters = read_as[i].format[len - 1] == ':';

		if (strncmp(read_as[i].format, format, len) != 0 ||
			(!has_parameters && format[len] != '\0'))
			continue;
		shape->wire = read_as[i].wire;
		shape->width = read_as[i].width;
		shape->per_second = read_as[i].per_second;
		if (has_parameters)
			read_parameters(shape, format + len);
		return;
	}
}

EvnParquetShape *
evn_parquet_type_shape(const struct ArrowSchema *schema)
{
	EvnParquetShape *shape = palloc0(sizeof(EvnParquetShape));

	read_format(shape, schema->format);
	if (shape->wire == EVN_WIRE_LIST)
		shape->element = evn_parquet_type_shape(schema->children[0]);
	if (schema->dictionary != NULL)
		shape->dictionary = evn_parquet_type_shape(schema->dictionary);
	return shape;
}

/* A number of keys and values, each behind its length. */
bool
evn_parquet_type_is_uuid(const struct ArrowSchema *schema)
{
	static const char name[] = "arrow.uuid";
	const char		 *next = schema->metadata;
	int32			  n;
	int32			  len;

	if (next == NULL)
		return false;
	memcpy(&n, next, sizeof(n));
	next += sizeof(n);
	for (int i = 0; i < 2 * n; i++)
	{
		memcpy(&len, next, sizeof(len));
		next += sizeof(len);
		if (len == (int32) strlen(name) && memcmp(next, name, len) == 0)
			return true;
		next += len;
	}
	return false;
}

/* an unsigned number needs one bit more */
static bool
fits_integer(const EvnParquetShape *shape, int width)
{
	return (shape->wire == EVN_WIRE_INT && shape->width <= width) ||
		   (shape->wire == EVN_WIRE_UINT && shape->width < width);
}

static bool
accepts_value(const EvnParquetType *type, const EvnParquetShape *shape)
{
	switch (type->typid)
	{
		case BOOLOID:
			return shape->wire == EVN_WIRE_BOOL;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return fits_integer(shape, type->width);
		case FLOAT4OID:
		case FLOAT8OID:
			return shape->wire == EVN_WIRE_FLOAT && shape->width <= type->width;
		case NUMERICOID:
			return shape->wire == EVN_WIRE_DECIMAL;
		case BYTEAOID:
			return shape->wire == EVN_WIRE_BINARY || shape->wire == EVN_WIRE_FIXED;
		case DATEOID:
			return shape->wire == EVN_WIRE_DATE;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return shape->wire == EVN_WIRE_TIMESTAMP &&
				   (shape->either || shape->zoned == (type->typid == TIMESTAMPTZOID));
		case UUIDOID:
			return shape->wire == EVN_WIRE_FIXED && shape->width == type->width;
		default:
			return shape->wire == EVN_WIRE_TEXT;
	}
}

static bool
accepts_leaf(const EvnParquetType *type, const EvnParquetShape *shape)
{
	if (shape->dictionary != NULL)
		return (shape->wire == EVN_WIRE_INT || shape->wire == EVN_WIRE_UINT) &&
			   shape->dictionary->dictionary == NULL && accepts_leaf(type, shape->dictionary);
	return shape->wire == EVN_WIRE_NULL || accepts_value(type, shape);
}

bool
evn_parquet_type_accepts(const EvnParquetType *type, const EvnParquetShape *shape)
{
	if (!type->is_array || shape->wire == EVN_WIRE_NULL)
		return accepts_leaf(type, shape);
	return shape->wire == EVN_WIRE_LIST && accepts_leaf(type, shape->element);
}
