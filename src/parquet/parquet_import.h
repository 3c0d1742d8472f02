/*
 * parquet_import.h
 *		IMPORT FOREIGN SCHEMA: foreign tables of the directories that there are.
 */
#ifndef EVN_PARQUET_IMPORT_H
#define EVN_PARQUET_IMPORT_H

#include "nodes/parsenodes.h"

/*
 * CREATE FOREIGN TABLE commands (char *) of the directories with Parquet files
 * in them under a directory of the server's location, "/" for the location
 * itself; columns are those of the first file, but for types that are not
 * read, of which a NOTICE tells.  Raises unless the current user may read
 * files of the server.  palloc'd.
 */
extern List *evn_parquet_import(ImportForeignSchemaStmt *statement, Oid serverid);

#endif /* EVN_PARQUET_IMPORT_H */
