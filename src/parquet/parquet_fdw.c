/*
 * parquet_fdw.c
 *		Module evilnet_parquet: the callbacks of the foreign data wrapper.
 *
 * evilnet loads it when a foreign table is used (parquet_servers.c); it links
 * to nothing of evilnet.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/explain.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "foreign/fdwapi.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "parquet_file.h"
#include "parquet_import.h"
#include "parquet_prune.h"
#include "parquet_scan.h"
#include "parquet_servers.h"
#include "parquet_write.h"

/* what Parquet makes of rows as PostgreSQL counts their width, by experience */
#define COMPRESSION 3

/* about what decoding a value costs, in calls of operators */
#define OPERATORS_PER_ROW 10

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);
extern PGDLLEXPORT FdwRoutine *evn_parquet_fdw_routine(const EvnParquetHost *host);

void
_PG_init(void)
{
	evn_parquet_file_init();
}

/* ---- columns */

/* Attribute numbers, from 1. */
static List *
all_columns(TupleDesc desc)
{
	List *columns = NIL;

	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			columns = lappend_int(columns, i + 1);
	return columns;
}

/* ---- plans */

static void
get_rel_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	ListCell *cell;
	double	  bytes = 0;
	double	  rows = 0;

	evn_parquet_table_may_read();
	set_baserel_size_estimates(root, rel);
	foreach(cell, evn_parquet_table_files(evn_parquet_table_get(relid)))
	{
		EvnParquetListed *file = lfirst(cell);

		bytes += file->bytes;
		rows += file->rows >= 0
					? (double) file->rows
					: COMPRESSION * (double) file->bytes / Max(rel->reltarget->width, 8);
	}
	rel->tuples = Max(1, rows);
	rel->rows = clamp_row_est(
		rel->tuples * clauselist_selectivity(root, rel->baserestrictinfo, 0, JOIN_INNER, NULL));
	rel->pages = (BlockNumber) Min(bytes / BLCKSZ, MaxBlockNumber);
}

static void
get_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	Cost startup = rel->baserestrictcost.startup;
	Cost per_row =
		cpu_tuple_cost + OPERATORS_PER_ROW * cpu_operator_cost + rel->baserestrictcost.per_tuple;
	Cost total = startup + seq_page_cost * rel->pages + per_row * rel->tuples;

	add_path(rel, evn_foreignscan_path(root, rel, rel->rows, startup, total));
}

/* Attribute numbers, from 1, of the columns that the query looks at. */
static List *
needed_columns(RelOptInfo *rel, Oid relid)
{
	Bitmapset *attributes = NULL;
	List	  *columns = NIL;
	ListCell  *cell;
	bool	   whole_row;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &attributes);
	foreach(cell, rel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause, rel->relid, &attributes);
	whole_row = bms_is_member(-FirstLowInvalidHeapAttributeNumber, attributes);
	for (int i = 1; i <= rel->max_attr; i++)
		if ((whole_row || bms_is_member(i - FirstLowInvalidHeapAttributeNumber, attributes)) &&
			OidIsValid(get_atttype(relid, i)))
			columns = lappend_int(columns, i);
	return columns;
}

static ForeignScan *
get_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path, List *tlist,
		 List *clauses, Plan *outer)
{
	List *quals = extract_actual_clauses(clauses, false);
	List *expressions;
	List *conditions = evn_parquet_prune_plan(rel, quals, &expressions);

	return make_foreignscan(tlist, quals, rel->relid, expressions,
							list_make2(needed_columns(rel, relid), conditions), NIL, NIL, outer);
}

/* ---- reading */

typedef struct PlannedScan
{
	EvnParquetPrune *prune;
	EvnParquetScan	*rows;
	bool			 is_evaluated; /* the conditions, since the last restart */
} PlannedScan;

static void
begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = castNode(ForeignScan, node->ss.ps.plan);
	PlannedScan *scan = palloc0(sizeof(PlannedScan));

	scan->prune = evn_parquet_prune_begin(lsecond(plan->fdw_private), plan->fdw_exprs, &node->ss);
	scan->rows = evn_parquet_scan_begin(node->ss.ss_currentRelation, linitial(plan->fdw_private),
										scan->prune);
	node->fdw_state = scan;
}

/* What the conditions compare with is known when the first row is wanted. */
static void
evaluate_conditions(ForeignScanState *node)
{
	PlannedScan *scan = node->fdw_state;

	if (!scan->is_evaluated)
		evn_parquet_prune_evaluate(scan->prune, node->ss.ps.ps_ExprContext);
	scan->is_evaluated = true;
}

static TupleTableSlot *
iterate_scan(ForeignScanState *node)
{
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	evaluate_conditions(node);
	(void) evn_parquet_scan_next(((PlannedScan *) node->fdw_state)->rows, slot);
	return slot;
}

