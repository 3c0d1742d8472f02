/*
 * x_search.h
 *		What X's recent search finds after an id, message by message.
 */
#ifndef EVN_X_SEARCH_H
#define EVN_X_SEARCH_H

#include "x_rules.h"

typedef struct EvnXSearch EvnXSearch;

/* Begin a search; palloc'd, as what it finds; ended by evn_x_search_end. */
extern EvnXSearch *evn_x_search_begin(EvnHttp *http, const EvnFeedServer *server, const char *query,
									  const char *fields, int64 since_id);
extern void evn_x_search_end(EvnXSearch *search);

/* The next message found, NULL for none now; valid until evn_x_search_take. */
extern const char *evn_x_search_peek(EvnXSearch *search);
extern void evn_x_search_take(EvnXSearch *search);

/* Go on, when there is no message; done when there will be none. */
extern EvnXProgress evn_x_search_serve(EvnXSearch *search, EvnApiRefusal *refusal);

/* Whether an answer is awaited; else it can go on at any time. */
extern bool evn_x_search_waits(const EvnXSearch *search);

/* Whether the refusal is for good: it cannot search so far back, or for that. */
extern bool evn_x_search_is_hopeless(const EvnXSearch *search);

/* How far the network's clock is ahead of ours, also by a refusal; false: nothing has been answered. */
extern bool evn_x_search_ahead_us(const EvnXSearch *search, int64 *ahead_us);

#endif /* EVN_X_SEARCH_H */
