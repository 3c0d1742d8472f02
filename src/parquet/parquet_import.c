/*
 * parquet_import.c
 *		IMPORT FOREIGN SCHEMA.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "storage/fd.h"
#include "utils/builtins.h"

#include "parquet_file.h"
#include "parquet_import.h"
#include "parquet_table.h"
#include "parquet_type.h"

static const char *
integer_name(int bytes)
{
	return bytes <= 2 ? "smallint" : bytes <= 4 ? "integer" : "bigint";
}

/* Type that a column is declared as, null when there is none. */
static const char *
type_name(const struct ArrowSchema *field, const EvnParquetShape *shape)
{
	switch (shape->wire)
	{
		case EVN_WIRE_BOOL:
			return "boolean";
		case EVN_WIRE_INT:
			return integer_name(shape->width);
		case EVN_WIRE_UINT:
			/* which needs one bit more */
			return integer_name(shape->width + 1);
		case EVN_WIRE_FLOAT:
			return shape->width == sizeof(float4) ? "real" : "double precision";
		case EVN_WIRE_DECIMAL:
			return psprintf("numeric(%s)", field->format + strlen("d:"));
		case EVN_WIRE_TEXT:
			return "text";
		case EVN_WIRE_BINARY:
		case EVN_WIRE_FIXED:
			return evn_parquet_type_is_uuid(field) ? "uuid" : "bytea";
		case EVN_WIRE_DATE:
			return "date";
		case EVN_WIRE_TIMESTAMP:
			return shape->zoned ? "timestamp with time zone" : "timestamp";
		default:
			return NULL;
	}
}

static const char *
column_type(const struct ArrowSchema *field)
{
	const EvnParquetShape *shape = evn_parquet_type_shape(field);
	const char			  *element;

	if (shape->wire != EVN_WIRE_LIST)
		return type_name(field, shape->dictionary != NULL ? shape->dictionary : shape);
	element = type_name(field->children[0], shape->element);
	return element == NULL ? NULL : psprintf("%s[]", element);
}

/* "name type, ..."; empty when no column can be read. */
static char *
column_list(const struct ArrowSchema *schema, const char *path)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < schema->n_children; i++)
	{
		const struct ArrowSchema *field = schema->children[i];
		char	   *name = pg_any_to_server(field->name, (int) strlen(field->name), PG_UTF8);
		const char *type = column_type(field);

		if (type != NULL)
			appendStringInfo(&list, "%s%s %s", list.len == 0 ? "" : ", ", quote_identifier(name),
							 type);
		else
			ereport(NOTICE,
					(errmsg("column \"%s\" of Parquet file \"%s\" is left out", name, path),
					 errdetail("Its type is not read; in Arrow's words its format is \"%s\".",
							   field->format)));
	}
	return list.data;
}

static char *
columns_of_file(const char *path)
{
	const EvnParquetArrow *arrow = evn_parquet_table_arrow();
	struct ArrowSchema	   schema;
	EvnParquetError		   error;
	int					   fd = evn_parquet_file_open(path);
	EvnParquetReader	  *reader = arrow->read_open(fd, &schema, &error);
	char				  *columns = NULL;

	evn_parquet_file_close(fd);
	if (reader == NULL)
		evn_parquet_table_raise(&error, path);
	arrow->read_free(reader);
	PG_TRY();
	{
		columns = column_list(&schema, path);
	}
	PG_FINALLY();
	{
		schema.release(&schema);
	}
	PG_END_TRY();
	return columns;
}

/* The command for a directory, null when there is nothing to read in it. */
static char *
table_command(const ImportForeignSchemaStmt *statement, const char *location, const char *path,
			  const char *name)
{
	EvnParquetTable table = {.location = pstrdup(location),
							 .directory = psprintf("%s/%s", location, path)};
	List		   *files = evn_parquet_table_files(&table);
	char		   *columns;

	if (files == NIL)
		return NULL;
	columns = columns_of_file(((EvnParquetListed *) linitial(files))->path);
	if (columns[0] == '\0')
		return NULL;
	return psprintf("CREATE FOREIGN TABLE %s (%s) SERVER %s OPTIONS (path %s)",
					quote_identifier(name), columns, quote_identifier(statement->server_name),
					quote_literal_cstr(path));
}

static bool
is_directory(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

List *
evn_parquet_import(ImportForeignSchemaStmt *statement, Oid serverid)
{
	const char	  *location = evn_parquet_table_location(GetForeignServer(serverid));
	bool		   is_whole = strcmp(statement->remote_schema, "/") == 0;
	const char	  *above = is_whole ? "" : psprintf("%s/", statement->remote_schema);
	char		  *directory = psprintf("%s/%s", location, above);
	List		  *commands = NIL;
	DIR			  *dir;
	struct dirent *entry;

	evn_parquet_table_may_read();
	if (!is_whole)
		evn_parquet_table_check_path(statement->remote_schema);
	dir = AllocateDir(directory);
	while ((entry = ReadDir(dir, directory)) != NULL)
	{
		char *command = NULL;

		if (entry->d_name[0] != '.' && is_directory(psprintf("%s%s", directory, entry->d_name)))
			command = table_command(statement, location, psprintf("%s%s", above, entry->d_name),
									entry->d_name);
		if (command != NULL)
			commands = lappend(commands, command);
	}
	FreeDir(dir);
	return commands;
}