static void
rescan(ForeignScanState *node)
{
	PlannedScan *scan = node->fdw_state;

	scan->is_evaluated = false;
	evn_parquet_scan_restart(scan->rows);
}

static void
end_scan(ForeignScanState *node)
{
	if (node->fdw_state != NULL)
		evn_parquet_scan_restart(((PlannedScan *) node->fdw_state)->rows);
}

static void
explain_scan(ForeignScanState *node, ExplainState *es)
{
	PlannedScan		 *scan = node->fdw_state;
	EvnParquetSummary summary;

	if (evn_parquet_prune_is_constant(scan->prune))
		evaluate_conditions(node);
	evn_parquet_scan_restart(scan->rows);
	summary = evn_parquet_scan_summary(scan->rows);
	ExplainPropertyInteger("Files", NULL, summary.files, es);
	ExplainPropertyInteger("Row Groups", NULL, summary.row_groups, es);
	ExplainPropertyInteger("Row Groups Pruned", NULL, summary.pruned, es);
	ExplainPropertyInteger("Bytes", NULL, summary.bytes, es);
}

/* ---- writing */

static int
is_updatable(Relation rel)
{
	return 1 << CMD_INSERT;
}

static void
begin_modify(ModifyTableState *mtstate, ResultRelInfo *result, List *fdw_private, int subplan,
			 int eflags)
{
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		result->ri_FdwState = evn_parquet_write_begin(result->ri_RelationDesc);
}

/* of COPY, and of rows that go to a partition */
static void
begin_insert(ModifyTableState *mtstate, ResultRelInfo *result)
{
	result->ri_FdwState = evn_parquet_write_begin(result->ri_RelationDesc);
}

static TupleTableSlot *
insert_row(EState *estate, ResultRelInfo *result, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	evn_parquet_write_row(result->ri_FdwState, slot);
	return slot;
}

static void
end_write(EState *estate, ResultRelInfo *result)
{
	if (result->ri_FdwState != NULL)
		evn_parquet_write_end(result->ri_FdwState);
}

/* ---- what statistics are made from */

/* Each row has the same chance to be in the sample: reservoir sampling, Vitter's algorithm R. */
static int
acquire_sample(Relation rel, int elevel, HeapTuple *rows, int wanted, double *total, double *dead)
{
	TupleDesc		desc = RelationGetDescr(rel);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	EvnParquetScan *scan =
		evn_parquet_scan_begin(rel, all_columns(desc), evn_parquet_prune_begin(NIL, NIL, NULL));
	MemoryContext row_context =
		AllocSetContextCreate(CurrentMemoryContext, "Parquet sample", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(row_context);
	int			  n = 0;

	*total = *dead = 0;
	while (evn_parquet_scan_next(scan, slot))
	{
		int place = n < wanted ? n : (int) (pg_prng_double(&pg_global_prng_state) * (*total + 1));

		*total += 1;
		if (place < wanted)
		{
			MemoryContextSwitchTo(before);
			if (n < wanted)
				n++;
			else
				heap_freetuple(rows[place]);
			rows[place] = ExecCopySlotHeapTuple(slot);
			MemoryContextSwitchTo(row_context);
		}
		MemoryContextReset(row_context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(before);
	ExecDropSingleTupleTableSlot(slot);
	return n;
}

static bool
analyze_table(Relation rel, AcquireSampleRowsFunc *acquire, BlockNumber *pages)
{
	double	  bytes = 0;
	ListCell *cell;

	evn_parquet_table_may_read();
	foreach(cell, evn_parquet_table_files(evn_parquet_table_get(RelationGetRelid(rel))))
		bytes += ((EvnParquetListed *) lfirst(cell))->bytes;
	*acquire = acquire_sample;
	*pages = (BlockNumber) Min(1 + bytes / BLCKSZ, MaxBlockNumber);
	return true;
}

/* ---- the table of callbacks */

FdwRoutine *
evn_parquet_fdw_routine(const EvnParquetHost *host)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	evn_parquet_table_set_host(host);
	routine->GetForeignRelSize = get_rel_size;
	routine->GetForeignPaths = get_paths;
	routine->GetForeignPlan = get_plan;
	routine->BeginForeignScan = begin_scan;
	routine->IterateForeignScan = iterate_scan;
	routine->ReScanForeignScan = rescan;
	routine->EndForeignScan = end_scan;
	routine->ExplainForeignScan = explain_scan;
	routine->AnalyzeForeignTable = analyze_table;
	routine->ImportForeignSchema = evn_parquet_import;
	routine->IsForeignRelUpdatable = is_updatable;
	routine->BeginForeignModify = begin_modify;
	routine->BeginForeignInsert = begin_insert;
	routine->ExecForeignInsert = insert_row;
	routine->EndForeignModify = end_write;
	routine->EndForeignInsert = end_write;
	return routine;
}
