/*
 * aggregate_query.c
 *		The defining query of a continuous aggregate.
 *
 * The query is kept as an ordinary view, so PostgreSQL tracks what it depends
 * on.  Here its tree is taken from the view's rule and checked; the very same
 * tree then runs over a batch, with the source's range table entry swapped for
 * an ephemeral named relation, or over the source itself.
 *
 * The source is a stream's table or another aggregate.  Of an aggregate the
 * partial results are read, from its storage: what merges them merges parts of
 * them as well, so one query serves for deltas and for the whole.
 *
 * All reasons against a query are collected, so that its author learns of them
 * at once.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/analyze.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "aggregate_query.h"
#include "compat.h"
#include "spi.h"
#include "stream.h"

#define MERGE_HINT \
	"Keep sums and counts and divide when reading; evilnet.mergeable_aggregate lists what can be merged."

static void
object(EvnAggregateQuery *result, const char *what, const char *hint)
{
	EvnAggregateReason *reason = palloc(sizeof(EvnAggregateReason));

	reason->what = what;
	reason->hint = hint;
	result->reasons = lappend(result->reasons, reason);
}

bool
evn_aggregate_source_find(Oid relid, EvnAggregateSource *source)
{
	EvnSpi spi;
	bool   found;

	memset(source, 0, sizeof(EvnAggregateSource));
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	found = evn_spi_execf(SPI_OK_SELECT,
						  "SELECT stream::pg_catalog.oid, 0::pg_catalog.oid, 0::pg_catalog.oid"
						  " FROM evilnet.stream WHERE stream = %u"
						  " UNION ALL SELECT stream::pg_catalog.oid, query::pg_catalog.oid,"
						  " storage::pg_catalog.oid"
						  " FROM evilnet.continuous_aggregate WHERE aggregate = %u",
						  relid, relid) > 0;
	if (found)
	{
		source->relid = relid;
		source->stream = DatumGetObjectId(evn_spi_value(0, 1));
		source->query = DatumGetObjectId(evn_spi_value(0, 2));
		source->storage = DatumGetObjectId(evn_spi_value(0, 3));
	}
	evn_spi_end(&spi);
	return found;
}

void
evn_aggregate_require(Oid view, EvnAggregateSource *source)
{
	char *name = get_rel_name(view);

	if (!evn_aggregate_source_find(view, source) || !OidIsValid(source->query))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a continuous aggregate",
							   name == NULL ? psprintf("%u", view) : name),
						errhint("evilnet.stat_continuous_aggregate lists them.")));
}

static void
check_shape(EvnAggregateQuery *result, const Query *query)
{
	if (query->groupClause == NIL || query->groupingSets != NIL)
		object(result, "it has no plain GROUP BY",
			   "Group by evilnet.time_bucket(...) and other expressions.");
	if (query->hasWindowFuncs)
		object(result, "it has window functions", "Apply them when reading the aggregate.");
	if (query->distinctClause != NIL)
		object(result, "it has DISTINCT", "Apply it when reading the aggregate.");
	if (query->sortClause != NIL)
		object(result, "it has ORDER BY", "Sort when reading the aggregate.");
	if (query->limitCount != NULL || query->limitOffset != NULL)
		object(result, "it has LIMIT or OFFSET", "Apply them when reading the aggregate.");
	if (query->havingQual != NULL)
		object(result, "it has HAVING",
			   "A group may pass it later only; filter when reading the aggregate.");
	if (query->cteList != NIL)
		object(result, "it has WITH", "Write the part as a subquery in FROM, or as a view.");
	if (query->rowMarks != NIL)
		object(result, "it locks rows", "Leave FOR UPDATE and FOR SHARE out.");
}

/* Functions of the range table count as well: a subquery's, a function's in FROM. */
static void
check_functions(EvnAggregateQuery *result, Query *query)
{
	if (contain_volatile_functions((Node *) query))
		object(result, "it calls volatile functions",
			   "Use immutable functions of the stream's columns.");
	else if (contain_mutable_functions((Node *) query))
		object(
			result,
			"it calls functions whose result depends on the time of the call or on settings",
			"Filter by time when reading the aggregate; give time zones by name: created_at AT TIME ZONE 'UTC'.");
}

/* Count the sources below a node, those in subqueries too. */
static bool
count_sources(Node *node, int *count)
{
	EvnAggregateSource source;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, count_sources, count, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && evn_aggregate_source_find(rte->relid, &source))
			(*count)++;
		return false;
	}
	return expression_tree_walker(node, count_sources, count);
}

