/*
 * parquet_file.h
 *		Files of one transaction: visible when it commits, gone when it or the
 *		subtransaction does not.
 *
 * A file is complete, on disk and in the manifest before the commit, and gets
 * the name under which others see it after that.  Queries here go by the
 * manifest, and find it under either name.
 */
#ifndef EVN_PARQUET_FILE_H
#define EVN_PARQUET_FILE_H

#include "parquet_table.h"

typedef struct EvnParquetFile EvnParquetFile;

/*
 * Begin a file in the table's directory, which is made when it is not there.
 * It belongs to the current subtransaction; needs a transaction that may
 * write, and gives it an id.
 */
extern EvnParquetFile *evn_parquet_file_create(const EvnParquetTable *table,
											   struct ArrowSchema	 *schema);

/* Add rows, which are released, to the row group or to a new one. */
extern void evn_parquet_file_write(EvnParquetFile *file, struct ArrowArray *rows, bool new_group);

/* Write the end, and list it; it is the transaction's from here on. */
extern void evn_parquet_file_finish(EvnParquetFile *file, const EvnParquetTable *table, int64 rows);

/*
 * Open for reading, outside the limits that transactions put on files; raises.
 * The footer is compared with the name where that tells its checksum.
 */
extern int evn_parquet_file_open(const char *path);

/* Close a descriptor of evn_parquet_file_open; raises nothing. */
extern void evn_parquet_file_close(int fd);

/*
 * Give the file of a transaction that is committed its visible name.  Raises
 * nothing: a WARNING tells of a failure, and what somebody else did is done.
 */
extern void evn_parquet_file_publish(const char *directory, const char *hidden,
									 const char *published);

/* Called when the module is loaded. */
extern void evn_parquet_file_init(void);

#endif /* EVN_PARQUET_FILE_H */
