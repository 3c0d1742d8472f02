/*
 * parquet_servers.c
 *		The evilnet_parquet foreign data wrapper: its options, and the way to
 *		the module that does the work.
 *
 * Options are checked here, without the module, so that a dump can be restored
 * where there is no Arrow.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "parquet_servers.h"

#define MAX_ROW_GROUP 10000000

PG_FUNCTION_INFO_V1(evn_parquet_servers_validate);
PG_FUNCTION_INFO_V1(evn_parquet_servers_handler);

static const struct
{
	const char *name;
	int			max_level; /* 0: takes none */
} codecs[] = {{"zstd", 22}, {"snappy", 0}, {"gzip", 9}, {"lz4", 12}, {"none", 0}};

/* ---- options */

static int
max_level(const char *compression)
{
	for (int i = 0; i < lengthof(codecs); i++)
		if (strcmp(codecs[i].name, compression) == 0)
			return codecs[i].max_level;
	return -1;
}

static void
check_location(const char *value)
{
	const char *path = strncmp(value, "file://", 7) == 0 ? value + 7 : value;

	if (path[0] != '/')
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid option \"location\": \"%s\"", value),
						errhint("Write a directory of the server as /path or file:///path.")));
}

/* It must not lead out of the server's location, whose owner decides where that is. */
static void
check_path(const char *value)
{
	const char *part = value;

	for (;;)
	{
		size_t len = strcspn(part, "/");

		if (len == 0 || part[0] == '.')
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
							errmsg("invalid option \"path\": \"%s\"", value),
							errhint("Write a directory under the server's location as name or "
									"name/name, where no name begins with a dot.")));
		if (part[len] == '\0')
			return;
		part += len + 1;
	}
}

static void
check_compression(const char *value)
{
	if (max_level(value) < 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid option \"compression\": no such compression \"%s\"", value),
						errhint("It is one of: zstd, snappy, gzip, lz4, none.")));
}

static void
check_number(const char *name, const char *value, int64 max)
{
	char *end;
	int64 number;

	errno = 0;
	number = strtoll(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || number < 1 || number > max)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid option \"%s\": \"%s\"", name, value),
						errhint("Write a number from 1 to " INT64_FORMAT ".", max)));
}

static void
check_level(const char *value)
{
	check_number("compression_level", value, 22);
}

static void
check_out_of_range(const char *value)
{
	if (strcmp(value, "error") != 0 && strcmp(value, "null") != 0 && strcmp(value, "clamp") != 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid option \"out_of_range\": \"%s\"", value),
						errhint("It is one of: error, null, clamp.")));
}

static void
check_row_group_rows(const char *value)
{
	check_number("row_group_rows", value, MAX_ROW_GROUP);
}

static void
check_file_rows(const char *value)
{
	check_number("file_rows", value, PG_INT64_MAX);
}

static const struct
{
	const char *name;
	Oid			catalog;
	void (*check)(const char *value);
} known_options[] = {
	{"location", ForeignServerRelationId, check_location},
	{"path", ForeignTableRelationId, check_path},
	{"compression", ForeignTableRelationId, check_compression},
	{"compression_level", ForeignTableRelationId, check_level},
	{"out_of_range", ForeignTableRelationId, check_out_of_range},
	{"row_group_rows", ForeignTableRelationId, check_row_group_rows},
	{"file_rows", ForeignTableRelationId, check_file_rows},
};

static void
check_option(const char *name, const char *value, Oid catalog)
{
	for (int i = 0; i < lengthof(known_options); i++)
		if (known_options[i].catalog == catalog && strcmp(known_options[i].name, name) == 0)
		{
			known_options[i].check(value);
			return;
		}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errmsg("invalid option \"%s\"", name),
			 errhint("Servers of evilnet_parquet take location, foreign tables path, compression, "
					 "compression_level, row_group_rows, file_rows and out_of_range.")));
}

static const char *
find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

static void
require_option(List *options, const char *name, const char *hint)
{
	if (find_option(options, name) == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("option \"%s\" is required", name), errhint("%s", hint)));
}

static void
check_level_of_compression(List *options)
{
	const char *level = find_option(options, "compression_level");
	const char *compression = find_option(options, "compression");
	int			max = max_level(compression == NULL ? "zstd" : compression);

	if (level == NULL || pg_strtoint32(level) <= max)
		return;
	if (max == 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
						errmsg("compression \"%s\" has no levels", compression),
						errhint("Leave option \"compression_level\" out.")));
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					errmsg("invalid option \"compression_level\": \"%s\"", level),
					errhint("This compression has levels 1 to %d.", max)));
}

Datum
evn_parquet_servers_validate(PG_FUNCTION_ARGS)
{
	List	 *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid		  catalog = PG_GETARG_OID(1);
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		check_option(option->defname, defGetString(option), catalog);
	}
	if (catalog == ForeignServerRelationId)
		require_option(options, "location",
					   "Write a directory of the server as /path or file:///path.");
	if (catalog == ForeignTableRelationId)
	{
		require_option(options, "path", "It is the table's directory under the server's location.");
		check_level_of_compression(options);
	}
	PG_RETURN_VOID();
}

/* ---- the module */

static const EvnParquetHost host = {
	.add_file = evn_parquet_manifest_add,
	.read_files = evn_parquet_manifest_read,
};

/*
 * The allocator inside Arrow, which we do not use, starts a thread when it is
 * loaded, unless its environment says otherwise; a backend must have no other.
 */
static EvnParquetRoutine
load_module(void)
{
	static const char name[] = "JE_ARROW_MALLOC_CONF";
	EvnParquetRoutine routine;

	setenv(name, "background_thread:false", 1);
	routine = (EvnParquetRoutine) load_external_function("$libdir/" EVN_PARQUET_MODULE,
														 EVN_PARQUET_ROUTINE, true, NULL);
	unsetenv(name);
	return routine;
}

Datum
evn_parquet_servers_handler(PG_FUNCTION_ARGS)
{
	char *file = psprintf("%s/" EVN_PARQUET_MODULE EVN_DLSUFFIX, pkglib_path);

	if (access(file, F_OK) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this evilnet was built without Parquet"),
				 errhint("It needs Apache Arrow: see doc/parquet.md, \"Building\", and build and "
						 "install evilnet again.")));
	PG_RETURN_POINTER(load_module()(&host));
}