/* Find the source: one stream or aggregate, read once, at the top. */
static void
find_source(EvnAggregateQuery *result, Query *query)
{
	int count = 0;

	count_sources((Node *) query, &count);
	for (Index i = 1; i <= list_length(query->rtable); i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);

		if (rte->rtekind == RTE_RELATION && result->rtindex == 0 &&
			evn_aggregate_source_find(rte->relid, &result->source))
		{
			result->rtindex = i;
			if (rte->tablesample != NULL)
				object(result, "it reads a sample of the stream",
					   "Filter by an expression of its columns.");
		}
		/* a view's query has entries of the view itself up to PostgreSQL 15, which it does not read */
		else if (rte->inFromCl && (rte->rtekind == RTE_RELATION || rte->rtekind == RTE_SUBQUERY))
			result->has_lookups = true;
	}
	if (query->hasSubLinks)
		result->has_lookups = true;
	if (count > 1)
		object(result, "it reads streams or aggregates more than once",
			   "Read one of them once, and join what was kept when reading.");
	else if (count == 0)
		object(result, "it reads no stream",
			   "Select from a stream's table or from another continuous aggregate.");
	else if (result->rtindex == 0)
		object(result, "it reads the stream in a subquery", "Read the stream in FROM itself.");
}

/* Whether the source stands where an outer join makes up rows of nulls for it. */
static bool
is_nullable_side(Node *node, Index rtindex, bool nullable)
{
	if (IsA(node, RangeTblRef))
		return nullable && ((RangeTblRef *) node)->rtindex == rtindex;
	if (IsA(node, FromExpr))
	{
		ListCell *cell;

		foreach(cell, ((FromExpr *) node)->fromlist)
			if (is_nullable_side(lfirst(cell), rtindex, nullable))
				return true;
		return false;
	}
	if (IsA(node, JoinExpr))
	{
		JoinExpr *join = (JoinExpr *) node;
		bool	  left = join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL;
		bool	  right = join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL;

		return is_nullable_side(join->larg, rtindex, nullable || left) ||
			   is_nullable_side(join->rarg, rtindex, nullable || right);
	}
	return false;
}

/* Which column of the source is its time: created_at of a table, the bucket of an aggregate. */
static AttrNumber
source_time(const EvnAggregateQuery *result, const EvnAggregateQuery *parent)
{
	return parent == NULL ? get_attnum(result->source.relid, "created_at") : parent->bucket + 1;
}

static Const *
constant_argument(List *args, int i)
{
	Node *arg = i < list_length(args) ? list_nth(args, i) : NULL;

	return arg != NULL && IsA(arg, Const) && !((Const *) arg)->constisnull ? (Const *) arg : NULL;
}

/* Whether a group key is evilnet.time_bucket(constant, source's time ...); remembers which. */
static bool
read_time_bucket(EvnAggregateQuery *result, Node *expr)
{
	FuncExpr *func = (FuncExpr *) eval_const_expressions(NULL, expr);
	Const	 *width;
	Const	 *origin;
	Const	 *zone;
	Var		 *var;
	int64	  since;

	if (!IsA(func, FuncExpr) || strcmp(get_func_name(func->funcid), "time_bucket") != 0 ||
		get_func_namespace(func->funcid) != get_namespace_oid("evilnet", false))
		return false;
	width = constant_argument(func->args, 0);
	var = lsecond(func->args);
	origin = constant_argument(func->args, 2);
	zone = constant_argument(func->args, 3);
	if (width == NULL || !IsA(var, Var) || var->varno != result->rtindex ||
		var->varattno != result->source_time)
		return false;
	for (int i = 2; i < list_length(func->args); i++)
		if (!IsA(list_nth(func->args, i), Const))
			return false;
	if (origin != NULL)
		since = DatumGetTimestampTz(origin->constvalue);
	evn_time_bucket_init(&result->time_bucket, DatumGetIntervalP(width->constvalue),
						 origin == NULL ? NULL : &since,
						 zone == NULL ? NULL : TextDatumGetCString(zone->constvalue));
	return true;
}

/* Schema and provider (pg_catalog or extension) of an aggregate function. */
static const char *
provider_of(Oid funcid)
{
	Oid extension = getExtensionOfObject(ProcedureRelationId, funcid);

	return OidIsValid(extension) ? get_extension_name(extension)
								 : get_namespace_name(get_func_namespace(funcid));
}

