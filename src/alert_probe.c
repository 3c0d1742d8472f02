/*
 * alert_probe.c
 *		What an aggregate's storage holds for the groups that a batch changed.
 *
 * The index is searched by hand: SQL has no condition that is both served by an
 * index and true of two nulls, and no plan that stays right while a table grows
 * from nothing to millions of groups.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "alert_probe.h"
#include "compat.h"
#include "stream.h"

#define GROUPS_KBYTES (64 * 1024) /* a batch's groups stay in memory */

/* A partition of the storage, with the search that is reused for all groups. */
typedef struct Leaf
{
	Relation			rel;
	Relation			index; /* NULL when it has none, as a foreign table */
	IndexScanDesc		scan;
	ScanKey				keys;
	TupleTableSlot	   *slot;
	TupleConversionMap *map; /* to the storage's own columns, NULL when they are the same */
} Leaf;

typedef struct Probe
{
	const EvnAggregateQuery *query;
	TupleDesc				 group_desc; /* of the delta */
	Relation				 storage;
	List					*leaves;
	int						 nkeys;
	AttrNumber				*columns; /* of the delta, in the order of the index */
	TupleTableSlot			*converted;
	Tuplestorestate			*rows;
} Probe;

/* Whether it is the index over bucket, other keys and slot; a user may have made others. */
static bool
is_group_index(const Probe *probe, Relation rel, Relation index)
{
	if (!index->rd_index->indisunique || !index->rd_index->indisvalid ||
		index->rd_index->indnkeyatts != probe->nkeys + 1)
		return false;
	for (int i = 0; i < probe->nkeys; i++)
	{
		AttrNumber		  attnum = index->rd_index->indkey.values[i];
		Form_pg_attribute key = TupleDescAttr(probe->group_desc, probe->columns[i] - 1);

		if (attnum <= 0 ||
			strcmp(NameStr(TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attname),
				   NameStr(key->attname)) != 0)
			return false;
	}
	return true;
}

static Relation
open_group_index(const Probe *probe, Relation rel)
{
	List	 *indexes = RelationGetIndexList(rel);
	ListCell *cell;

	foreach(cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (is_group_index(probe, rel, index))
			return index;
		index_close(index, AccessShareLock);
	}
	return NULL;
}

/* Search keys that compare for equality, without values yet. */
static ScanKey
make_keys(const Probe *probe, Relation index)
{
	ScanKey keys = palloc0(sizeof(ScanKeyData) * probe->nkeys);

	for (int i = 0; i < probe->nkeys; i++)
	{
		Oid operator= get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i],
										  index->rd_opcintype[i], BTEqualStrategyNumber);

		ScanKeyEntryInitialize(&keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   index->rd_indcollation[i], get_opcode(operator), (Datum) 0);
	}
	return keys;
}

static Leaf *
open_leaf(Probe *probe, Oid relid)
{
	Leaf	 *leaf = palloc0(sizeof(Leaf));
	ListCell *cell;

	foreach(cell, probe->leaves)
		if (RelationGetRelid(((Leaf *) lfirst(cell))->rel) == relid)
			return lfirst(cell);
	leaf->rel = table_open(relid, AccessShareLock);
	leaf->index = open_group_index(probe, leaf->rel);
	if (leaf->index != NULL)
	{
		leaf->scan = evn_index_beginscan(leaf->rel, leaf->index, GetActiveSnapshot(), probe->nkeys);
		leaf->keys = make_keys(probe, leaf->index);
		leaf->slot = table_slot_create(leaf->rel, NULL);
		leaf->map =
			convert_tuples_by_name(RelationGetDescr(leaf->rel), RelationGetDescr(probe->storage));
	}
	probe->leaves = lappend(probe->leaves, leaf);
	return leaf;
}

static void
close_leaf(Leaf *leaf)
{
	if (leaf->index != NULL)
	{
		index_endscan(leaf->scan);
		ExecDropSingleTupleTableSlot(leaf->slot);
		index_close(leaf->index, NoLock);
	}
	table_close(leaf->rel, NoLock);
}

/* Put the values of a group into search keys; nulls are searched as such. */
static void
fill_keys(const Probe *probe, const Leaf *leaf, ScanKey keys, TupleTableSlot *group)
{
	memcpy(keys, leaf->keys, sizeof(ScanKeyData) * probe->nkeys);
	for (int i = 0; i < probe->nkeys; i++)
	{
		bool  isnull;
		Datum value = slot_getattr(group, probe->columns[i], &isnull);

		if (isnull)
			ScanKeyEntryInitialize(&keys[i], SK_ISNULL | SK_SEARCHNULL, i + 1, InvalidStrategy,
								   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
		else
			keys[i].sk_argument = value;
	}
}

static void
probe_group(Probe *probe, TupleTableSlot *group, ScanKey keys)
{
	bool  isnull;
	Datum bucket = slot_getattr(group, probe->columns[0], &isnull);
	Oid	  relid = evn_stream_find_partition(probe->storage, DatumGetTimestampTz(bucket));
	Leaf *leaf;

	/* what is before the aggregate's first bucket was not stored */
	if (!OidIsValid(relid))
		return;
	leaf = open_leaf(probe, relid);
	if (leaf->index == NULL)
		return;
	fill_keys(probe, leaf, keys, group);
	index_rescan(leaf->scan, keys, probe->nkeys, NULL, 0);
	while (index_getnext_slot(leaf->scan, ForwardScanDirection, leaf->slot))
		tuplestore_puttupleslot(
			probe->rows, leaf->map == NULL ? leaf->slot
										   : execute_attr_map_slot(leaf->map->attrMap, leaf->slot,
																   probe->converted));
}

/* The delta's columns in the order of the index: the bucket, then the other keys. */
static void
order_columns(Probe *probe)
{
	const EvnAggregateQuery *query = probe->query;

	probe->columns = palloc(sizeof(AttrNumber) * query->ncolumns);
	probe->columns[probe->nkeys++] = query->bucket + 1;
	for (int i = 0; i < query->ncolumns; i++)
		if (query->columns[i].is_key && i != query->bucket)
			probe->columns[probe->nkeys++] = i + 1;
}

Tuplestorestate *
evn_alert_probe_groups(const EvnAggregate *aggregate, TupleDesc *desc)
{
	TupleTableSlot *group =
		MakeSingleTupleTableSlot(aggregate->plan.delta_desc, &TTSOpsMinimalTuple);
	Probe	  probe = {0};
	ScanKey	  keys;
	ListCell *cell;

	probe.query = aggregate->plan.query;
	probe.group_desc = aggregate->plan.delta_desc;
	probe.storage = table_open(aggregate->storage, AccessShareLock);
	probe.rows = tuplestore_begin_heap(true, false, GROUPS_KBYTES);
	order_columns(&probe);
	keys = palloc(sizeof(ScanKeyData) * probe.nkeys);
	*desc = CreateTupleDescCopy(RelationGetDescr(probe.storage));
	probe.converted = MakeSingleTupleTableSlot(*desc, &TTSOpsVirtual);
	PushActiveSnapshot(GetTransactionSnapshot());
	tuplestore_rescan(aggregate->delta);
	while (tuplestore_gettupleslot(aggregate->delta, true, false, group))
		probe_group(&probe, group, keys);
	foreach(cell, probe.leaves)
		close_leaf(lfirst(cell));
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(probe.converted);
	ExecDropSingleTupleTableSlot(group);
	table_close(probe.storage, NoLock);
	return probe.rows;
}
