/*
 * x_rules.c
 *		The rules of X's filtered stream.
 *
 * They live with the network, per app.  What is there and not wanted is
 * deleted, then what is wanted and not there added.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "compat.h"
#include "x_rules.h"

#define PATH "/2/tweets/search/stream/rules"

/* The rules wanted, from $2: the source's params. */
#define WANTED \
	"(SELECT coalesce(w->>'value', w #>> '{}') AS value, coalesce(w->>'tag', '') AS tag" \
	" FROM pg_catalog.jsonb_array_elements($2::pg_catalog.jsonb->'rules') w) w"

/* The rules there are, from $1: the network's answer. */
#define PRESENT \
	"(SELECT r->>'id' AS id, r->>'value' AS value, coalesce(r->>'tag', '') AS tag" \
	" FROM pg_catalog.json_array_elements(coalesce($1->'data', '[]'::pg_catalog.json)) r) r"

typedef enum Step
{
	STEP_READ,
	STEP_DELETE,
	STEP_ADD
} Step;

struct EvnXRules
{
	EvnHttp				*http;
	const EvnFeedServer *server;
	char				*params;
	Step				 step;
	EvnApiCall			 call;
	char				*add;	  /* what is still to be sent, NULL for nothing */
	List				*dry_run; /* EvnFeedChange *, when nothing is to be changed */
	bool				 is_dry_run;
};

static char *
text_of(const Jsonb *params)
{
	return DatumGetCString(DirectFunctionCall1(jsonb_out, JsonbPGetDatum(params)));
}

static JsonbValue *
find_rules(const Jsonb *params, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &params->root), "rules",
										strlen("rules"), value);
}

bool
evn_x_rules_wanted(const Jsonb *params)
{
	JsonbValue value;

	return find_rules(params, &value) != NULL;
}

/* A text, or an object with a text "value" and perhaps a text "tag". */
static bool
is_rule(const JsonbValue *rule)
{
	JsonbValue	value;
	JsonbValue	tag;
	JsonbValue *found;

	if (rule->type == jbvString)
		return rule->val.string.len > 0;
	if (rule->type != jbvBinary || !JsonContainerIsObject(rule->val.binary.data))
		return false;
	found = getKeyJsonValueFromContainer(rule->val.binary.data, "value", strlen("value"), &value);
	if (found == NULL || found->type != jbvString || found->val.string.len == 0)
		return false;
	found = getKeyJsonValueFromContainer(rule->val.binary.data, "tag", strlen("tag"), &tag);
	return found == NULL || found->type == jbvString;
}

void
evn_x_rules_check(const Jsonb *params)
{
	JsonbValue	value;
	JsonbValue *rules = find_rules(params, &value);
	bool		ok = rules != NULL && rules->type == jbvBinary &&
			  JsonContainerIsArray(rules->val.binary.data) &&
			  JsonContainerSize(rules->val.binary.data) > 0;

	for (uint32 i = 0; ok && i < JsonContainerSize(rules->val.binary.data); i++)
		ok = is_rule(getIthJsonbValueFromContainer(rules->val.binary.data, i));
	if (rules != NULL && !ok)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"rules\" must be an array of rules"),
						errhint("A rule is a text, or an object with \"value\" and \"tag\".")));
}

EvnXRules *
evn_x_rules_begin(EvnHttp *http, const EvnFeedServer *server, const Jsonb *params, bool dry_run)
{
	EvnXRules *rules = palloc0(sizeof(EvnXRules));

	rules->http = http;
	rules->server = server;
	rules->params = text_of(params);
	rules->step = STEP_READ;
	rules->is_dry_run = dry_run;
	evn_api_call_begin(&rules->call, http, server, PATH, NULL);
	return rules;
}

void
evn_x_rules_end(EvnXRules *rules)
{
	if (rules->call.transfer != NULL)
		evn_api_call_end(&rules->call);
	pfree(rules->params);
	if (rules->add != NULL)
		pfree(rules->add);
	pfree(rules);
}

/* The network names each rule that it does not take, though its status says that all is well. */
#define REFUSED \
	"SELECT coalesce(e->>'value', ''), pg_catalog.concat_ws(': ', e->>'title'," \
	" coalesce(e #>> '{details,0}', e->>'detail', e->>'message'))" \
	" FROM pg_catalog.json_array_elements(coalesce($1->'errors', '[]'::pg_catalog.json)) e"
/* a rule that somebody else has just made is there all the same */
#define NOT_DUPLICATE " WHERE e->>'title' IS DISTINCT FROM 'DuplicateRule'"

