/*
 * parquet_name.h
 *		Names of the files that foreign tables write.
 *
 *		.evilnet-<database>-<transaction>-<number>.staged
 *					being written
 *		.evilnet-<database>-<transaction>-<number>-<checksum>.parquet
 *					complete and on disk, of a transaction under way
 *		evilnet-<database>-<transaction>-<number>-<checksum>.parquet
 *					of one that is committed
 *
 * Readers of such directories pass over what begins with a dot.  <database>
 * stands for cluster, database and extension: another one's files are none of
 * our business.  The checksum is that of the footer, which has none of its own.
 */
#ifndef EVN_PARQUET_NAME_H
#define EVN_PARQUET_NAME_H

#include "access/transam.h"

typedef struct EvnParquetName
{
	uint64			  database;
	FullTransactionId xid;
	unsigned		  number; /* in its transaction */
	uint32			  checksum;
} EvnParquetName;

/* palloc'd; of this database */
extern char *evn_parquet_name_staged(FullTransactionId xid, unsigned number);
extern char *evn_parquet_name_published(FullTransactionId xid, unsigned number, uint32 checksum);

/* Whether it is one of these; of a staged file the checksum is 0. */
extern bool evn_parquet_name_parse_staged(const char *name, EvnParquetName *parsed);
extern bool evn_parquet_name_parse_published(const char *name, EvnParquetName *parsed);

/* Whether a published name is of this database; needs a transaction. */
extern bool evn_parquet_name_is_own(const char *name);

/* The path of a published file while its transaction is under way; palloc'd. */
extern char *evn_parquet_name_hidden(const char *path);

/* This database, in names; needs a transaction. */
extern uint64 evn_parquet_name_database(void);

#endif /* EVN_PARQUET_NAME_H */