char *
evn_aggregate_fill2(const char *expression, const char *placeholder, const char *value,
					const char *placeholder2, const char *value2)
{
	StringInfoData result;

	initStringInfo(&result);
	/* in one pass: a value may look like a placeholder */
	while (*expression != '\0')
	{
		if (strncmp(expression, placeholder, strlen(placeholder)) == 0)
		{
			appendStringInfoString(&result, value);
			expression += strlen(placeholder);
		}
		else if (strncmp(expression, placeholder2, strlen(placeholder2)) == 0)
		{
			appendStringInfoString(&result, value2);
			expression += strlen(placeholder2);
		}
		else
			appendStringInfoChar(&result, *expression++);
	}
	return result.data;
}

char *
evn_aggregate_fill(const char *expression, const char *placeholder, const char *value)
{
	return evn_aggregate_fill2(expression, placeholder, value, placeholder, value);
}

EvnAggregateMerged
evn_aggregate_query_merged(const EvnAggregateQuery *query, const char *alias, bool with_rows)
{
	StringInfoData columns;
	StringInfoData keys;

	initStringInfo(&columns);
	initStringInfo(&keys);
	for (int i = 0; i < query->ncolumns - (with_rows ? 0 : 1); i++)
	{
		const EvnAggregateColumn *column = &query->columns[i];
		char					 *value = psprintf("%s.%s", alias, column->name);

		if (column->is_key)
			appendStringInfo(&keys, "%s%s", keys.len == 0 ? "" : ", ", value);
		else
			value = evn_aggregate_fill(column->read, "{column}", value);
		appendStringInfo(&columns, "%s%s AS %s", i == 0 ? "" : ", ", value, column->name);
	}
	return (EvnAggregateMerged) {.columns = columns.data, .keys = keys.data};
}

static char *
expression_value(int column, const char *schema, const char *type)
{
	bool  isnull;
	Datum value = evn_spi_value_or_null(0, column, &isnull);

	if (isnull)
		return NULL;
	return evn_aggregate_fill2(TextDatumGetCString(value), "{schema}", schema, "{type}", type);
}

/* How this aggregate merges, from evilnet.mergeable_aggregate; false when it does not. */
static bool
read_mergeable(EvnAggregateColumn *column, const Aggref *agg)
{
	Oid			  types[2] = {TEXTOID, TEXTOID};
	const char	 *schema = quote_identifier(get_namespace_name(get_func_namespace(agg->aggfnoid)));
	Datum		  values[2];
	MemoryContext caller = CurrentMemoryContext;
	bool		  found;
	EvnSpi		  spi;

	evn_spi_begin(&spi, InvalidOid);
	values[0] = CStringGetTextDatum(provider_of(agg->aggfnoid));
	values[1] = CStringGetTextDatum(get_func_name(agg->aggfnoid));
	found = evn_spi_exec_args(
				"SELECT combine, negate, read, merge, compare FROM evilnet.mergeable_aggregate"
				" WHERE provider::pg_catalog.text = $1 AND aggregate::pg_catalog.text = $2",
				2, types, values, NULL, SPI_OK_SELECT) > 0;
	if (found)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		column->combine = expression_value(1, schema, column->type);
		column->negate = expression_value(2, schema, column->type);
		column->read = expression_value(3, schema, column->type);
		column->merge = pstrdup(NameStr(*DatumGetName(evn_spi_value(0, 4))));
		column->compare = expression_value(5, schema, column->type);
		if (strcmp(column->merge, "sum") == 0 && column->type_id == INT8OID)
			column->read = "evilnet.total({column})";
		/* sums of floating point numbers depend on the order of their parts */
		if (column->type_id == FLOAT4OID || column->type_id == FLOAT8OID)
			column->compare = "pg_catalog.to_char({column}, '9.99999999EEEE')";
		MemoryContextSwitchTo(old);
	}
	evn_spi_end(&spi);
	return found;
}

static bool
is_never_null_var(const EvnAggregateQuery *result, const EvnAggregateQuery *parent, const Var *var)
{
	HeapTuple tuple;
	bool	  notnull;

	/* a lookup's row may be missing, or change */
	if (var->varno != result->rtindex || var->varattno <= 0)
		return false;
	if (parent != NULL)
		return parent->columns[var->varattno - 1].never_null;
	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(result->source.relid),
							Int16GetDatum(var->varattno));
	notnull = HeapTupleIsValid(tuple) && ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return notnull;
}

