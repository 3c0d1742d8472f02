/*
 * parquet_write.c
 *		Rows of one statement to the files of a foreign table.
 *
 * Rows go to the library in batches, bounded by number and bytes.  It keeps a
 * row group in memory, compressed, until the next one begins; so that one is
 * bounded by bytes as well.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/rel.h"

#include "parquet_build.h"
#include "parquet_file.h"
#include "parquet_sweep.h"
#include "parquet_write.h"

#define BATCH_ROWS		8192
#define BATCH_BYTES		(4 * 1024 * 1024)
#define ROW_GROUP_BYTES (128 * 1024 * 1024)

struct EvnParquetWrite
{
	EvnParquetTable *table;
	EvnParquetType **types;
	int				 ntypes;
	EvnParquetBuild *batch;
	EvnParquetFile	*file; /* null before the first row, and between files */
	MemoryContext	 context;
	int64			 file_rows;
	int64			 group_rows;
	int64			 group_bytes;
};

EvnParquetWrite *
evn_parquet_write_begin(Relation rel)
{
	EvnParquetWrite	  *write = palloc0(sizeof(EvnParquetWrite));
	TupleDesc		   desc = RelationGetDescr(rel);
	int				  *attributes = palloc(sizeof(int) * (desc->natts + 1));
	struct ArrowSchema unused;

	evn_parquet_table_may_write();
	write->context = CurrentMemoryContext;
	write->table = evn_parquet_table_get(RelationGetRelid(rel));
	write->types = palloc(sizeof(EvnParquetType *) * (desc->natts + 1));
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
		{
			attributes[write->ntypes] = i;
			write->types[write->ntypes] = evn_parquet_type_get(TupleDescAttr(desc, i));
			write->types[write->ntypes++]->policy = write->table->policy;
		}
	if (write->ntypes == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a Parquet file needs at least one column")));
	/* complain of columns before there are rows */
	evn_parquet_type_schema(write->types, write->ntypes, &unused);
	write->batch = evn_parquet_build_new(write->types, attributes, write->ntypes);
	evn_parquet_sweep(write->table);
	return write;
}

static void
begin_file(EvnParquetWrite *write)
{
	MemoryContext	   before = MemoryContextSwitchTo(write->context);
	struct ArrowSchema schema;

	evn_parquet_type_schema(write->types, write->ntypes, &schema);
	write->file = evn_parquet_file_create(write->table, &schema);
	write->file_rows = write->group_rows = write->group_bytes = 0;
	MemoryContextSwitchTo(before);
}

static bool
group_is_full(const EvnParquetWrite *write)
{
	return write->group_rows >= write->table->row_group_rows ||
		   write->group_bytes >= ROW_GROUP_BYTES;
}

/* Give the batch to the library. */
static void
flush_batch(EvnParquetWrite *write)
{
	int64			  rows = evn_parquet_build_rows(write->batch);
	bool			  new_group;
	struct ArrowArray array;

	if (rows == 0)
		return;
	if (write->file == NULL)
		begin_file(write);
	new_group = group_is_full(write);
	if (new_group)
		write->group_rows = write->group_bytes = 0;
	write->file_rows += rows;
	write->group_rows += rows;
	write->group_bytes += evn_parquet_build_bytes(write->batch);
	evn_parquet_build_array(write->batch, &array);
	evn_parquet_file_write(write->file, &array, new_group);
	evn_parquet_build_reset(write->batch);
	CHECK_FOR_INTERRUPTS();
}

static void
finish_file(EvnParquetWrite *write)
{
	if (write->file != NULL)
		evn_parquet_file_finish(write->file, write->table, write->file_rows);
	write->file = NULL;
	write->file_rows = write->group_rows = write->group_bytes = 0;
}

/* Batches end where row groups and files do. */
static bool
batch_is_full(const EvnParquetWrite *write)
{
	int64 rows = evn_parquet_build_rows(write->batch);
	int64 in_group = group_is_full(write) ? 0 : write->group_rows;

	return rows >= BATCH_ROWS || in_group + rows >= write->table->row_group_rows ||
		   write->file_rows + rows >= write->table->file_rows ||
		   evn_parquet_build_bytes(write->batch) >= BATCH_BYTES;
}

void
evn_parquet_write_row(EvnParquetWrite *write, TupleTableSlot *slot)
{
	evn_parquet_build_row(write->batch, slot);
	if (!batch_is_full(write))
		return;
	flush_batch(write);
	if (write->file_rows >= write->table->file_rows)
		finish_file(write);
}

void
evn_parquet_write_end(EvnParquetWrite *write)
{
	flush_batch(write);
	finish_file(write);
}
