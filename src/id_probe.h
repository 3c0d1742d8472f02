/*
 * id_probe.h
 *		Which of a sorted set of ids are stored: index probes, a partition at a
 *		time, and only where its range of ids meets the set.
 */
#ifndef EVN_ID_PROBE_H
#define EVN_ID_PROBE_H

#include "utils/relcache.h"
#include "utils/snapshot.h"

/*
 * Set found[i] for every ids[i] (ascending) that a row visible to snapshot in
 * rel has in its column id.  rel is an ordinary table with a unique index on
 * that column; raises when it has none.
 */
extern void evn_id_probe_table(Relation rel, Snapshot snapshot, const char *column,
							   const int64 *ids, int nids, bool *found);

/* the same over all partitions of a range-partitioned table */
extern void evn_id_probe_partitions(Relation parent, Snapshot snapshot, const char *column,
									const int64 *ids, int nids, bool *found);

#endif /* EVN_ID_PROBE_H */