/*
 * Whether an expression is certain to be of some value.  It is for these few
 * forms; others are taken to be null now and then.
 */
static bool
is_never_null(const EvnAggregateQuery *result, const EvnAggregateQuery *parent, Node *expr)
{
	expr = strip_implicit_coercions(expr);
	if (IsA(expr, Const))
		return !((Const *) expr)->constisnull;
	if (IsA(expr, Var))
		return is_never_null_var(result, parent, (Var *) expr);
	if (IsA(expr, CaseExpr))
	{
		CaseExpr *branches = (CaseExpr *) expr;
		ListCell *cell;

		foreach(cell, branches->args)
			if (!is_never_null(result, parent, (Node *) lfirst_node(CaseWhen, cell)->result))
				return false;
		return branches->defresult != NULL &&
			   is_never_null(result, parent, (Node *) branches->defresult);
	}
	if (IsA(expr, CoalesceExpr))
		return is_never_null(result, parent, llast(((CoalesceExpr *) expr)->args));
	return false;
}

/*
 * A sum can be taken away only where it is exact and where a group cannot run
 * out of values while it has rows: such a sum is null, and not zero.
 */
static void
check_negation(const EvnAggregateQuery *result, const EvnAggregateQuery *parent,
			   EvnAggregateColumn *column, const Aggref *agg)
{
	const char	*name = get_func_name(agg->aggfnoid);
	TargetEntry *arg = agg->args == NIL ? NULL : linitial_node(TargetEntry, agg->args);

	if (strcmp(name, "count") == 0)
		column->never_null = true;
	else if (agg->aggfilter == NULL && arg != NULL)
		column->never_null = is_never_null(result, parent, (Node *) arg->expr);
	if (column->type_id == FLOAT4OID || column->type_id == FLOAT8OID || !column->never_null)
		column->negate = NULL;
}

typedef struct ColumnSearch
{
	Index	   rtindex;
	Index	   depth; /* of subqueries */
	Bitmapset *columns;
} ColumnSearch;

/* pull_varattnos that goes into subqueries too */
static bool
collect_columns(Node *node, ColumnSearch *search)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *var = (Var *) node;

		if (var->varno == search->rtindex && var->varlevelsup == search->depth)
			search->columns =
				bms_add_member(search->columns, var->varattno - FirstLowInvalidHeapAttributeNumber);
		return false;
	}
	if (IsA(node, Query))
	{
		search->depth++;
		query_tree_walker((Query *) node, collect_columns, search, QTW_IGNORE_JOINALIASES);
		search->depth--;
		return false;
	}
	return expression_tree_walker(node, collect_columns, search);
}

/* Whether one of the columns is not a group key of the other aggregate that is read. */
static bool
has_results(const EvnAggregateQuery *parent, const Bitmapset *columns)
{
	int column = -1;

	while ((column = bms_next_member(columns, column)) >= 0)
	{
		int i = column + FirstLowInvalidHeapAttributeNumber - 1;

		if (i < 0 || i >= parent->ncolumns || !parent->columns[i].is_key)
			return true;
	}
	return false;
}

/* Whether the node reads a column of another aggregate that is not a group key of it. */
static bool
reads_results(const EvnAggregateQuery *result, const EvnAggregateQuery *parent, Node *node)
{
	ColumnSearch search = {result->rtindex, 0, NULL};

	if (parent == NULL)
		return false;
	collect_columns(node, &search);
	return has_results(parent, search.columns);
}

/* The same of what decides which rows there are: joins, WHERE, and lateral items of FROM. */
static bool
rows_read_results(const EvnAggregateQuery *result, const EvnAggregateQuery *parent)
{
	ColumnSearch search = {result->rtindex, 0, NULL};

	if (parent == NULL)
		return false;
	collect_columns((Node *) result->query->jointree, &search);
	range_table_walker(result->query->rtable, collect_columns, &search, QTW_IGNORE_JOINALIASES);
	return has_results(parent, search.columns);
}

/* A row has no system columns before it is stored. */
static void
check_system_columns(EvnAggregateQuery *result)
{
	ColumnSearch search = {result->rtindex, 0, NULL};
	int			 first;

	query_tree_walker(result->query, collect_columns, &search, QTW_IGNORE_JOINALIASES);
	first = bms_next_member(search.columns, -1);
	if (first >= 0 && first + FirstLowInvalidHeapAttributeNumber < 0)
		object(result, "it reads a system column", "Use the stream's own columns.");
}

