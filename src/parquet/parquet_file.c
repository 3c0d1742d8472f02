/*
 * parquet_file.c
 *		Files of one transaction.
 *
 * They outlive statements and are not tied to resource owners: descriptors are
 * reserved by hand, and what is here is freed by the callbacks of transactions.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

#include "parquet_file.h"
#include "parquet_name.h"

#define TAIL_LEN 8 /* length of the footer, and "PAR1" */

struct EvnParquetFile
{
	EvnParquetFile	 *next;
	SubTransactionId  subid;
	FullTransactionId xid;
	unsigned		  number;
	const char		 *directory;
	char			 *path;		 /* where it is */
	char			 *published; /* where it will be; null until the file is finished */
	int				  fd;		 /* -1: closed */
	EvnParquetWriter *writer;
};

/* of the transaction, the youngest first; in TopTransactionContext */
static EvnParquetFile *files = NULL;
static unsigned		   last_number = 0;

/* ---- descriptors */

/* -1 when it cannot be opened; errno tells why. */
static int
try_to_open(const char *path, int flags)
{
	int fd;

	ReserveExternalFD();
	fd = BasicOpenFile(path, flags | PG_BINARY);
	if (fd < 0)
		ReleaseExternalFD();
	return fd;
}

static void
raise_open(const char *path)
{
	ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
}

void
evn_parquet_file_close(int fd)
{
	close(fd);
	ReleaseExternalFD();
}

/* ---- the footer's checksum */

static void
read_exactly(int fd, const char *path, char *buffer, Size len, off_t place)
{
	ssize_t have = pg_pread(fd, buffer, len, place);

	if (have < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path)));
	if ((Size) have != len)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("could not read Parquet file \"%s\": it is cut off", path)));
}

/* Footer and tail; its length is believed only as far as the file goes. */
static uint32
footer_checksum(int fd, const char *path)
{
	struct stat status;
	char		tail[TAIL_LEN];
	char	   *footer;
	uint32		len;
	pg_crc32c	crc;

	if (fstat(fd, &status) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", path)));
	read_exactly(fd, path, tail, TAIL_LEN, Max(status.st_size - TAIL_LEN, 0));
	memcpy(&len, tail, sizeof(len));
	len = Min(len, Min(status.st_size - TAIL_LEN, MaxAllocSize));
	footer = palloc(len + 1);
	read_exactly(fd, path, footer, len, status.st_size - TAIL_LEN - len);
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, footer, len);
	COMP_CRC32C(crc, tail, TAIL_LEN);
	FIN_CRC32C(crc);
	pfree(footer);
	return crc;
}

static void
check_footer(int fd, const char *path)
{
	EvnParquetName name;

	if (evn_parquet_name_parse_published(last_dir_separator(path) + 1, &name) &&
		footer_checksum(fd, path) != name.checksum)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("could not read Parquet file \"%s\": its footer is damaged", path),
						errdetail("The footer's checksum is not the one in the file's name."),
						errhint("Move it out of the directory, or restore it from a backup.")));
}

/* Of our own transaction, or of one that has not renamed it yet, it is hidden, perhaps only until now. */
static int
open_listed(const char *path)
{
	int	  fd = try_to_open(path, O_RDONLY);
	char *hidden;

	if (fd >= 0 || errno != ENOENT)
		return fd;
	hidden = evn_parquet_name_hidden(path);
	fd = try_to_open(hidden, O_RDONLY);
	pfree(hidden);
	return fd >= 0 || errno != ENOENT ? fd : try_to_open(path, O_RDONLY);
}

