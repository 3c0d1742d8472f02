/*
 * parquet_name.c
 *		Names of the files that foreign tables write.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "miscadmin.h"

#include "parquet_name.h"

#define ULL(number)		 ((unsigned long long) (number))
#define STAGED_FORMAT	 ".evilnet-%016llx-%016llx-%06x.staged"
#define PUBLISHED_FORMAT "evilnet-%016llx-%016llx-%06x-%08x.parquet"

uint64
evn_parquet_name_database(void)
{
	uint64 system = GetSystemIdentifier();
	uint64 database = hash_bytes_extended((unsigned char *) &system, sizeof(system), MyDatabaseId);
	Oid	   extension = get_extension_oid("evilnet", false);

	/* made anew, it knows nothing of the files of the one before */
	return hash_bytes_extended((unsigned char *) &extension, sizeof(extension), database);
}

char *
evn_parquet_name_staged(FullTransactionId xid, unsigned number)
{
	return psprintf(STAGED_FORMAT, ULL(evn_parquet_name_database()),
					ULL(U64FromFullTransactionId(xid)), number);
}

char *
evn_parquet_name_published(FullTransactionId xid, unsigned number, uint32 checksum)
{
	return psprintf(PUBLISHED_FORMAT, ULL(evn_parquet_name_database()),
					ULL(U64FromFullTransactionId(xid)), number, checksum);
}

static bool
fill(EvnParquetName *parsed, unsigned long long database, unsigned long long xid, unsigned number,
	 unsigned checksum)
{
	parsed->database = database;
	parsed->xid = FullTransactionIdFromU64(xid);
	parsed->number = number;
	parsed->checksum = checksum;
	return true;
}

bool
evn_parquet_name_parse_staged(const char *name, EvnParquetName *parsed)
{
	unsigned long long database;
	unsigned long long xid;
	unsigned		   number;
	int				   len = 0;

	return sscanf(name, STAGED_FORMAT "%n", &database, &xid, &number, &len) == 3 && len > 0 &&
		   name[len] == '\0' && fill(parsed, database, xid, number, 0);
}

bool
evn_parquet_name_parse_published(const char *name, EvnParquetName *parsed)
{
	unsigned long long database;
	unsigned long long xid;
	unsigned		   number;
	unsigned		   checksum;
	int				   len = 0;

	return sscanf(name, PUBLISHED_FORMAT "%n", &database, &xid, &number, &checksum, &len) == 4 &&
		   len > 0 && name[len] == '\0' && fill(parsed, database, xid, number, checksum);
}

bool
evn_parquet_name_is_own(const char *name)
{
	EvnParquetName parsed;

	return evn_parquet_name_parse_published(name, &parsed) &&
		   parsed.database == evn_parquet_name_database();
}

char *
evn_parquet_name_hidden(const char *path)
{
	const char *name = last_dir_separator(path) + 1;

	return psprintf("%.*s.%s", (int) (name - path), path, name);
}
