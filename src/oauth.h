/*
 * oauth.h
 *		A token for the id and secret of an app (OAuth 2, client credentials).
 */
#ifndef EVN_OAUTH_H
#define EVN_OAUTH_H

#include "feed.h"

/*
 * Unless the mapping has a token itself, ask the network for one, and set
 * server->bearer, palloc'd in the current context.  Waits for the answer,
 * serving interrupts.  Raises when it is refused; the error does not show the
 * secret.
 */
extern void evn_oauth_get_token(EvnFeedServer *server);

#endif /* EVN_OAUTH_H */
