/*
 * parquet_table.c
 *		A foreign table of evilnet_parquet.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "catalog/pg_authid.h"
#include "commands/defrem.h"
#include "common/file_perm.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "parquet_name.h"
#include "parquet_table.h"

#define ROW_GROUP_ROWS 100000
#define FILE_ROWS	   5000000

static const EvnParquetHost *host;

void
evn_parquet_table_set_host(const EvnParquetHost *the_host)
{
	host = the_host;
}

/* ---- options */

static const char *
option(List *options, const char *name, const char *otherwise)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *element = lfirst_node(DefElem, cell);

		if (strcmp(element->defname, name) == 0)
			return defGetString(element);
	}
	return otherwise;
}

static int64
number(List *options, const char *name, int64 otherwise)
{
	const char *value = option(options, name, NULL);

	return value == NULL ? otherwise : strtoll(value, NULL, 10);
}

static EvnParquetPolicy
policy(const char *name)
{
	return strcmp(name, "null") == 0	? EVN_PARQUET_NULL
		   : strcmp(name, "clamp") == 0 ? EVN_PARQUET_CLAMP
										: EVN_PARQUET_ERROR;
}

char *
evn_parquet_table_location(const ForeignServer *server)
{
	const char *option_value = option(server->options, "location", "");
	bool		is_url = strncmp(option_value, "file://", 7) == 0;
	char	   *location = pstrdup(is_url ? option_value + 7 : option_value);

	canonicalize_path(location);
	return location;
}

/* As the option "path" of tables is: it must not lead out of the location. */
void
evn_parquet_table_check_path(const char *path)
{
	for (const char *part = path;; part += strcspn(part, "/") + 1)
	{
		if (strcspn(part, "/") == 0 || part[0] == '.')
			ereport(ERROR, (errcode(ERRCODE_FDW_SCHEMA_NOT_FOUND),
							errmsg("invalid directory \"%s\"", path),
							errhint("Write a directory under the server's location as name or "
									"name/name, or \"/\" for the location itself.")));
		if (part[strcspn(part, "/")] == '\0')
			return;
	}
}

EvnParquetTable *
evn_parquet_table_get(Oid relid)
{
	EvnParquetTable *table = palloc0(sizeof(EvnParquetTable));
	ForeignTable	*foreign = GetForeignTable(relid);

	table->location = evn_parquet_table_location(GetForeignServer(foreign->serverid));
	table->directory = psprintf("%s/%s", table->location, option(foreign->options, "path", ""));
	table->format.compression = option(foreign->options, "compression", "zstd");
	table->format.has_level = option(foreign->options, "compression_level", NULL) != NULL;
	table->format.level = (int) number(foreign->options, "compression_level", 0);
	table->policy = policy(option(foreign->options, "out_of_range", "error"));
	table->row_group_rows = number(foreign->options, "row_group_rows", ROW_GROUP_ROWS);
	table->file_rows = number(foreign->options, "file_rows", FILE_ROWS);
	return table;
}

/* ---- rights */

static void
check_role(Oid role, const char *verb, const char *name)
{
	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to %s files of the server", verb),
						errhint("Only members of %s may %s Parquet files.", name, verb)));
}

void
evn_parquet_table_may_read(void)
{
	check_role(ROLE_PG_READ_SERVER_FILES, "read", "pg_read_server_files");
}

void
evn_parquet_table_may_write(void)
{
	check_role(ROLE_PG_WRITE_SERVER_FILES, "write", "pg_write_server_files");
}

/* ---- the directory */

/* One that is not mounted must not look like one without files. */
static void
check_location(const EvnParquetTable *table)
{
	struct stat status;

	if (stat(table->location, &status) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not access directory \"%s\": %m", table->location),
						errhint("It is option \"location\" of the server, and has to be made by "
								"hand.")));
}

/* Names that readers of such directories pass over begin with a dot or an underscore. */
static bool
is_visible(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && name[0] != '_' && len > 8 && strcmp(name + len - 8, ".parquet") == 0;
}

static int
compare_listed(const ListCell *a, const ListCell *b)
{
	return strcmp(((EvnParquetListed *) lfirst(a))->path, ((EvnParquetListed *) lfirst(b))->path);
}

/* Files of others: they are there when they are there. */
static List *
add_others(List *files, const char *directory)
{
	DIR			  *dir = AllocateDir(directory);
	struct dirent *entry;
	struct stat	   status;

	if (dir == NULL && errno == ENOENT)
		return files;
	while ((entry = ReadDir(dir, directory)) != NULL)
	{
		EvnParquetListed *other = palloc(sizeof(EvnParquetListed));

		other->path = psprintf("%s/%s", directory, entry->d_name);
		if (is_visible(entry->d_name) && !evn_parquet_name_is_own(entry->d_name) &&
			stat(other->path, &status) == 0 && S_ISREG(status.st_mode))
		{
			other->rows = -1;
			other->bytes = status.st_size;
			files = lappend(files, other);
		}
	}
	FreeDir(dir);
	return files;
}

List *
evn_parquet_table_files(const EvnParquetTable *table)
{
	List *files;

	check_location(table);
	files = add_others(host->read_files(table->directory), table->directory);
	list_sort(files, compare_listed);
	return files;
}

void
evn_parquet_table_list(const EvnParquetTable *table, const char *name, int64 rows, int64 bytes)
{
	host->add_file(table->directory, name, rows, bytes);
}

void
evn_parquet_table_make(const EvnParquetTable *table)
{
	char *path = pstrdup(table->directory);

	check_location(table);
	if (pg_mkdir_p(path, pg_dir_create_mode) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create directory \"%s\": %m", table->directory)));
}

/* ---- the library */

const EvnParquetArrow *
evn_parquet_table_arrow(void)
{
	const EvnParquetArrow *arrow = evn_parquet_arrow();
	const char			  *limit = GetConfigOption("evilnet.parquet_memory", false, false);

	if (arrow->version != EVN_PARQUET_ARROW_VERSION)
		elog(ERROR, "table of Arrow's functions is of version %d, wanted %d", arrow->version,
			 EVN_PARQUET_ARROW_VERSION);
	arrow->limit_memory(strtoll(limit, NULL, 10) * 1024);
	return arrow;
}

void
evn_parquet_table_raise(const EvnParquetError *error, const char *path)
{
	if (error->failure == EVN_PARQUET_NO_MEMORY)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
						errmsg("out of memory for file \"%s\": %s", path, error->message),
						errhint("Raise evilnet.parquet_memory, or write smaller row groups.")));
	if (error->failure == EVN_PARQUET_BAD_FILE)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("could not read Parquet file \"%s\": %s", path, error->message),
						errhint("It is damaged, or holds what evilnet does not read: move it out "
								"of the directory.")));
	errno = error->os_error;
	if (error->failure == EVN_PARQUET_IO)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("file \"%s\": %s: %m", path, error->message)));
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR), errmsg("Parquet file \"%s\": %s", path, error->message)));
}
