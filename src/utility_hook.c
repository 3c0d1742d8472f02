/*
 * utility_hook.c
 *		Commands of others that concern workers.
 *
 * PostgreSQL refuses to drop, rename, move or copy a database while other
 * sessions are connected, and our workers are such sessions.  So they are
 * ended first and kept out until the command is over; when it failed they
 * start again.
 *
 * Commands that change what a stream reads from, without touching evilnet's
 * catalog, have the launcher look again at commit.
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "utility_hook.h"
#include "shmem.h"
#include "worker.h"

#define POLL_MS	   10
#define GIVE_UP_MS 30000

static ProcessUtility_hook_type prev_process_utility = NULL;

/* Name of the database that the statement needs for itself, or NULL. */
static const char *
exclusive_database(Node *statement)
{
	ListCell *cell;

	if (IsA(statement, DropdbStmt))
		return ((DropdbStmt *) statement)->dbname;
	if (IsA(statement, RenameStmt) && ((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
		return ((RenameStmt *) statement)->subname;
	if (IsA(statement, AlterDatabaseStmt))
		return ((AlterDatabaseStmt *) statement)->dbname;
	if (IsA(statement, CreatedbStmt))
		foreach(cell, ((CreatedbStmt *) statement)->options)
		{
			DefElem *option = lfirst_node(DefElem, cell);

			if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
				return defGetString(option);
		}
	return NULL;
}

/* Whether a worker may have to start, end or read its options anew after it. */
static bool
concerns_streams(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_AlterForeignServerStmt:
		case T_CreateUserMappingStmt:
		case T_AlterUserMappingStmt:
		case T_DropUserMappingStmt:
			return true;
		case T_GrantStmt:
			return ((GrantStmt *) statement)->objtype == OBJECT_FOREIGN_SERVER;
		case T_DropStmt:
			return ((DropStmt *) statement)->removeType == OBJECT_EXTENSION ||
				   ((DropStmt *) statement)->removeType == OBJECT_SCHEMA;
		default:
			return false;
	}
}

static bool
is_template(Oid dbid)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dbid));
	bool	  result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return result;
}

/* PostgreSQL's own function for this is not exported by every minor release. */
static bool
may_create_databases(void)
{
	HeapTuple tuple;
	bool	  result;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return result;
}

/* Whether the user may run the command at all: others must not stop the workers. */
static bool
may_hold(Node *statement, Oid dbid)
{
	if (evn_owns_database(dbid, GetUserId()))
		return true;
	return IsA(statement, CreatedbStmt) && may_create_databases() && is_template(dbid);
}

/* End the processes in the database; returns how many are still there. */
static int
end_processes(Oid dbid)
{
	int left = 0;

	LWLockAcquire(evn_shared->lock, LW_SHARED);
	for (int i = 0; i < evn_shared->nslots; i++)
	{
		EvnWorkerSlot *slot = &evn_shared->slots[i];

		if (slot->pid == 0 || slot->dbid != dbid)
			continue;
		kill(slot->pid, SIGTERM);
		left++;
	}
	if (evn_shared->scan_pid != 0 && evn_shared->scan_dbid == dbid)
	{
		kill(evn_shared->scan_pid, SIGTERM);
		left++;
	}
	LWLockRelease(evn_shared->lock);
	return left;
}

static void
wait_until_empty(Oid dbid)
{
	TimestampTz give_up = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), GIVE_UP_MS);

	while (end_processes(dbid) > 0)
	{
		/* the command itself then says who is still connected */
		if (GetCurrentTimestamp() > give_up)
			return;
		evn_worker_wait(POLL_MS);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
set_hold(Oid dbid, bool held)
{
	EvnDatabaseNote *note;
	int				 launcher_pid;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	note = evn_shmem_note(dbid, held);
	if (note != NULL)
	{
		note->held = held;
		note->holder_pid = MyProcPid;
		note->dirty = true;
	}
	launcher_pid = evn_shared->launcher_pid;
	LWLockRelease(evn_shared->lock);
	evn_shmem_wake(launcher_pid);
}

/* The database is gone, and with it all that was wanted of it. */
static void
forget_database(Oid dbid)
{
	EvnDatabaseNote *note;

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	note = evn_shmem_note(dbid, false);
	if (note != NULL)
		note->dirty = note->held = false;
	for (int i = 0; i < evn_shared->nslots; i++)
		if (evn_shared->slots[i].dbid == dbid)
			evn_shared->slots[i].in_use = false;
	LWLockRelease(evn_shared->lock);
}

static void
run_utility(PlannedStmt *pstmt, const char *query, bool read_only, ProcessUtilityContext context,
			ParamListInfo params, QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	if (prev_process_utility)
		prev_process_utility(pstmt, query, read_only, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only, context, params, env, dest, qc);
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	const char *name = exclusive_database(pstmt->utilityStmt);
	Oid			dbid = name == NULL ? InvalidOid : get_database_oid(name, true);

	if (!OidIsValid(dbid) || dbid == MyDatabaseId || !may_hold(pstmt->utilityStmt, dbid))
	{
		bool concerned = concerns_streams(pstmt->utilityStmt);

		run_utility(pstmt, query, read_only, context, params, env, dest, qc);
		if (concerned)
			evn_shmem_mark_dirty_at_commit();
		return;
	}
	set_hold(dbid, true);
	PG_TRY();
	{
		wait_until_empty(dbid);
		run_utility(pstmt, query, read_only, context, params, env, dest, qc);
	}
	PG_CATCH();
	{
		set_hold(dbid, false);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (IsA(pstmt->utilityStmt, DropdbStmt))
		forget_database(dbid);
	else
		set_hold(dbid, false);
}

void
evn_utility_hook_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
