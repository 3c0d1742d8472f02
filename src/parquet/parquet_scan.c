/*
 * parquet_scan.c
 *		Rows of the files of a foreign table, file by file.
 *
 * One file is open at a time.  All it takes, memory of the library and the
 * descriptor too, goes with a memory context, so that an error needs no other
 * clean-up, and a cursor may outlive the subtransaction it was read in.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "parquet_file.h"
#include "parquet_scan.h"
#include "parquet_value.h"

/* a column that is asked for */
typedef struct Column
{
	int				 attribute; /* of the slot, from 0 */
	EvnParquetType	*type;
	EvnParquetShape *shape; /* in the current file; null: it has none of that name */
	int				 child; /* among those read from it */
} Column;

/* the open file; in a context of its own */
typedef struct OpenFile
{
	const char		  *path;
	int				   fd;
	EvnParquetReader  *reader;
	struct ArrowSchema schema;
	struct ArrowArray  rows;
	int64			   next; /* of these rows */
	int64			   uncounted;
} OpenFile;

struct EvnParquetScan
{
	EvnParquetTable *table;
	Column			*columns;
	int				 ncolumns;
	List			*files; /* EvnParquetListed * */
	int				 next_file;
	MemoryContext	 file_context;
	OpenFile		*file;	  /* null between files */
	const Column	*current; /* for the context of errors */
	EvnParquetPrune *prune;
	int				 natts;
};

/* ---- one file */

static void
release_rows(OpenFile *file)
{
	if (file->rows.release != NULL)
		file->rows.release(&file->rows);
}

/* when the context goes, or is reset */
static void
close_file(void *arg)
{
	OpenFile *file = arg;

	release_rows(file);
	if (file->schema.release != NULL)
		file->schema.release(&file->schema);
	if (file->reader != NULL)
		evn_parquet_arrow()->read_free(file->reader);
	if (file->fd >= 0)
		evn_parquet_file_close(file->fd);
}

static OpenFile *
open_file(const char *path)
{
	OpenFile			  *file = palloc0(sizeof(OpenFile));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	const EvnParquetArrow *arrow = evn_parquet_table_arrow();
	EvnParquetError		   error;

	file->path = path;
	file->fd = -1;
	callback->func = close_file;
	callback->arg = file;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	file->fd = evn_parquet_file_open(path);
	file->reader = arrow->read_open(file->fd, &file->schema, &error);
	if (file->reader == NULL)
		evn_parquet_table_raise(&error, path);
	return file;
}

static int
find_field(const OpenFile *file, const char *name)
{
	const char *utf8 = pg_server_to_any(name, (int) strlen(name), PG_UTF8);

	for (int i = 0; i < file->schema.n_children; i++)
		if (strcmp(file->schema.children[i]->name, utf8) == 0)
			return i;
	return -1;
}

static EvnParquetShape *
match_field(const OpenFile *file, EvnParquetType *type, int field)
{
	EvnParquetShape *shape = evn_parquet_type_shape(file->schema.children[field]);

	if (!evn_parquet_type_accepts(type, shape))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
				 errmsg("column \"%s\" of Parquet file \"%s\" is not of a type that is read as %s",
						type->column, file->path, format_type_be(type->typid)),
				 errdetail("In Arrow's words its format is \"%s\".",
						   file->schema.children[field]->format),
				 errhint("Declare the column of another type: see doc/parquet.md.")));
	return shape;
}

/* Match columns by name, and choose what is there, in the order of the file. */
static int
match_columns(EvnParquetScan *scan, OpenFile *file, int *chosen)
{
	int *column_of = palloc(sizeof(int) * (file->schema.n_children + 1));
	int	 n = 0;

	for (int i = 0; i < file->schema.n_children; i++)
		column_of[i] = -1;
	for (int i = 0; i < scan->ncolumns; i++)
	{
		Column *column = &scan->columns[i];
		int		field = find_field(file, column->type->column);

		column->shape = field < 0 ? NULL : match_field(file, column->type, field);
		if (field >= 0)
			column_of[field] = i;
	}
	for (int i = 0; i < file->schema.n_children; i++)
		if (column_of[i] >= 0)
		{
			scan->columns[column_of[i]].child = n;
			chosen[n++] = i;
		}
	return n;
}

/* The row groups that have to be read; returns their number. */
static int
choose_groups(const EvnParquetScan *scan, OpenFile *file, const int *chosen, int *groups)
{
	int				  total = evn_parquet_arrow()->read_group_count(file->reader);
	int				 *fields = palloc(sizeof(int) * (scan->natts + 1));
	EvnParquetShape **shapes = palloc0(sizeof(EvnParquetShape *) * (scan->natts + 1));
	int				  n = 0;

	for (int i = 0; i <= scan->natts; i++)
		fields[i] = -1;
	for (int i = 0; i < scan->ncolumns; i++)
		if (scan->columns[i].shape != NULL)
		{
			fields[scan->columns[i].attribute + 1] = chosen[scan->columns[i].child];
			shapes[scan->columns[i].attribute + 1] = scan->columns[i].shape;
		}
	for (int i = 0; i < total; i++)
		if (!evn_parquet_prune_group(scan->prune, file->reader, i, fields, shapes))
			groups[n++] = i;
	return n;
}