static void
check_refused(const char *answer)
{
	List		  *errors = evn_api_call_read(REFUSED NOT_DUPLICATE, answer, NULL);
	StringInfoData text;
	ListCell	  *cell;

	if (errors == NIL)
		return;
	initStringInfo(&text);
	foreach(cell, errors)
	{
		char **error = lfirst(cell);

		appendStringInfo(&text, "%s\"%s\" (%s)", text.len == 0 ? "" : ", ", error[0], error[1]);
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the network does not take rules: %s", text.data)));
}

/* What the comparison finds, in a dry run. */
static void
note_changes(EvnXRules *rules, const char *answer)
{
	List *rows = evn_api_call_read(
		"SELECT CASE WHEN r.value IS NULL THEN 'add' WHEN w.value IS NULL THEN 'delete' ELSE 'keep' END,"
		" coalesce(w.value, r.value), nullif(coalesce(w.tag, r.tag), '')"
		" FROM " WANTED " FULL JOIN " PRESENT
		" ON w.value = r.value AND w.tag = r.tag ORDER BY 1, 2, 3",
		answer, rules->params);
	ListCell *cell;

	foreach(cell, rows)
	{
		char		 **row = lfirst(cell);
		EvnFeedChange *change = palloc0(sizeof(EvnFeedChange));

		change->action = row[0];
		change->value = row[1];
		change->tag = row[2];
		rules->dry_run = lappend(rules->dry_run, change);
	}
}

static void
note_refused(EvnXRules *rules, const char *answer)
{
	ListCell *cell;
	ListCell *other;

	foreach(cell, evn_api_call_read(REFUSED, answer, NULL))
	{
		char **error = lfirst(cell);

		foreach(other, rules->dry_run)
		{
			EvnFeedChange *change = lfirst(other);

			if (strcmp(change->action, "add") == 0 && strcmp(change->value, error[0]) == 0)
				change->problem = error[1];
		}
	}
}

static void
post(EvnXRules *rules, Step step, const char *body)
{
	rules->step = step;
	evn_api_call_begin(&rules->call, rules->http, rules->server,
					   rules->is_dry_run ? PATH "?dry_run=true" : PATH,
					   &(EvnApiRequest) {.body = body});
}

/* After the rules were read: what is to be deleted and added. */
static bool
plan(EvnXRules *rules, const char *answer)
{
	char **row = linitial(evn_api_call_read(
		"SELECT (SELECT pg_catalog.json_build_object('delete',"
		" pg_catalog.json_build_object('ids', pg_catalog.json_agg(r.id)))::pg_catalog.text FROM " PRESENT
		" WHERE NOT EXISTS (SELECT FROM " WANTED
		" WHERE w.value = r.value AND w.tag = r.tag) HAVING pg_catalog.count(*) > 0),"
		" (SELECT pg_catalog.json_build_object('add', pg_catalog.json_agg("
		" CASE w.tag WHEN '' THEN pg_catalog.json_build_object('value', w.value)"
		" ELSE pg_catalog.json_build_object('value', w.value, 'tag', w.tag) END))::pg_catalog.text FROM " WANTED
		" WHERE NOT EXISTS (SELECT FROM " PRESENT
		" WHERE w.value = r.value AND w.tag = r.tag) HAVING pg_catalog.count(*) > 0)",
		answer, rules->params));

	rules->add = row[1] == NULL ? NULL : MemoryContextStrdup(GetMemoryChunkContext(rules), row[1]);
	if (row[0] != NULL)
		post(rules, STEP_DELETE, row[0]);
	return row[0] != NULL;
}

static bool
add(EvnXRules *rules)
{
	if (rules->add == NULL)
		return false;
	post(rules, STEP_ADD, rules->add);
	pfree(rules->add);
	rules->add = NULL;
	return true;
}

EvnXProgress
evn_x_rules_serve(EvnXRules *rules, EvnApiRefusal *refusal)
{
	MemoryContext old = CurrentMemoryContext;
	char		 *answer;
	bool		  more;

	if (!evn_api_call_serve(&rules->call))
		return EVN_X_UNDER_WAY;
	if (!evn_api_call_ok(&rules->call, refusal))
		return EVN_X_REFUSED;
	answer = pstrdup(rules->call.body.data);
	evn_api_call_end(&rules->call);
	/* calls and changes live as long as we do */
	MemoryContextSwitchTo(GetMemoryChunkContext(rules));
	if (rules->is_dry_run)
		rules->step == STEP_READ ? note_changes(rules, answer) : note_refused(rules, answer);
	else if (rules->step != STEP_READ)
		check_refused(answer);
	more = (rules->step == STEP_READ && plan(rules, answer)) ||
		   (rules->step != STEP_ADD && add(rules));
	MemoryContextSwitchTo(old);
	pfree(answer);
	return more ? EVN_X_UNDER_WAY : EVN_X_DONE;
}

List *
evn_x_rules_changes(const EvnXRules *rules)
{
	return rules->dry_run;
}

char *
evn_x_rules_query(const Jsonb *params)
{
	List *rows =
		evn_api_call_read("SELECT pg_catalog.string_agg('(' || w.value || ')', ' OR ') FROM " WANTED
						  " WHERE $1 IS NOT NULL",
						  "{}", text_of(params));

	return ((char **) linitial(rows))[0];
}
