/*
 * aggregate_query.c
 *		The defining query of a continuous aggregate.
 *
 * The query is kept as an ordinary view, so PostgreSQL tracks what it depends
 * on.  Here its tree is taken from the view's rule and checked; the very same
 * tree then runs over a batch, with the stream's range table entry swapped for
 * an ephemeral named relation, or over the table.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "aggregate_query.h"
#include "compat.h"
#include "spi.h"
#include "stream.h"

pg_noreturn static void
refuse(const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("query cannot be kept as a continuous aggregate: %s", what),
					errhint("%s", hint)));
}

static void
check_shape(const Query *query)
{
	if (query->commandType != CMD_SELECT || query->setOperations != NULL)
		refuse("it is not one SELECT",
			   "Make an aggregate of each part and combine them in a view.");
	if (query->groupClause == NIL || query->groupingSets != NIL)
		refuse("it has no plain GROUP BY",
			   "Group by evilnet.time_bucket(...) and other expressions.");
	if (query->hasWindowFuncs || query->distinctClause != NIL)
		refuse("it has window functions or DISTINCT", "Apply them when reading the aggregate.");
	if (query->limitCount != NULL || query->limitOffset != NULL || query->sortClause != NIL)
		refuse("it has ORDER BY, LIMIT or OFFSET", "Apply them when reading the aggregate.");
	if (query->havingQual != NULL)
		refuse("it has HAVING",
			   "A group may pass it later only; filter when reading the aggregate.");
	if (query->hasSubLinks || query->cteList != NIL)
		refuse("it has subqueries or WITH", "Join the tables instead.");
	if (contain_mutable_functions((Node *) query->targetList) ||
		contain_volatile_functions((Node *) query->jointree))
		refuse("it calls functions whose result changes",
			   "Use immutable functions of the stream's columns.");
}

/* Range table index of the stream's table; raises unless it stands there once. */
static Index
stream_index(const Query *query, Oid stream)
{
	Index found = 0;

	for (Index i = 1; i <= list_length(query->rtable); i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);

		if (rte->rtekind != RTE_RELATION || rte->relid != stream)
			continue;
		if (found != 0)
			refuse("the stream is in it twice", "Read the stream's table once.");
		found = i;
	}
	if (found == 0)
		refuse("it does not read the stream's table", "Select from the stream's table itself.");
	return found;
}

