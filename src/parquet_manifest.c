/*
 * parquet_manifest.c
 *		Which Parquet files transactions of this database have written.
 *
 * A directory cannot tell: a file has to be there before its transaction is
 * committed, and a query sees what its snapshot sees, not what is there now.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "parquet_manifest.h"
#include "spi.h"

void
evn_parquet_manifest_add(const char *directory, const char *name, int64 rows, int64 bytes)
{
	Oid	   types[4] = {TEXTOID, TEXTOID, INT8OID, INT8OID};
	Datum  values[4] = {CStringGetTextDatum(directory), CStringGetTextDatum(name),
						Int64GetDatum(rows), Int64GetDatum(bytes)};
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args("INSERT INTO evilnet.parquet_file (directory, name, rows, bytes)"
					  " VALUES ($1, $2, $3, $4)",
					  4, types, values, NULL, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

static EvnParquetListed *
copy_row(uint64 row, const char *directory, MemoryContext context)
{
	MemoryContext	  before = MemoryContextSwitchTo(context);
	EvnParquetListed *listed = palloc(sizeof(EvnParquetListed));

	listed->path = psprintf("%s/%s", directory, TextDatumGetCString(evn_spi_value(row, 1)));
	listed->rows = DatumGetInt64(evn_spi_value(row, 2));
	listed->bytes = DatumGetInt64(evn_spi_value(row, 3));
	MemoryContextSwitchTo(before);
	return listed;
}

List *
evn_parquet_manifest_read(const char *directory)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			  types[1] = {TEXTOID};
	Datum		  values[1] = {CStringGetTextDatum(directory)};
	List		 *listed = NIL;
	EvnSpi		  spi;
	uint64		  nrows;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	nrows = evn_spi_read("SELECT name, rows, bytes FROM evilnet.parquet_file WHERE directory = $1"
						 " ORDER BY name COLLATE \"C\"",
						 1, types, values, NULL);
	for (uint64 i = 0; i < nrows; i++)
	{
		EvnParquetListed *row = copy_row(i, directory, caller);
		MemoryContext	  before = MemoryContextSwitchTo(caller);

		listed = lappend(listed, row);
		MemoryContextSwitchTo(before);
	}
	evn_spi_end(&spi);
	return listed;
}
