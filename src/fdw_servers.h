/*
 * fdw_servers.h
 *		The evilnet_kafka foreign data wrapper: option validator, and a
 *		server's options for one user.
 */
#ifndef EVN_FDW_SERVERS_H
#define EVN_FDW_SERVERS_H

#include "foreign/foreign.h"

#include "kafka_config.h"

/*
 * The named server, checked: it exists, is of evilnet_kafka and userid has
 * USAGE on it; raises otherwise.  Needs a transaction; palloc'd.
 */
extern ForeignServer *evn_fdw_servers_get(const char *name, Oid userid);

/*
 * Options of the server and of userid's mapping (or PUBLIC's), palloc'd in the
 * current context.  "bootstrap.servers" 'embedded' is replaced by the embedded
 * broker's address; raises (object_not_in_prerequisite_state, with a hint)
 * when that is not running.  Needs a transaction.
 */
extern EvnKafkaOption *evn_fdw_servers_options(ForeignServer *server, Oid userid, int *noptions);

/* Options (DefElem) of userid's mapping, else of PUBLIC's, else none. */
extern List *evn_fdw_servers_mapping(Oid serverid, Oid userid);

#endif /* EVN_FDW_SERVERS_H */
