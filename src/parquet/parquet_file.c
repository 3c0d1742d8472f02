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

#define STAGED_FORMAT	 ".evilnet-%016llx-%016llx-%06x.staged"
#define PUBLISHED_FORMAT "evilnet-%016llx-%016llx-%06x-%08x.parquet"
#define TAIL_LEN		 8 /* length of the footer, and "PAR1" */

struct EvnParquetFile
{
	EvnParquetFile	 *next;
	SubTransactionId  subid;
	unsigned		  number;
	char			 *directory;
	char			 *staged;	 /* path */
	char			 *published; /* path; null until the file is finished */
	bool			  is_published;
	int				  fd; /* -1: closed */
	EvnParquetWriter *writer;
};

/* of the transaction, the youngest first; in TopTransactionContext */
static EvnParquetFile *files = NULL;
static unsigned		   last_number = 0;

/* ---- descriptors */

static int
open_file(const char *path, int flags)
{
	int fd;

	ReserveExternalFD();
	fd = BasicOpenFile(path, flags | PG_BINARY);
	if (fd < 0)
	{
		ReleaseExternalFD();
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
	}
	return fd;
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
	const char		  *name = last_dir_separator(path) + 1;
	unsigned long long system;
	unsigned long long xid;
	unsigned		   number;
	unsigned		   checksum;

	if (sscanf(name, PUBLISHED_FORMAT, &system, &xid, &number, &checksum) == 4 &&
		footer_checksum(fd, path) != checksum)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("could not read Parquet file \"%s\": its footer is damaged", path),
						errdetail("The footer's checksum is not the one in the file's name."),
						errhint("Move it out of the directory, or restore it from a backup.")));
}

int
evn_parquet_file_open(const char *path)
{
	int fd = open_file(path, O_RDONLY);

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
	return fd;
}

/* ---- writing */

static EvnParquetFile *
add_file(const char *directory)
{
	uint64			xid = U64FromFullTransactionId(GetTopFullTransactionId());
	MemoryContext	before = MemoryContextSwitchTo(TopTransactionContext);
	EvnParquetFile *file = palloc0(sizeof(EvnParquetFile));

	file->subid = GetCurrentSubTransactionId();
	file->number = ++last_number;
	file->fd = -1;
	file->directory = pstrdup(directory);
	file->staged =
		psprintf("%s/" STAGED_FORMAT, directory, (unsigned long long) GetSystemIdentifier(),
				 (unsigned long long) xid, file->number);
	MemoryContextSwitchTo(before);
	return file;
}

EvnParquetFile *
evn_parquet_file_create(const EvnParquetTable *table, struct ArrowSchema *schema)
{
	const EvnParquetArrow *arrow = evn_parquet_table_arrow();
	EvnParquetFile		  *file = add_file(table->directory);
	EvnParquetError		   error;

	evn_parquet_table_make(table);
	file->fd = open_file(file->staged, O_RDWR | O_CREAT | O_EXCL);
	/* from here on it is removed, whatever happens */
	file->next = files;
	files = file;
	file->writer = arrow->write_open(file->fd, schema, &table->format, &error);
	if (file->writer == NULL)
		evn_parquet_table_raise(&error, file->staged);
	return file;
}

void
evn_parquet_file_write(EvnParquetFile *file, struct ArrowArray *rows, bool new_group)
{
	EvnParquetError error;

	if (!evn_parquet_arrow()->write_rows(file->writer, rows, new_group, &error))
		evn_parquet_table_raise(&error, file->staged);
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

void
evn_parquet_file_finish(EvnParquetFile *file)
{
	EvnParquetError error;
	uint64			xid = U64FromFullTransactionId(GetTopFullTransactionId());

	if (!evn_parquet_arrow()->write_finish(file->writer, &error))
		evn_parquet_table_raise(&error, file->staged);
	file->published = MemoryContextStrdup(TopTransactionContext,
										  psprintf("%s/" PUBLISHED_FORMAT, file->directory,
												   (unsigned long long) GetSystemIdentifier(),
												   (unsigned long long) xid, file->number,
												   footer_checksum(file->fd, file->staged)));
	close_file(file);
}

/* ---- the end of transactions */

static void
publish(EvnParquetFile *file)
{
	struct stat status;

	/* a transaction of that id was here before this cluster was restored from a backup */
	if (lstat(file->published, &status) == 0)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_FILE),
						errmsg("file \"%s\" exists already", file->published),
						errhint("Try again: the next transaction writes under another name.")));
	(void) durable_rename(file->staged, file->published, ERROR);
	file->is_published = true;
}

static void
publish_all(void)
{
	for (EvnParquetFile *file = files; file != NULL; file = file->next)
	{
		if (file->published == NULL)
			elog(ERROR, "Parquet file \"%s\" was not finished", file->staged);
		publish(file);
	}
}

static void
discard(EvnParquetFile *file)
{
	const char *path = file->is_published ? file->published : file->staged;

	close_file(file);
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(WARNING,
				(errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path)));
}

static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			publish_all();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (files != NULL)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("cannot PREPARE a transaction that wrote Parquet files")));
			break;
		case XACT_EVENT_ABORT:
			for (EvnParquetFile *file = files; file != NULL; file = file->next)
				discard(file);
			/* FALLTHROUGH */
		case XACT_EVENT_COMMIT:
			files = NULL;
			last_number = 0;
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

/* ---- what was left behind */

static bool
is_left_behind(const char *name)
{
	unsigned long long system;
	unsigned long long xid;
	unsigned		   number;
	int				   len = 0;

	if (sscanf(name, STAGED_FORMAT "%n", &system, &xid, &number, &len) != 3 || len == 0 ||
		name[len] != '\0' || system != GetSystemIdentifier())
		return false;
	/* of another epoch, it may seem to run: then it stays for the next writer */
	return !TransactionIdIsInProgress((TransactionId) xid);
}

void
evn_parquet_file_sweep(const EvnParquetTable *table)
{
	DIR			  *dir = AllocateDir(table->directory);
	struct dirent *entry;

	if (dir == NULL && errno == ENOENT)
		return;
	while ((entry = ReadDir(dir, table->directory)) != NULL)
	{
		char *path = psprintf("%s/%s", table->directory, entry->d_name);

		if (is_left_behind(entry->d_name) && unlink(path) != 0 && errno != ENOENT)
			ereport(WARNING,
					(errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path)));
		pfree(path);
	}
	FreeDir(dir);
}

void
evn_parquet_file_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}
