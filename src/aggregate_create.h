/*
 * aggregate_create.h
 *		The objects of a continuous aggregate: defining view, storage, and the
 *		view that users read.
 *
 * Everything runs as the current user, who owns the stream, needs a transaction
 * and raises on error.  For an aggregate over rows that are stored already the
 * stream is locked, as continuous_aggregate.h says.
 */
#ifndef EVN_AGGREGATE_CREATE_H
#define EVN_AGGREGATE_CREATE_H

#include "stream.h"

typedef struct EvnAggregateSpec
{
	Oid			schema;
	const char *name;
	const char *sql;	  /* the query, with qualified names */
	bool		complete; /* there are no rows to build it from */
	bool		notify;
	const char *rollup; /* its width, when it is one of the stream's roll-ups (rollup.h), or NULL */
	Oid			replaces; /* the aggregate whose place it takes when it is built, or InvalidOid */
} EvnAggregateSpec;

/* Create the aggregate; returns the view to read.  Raises when the query cannot be kept. */
extern Oid evn_aggregate_create(const EvnAggregateSpec *spec);

/* Drop it, and with cascade what depends on it. */
extern void evn_aggregate_drop(Oid view, bool cascade);

/* Rename it and its parts. */
extern void evn_aggregate_rename(Oid view, const char *name);

/*
 * Drop the aggregate that this one replaces and take its name, rights, comment
 * and retention; false when somebody is using it: to be tried again.  Run by
 * the superuser; the stream is locked.
 */
extern bool evn_aggregate_take_place(const EvnStream *stream, Oid view, Oid replaced);

/* Make the objects of an aggregate depend on each other and on the stream; may be repeated. */
extern void evn_aggregate_depend(Oid stream, Oid view, Oid query, Oid storage);

/* The same for all of a stream that was restored: dependencies of ours are not part of a dump. */
extern void evn_aggregate_restore_dependencies(Oid stream);

#endif /* EVN_AGGREGATE_CREATE_H */