/* Whether an aggregate function merges the column: the one it names, or for sums of bigint the total. */
static bool
merges(const Aggref *agg, const EvnAggregateColumn *column)
{
	const char *name = get_func_name(agg->aggfnoid);

	return strcmp(name, column->merge) == 0 ||
		   (strcmp(name, "total") == 0 && strcmp(column->merge, "sum") == 0 &&
			column->type_id == INT8OID);
}

/* Over another aggregate only what merges its column can be kept, as part of a group comes at a time. */
static void
check_merge_of(EvnAggregateQuery *result, const EvnAggregateQuery *parent, const Aggref *agg,
			   const char *column)
{
	TargetEntry *arg = agg->args == NIL ? NULL : linitial_node(TargetEntry, agg->args);
	Var			*var = arg == NULL ? NULL : (Var *) strip_implicit_coercions((Node *) arg->expr);

	if (var == NULL || !IsA(var, Var) || var->varno != result->rtindex || var->varattno <= 0 ||
		parent->columns[var->varattno - 1].is_key)
		object(result,
			   psprintf("column %s does not merge a result of the aggregate it reads", column),
			   "Over another aggregate use sum of counts and sums, min of min, and so on.");
	else if (!merges(agg, &parent->columns[var->varattno - 1]))
		object(result,
			   psprintf("column %s applies %s to a result that is merged by %s", column,
						get_func_name(agg->aggfnoid), parent->columns[var->varattno - 1].merge),
			   psprintf("Use %s.", parent->columns[var->varattno - 1].merge));
	if (reads_results(result, parent, (Node *) agg->aggfilter))
		object(result, psprintf("column %s is filtered by a result that still changes", column),
			   "Filter by group keys, or when reading.");
}

/*
 * The aggregate function of a column.  A sum of bigint is numeric; cast back to
 * bigint it is as exact, so that one may be written.
 */
static Aggref *
plain_aggregate(Node *expr)
{
	if (IsA(expr, FuncExpr) && ((FuncExpr *) expr)->funcformat != COERCE_EXPLICIT_CALL &&
		exprType(expr) == INT8OID)
	{
		Node *arg = linitial(((FuncExpr *) expr)->args);

		if (IsA(arg, Aggref) && exprType(arg) == NUMERICOID &&
			list_length(((Aggref *) arg)->args) == 1 &&
			exprType((Node *) linitial_node(TargetEntry, ((Aggref *) arg)->args)->expr) == INT8OID)
			return (Aggref *) arg;
	}
	return IsA(expr, Aggref) ? (Aggref *) expr : NULL;
}

static void
read_aggregate(EvnAggregateQuery *result, const EvnAggregateQuery *parent,
			   EvnAggregateColumn *column, Node *expr)
{
	Aggref *agg = plain_aggregate(expr);

	if (agg == NULL)
	{
		object(result,
			   psprintf("column %s is neither a group key nor a plain aggregate", column->name),
			   "Keep the aggregates themselves and compute with them when reading.");
		return;
	}
	if (agg->aggdistinct != NIL || agg->aggorder != NIL || agg->aggdirectargs != NIL)
		object(result,
			   psprintf("column %s has DISTINCT or ORDER BY in %s", column->name,
						get_func_name(agg->aggfnoid)),
			   "For distinct counts keep an hll and read its cardinality.");
	if (!read_mergeable(column, agg))
	{
		object(result,
			   psprintf("partial results of %s cannot be merged (column %s)",
						get_func_name(agg->aggfnoid), column->name),
			   MERGE_HINT);
		return;
	}
	if (column->negate == NULL && strcmp(provider_of(agg->aggfnoid), "pg_catalog") != 0)
		result->has_sketches = true;
	check_negation(result, parent, column, agg);
	if (parent != NULL)
		check_merge_of(result, parent, agg, column->name);
}

/* One expression under two names: written down and read again, one of them is no group key any more. */
static void
check_repeated(EvnAggregateQuery *result, int i, Node *expr)
{
	for (int k = 0; k < i; k++)
	{
		TargetEntry *other = list_nth_node(TargetEntry, result->query->targetList, k);

		if (result->columns[k].is_key &&
			equal(evn_group_expression(result->query, (Node *) other->expr), expr))
			object(result,
				   psprintf("group key %s is %s again", result->columns[i].name,
							result->columns[k].name),
				   "Select it once; the same value may be shown twice when reading.");
	}
}

