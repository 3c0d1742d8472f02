/*
 * stream.h
 *		One stream as its catalog row says, and its table's time partitions.
 *
 * Everything here needs a transaction and raises on error.
 */
#ifndef EVN_STREAM_H
#define EVN_STREAM_H

#include "catalog/dependency.h"
#include "datatype/timestamp.h"
#include "utils/relcache.h"

/* columns evilnet fills; a user may add others, which stay null */
typedef enum EvnStreamColumn
{
	EVN_COLUMN_ID,
	EVN_COLUMN_CREATED_AT,
	EVN_COLUMN_AUTHOR_ID,
	EVN_COLUMN_KIND,
	EVN_COLUMN_LANG,
	EVN_COLUMN_CITY_ID,
	EVN_COLUMN_CITY_SOURCE,
	EVN_COLUMN_TEXT,
	EVN_COLUMN_HASHTAGS,
	EVN_COLUMN_KAFKA_PARTITION,
	EVN_COLUMN_KAFKA_OFFSET,
	EVN_COLUMN_RAW,
	EVN_NCOLUMNS
} EvnStreamColumn;

#define EVN_MAX_WORKERS 64 /* of one stream */

typedef struct EvnStream
{
	Oid		 relid;
	Oid		 owner;
	char	*name;	 /* "schema"."table", quoted */
	char	*server; /* NULL without a topic of its own */
	char	*topic;
	char	*start_at;
	int		 workers;
	bool	 dedup;
	bool	 store;
	bool	 keep_raw;
	bool	 stop_on_error;
	double	 error_budget;
	int64	 partition_us;
	Interval retention; /* of posts; zero: for ever */
	int		 batch_messages;
	int		 batch_bytes;
	int		 batch_interval_ms;
	Oid		 deletes; /* table of deleted ids, InvalidOid without store */
} EvnStream;

/* Read the row into memory of the current context; NULL when there is no such stream. */
extern EvnStream *evn_stream_load(Oid relid);

/*
 * Raise unless the relation is a stream and the current user owns it; its
 * catalog row stays locked to the end of the transaction.
 */
extern void evn_stream_require_owned(Oid relid);

/* The same, or a member of role evilnet_operator. */
extern void evn_stream_require_operated(Oid relid);

/* Whether the current user is a member of role evilnet_operator. */
extern bool evn_stream_is_operator(void);

/* Whether the current user may see the stream's state: who owns it, or reads all streams. */
extern bool evn_stream_is_seen(Oid relid);

/* Let role evilnet_reader read a table or view of a stream; run as its owner. */
extern void evn_stream_grant_read(const char *name);

/* The same as evn_stream_require_owned() without a lock, for those who only read. */
extern void evn_stream_check_owned(Oid relid);

/* attribute numbers by column; raises when a column is missing, 0 for an absent raw */
extern void evn_stream_columns(Relation rel, AttrNumber attnums[EVN_NCOLUMNS]);

/* Raise unless Kafka can have a topic of that name. */
extern void evn_stream_check_topic(const char *topic);

/* days and time of an interval in microseconds; the end of int64 when that is out of range */
extern int64 evn_stream_interval_us(const Interval *interval);

/* an interval as the session writes it, palloc'd */
extern char *evn_stream_interval_text(Interval *interval);

/* length of a partition interval in microseconds; raises unless it is a whole part or multiple of a day */
extern int64 evn_stream_partition_us(Interval *interval);

/* start of the partition that ts belongs to */
extern int64 evn_stream_partition_start(int64 ts, int64 partition_us);

/*
 * The leaf partition of a range-partitioned table that holds ts, InvalidOid
 * when there is none.  rel is open and stays locked by the caller.
 */
extern Oid evn_stream_find_partition(Relation rel, TimestampTz ts);

/*
 * Where the first partition begins and the last one ends; false when there is
 * none.  rel is open and stays locked by the caller.
 */
extern bool evn_stream_partitions_span(Relation rel, int64 *since, int64 *until);

/*
 * The leaf partition that begins first, InvalidOid when there is none; *until
 * becomes its end.  rel is open and stays locked by the caller.
 */
extern Oid evn_stream_first_partition(Relation rel, int64 *until);

/*
 * Make the partition that holds ts, if it is not there.  unique_column, when not NULL,
 * gets a unique index of its own; brin_column a BRIN index.  Attaching takes
 * ShareUpdateExclusiveLock on the table: readers and writers go on.
 */
extern void evn_stream_make_partition(Oid relid, TimestampTz ts, int64 partition_us, int fillfactor,
									  const char *unique_column, const char *brin_column);

/* Name of the partition with that suffix (_pYYYYMMDD...), in which a name too long is cut. */
extern char *evn_stream_partition_name(Oid relid, const char *suffix);

/*
 * Where the oldest partition that the retention keeps at the time now begins;
 * the beginning of time without one.
 */
extern int64 evn_stream_kept_since(const EvnStream *stream, TimestampTz now);

/* Let the relation depend on the object of that catalog class, so that it is dropped along. */
extern void evn_stream_depend(Oid relid, Oid class, Oid on, DependencyType type);

#endif /* EVN_STREAM_H */
