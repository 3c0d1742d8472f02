/*
 * alert_admin.c
 *		SQL functions that create, change and drop alerts.
 *
 * Who owns the stream's table may do all of it.  Expressions are read as the
 * caller wrote them and kept with qualified names, as they are run later with
 * the rights of the stream's owner.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#include "aggregate_build.h"
#include "alert.h"
#include "compat.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(evn_alert_admin_create);
PG_FUNCTION_INFO_V1(evn_alert_admin_alter);
PG_FUNCTION_INFO_V1(evn_alert_admin_drop);
PG_FUNCTION_INFO_V1(evn_alert_admin_changed);

/* What is told of an alert; NULL where nothing is. */
typedef struct AlertSpec
{
	char *name;
	char *condition;
	char *leave;
} AlertSpec;

static void
invalidate_aggregate(HeapTuple row, TupleDesc desc)
{
	bool isnull;
	Oid	 view = DatumGetObjectId(SPI_getbinval(row, desc, SPI_fnumber(desc, "aggregate"), &isnull));

	if (!isnull && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(view)))
		CacheInvalidateRelcacheByRelid(view);
}

/* Row trigger: a change of the catalog is told as a change of the aggregate's view. */
Datum
evn_alert_admin_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	 desc;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function %s must be called as a trigger", "evilnet.alert_changed")));
	desc = RelationGetDescr(trigger->tg_relation);
	invalidate_aggregate(trigger->tg_trigtuple, desc);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		invalidate_aggregate(trigger->tg_newtuple, desc);
	return PointerGetDatum(NULL);
}

/* The aggregate, which stays to the end of the transaction; raises unless the user owns the stream. */
static EvnAggregate *
open_aggregate(Oid view, Oid *owner)
{
	EvnAggregateSource source;
	EvnAggregates	  *aggregates;
	EvnAggregate	  *aggregate;

	evn_aggregate_require(view, &source);
	evn_stream_require_owned(source.stream);
	aggregates = evn_aggregate_build_open(evn_stream_load(source.stream), AccessShareLock);
	aggregate = evn_aggregates_find(aggregates, view);
	if (aggregate == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("continuous aggregate was dropped meanwhile")));
	evn_aggregate_ensure(aggregates, aggregate);
	*owner = aggregates->stream->owner;
	return aggregate;
}

/* The view that an alert is over, InvalidOid when there is no such alert. */
static Oid
find_alert(const char *name)
{
	Oid	   type = TEXTOID;
	Datum  value = CStringGetTextDatum(name);
	Oid	   view = InvalidOid;
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_exec_args("SELECT aggregate::pg_catalog.oid FROM evilnet.alert WHERE name = $1", 1,
						  &type, &value, NULL, SPI_OK_SELECT) > 0)
		view = DatumGetObjectId(evn_spi_value(0, 1));
	evn_spi_end(&spi);
	return view;
}

/* The same, raising unless it exists and the user owns it. */
static EvnAggregate *
open_alert(const char *name, Oid *owner)
{
	Oid view = find_alert(name);

	if (!OidIsValid(view))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("alert \"%s\" does not exist", name),
				 errhint("evilnet.alert lists the alerts.")));
	return open_aggregate(view, owner);
}

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME), errmsg("invalid name of an alert: \"%s\"", name),
				 errhint("Use 1 to %d bytes.", NAMEDATALEN - 1)));
	if (OidIsValid(find_alert(name)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("alert \"%s\" already exists", name)));
}

/* The expression alone: nothing may follow that makes a query of it. */
static Node *
parse_expression(const char *text, const char *argument)
{
	RawStmt	   *raw = linitial_node(RawStmt, raw_parser(text, RAW_PARSE_PLPGSQL_EXPR));
	SelectStmt *select = castNode(SelectStmt, raw->stmt);
	ResTarget  *target =
		 list_length(select->targetList) == 1 ? linitial_node(ResTarget, select->targetList) : NULL;

	if (target == NULL || target->name != NULL || select->distinctClause != NIL ||
		select->fromClause != NIL || select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL || select->sortClause != NIL ||
		select->limitOffset != NULL || select->limitCount != NULL || select->lockingClause != NIL ||
		select->op != SETOP_NONE)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("\"%s\" must be one expression over the columns of the aggregate",
							   argument)));
	return target->val;
}

