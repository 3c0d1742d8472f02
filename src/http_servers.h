/*
 * http_servers.h
 *		The evilnet_http foreign data wrapper: option validator, and a server's
 *		options for one user.
 */
#ifndef EVN_HTTP_SERVERS_H
#define EVN_HTTP_SERVERS_H

#include "feed.h"

/*
 * The named server, with what userid's mapping (or PUBLIC's) adds, checked: it
 * exists, is of evilnet_http and userid has USAGE on it; and if its feed reads
 * files, userid may read them.  Raises otherwise.  Needs a transaction.
 */
extern EvnFeedServer *evn_http_servers_get(const char *name, Oid userid);

#endif /* EVN_HTTP_SERVERS_H */
