/*
 * aggregate_admin.h
 *		What the functions for streams do to continuous aggregates.
 */
#ifndef EVN_AGGREGATE_ADMIN_H
#define EVN_AGGREGATE_ADMIN_H

#include "postgres_ext.h"

/*
 * Pause or resume the aggregate of a view, with those that read it; false when
 * the relation is no aggregate.  Resuming builds them anew.  Needs a
 * transaction; raises unless the current user owns the stream.
 */
extern bool evn_aggregate_admin_set_enabled(Oid view, bool enabled);

#endif /* EVN_AGGREGATE_ADMIN_H */
