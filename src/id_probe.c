/*
 * id_probe.c
 *		Which of a sorted set of ids are stored.
 *
 * Ids mostly grow with time, so the lowest and highest id of a partition's
 * index rule out nearly all partitions, and nearly all of a batch of new
 * posts, at the price of two index descents.  Ids without that habit are
 * still found: a range that meets the set is probed id by id.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "partitioning/partdesc.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "id_probe.h"

static bool
is_id_index(Relation index, AttrNumber attnum)
{
	Form_pg_index form = index->rd_index;

	return form->indisunique && form->indisvalid && form->indnkeyatts == 1 &&
		   form->indkey.values[0] == attnum && RelationGetIndexExpressions(index) == NIL &&
		   RelationGetIndexPredicate(index) == NIL;
}

static Relation
open_id_index(Relation rel, const char *column)
{
	AttrNumber attnum = get_attnum(RelationGetRelid(rel), column);
	List	  *indexes = RelationGetIndexList(rel);
	ListCell  *cell;

	foreach(cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (is_id_index(index, attnum))
		{
			list_free(indexes);
			return index;
		}
		index_close(index, NoLock);
	}
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("table \"%s\" has no unique index on \"%s\"", RelationGetRelationName(rel), column),
		 errhint("Create it: CREATE UNIQUE INDEX ON %s (%s).",
				 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
											RelationGetRelationName(rel)),
				 column)));
}

/* The first id in the given direction, dead entries included; false when the index is empty. */
static bool
edge_id(Relation rel, Relation index, Snapshot snapshot, ScanDirection direction, int64 *id)
{
	IndexScanDesc scan = evn_index_beginscan(rel, index, snapshot, 0);
	bool		  found;
	bool		  isnull;

	scan->xs_want_itup = true;
	index_rescan(scan, NULL, 0, NULL, 0);
	found = index_getnext_tid(scan, direction) != NULL;
	if (found)
		*id = DatumGetInt64(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &isnull));
	index_endscan(scan);
	return found;
}

/* Index of the first id that is not below bound. */
static int
lower_bound(const int64 *ids, int nids, int64 bound)
{
	int low = 0;

	while (nids > 0)
	{
		int half = nids / 2;

		if (ids[low + half] < bound)
		{
			low += half + 1;
			nids -= half + 1;
		}
		else
			nids = half;
	}
	return low;
}

static void
probe_range(Relation rel, Relation index, Snapshot snapshot, const int64 *ids, int from, int to,
			bool *found)
{
	IndexScanDesc	scan = evn_index_beginscan(rel, index, snapshot, 1);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ScanKeyData		key;

	for (int i = from; i < to; i++)
	{
		if (found[i])
			continue;
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(ids[i]));
		index_rescan(scan, &key, 1, NULL, 0);
		found[i] = index_getnext_slot(scan, ForwardScanDirection, slot);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

void
evn_id_probe_table(Relation rel, Snapshot snapshot, const char *column, const int64 *ids, int nids,
				   bool *found)
{
	Relation index;
	int64	 lowest;
	int64	 highest;

	if (nids == 0)
		return;
	index = open_id_index(rel, column);
	if (edge_id(rel, index, snapshot, ForwardScanDirection, &lowest) &&
		edge_id(rel, index, snapshot, BackwardScanDirection, &highest))
	{
		int from = lower_bound(ids, nids, lowest);
		int to = highest == PG_INT64_MAX ? nids : lower_bound(ids, nids, highest + 1);

		if (from < to)
			probe_range(rel, index, snapshot, ids, from, to, found);
	}
	index_close(index, NoLock);
}

void
evn_id_probe_partitions(Relation parent, Snapshot snapshot, const char *column, const int64 *ids,
						int nids, bool *found)
{
	PartitionDesc desc = RelationGetPartitionDesc(parent, true);

	for (int i = 0; i < desc->nparts; i++)
	{
		Relation leaf = table_open(desc->oids[i], AccessShareLock);

		evn_id_probe_table(leaf, snapshot, column, ids, nids, found);
		table_close(leaf, NoLock);
	}
}
