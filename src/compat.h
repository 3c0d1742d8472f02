/*
 * compat.h
 *		What differs between PostgreSQL 15 and 18, in one place: no other file
 *		looks at PG_VERSION_NUM.
 */
#ifndef EVN_COMPAT_H
#define EVN_COMPAT_H

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "evilnet needs PostgreSQL 15 to 18"
#endif

/* until 17 a suffix */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * Begin to read a JSON text, UTF-8, token by token.  The lexer is the caller's
 * own from 17 on; until 16 a constructor would allocate one.
 */
static inline void
evn_json_lex_open(JsonLexContext *lex, const char *json, size_t len)
{
#if PG_VERSION_NUM >= 170000
	(void) makeJsonLexContextCstringLen(lex, json, len, PG_UTF8, false);
#else
	memset(lex, 0, sizeof(JsonLexContext));
	lex->input = lex->token_terminator = lex->line_start = unconstify(char *, json);
	lex->input_length = (int) len;
	lex->input_encoding = PG_UTF8;
	lex->line_number = 1;
#endif
}

/* All that follows is for the server; files of pure C see what is above. */
#ifdef POSTGRES_H

#include "access/genam.h"
#include "access/sysattr.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "commands/dbcommands.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "parser/parse_relation.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* pg_database_ownercheck became object_ownercheck in 16 */
static inline bool
evn_owns_database(Oid dbid, Oid userid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, dbid, userid);
#else
	return pg_database_ownercheck(dbid, userid);
#endif
}

static inline bool
evn_may_use_server(Oid serverid, Oid userid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, serverid, userid, ACL_USAGE) == ACLCHECK_OK;
#else
	return pg_foreign_server_aclcheck(serverid, userid, ACL_USAGE) == ACLCHECK_OK;
#endif
}

static inline bool
evn_owns_relation(Oid relid, Oid userid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, userid);
#else
	return pg_class_ownercheck(relid, userid);
#endif
}

/* 18 counts index searches into a struct that may be left out */
static inline IndexScanDesc
evn_index_beginscan(Relation rel, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(rel, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(rel, index, snapshot, nkeys, 0);
#endif
}

/* 18 dropped execute_once */
static inline void
evn_executor_run(QueryDesc *desc)
{
#if PG_VERSION_NUM >= 180000
	ExecutorRun(desc, ForwardScanDirection, 0);
#else
	ExecutorRun(desc, ForwardScanDirection, 0, true);
#endif
}

/* From 18 on, grouped expressions are variables of a range table entry of their own. */
static inline Node *
evn_group_expression(Query *query, Node *node)
{
#if PG_VERSION_NUM >= 180000
	if (query->hasGroupRTE)
		return flatten_group_exprs(NULL, query, node);
#else
	(void) query;
#endif
	return node;
}

/* Variables of joins replaced by those of the joined tables; 16 added an argument that may be left out. */
static inline Node *
evn_flatten_joins(Query *query, Node *node)
{
#if PG_VERSION_NUM >= 160000
	return flatten_join_alias_vars(NULL, query, node);
#else
	return flatten_join_alias_vars(query, node);
#endif
}

/* Permissions stood in the range table entry itself until 15. */
static inline void
evn_rte_forget_permissions(RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 160000
	rte->perminfoindex = 0;
#else
	rte->requiredPerms = 0;
	rte->checkAsUser = InvalidOid;
	rte->selectedCols = NULL;
	rte->insertedCols = NULL;
	rte->updatedCols = NULL;
	rte->extraUpdatedCols = NULL;
#endif
}

/* Let the entry read another relation, and one more of its columns, with the rights asked for before. */
static inline void
evn_rte_read_instead(Query *query, RangeTblEntry *rte, Oid relid, AttrNumber column)
{
#if PG_VERSION_NUM >= 160000
	RTEPermissionInfo *rights = getRTEPermissionInfo(query->rteperminfos, rte);

	rights->relid = relid;
	rights->selectedCols =
		bms_add_member(rights->selectedCols, column - FirstLowInvalidHeapAttributeNumber);
#else
	rte->selectedCols =
		bms_add_member(rte->selectedCols, column - FirstLowInvalidHeapAttributeNumber);
#endif
	rte->relid = relid;
}

/* 16 added a last argument: only summarizing indexes */
static inline List *
evn_insert_index_tuples(ResultRelInfo *result, TupleTableSlot *slot, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false);
#else
	return ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL);
#endif
}

/* The only path of a foreign table; 17 added clauses of pushed down joins, 18 the count of disabled nodes. */
static inline Path *
evn_foreignscan_path(PlannerInfo *root, RelOptInfo *rel, double rows, Cost startup, Cost total)
{
#if PG_VERSION_NUM >= 180000
	return (Path *) create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, NIL,
											rel->lateral_relids, NULL, NIL, NIL);
#elif PG_VERSION_NUM >= 170000
	return (Path *) create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL,
											rel->lateral_relids, NULL, NIL, NIL);
#else
	return (Path *) create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL,
											rel->lateral_relids, NULL, NIL);
#endif
}

/* 17 ties the set to a resource owner; it is freed by hand. */
static inline WaitEventSet *
evn_wait_event_set_create(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

#endif /* POSTGRES_H */

#endif /* EVN_COMPAT_H */