static pg_noinline void
check_or_close(int fd, const char *path)
{
	PG_TRY();
	{
		check_footer(fd, path);
	}
	PG_CATCH();
	{
		evn_parquet_file_close(fd);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

int
evn_parquet_file_open(const char *path)
{
	int fd = open_listed(path);

	if (fd < 0)
		raise_open(path);
	check_or_close(fd, path);
	return fd;
}

/* ---- writing */

static char *
path_of(const char *directory, const char *name)
{
	return psprintf("%s/%s", directory, name);
}

static EvnParquetFile *
new_file(const char *directory)
{
	MemoryContext	before = MemoryContextSwitchTo(TopTransactionContext);
	EvnParquetFile *file = palloc0(sizeof(EvnParquetFile));

	file->subid = GetCurrentSubTransactionId();
	file->xid = GetTopFullTransactionId();
	file->number = ++last_number;
	file->fd = -1;
	file->directory = pstrdup(directory);
	file->path = path_of(directory, evn_parquet_name_staged(file->xid, file->number));
	MemoryContextSwitchTo(before);
	return file;
}

EvnParquetFile *
evn_parquet_file_create(const EvnParquetTable *table, struct ArrowSchema *schema)
{
	const EvnParquetArrow *arrow = evn_parquet_table_arrow();
	EvnParquetFile		  *file = new_file(table->directory);
	EvnParquetError		   error;

	evn_parquet_table_make(table);
	/* one of that name is left of a transaction whose id was lost in a crash */
	file->fd = try_to_open(file->path, O_RDWR | O_CREAT | O_TRUNC);
	if (file->fd < 0)
		raise_open(file->path);
	/* from here on it is removed, whatever happens */
	file->next = files;
	files = file;
	file->writer = arrow->write_open(file->fd, schema, &table->format, &error);
	if (file->writer == NULL)
		evn_parquet_table_raise(&error, file->path);
	return file;
}

void
evn_parquet_file_write(EvnParquetFile *file, struct ArrowArray *rows, bool new_group)
{
	EvnParquetError error;

	if (!evn_parquet_arrow()->write_rows(file->writer, rows, new_group, &error))
		evn_parquet_table_raise(&error, file->path);
}

static void
close_file(EvnParquetFile *file)
{
	if (file->writer != NULL)
		evn_parquet_arrow()->write_free(file->writer);
	file->writer = NULL;
	if (file->fd >= 0)
		evn_parquet_file_close(file->fd);
	file->fd = -1;
}

/* A transaction of that id was here before this cluster was restored from a backup. */
static void
check_is_new(const char *path)
{
	struct stat status;

	if (lstat(path, &status) == 0)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_FILE), errmsg("file \"%s\" exists already", path),
						errhint("Try again: the next transaction writes under another name.")));
}

/* It is on disk under the name that a commit makes visible. */
static void
hide(EvnParquetFile *file, const char *published)
{
	char *hidden;

	file->published = MemoryContextStrdup(TopTransactionContext, published);
	check_is_new(file->published);
	hidden = MemoryContextStrdup(TopTransactionContext, evn_parquet_name_hidden(published));
	(void) durable_rename(file->path, hidden, ERROR);
	file->path = hidden;
}

void
evn_parquet_file_finish(EvnParquetFile *file, const EvnParquetTable *table, int64 rows)
{
	EvnParquetError error;
	struct stat		status;
	char		   *name;

	if (!evn_parquet_arrow()->write_finish(file->writer, &error))
		evn_parquet_table_raise(&error, file->path);
	if (fstat(file->fd, &status) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", file->path)));
	name =
		evn_parquet_name_published(file->xid, file->number, footer_checksum(file->fd, file->path));
	close_file(file);
	evn_parquet_table_list(table, name, rows, status.st_size);
	/* a crash must not let another transaction have the id in the name, and commit for us */
	XLogFlush(XactLastRecEnd);
	hide(file, path_of(file->directory, name));
}

/* ---- the end of transactions */

/* All are complete, on disk, and listed by the time of the commit. */
static void
check_finished(void)
{
	for (EvnParquetFile *file = files; file != NULL; file = file->next)
		if (file->published == NULL)
			elog(ERROR, "Parquet file \"%s\" was not finished", file->path);
}

/* The file itself is on disk already. */
void
evn_parquet_file_publish(const char *directory, const char *hidden, const char *published)
{
	if (rename(hidden, published) == 0)
		(void) fsync_fname_ext(directory, true, false, WARNING);
	else if (errno != ENOENT)
		ereport(WARNING, (errcode_for_file_access(),
						  errmsg("could not rename file \"%s\" to \"%s\": %m", hidden, published)));
}

/* After the commit, which nothing may undo: what fails is left to evn_parquet_sweep. */
static void
publish_all(void)
{
	for (EvnParquetFile *file = files; file != NULL; file = file->next)
		evn_parquet_file_publish(file->directory, file->path, file->published);
}

static void
discard(EvnParquetFile *file)
{
	close_file(file);
	if (unlink(file->path) != 0 && errno != ENOENT)
		ereport(WARNING, (errcode_for_file_access(),
						  errmsg("could not remove file \"%s\": %m", file->path)));
}

static void
forget_all(void)
{
	files = NULL;
	last_number = 0;
}

static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			check_finished();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (files != NULL)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("cannot PREPARE a transaction that wrote Parquet files")));
			break;
		case XACT_EVENT_COMMIT:
			publish_all();
			forget_all();
			break;
		case XACT_EVENT_ABORT:
			for (EvnParquetFile *file = files; file != NULL; file = file->next)
				discard(file);
			forget_all();
			break;
		default:
			break;
	}
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	EvnParquetFile **link = &files;

	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	while (*link != NULL)
	{
		EvnParquetFile *file = *link;

		if (file->subid == subid && event == SUBXACT_EVENT_ABORT_SUB)
		{
			*link = file->next;
			discard(file);
			continue;
		}
		if (file->subid == subid)
			file->subid = parent;
		link = &file->next;
	}
}

void
evn_parquet_file_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}
