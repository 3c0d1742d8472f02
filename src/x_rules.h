/*
 * x_rules.h
 *		The rules of X's filtered stream: made those that the source wants.
 */
#ifndef EVN_X_RULES_H
#define EVN_X_RULES_H

#include "api_call.h"

typedef struct EvnXRules EvnXRules;

/* params->rules: an array of texts, or of objects with value and tag.  Raises unless it is one. */
extern void evn_x_rules_check(const Jsonb *params);

/* whether params say which rules there are to be */
extern bool evn_x_rules_wanted(const Jsonb *params);

/* Begin to compare what there is with what is wanted; palloc'd, ended by evn_x_rules_end. */
extern EvnXRules *evn_x_rules_begin(EvnHttp *http, const EvnFeedServer *server, const Jsonb *params,
									bool dry_run);
extern void evn_x_rules_end(EvnXRules *rules);

typedef enum EvnXProgress
{
	EVN_X_UNDER_WAY,
	EVN_X_DONE,
	EVN_X_REFUSED /* *refusal tells */
} EvnXProgress;

/* Go on; raises (22023) when the network does not take a rule. */
extern EvnXProgress evn_x_rules_serve(EvnXRules *rules, EvnApiRefusal *refusal);

/* After a dry run: EvnFeedChange *, palloc'd, which stay. */
extern List *evn_x_rules_changes(const EvnXRules *rules);

/* The rules as one query for search, NULL without any; palloc'd.  Runs a transaction of its own. */
extern char *evn_x_rules_query(const Jsonb *params);

#endif /* EVN_X_RULES_H */