/* What the names in it mean to the caller; boolean, and the same whenever it is asked. */
static Node *
analyze_expression(Oid view, const char *text, const char *argument)
{
	ParseState		   *state = make_parsestate(NULL);
	Relation			rel = table_open(view, AccessShareLock);
	ParseNamespaceItem *row =
		addRangeTableEntryForRelation(state, rel, AccessShareLock, NULL, false, true);
	Node *expression;

	addNSItemToQuery(state, row, false, true, true);
	expression = transformExpr(state, parse_expression(text, argument), EXPR_KIND_WHERE);
	expression = coerce_to_boolean(state, expression, psprintf("\"%s\"", argument));
	assign_expr_collations(state, expression);
	if (contain_volatile_functions(expression))
		ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						errmsg("\"%s\" calls a volatile function", argument),
						errhint("Functions of an alert must be immutable or stable.")));
	table_close(rel, NoLock);
	return expression;
}

/* An expression with every name qualified and every value spelled out, as it is kept; NULL of NULL. */
static char *
read_expression(Oid view, const char *text, const char *argument)
{
	MemoryContext caller = CurrentMemoryContext;
	Node		 *expression;
	char		 *kept;
	EvnSpi		  spi;

	if (text == NULL)
		return NULL;
	expression = analyze_expression(view, text, argument);
	evn_alert_begin(&spi, InvalidOid);
	kept = MemoryContextStrdup(
		caller,
		deparse_expression(expression, deparse_context_for(EVN_ALERT_ROW, view), false, false));
	evn_spi_end(&spi);
	return kept;
}

/* Run the expressions over nothing, as they will be run. */
static void
try_as_owner(const EvnAggregate *aggregate, Oid owner, const char *condition, const char *leave)
{
	EvnActingAs before;

	evn_spi_act_as(&before, owner, true);
	evn_alert_try(aggregate, condition, leave);
	evn_spi_act_as_before(&before);
}

static char *
text_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static void
require_argument(FunctionCallInfo fcinfo, int i, const char *name)
{
	if (PG_ARGISNULL(i))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", name)));
}

static void
insert_alert(const AlertSpec *spec, Oid view, bool notify)
{
	Oid	   types[5] = {TEXTOID, OIDOID, TEXTOID, TEXTOID, BOOLOID};
	char   nulls[6] = "     ";
	Datum  values[5];
	EvnSpi spi;

	values[0] = CStringGetTextDatum(spec->name);
	values[1] = ObjectIdGetDatum(view);
	values[2] = CStringGetTextDatum(spec->condition);
	values[3] = spec->leave == NULL ? (Datum) 0 : CStringGetTextDatum(spec->leave);
	values[4] = BoolGetDatum(notify);
	nulls[3] = spec->leave == NULL ? 'n' : ' ';
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.alert (name, aggregate, condition, leave_condition, notify)"
		" VALUES ($1, $2, $3, $4, $5)",
		5, types, values, nulls, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

Datum
evn_alert_admin_create(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name",	 "aggregate", "condition",
										"leave", "notify",	  "if_not_exists"};
	AlertSpec				 spec;
	EvnAggregate			*aggregate;
	Oid						 owner;

	evn_shmem_require();
	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], "leave") != 0)
			require_argument(fcinfo, i, names[i]);
	aggregate = open_aggregate(PG_GETARG_OID(1), &owner);
	spec.name = text_argument(fcinfo, 0);
	if (PG_GETARG_BOOL(5) && find_alert(spec.name) == aggregate->view)
	{
		ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("alert \"%s\" already exists, skipping", spec.name)));
		PG_RETURN_VOID();
	}
	check_name(spec.name);
	spec.condition = read_expression(aggregate->view, text_argument(fcinfo, 2), "condition");
	spec.leave = read_expression(aggregate->view, text_argument(fcinfo, 3), "leave");
	try_as_owner(aggregate, owner, spec.condition, spec.leave);
	insert_alert(&spec, aggregate->view, PG_GETARG_BOOL(4));
	PG_RETURN_VOID();
}