/* The next file; when it has nothing that is asked for, its rows are counted only. */
static void
open_next(EvnParquetScan *scan)
{
	MemoryContext	  before = MemoryContextSwitchTo(scan->file_context);
	EvnParquetListed *listed = list_nth(scan->files, scan->next_file++);
	OpenFile		 *file = open_file(listed->path);
	int				 *chosen = palloc(sizeof(int) * (file->schema.n_children + 1));
	int *groups = palloc(sizeof(int) * (evn_parquet_arrow()->read_group_count(file->reader) + 1));
	int	 ncolumns = match_columns(scan, file, chosen);
	int	 ngroups = choose_groups(scan, file, chosen, groups);
	EvnParquetError error;

	if (ncolumns == 0)
	{
		file->next = -1;
		for (int i = 0; i < ngroups; i++)
			file->uncounted += evn_parquet_arrow()->read_group_rows(file->reader, groups[i]);
	}
	else if (!evn_parquet_arrow()->read_columns(file->reader, groups, ngroups, chosen, ncolumns,
												&error))
		evn_parquet_table_raise(&error, file->path);
	scan->file = file;
	MemoryContextSwitchTo(before);
}

static void
leave_file(EvnParquetScan *scan)
{
	scan->file = NULL;
	MemoryContextReset(scan->file_context);
}

/* ---- rows */

/* Whether the open file has another row; moves on to it. */
static bool
advance(OpenFile *file)
{
	EvnParquetError error;

	if (file->next < 0)
		return file->uncounted-- > 0;
	while (file->rows.release == NULL || file->next >= file->rows.length)
	{
		CHECK_FOR_INTERRUPTS();
		release_rows(file);
		if (!evn_parquet_arrow()->read_rows(file->reader, &file->rows, &error))
			evn_parquet_table_raise(&error, file->path);
		file->next = 0;
		if (file->rows.release == NULL)
			return false;
	}
	return true;
}

static void
describe_value(void *arg)
{
	EvnParquetScan *scan = arg;

	errcontext("column \"%s\" of Parquet file \"%s\"", scan->current->type->column,
			   scan->file->path);
}

static void
store_row(EvnParquetScan *scan, TupleTableSlot *slot)
{
	ErrorContextCallback context = {error_context_stack, describe_value, scan};
	OpenFile			*file = scan->file;

	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	error_context_stack = &context;
	for (Column *column = scan->columns; column < scan->columns + scan->ncolumns; column++)
	{
		if (column->shape == NULL)
			continue;
		scan->current = column;
		slot->tts_values[column->attribute] =
			evn_parquet_value_get(column->type, column->shape, file->rows.children[column->child],
								  file->next, &slot->tts_isnull[column->attribute]);
	}
	error_context_stack = context.previous;
	if (file->next >= 0)
		file->next++;
}

bool
evn_parquet_scan_next(EvnParquetScan *scan, TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	while (scan->file == NULL || !advance(scan->file))
	{
		leave_file(scan);
		if (scan->next_file >= list_length(scan->files))
			return false;
		open_next(scan);
	}
	store_row(scan, slot);
	ExecStoreVirtualTuple(slot);
	return true;
}

/* ---- scans */

EvnParquetScan *
evn_parquet_scan_begin(Relation rel, List *columns, EvnParquetPrune *prune)
{
	EvnParquetScan *scan = palloc0(sizeof(EvnParquetScan));
	ListCell	   *cell;

	evn_parquet_table_may_read();
	scan->table = evn_parquet_table_get(RelationGetRelid(rel));
	scan->files = evn_parquet_table_files(scan->table);
	scan->file_context =
		AllocSetContextCreate(CurrentMemoryContext, "Parquet file", ALLOCSET_DEFAULT_SIZES);
	scan->prune = prune;
	scan->natts = RelationGetDescr(rel)->natts;
	scan->columns = palloc0(sizeof(Column) * (list_length(columns) + 1));
	foreach(cell, columns)
	{
		Column *column = &scan->columns[scan->ncolumns++];

		column->attribute = lfirst_int(cell) - 1;
		column->type =
			evn_parquet_type_get(TupleDescAttr(RelationGetDescr(rel), column->attribute));
	}
	return scan;
}

void
evn_parquet_scan_restart(EvnParquetScan *scan)
{
	leave_file(scan);
	scan->next_file = 0;
}

static void
add_to_summary(EvnParquetScan *scan, OpenFile *file, EvnParquetSummary *summary)
{
	int	 total = evn_parquet_arrow()->read_group_count(file->reader);
	int *chosen = palloc(sizeof(int) * (file->schema.n_children + 1));
	int *groups = palloc(sizeof(int) * (total + 1));
	int	 ncolumns = match_columns(scan, file, chosen);
	int	 ngroups = choose_groups(scan, file, chosen, groups);

	summary->row_groups += total;
	summary->pruned += total - ngroups;
	for (int i = 0; i < ngroups; i++)
		for (int j = 0; j < ncolumns; j++)
			summary->bytes +=
				evn_parquet_arrow()->read_group_bytes(file->reader, groups[i], chosen[j]);
}

EvnParquetSummary
evn_parquet_scan_summary(EvnParquetScan *scan)
{
	EvnParquetSummary summary = {.files = list_length(scan->files)};
	ListCell		 *cell;

	foreach(cell, scan->files)
	{
		MemoryContext before = MemoryContextSwitchTo(scan->file_context);

		add_to_summary(scan, open_file(((EvnParquetListed *) lfirst(cell))->path), &summary);
		MemoryContextSwitchTo(before);
		leave_file(scan);
	}
	return summary;
}