static void
check_key(EvnAggregateQuery *result, const EvnAggregateQuery *parent, EvnAggregateColumn *column,
		  Node *expr)
{
	TypeCacheEntry *type = lookup_type_cache(column->type_id, TYPECACHE_BTREE_OPFAMILY);

	if (!OidIsValid(type->btree_opf))
		object(
			result,
			psprintf("group key %s is of type %s, which has no order", column->name, column->type),
			"Cast it to a type that can be sorted, such as text or jsonb.");
	if (reads_results(result, parent, expr))
		object(result, psprintf("group key %s is a result that still changes", column->name),
			   "Group by keys of the aggregate it reads.");
}

static void
check_name(EvnAggregateQuery *result, int i, const char *name)
{
	bool taken = strcmp(name, EVN_ROWS_COLUMN) == 0 || strcmp(name, EVN_SLOT_COLUMN) == 0 ||
				 SystemAttributeByName(name) != NULL;

	for (int k = 0; k < i; k++)
		taken = taken || strcmp(result->columns[k].name, result->columns[i].name) == 0;
	if (taken)
		object(result, psprintf("column name %s is taken", result->columns[i].name),
			   "Choose another name with AS.");
}

static void
read_column(EvnAggregateQuery *result, const EvnAggregateQuery *parent, int i, TargetEntry *entry)
{
	EvnAggregateColumn *column = &result->columns[i];
	Node			   *expr = evn_group_expression(result->query, (Node *) entry->expr);

	column->name = pstrdup(quote_identifier(entry->resname));
	column->type_id = exprType(expr);
	column->collation = exprCollation(expr);
	column->type = format_type_extended(column->type_id, exprTypmod(expr),
										FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
	column->is_key =
		entry->ressortgroupref != 0 &&
		get_sortgroupref_clause_noerr(entry->ressortgroupref, result->query->groupClause) != NULL;
	if (i < result->ncolumns - 1)
		check_name(result, i, entry->resname);
	if (get_typtype(column->type_id) == TYPTYPE_PSEUDO)
		object(result, psprintf("column %s is of pseudo-type %s", column->name, column->type),
			   "Select its parts.");
	if (column->is_key)
		check_repeated(result, i, expr);
	if (!column->is_key)
		read_aggregate(result, parent, column, expr);
	else if (result->bucket < 0 && read_time_bucket(result, expr))
	{
		result->bucket = i;
		if (parent != NULL && !evn_time_bucket_composes(&result->time_bucket, &parent->time_bucket))
			object(result, "its buckets are not made of whole buckets of the aggregate it reads",
				   "Choose a multiple of that width, or read an aggregate of finer buckets.");
	}
	else
		check_key(result, parent, column, expr);
	if (!column->is_key && column->negate == NULL)
		result->can_negate = false;
}

/* The number of rows of the group, as the last column: counted, or the total of those of the source's. */
static TargetEntry *
row_count_entry(const EvnAggregateQuery *result, const EvnAggregateQuery *parent, AttrNumber resno)
{
	const char *sql = parent == NULL ? "SELECT pg_catalog.count(*)"
									 : "SELECT evilnet.total(NULL::pg_catalog.int8)";
	RawStmt	   *raw = linitial_node(RawStmt, pg_parse_query(sql));
	Query	   *query = parse_analyze_fixedparams(raw, "", NULL, 0, NULL);
	Aggref	   *agg = (Aggref *) linitial_node(TargetEntry, query->targetList)->expr;

	if (parent != NULL)
		linitial_node(TargetEntry, agg->args)->expr =
			(Expr *) makeVar(result->rtindex, parent->ncolumns, INT8OID, -1, InvalidOid, 0);
	return makeTargetEntry((Expr *) agg, resno, pstrdup(EVN_ROWS_COLUMN), false);
}

static void
read_columns(EvnAggregateQuery *result, const EvnAggregateQuery *parent)
{
	Query	 *query = result->query;
	ListCell *cell;
	int		  i = 0;

	query->targetList = lappend(
		query->targetList, row_count_entry(result, parent, list_length(query->targetList) + 1));
	query->hasAggs = true;
	result->columns = palloc0(sizeof(EvnAggregateColumn) * list_length(query->targetList));
	result->ncolumns = list_length(query->targetList);
	foreach(cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk)
		{
			object(result, "a GROUP BY or ORDER BY expression is not selected",
				   "Select every expression you group by.");
			result->columns[i++].name = "?column?";
		}
		else
			read_column(result, parent, i++, entry);
	}
	if (result->bucket < 0)
		object(result, "it does not group by a time bucket",
			   parent == NULL
				   ? "Group by evilnet.time_bucket('5 minutes', created_at)."
				   : psprintf("Group by evilnet.time_bucket('1 hour', %s), the bucket it reads.",
							  parent->columns[parent->bucket].name));
}

