/*
 * parquet_prune.c
 *		Which row groups cannot hold a row that a query wants.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/int.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "parquet_prune.h"

/* one comparison: the column, how, and with a value of which type */
typedef struct Condition
{
	int		   attribute;
	int		   strategy;
	Oid		   typid;
	ExprState *state;

	/* the value, as it was evaluated last */
	bool		is_null;
	int64		number; /* also days since 1970, microseconds since 1970 */
	const char *text;	/* in UTF-8 */
	size_t		len;
} Condition;

struct EvnParquetPrune
{
	Condition	 *conditions;
	int			  nconditions;
	bool		  is_constant;
	bool		  is_evaluated;
	MemoryContext context; /* of the values */
};

/* ---- when planning */

static bool
is_integer(Oid typid)
{
	return typid == INT2OID || typid == INT4OID || typid == INT8OID;
}

static bool
is_text(Oid typid)
{
	return typid == TEXTOID || typid == VARCHAROID;
}

/* Values of both types are compared as we compare them. */
static bool
are_comparable(Oid column, Oid value)
{
	if (is_integer(column))
		return is_integer(value);
	if (is_text(column))
		return is_text(value);
	return column == value &&
		   (column == DATEOID || column == TIMESTAMPOID || column == TIMESTAMPTZOID);
}

static int
strategy_of(Oid operator, Oid typid)
{
	Oid class = GetDefaultOpClass(is_text(typid) ? TEXTOID : typid, BTREE_AM_OID);

	return OidIsValid(class) ? get_op_opfamily_strategy(operator, get_opclass_family(class)) : 0;
}

static Var *
column_of(RelOptInfo *rel, Node *node)
{
	if (IsA(node, RelabelType))
		node = (Node *) castNode(RelabelType, node)->arg;
	if (!IsA(node, Var))
		return NULL;
	return castNode(Var, node)->varno == rel->relid && castNode(Var, node)->varattno > 0
			   ? castNode(Var, node)
			   : NULL;
}

static bool
stays_the_same(Node *node)
{
	return !contain_var_clause(node) && !contain_volatile_functions(node) &&
		   !contain_subplans(node);
}

/* Texts compare as bytes only for equality, and that not in every collation. */
static bool
is_usable(int strategy, Oid typid, Oid collation)
{
	if (strategy == 0)
		return false;
	return !is_text(typid) || (strategy == BTEqualStrategyNumber && OidIsValid(collation) &&
							   get_collation_isdeterministic(collation));
}

/* "column operator value"; nodes of a condition, or null. */
static List *
match_comparison(RelOptInfo *rel, Node *left, Node *right, Oid operator, Oid collation)
{
	Var *column = column_of(rel, left);
	Oid	 typid = exprType(right);
	int	 strategy;

	if (column == NULL || !OidIsValid(operator) || !are_comparable(column->vartype, typid) ||
		!stays_the_same(right))
		return NIL;
	strategy = strategy_of(operator, column->vartype);
	if (!is_usable(strategy, column->vartype, collation))
		return NIL;
	return list_make3_int(column->varattno, strategy, (int) typid);
}

static List *
match_clause(RelOptInfo *rel, Node *clause, Node **value)
{
	OpExpr *comparison;
	List   *condition;

	if (!IsA(clause, OpExpr) || list_length(((OpExpr *) clause)->args) != 2)
		return NIL;
	comparison = castNode(OpExpr, clause);
	*value = lsecond(comparison->args);
	condition = match_comparison(rel, linitial(comparison->args), *value, comparison->opno,
								 comparison->inputcollid);
	if (condition != NIL)
		return condition;
	*value = linitial(comparison->args);
	return match_comparison(rel, lsecond(comparison->args), *value,
							get_commutator(comparison->opno), comparison->inputcollid);
}

List *
evn_parquet_prune_plan(RelOptInfo *rel, List *clauses, List **expressions)
{
	List	 *conditions = NIL;
	ListCell *cell;

	*expressions = NIL;
	foreach(cell, clauses)
	{
		Node *value;
		List *condition = match_clause(rel, lfirst(cell), &value);

		if (condition == NIL)
			continue;
		conditions = lappend(conditions, condition);
		*expressions = lappend(*expressions, value);
	}
	return conditions;
}

/* ---- values */

EvnParquetPrune *
evn_parquet_prune_begin(List *conditions, List *expressions, ScanState *node)
{
	EvnParquetPrune *prune = palloc0(sizeof(EvnParquetPrune));
	ListCell		*condition;
	ListCell		*expression;

	prune->conditions = palloc0(sizeof(Condition) * (list_length(conditions) + 1));
	prune->is_constant = true;
	prune->context =
		AllocSetContextCreate(CurrentMemoryContext, "Parquet conditions", ALLOCSET_SMALL_SIZES);
	forboth(condition, conditions, expression, expressions)
	{
		List	  *words = lfirst(condition);
		Condition *next = &prune->conditions[prune->nconditions++];

		next->attribute = linitial_int(words);
		next->strategy = lsecond_int(words);
		next->typid = (Oid) lthird_int(words);
		next->state = ExecInitExpr(lfirst(expression), &node->ps);
		if (!IsA(lfirst(expression), Const))
			prune->is_constant = false;
	}
	return prune;
}