static bool
is_time_bucket(Node *expr, int64 *width, AttrNumber *created_at, Index stream)
{
	FuncExpr *func = (FuncExpr *) expr;
	Interval *interval;
	Const	 *arg;
	Var		 *var;

	if (!IsA(expr, FuncExpr) || list_length(func->args) != 2 ||
		strcmp(get_func_name(func->funcid), "time_bucket") != 0 ||
		get_func_namespace(func->funcid) != get_namespace_oid("evilnet", false))
		return false;
	arg = linitial(func->args);
	var = lsecond(func->args);
	if (!IsA(arg, Const) || arg->constisnull || !IsA(var, Var) || var->varno != stream)
		return false;
	interval = DatumGetIntervalP(arg->constvalue);
	*width = evn_stream_interval_us(interval);
	*created_at = var->varattno;
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
evn_aggregate_fill(const char *expression, const char *placeholder, const char *value)
{
	return text_to_cstring(DatumGetTextPP(
		DirectFunctionCall3Coll(replace_text, C_COLLATION_OID, CStringGetTextDatum(expression),
								CStringGetTextDatum(placeholder), CStringGetTextDatum(value))));
}

static char *
expression_value(int column, const char *schema, const char *type)
{
	bool  isnull;
	Datum value = evn_spi_value_or_null(0, column, &isnull);

	if (isnull)
		return NULL;
	return evn_aggregate_fill(evn_aggregate_fill(TextDatumGetCString(value), "{schema}", schema),
							  "{type}", type);
}

/* How this aggregate merges, from evilnet.mergeable_aggregate. */
static void
read_mergeable(EvnAggregateColumn *column, const Aggref *agg)
{
	Oid			  types[2] = {TEXTOID, TEXTOID};
	const char	 *name = get_func_name(agg->aggfnoid);
	const char	 *schema = quote_identifier(get_namespace_name(get_func_namespace(agg->aggfnoid)));
	Datum		  values[2];
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	EvnSpi		  spi;

	if (agg->aggdistinct != NIL || agg->aggorder != NIL)
		refuse(psprintf("%s has DISTINCT or ORDER BY", name),
			   "For distinct counts keep an hll and read its cardinality.");
	evn_spi_begin(&spi, InvalidOid);
	values[0] = CStringGetTextDatum(provider_of(agg->aggfnoid));
	values[1] = CStringGetTextDatum(name);
	if (evn_spi_exec_args(
			"SELECT combine, negate, read FROM evilnet.mergeable_aggregate"
			" WHERE provider::pg_catalog.text = $1 AND aggregate::pg_catalog.text = $2",
			2, types, values, NULL, SPI_OK_SELECT) == 0)
		refuse(
			psprintf("partial results of %s cannot be merged", name),
			"Keep sums and counts and divide when reading; evilnet.mergeable_aggregate lists what can be merged.");
	old = MemoryContextSwitchTo(caller);
	column->combine = expression_value(1, schema, column->type);
	column->negate = expression_value(2, schema, column->type);
	column->read = expression_value(3, schema, column->type);
	MemoryContextSwitchTo(old);
	evn_spi_end(&spi);
}

static void
read_column(EvnAggregateQuery *result, int i, TargetEntry *entry, Index stream)
{
	EvnAggregateColumn *column = &result->columns[i];
	Node			   *expr = evn_group_expression(result->query, (Node *) entry->expr);

	column->name = pstrdup(quote_identifier(entry->resname));
	column->type = format_type_extended(exprType(expr), exprTypmod(expr),
										FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
	column->is_key = entry->ressortgroupref != 0;
	if (column->is_key)
	{
		if (result->bucket < 0 &&
			is_time_bucket(expr, &result->bucket_us, &result->created_at, stream))
			result->bucket = i;
		return;
	}
	if (!IsA(expr, Aggref))
		refuse(psprintf("column %s is neither a group key nor a plain aggregate", column->name),
			   "Keep the aggregates themselves and compute with them when reading.");
	read_mergeable(column, (Aggref *) expr);
	if (column->negate == NULL)
		result->can_negate = false;
}

/* count(*) of the group, as the last column. */
static TargetEntry *
row_count_entry(AttrNumber resno)
{
	RawStmt		*raw = linitial_node(RawStmt, pg_parse_query("SELECT pg_catalog.count(*)"));
	Query		*query = parse_analyze_fixedparams(raw, "", NULL, 0, NULL);
	TargetEntry *entry = linitial_node(TargetEntry, query->targetList);

	return makeTargetEntry(entry->expr, resno, pstrdup(EVN_ROWS_COLUMN), false);
}

EvnAggregateQuery *
evn_aggregate_query_read(Oid view, Oid stream)
{
	EvnAggregateQuery *result = palloc0(sizeof(EvnAggregateQuery));
	Relation		   rel = table_open(view, AccessShareLock);
	Query			  *query = copyObject(get_view_query(rel));
	ListCell		  *cell;
	Index			   index;
	int				   i = 0;

	table_close(rel, NoLock);
	check_shape(query);
	index = stream_index(query, stream);
	query->targetList =
		lappend(query->targetList, row_count_entry(list_length(query->targetList) + 1));
	query->hasAggs = true;
	result->query = query;
	result->stream = stream;
	result->bucket = -1;
	result->can_negate = true;
	result->ncolumns = list_length(query->targetList);
	result->columns = palloc0(sizeof(EvnAggregateColumn) * result->ncolumns);
	foreach(cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk)
			refuse("a GROUP BY expression is not selected",
				   "Select every expression you group by.");
		read_column(result, i++, entry, index);
	}
	if (result->bucket < 0)
		refuse("it does not group by a time bucket",
			   "Group by evilnet.time_bucket('5 minutes', created_at).");
	return result;
}

Query *
evn_aggregate_query_over_batch(const EvnAggregateQuery *query, TupleDesc tupdesc)
{
	Query		  *copy = copyObject(query->query);
	RangeTblEntry *rte = rt_fetch(stream_index(copy, query->stream), copy->rtable);

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

Query *
evn_aggregate_query_over_table(const EvnAggregateQuery *query, int64 since, int64 until)
{
	Query *copy = copyObject(query->query);
	Index  index = stream_index(copy, query->stream);
	List  *quals = make_ands_implicit((Expr *) copy->jointree->quals);

	quals = lappend(quals, time_comparison(">=", index, query->created_at, since));
	quals = lappend(quals, time_comparison("<", index, query->created_at, until));
	copy->jointree->quals = (Node *) make_ands_explicit(quals);
	return copy;
}

Bitmapset *
evn_aggregate_query_columns(const EvnAggregateQuery *query)
{
	Index	   index = stream_index(query->query, query->stream);
	Bitmapset *columns = NULL;

	pull_varattnos(evn_group_expression(query->query, (Node *) query->query->targetList), index,
				   &columns);
	pull_varattnos((Node *) query->query->jointree, index, &columns);
	return columns;
}