/* The storage of partial results in place of the other aggregate's view. */
static void
read_from_storage(EvnAggregateQuery *result, AttrNumber rows_column)
{
	RangeTblEntry *rte = rt_fetch(result->rtindex, result->query->rtable);

	evn_rte_read_instead(result->query, rte, result->source.storage, rows_column);
	rte->relkind = get_rel_relkind(rte->relid);
	rte->inh = true;
	rte->eref->colnames = lappend(rte->eref->colnames, makeString(pstrdup(EVN_ROWS_COLUMN)));
	rte->eref->colnames = lappend(rte->eref->colnames, makeString(pstrdup(EVN_SLOT_COLUMN)));
}

/*
 * Rows of one group may cancel each other out in several slots: one has what
 * another took away.  For sums that makes no difference, but there would be a
 * group where there is none, and a zero that is to be null.
 */
static char *
merged_source(const EvnAggregateQuery *result, const EvnAggregateQuery *parent)
{
	EvnAggregateMerged merged = evn_aggregate_query_merged(parent, "s", true);

	return psprintf("SELECT %s, 0 AS %s FROM %s s GROUP BY %s HAVING evilnet.total(s.%s) <> 0",
					merged.columns, EVN_SLOT_COLUMN, evn_spi_qualified_name(result->source.storage),
					merged.keys, EVN_ROWS_COLUMN);
}

static void
read_source(EvnAggregateQuery *result)
{
	EvnAggregateQuery *parent = NULL;

	if (OidIsValid(result->source.query))
		parent = evn_aggregate_query_read(result->source.query);
	result->source_time = source_time(result, parent);
	if (is_nullable_side((Node *) result->query->jointree, result->rtindex, false))
		object(
			result, "an outer join makes up rows where the stream has none",
			"Let the stream stand on the side that is kept whole: FROM stream LEFT JOIN lookup.");
	check_system_columns(result);
	if (rows_read_results(result, parent))
		object(result, "it filters or joins by a result that still changes",
			   "Use group keys of the aggregate it reads, or filter when reading.");
	read_columns(result, parent);
	if (parent != NULL)
		read_from_storage(result, parent->ncolumns);
	if (parent != NULL && parent->can_negate && !result->can_negate)
		result->merged_source = merged_source(result, parent);
}

EvnAggregateQuery *
evn_aggregate_query_check(Query *query)
{
	EvnAggregateQuery *result = palloc0(sizeof(EvnAggregateQuery));

	result->query = query;
	result->bucket = -1;
	result->can_negate = true;
	if (query->commandType != CMD_SELECT || query->utilityStmt != NULL ||
		query->setOperations != NULL)
	{
		object(result, "it is not one SELECT",
			   "Make an aggregate of each part and combine them in a view.");
		return result;
	}
	query->targetList = (List *) evn_flatten_joins(query, (Node *) query->targetList);
	query->jointree = (FromExpr *) evn_flatten_joins(query, (Node *) query->jointree);
	check_shape(result, query);
	check_functions(result, query);
	if (isQueryUsingTempRelation(query))
		object(result, "it reads a temporary table", "Workers cannot see it; use an ordinary one.");
	find_source(result, query);
	if (result->rtindex != 0)
		read_source(result);
	/* what a lookup said when the row came may not be what it says when the row goes */
	if (result->has_lookups)
		result->can_negate = false;
	return result;
}

EvnAggregateQuery *
evn_aggregate_query_parse(const char *sql, Query **tree)
{
	List *statements = pg_parse_query(sql);

	if (list_length(statements) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("the query of a continuous aggregate must be one statement")));
	*tree = parse_analyze_fixedparams(linitial_node(RawStmt, statements), sql, NULL, 0, NULL);
	return evn_aggregate_query_check(copyObject(*tree));
}

void
evn_aggregate_query_require(const EvnAggregateQuery *query)
{
	EvnAggregateReason *first;
	StringInfoData		others;
	ListCell		   *cell;

	if (query->reasons == NIL)
		return;
	first = linitial(query->reasons);
	initStringInfo(&others);
	for_each_from(cell, query->reasons, 1)
	{
		EvnAggregateReason *reason = lfirst(cell);

		appendStringInfo(&others, "%s%s: %s", others.len == 0 ? "" : "\n", reason->what,
						 reason->hint);
	}
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("query cannot be kept as a continuous aggregate: %s", first->what),
					others.len == 0 ? 0 : errdetail("There is more.\n%s", others.data),
					errhint("%s", first->hint)));
}

