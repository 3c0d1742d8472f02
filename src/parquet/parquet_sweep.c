/*
 * parquet_sweep.c
 *		What transactions that were killed left in a directory.
 *
 * The transaction log decides, not the manifest, of which an old snapshot may
 * see less than there is.  Ids that it does not know stay as they are: they are
 * of the time before, or after, that to which this cluster was restored.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/transam.h"
#include "storage/fd.h"
#include "storage/procarray.h"

#include "parquet_file.h"
#include "parquet_name.h"
#include "parquet_sweep.h"

/* the log goes back at least as far */
#define LOG_REACH 100000000

static bool
is_known(FullTransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();

	return FullTransactionIdIsNormal(xid) && FullTransactionIdPrecedes(xid, next) &&
		   U64FromFullTransactionId(next) - U64FromFullTransactionId(xid) < LOG_REACH;
}

static void
remove_file(const char *path)
{
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(WARNING,
				(errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path)));
}

/* A hidden name is the published one behind a dot. */
static void
sweep_file(const char *directory, const char *name, FullTransactionId xid, bool is_complete)
{
	TransactionId short_xid = XidFromFullTransactionId(xid);
	char		 *path = psprintf("%s/%s", directory, name);

	/* in this order: it may end meanwhile */
	if (!TransactionIdIsInProgress(short_xid))
	{
		if (is_complete && TransactionIdDidCommit(short_xid))
			evn_parquet_file_publish(directory, path, psprintf("%s/%s", directory, name + 1));
		else
			remove_file(path);
	}
	pfree(path);
}

void
evn_parquet_sweep(const EvnParquetTable *table)
{
	uint64		   database = evn_parquet_name_database();
	DIR			  *dir = AllocateDir(table->directory);
	struct dirent *entry;
	EvnParquetName name;

	if (dir == NULL && errno == ENOENT)
		return;
	while ((entry = ReadDir(dir, table->directory)) != NULL)
	{
		bool is_complete =
			entry->d_name[0] == '.' && evn_parquet_name_parse_published(entry->d_name + 1, &name);

		if ((is_complete || evn_parquet_name_parse_staged(entry->d_name, &name)) &&
			name.database == database && is_known(name.xid))
			sweep_file(table->directory, entry->d_name, name.xid, is_complete);
	}
	FreeDir(dir);
}