static void
set_value(Condition *condition, Datum value)
{
	char *string;

	switch (condition->typid)
	{
		case INT2OID:
			condition->number = DatumGetInt16(value);
			break;
		case INT4OID:
			condition->number = DatumGetInt32(value);
			break;
		case INT8OID:
			condition->number = DatumGetInt64(value);
			break;
		case DATEOID:
			condition->number = (int64) DatumGetDateADT(value) + EVN_PARQUET_EPOCH_DAYS;
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			/* infinity stays far away on its side, but for an overflow */
			if (pg_add_s64_overflow(DatumGetTimestamp(value), EVN_PARQUET_EPOCH_MICROS,
									&condition->number))
				condition->number = PG_INT64_MAX;
			break;
		default:
			string = TextDatumGetCString(value);
			condition->text = pg_server_to_any(string, (int) strlen(string), PG_UTF8);
			condition->len = strlen(condition->text);
	}
}

void
evn_parquet_prune_evaluate(EvnParquetPrune *prune, ExprContext *context)
{
	MemoryContext before;

	MemoryContextReset(prune->context);
	before = MemoryContextSwitchTo(prune->context);
	for (Condition *next = prune->conditions; next < prune->conditions + prune->nconditions; next++)
	{
		Datum value = ExecEvalExpr(next->state, context, &next->is_null);

		if (!next->is_null)
			set_value(next, value);
	}
	prune->is_evaluated = true;
	MemoryContextSwitchTo(before);
}

bool
evn_parquet_prune_is_constant(const EvnParquetPrune *prune)
{
	return prune->is_constant;
}

/* ---- row groups */

static int64
floor_div(int64 number, int64 divisor)
{
	return number / divisor - (number % divisor < 0);
}

/* In microseconds, as wide as may be; false when they do not fit. */
static bool
scale_bounds(EvnParquetBounds *bounds, const EvnParquetShape *shape)
{
	int64 per_second = shape->per_second;

	if (per_second > USECS_PER_SEC)
	{
		bounds->low = floor_div(bounds->low, per_second / USECS_PER_SEC);
		bounds->high = floor_div(bounds->high, per_second / USECS_PER_SEC) + 1;
		return true;
	}
	return !pg_mul_s64_overflow(bounds->low, USECS_PER_SEC / per_second, &bounds->low) &&
		   !pg_mul_s64_overflow(bounds->high, USECS_PER_SEC / per_second, &bounds->high);
}

static bool
excludes_number(const Condition *condition, int64 low, int64 high)
{
	switch (condition->strategy)
	{
		case BTLessStrategyNumber:
			return low >= condition->number;
		case BTLessEqualStrategyNumber:
			return low > condition->number;
		case BTEqualStrategyNumber:
			return condition->number < low || condition->number > high;
		case BTGreaterEqualStrategyNumber:
			return high < condition->number;
		case BTGreaterStrategyNumber:
			return high <= condition->number;
		default:
			return false;
	}
}

static int
compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, Min(a_len, b_len));

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static bool
excludes_text(const Condition *condition, const EvnParquetBounds *bounds)
{
	return compare_bytes(condition->text, condition->len, bounds->low_bytes, bounds->low_len) < 0 ||
		   compare_bytes(condition->text, condition->len, bounds->high_bytes, bounds->high_len) > 0;
}

static bool
excludes(const Condition *condition, EvnParquetBounds *bounds, const EvnParquetShape *shape)
{
	/* no comparison holds for null */
	if (bounds->kind == EVN_BOUNDS_NULLS)
		return true;
	switch (shape->wire)
	{
		case EVN_WIRE_INT:
		case EVN_WIRE_DATE:
			return bounds->kind == EVN_BOUNDS_NUMBER &&
				   excludes_number(condition, bounds->low, bounds->high);
		case EVN_WIRE_TIMESTAMP:
			return bounds->kind == EVN_BOUNDS_NUMBER && !shape->either &&
				   scale_bounds(bounds, shape) &&
				   excludes_number(condition, bounds->low, bounds->high);
		case EVN_WIRE_TEXT:
			return bounds->kind == EVN_BOUNDS_BYTES && condition->text != NULL &&
				   excludes_text(condition, bounds);
		default:
			return false;
	}
}

bool
evn_parquet_prune_group(const EvnParquetPrune *prune, EvnParquetReader *reader, int group,
						const int *fields, EvnParquetShape *const *shapes)
{
	EvnParquetBounds bounds;

	if (!prune->is_evaluated)
		return false;
	for (const Condition *next = prune->conditions; next < prune->conditions + prune->nconditions;
		 next++)
	{
		/* neither for what it is compared with */
		if (next->is_null)
			return true;
		if (fields[next->attribute] < 0)
			continue;
		if (evn_parquet_arrow()->read_bounds(reader, group, fields[next->attribute], &bounds) &&
			excludes(next, &bounds, shapes[next->attribute]))
			return true;
	}
	return false;
}