/* The alert's row, changed where values are given; with drop_leave leave is none. */
static void
update_alert(const AlertSpec *spec, bool drop_leave, NullableDatum notify, NullableDatum enabled)
{
	Oid	   types[6] = {TEXTOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID, BOOLOID};
	char   nulls[7] = "      ";
	Datum  values[6];
	EvnSpi spi;

	values[0] = CStringGetTextDatum(spec->name);
	values[1] = spec->condition == NULL ? (Datum) 0 : CStringGetTextDatum(spec->condition);
	values[2] = spec->leave == NULL ? (Datum) 0 : CStringGetTextDatum(spec->leave);
	values[3] = BoolGetDatum(drop_leave);
	values[4] = notify.value;
	values[5] = enabled.value;
	nulls[1] = spec->condition == NULL ? 'n' : ' ';
	nulls[2] = spec->leave == NULL ? 'n' : ' ';
	nulls[4] = notify.isnull ? 'n' : ' ';
	nulls[5] = enabled.isnull ? 'n' : ' ';
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"UPDATE evilnet.alert SET condition = coalesce($2, condition),"
		" leave_condition = CASE WHEN NOT $4 THEN coalesce($3, leave_condition) END,"
		" notify = coalesce($5, notify), enabled = coalesce($6, enabled), error = NULL"
		" WHERE name = $1",
		6, types, values, nulls, SPI_OK_UPDATE);
	evn_spi_end(&spi);
}

static void
rename_alert(const char *name, const char *rename_to)
{
	Oid	   types[2] = {TEXTOID, TEXTOID};
	Datum  values[2] = {CStringGetTextDatum(name), CStringGetTextDatum(rename_to)};
	EvnSpi spi;

	check_name(rename_to);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args("UPDATE evilnet.alert SET name = $2 WHERE name = $1", 2, types, values, NULL,
					  SPI_OK_UPDATE);
	evn_spi_end(&spi);
}

/* The expressions that the catalog has by now must go together. */
static void
try_alert(const EvnAggregate *aggregate, Oid owner, const char *name)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			  type = TEXTOID;
	Datum		  value = CStringGetTextDatum(name);
	char		 *condition;
	char		 *leave;
	bool		  isnull;
	EvnSpi		  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args("SELECT condition, leave_condition FROM evilnet.alert WHERE name = $1", 1,
					  &type, &value, NULL, SPI_OK_SELECT);
	condition = MemoryContextStrdup(caller, TextDatumGetCString(evn_spi_value(0, 1)));
	value = evn_spi_value_or_null(0, 2, &isnull);
	leave = isnull ? NULL : MemoryContextStrdup(caller, TextDatumGetCString(value));
	evn_spi_end(&spi);
	try_as_owner(aggregate, owner, condition, leave);
}

Datum
evn_alert_admin_alter(PG_FUNCTION_ARGS)
{
	AlertSpec	  spec;
	EvnAggregate *aggregate;
	Oid			  owner;
	char		 *leave = text_argument(fcinfo, 2);
	bool		  drop_leave = leave != NULL && leave[0] == '\0';

	require_argument(fcinfo, 0, "name");
	spec.name = text_argument(fcinfo, 0);
	aggregate = open_alert(spec.name, &owner);
	spec.condition = read_expression(aggregate->view, text_argument(fcinfo, 1), "condition");
	spec.leave = drop_leave ? NULL : read_expression(aggregate->view, leave, "leave");
	update_alert(&spec, drop_leave, fcinfo->args[3], fcinfo->args[4]);
	if (spec.condition != NULL || spec.leave != NULL || (!PG_ARGISNULL(4) && PG_GETARG_BOOL(4)))
		try_alert(aggregate, owner, spec.name);
	if (!PG_ARGISNULL(5))
		rename_alert(spec.name, text_argument(fcinfo, 5));
	PG_RETURN_VOID();
}

Datum
evn_alert_admin_drop(PG_FUNCTION_ARGS)
{
	char  *name = text_argument(fcinfo, 0);
	Oid	   type = TEXTOID;
	Datum  value = CStringGetTextDatum(name);
	Oid	   owner;
	EvnSpi spi;

	if (PG_GETARG_BOOL(1) && !OidIsValid(find_alert(name)))
	{
		ereport(NOTICE, (errmsg("alert \"%s\" does not exist, skipping", name)));
		PG_RETURN_VOID();
	}
	(void) open_alert(name, &owner);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args("DELETE FROM evilnet.alert WHERE name = $1", 1, &type, &value, NULL,
					  SPI_OK_DELETE);
	evn_spi_end(&spi);
	PG_RETURN_VOID();
}