EvnAggregateQuery *
evn_aggregate_query_read(Oid view)
{
	Relation		   rel = table_open(view, AccessShareLock);
	EvnAggregateQuery *result = evn_aggregate_query_check(copyObject(get_view_query(rel)));

	table_close(rel, NoLock);
	evn_aggregate_query_require(result);
	return result;
}

Query *
evn_aggregate_query_over_batch(const EvnAggregateQuery *query, TupleDesc tupdesc)
{
	Query		  *copy = copyObject(query->query);
	RangeTblEntry *rte = rt_fetch(query->rtindex, copy->rtable);

	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->relid = InvalidOid;
	rte->relkind = 0;
	rte->rellockmode = 0;
	rte->inh = false;
	evn_rte_forget_permissions(rte);
	rte->enrname = pstrdup(EVN_BATCH_RELATION);
	rte->enrtuples = 10000;
	rte->coltypes = rte->coltypmods = rte->colcollations = NIL;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);

		rte->coltypes = lappend_oid(rte->coltypes, att->attisdropped ? InvalidOid : att->atttypid);
		rte->coltypmods = lappend_int(rte->coltypmods, att->attisdropped ? 0 : att->atttypmod);
		rte->colcollations =
			lappend_oid(rte->colcollations, att->attisdropped ? InvalidOid : att->attcollation);
	}
	return copy;
}

static Node *
time_comparison(const char *operator, Index varno, AttrNumber attno, int64 ts)
{
	Oid opno = OpernameGetOprid(list_make2(makeString("pg_catalog"), makeString(pstrdup(operator))),
								TIMESTAMPTZOID, TIMESTAMPTZOID);
	Expr *clause = make_opclause(
		opno, BOOLOID, false, (Expr *) makeVar(varno, attno, TIMESTAMPTZOID, -1, InvalidOid, 0),
		(Expr *) makeConst(TIMESTAMPTZOID, -1, InvalidOid, sizeof(int64), TimestampTzGetDatum(ts),
						   false, FLOAT8PASSBYVAL),
		InvalidOid, InvalidOid);

	set_opfuncid((OpExpr *) clause);
	return (Node *) clause;
}

/* Let the entry read that query instead of a relation with the same columns. */
static void
read_from_query(RangeTblEntry *rte, const char *sql)
{
	MemoryContext caller = CurrentMemoryContext;
	RawStmt		 *raw;
	Query		 *query;
	EvnSpi		  spi;

	evn_spi_begin(&spi, InvalidOid);
	raw = linitial_node(RawStmt, pg_parse_query(sql));
	query = parse_analyze_fixedparams(raw, sql, NULL, 0, NULL);
	MemoryContextSwitchTo(caller);
	rte->subquery = copyObject(query);
	evn_spi_end(&spi);
	rte->rtekind = RTE_SUBQUERY;
	rte->relid = InvalidOid;
	rte->relkind = 0;
	rte->rellockmode = 0;
	rte->inh = false;
	evn_rte_forget_permissions(rte);
}

Query *
evn_aggregate_query_over_source(const EvnAggregateQuery *query, int64 since, int64 until)
{
	Query *copy = copyObject(query->query);
	List  *quals = make_ands_implicit((Expr *) copy->jointree->quals);

	quals = lappend(quals, time_comparison(">=", query->rtindex, query->source_time, since));
	quals = lappend(quals, time_comparison("<", query->rtindex, query->source_time, until));
	copy->jointree->quals = (Node *) make_ands_explicit(quals);
	if (query->merged_source != NULL)
		read_from_query(rt_fetch(query->rtindex, copy->rtable), query->merged_source);
	return copy;
}

Bitmapset *
evn_aggregate_query_columns(const EvnAggregateQuery *query)
{
	ColumnSearch search = {query->rtindex, 0, NULL};

	query_tree_walker(query->query, collect_columns, &search, QTW_IGNORE_JOINALIASES);
	/* a whole row is all of its columns */
	if (bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, search.columns))
		search.columns = bms_add_range(search.columns, 1 - FirstLowInvalidHeapAttributeNumber,
									   MaxAttrNumber - FirstLowInvalidHeapAttributeNumber);
	return search.columns;
}
