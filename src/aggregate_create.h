/*
 * aggregate_create.h
 *		The objects of a continuous aggregate: defining view, storage, and the
 *		view that users read.
 */
#ifndef EVN_AGGREGATE_CREATE_H
#define EVN_AGGREGATE_CREATE_H

#include "stream.h"

/*
 * Create the aggregate named name, in the schema of the stream's table, over
 * sql; returns the view to read.  Runs as the current user, who owns the
 * stream; needs a transaction; raises when the query cannot be kept.
 */
extern Oid evn_aggregate_create(Oid stream, const char *name, const char *sql);

/* Make the objects of an aggregate depend on each other and on the stream; may be repeated. */
extern void evn_aggregate_depend(Oid stream, Oid view, Oid query, Oid storage);

#endif /* EVN_AGGREGATE_CREATE_H */
