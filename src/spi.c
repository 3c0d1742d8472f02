/*
 * spi.c
 *		SQL from C.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "spi.h"

void
evn_spi_act_as(EvnActingAs *before, Oid userid, bool restricted)
{
	GetUserIdAndSecContext(&before->userid, &before->sec_context);
	SetUserIdAndSecContext(userid, before->sec_context | SECURITY_LOCAL_USERID_CHANGE |
									   (restricted ? SECURITY_RESTRICTED_OPERATION : 0));
}

void
evn_spi_act_as_before(const EvnActingAs *before)
{
	SetUserIdAndSecContext(before->userid, before->sec_context);
}

void
evn_spi_begin(EvnSpi *spi, Oid userid)
{
	GetUserIdAndSecContext(&spi->userid, &spi->sec_context);
	if (OidIsValid(userid))
		SetUserIdAndSecContext(userid, spi->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	spi->guc_nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
evn_spi_end(EvnSpi *spi)
{
	SPI_finish();
	AtEOXact_GUC(true, spi->guc_nest);
	SetUserIdAndSecContext(spi->userid, spi->sec_context);
}

Oid
evn_spi_catalog_owner(void)
{
	Oid		  nspid = get_namespace_oid("evilnet", false);
	Oid		  relid = get_relname_relid("stream", nspid);
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid		  owner;

	if (!HeapTupleIsValid(tuple))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table evilnet.stream does not exist"),
			 errhint(
				 "Create the extension again: DROP EXTENSION evilnet; CREATE EXTENSION evilnet.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

bool
evn_spi_catalog_usable(int elevel)
{
	Oid	  extension = get_extension_oid("evilnet", true);
	char *version;
	bool  same;

	if (!OidIsValid(extension))
		return false;
	SPI_connect();
	evn_spi_execf(SPI_OK_SELECT, "SELECT extversion FROM pg_catalog.pg_extension WHERE oid = %u",
				  extension);
	version = TextDatumGetCString(evn_spi_value(0, 1));
	same = strcmp(version, EVN_VERSION) == 0;
	if (!same && elevel != 0)
		ereport(
			elevel,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "extension evilnet of database \"%s\" is of version %s, but its library is of version %s",
				 get_database_name(MyDatabaseId), version, EVN_VERSION),
			 errhint("Run ALTER EXTENSION evilnet UPDATE in that database.")));
	SPI_finish();
	return same;
}

uint64
evn_spi_exec(const char *sql, int expected)
{
	int result = SPI_execute(sql, false, 0);

	if (result != expected)
		elog(ERROR, "SPI_execute returned %s: %s", SPI_result_code_string(result), sql);
	return SPI_processed;
}

uint64
evn_spi_execf(int expected, const char *format, ...)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (;;)
	{
		va_list args;
		int		needed;

		va_start(args, format);
		needed = appendStringInfoVA(&sql, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&sql, needed);
	}
	return evn_spi_exec(sql.data, expected);
}

static uint64
execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls, bool read_only,
		int expected)
{
	int result = SPI_execute_with_args(sql, nargs, types, values, nulls, read_only, 0);

	if (result != expected)
		elog(ERROR, "SPI_execute_with_args returned %s: %s", SPI_result_code_string(result), sql);
	return SPI_processed;
}

uint64
evn_spi_exec_args(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls,
				  int expected)
{
	return execute(sql, nargs, types, values, nulls, false, expected);
}

uint64
evn_spi_read(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	return execute(sql, nargs, types, values, nulls, true, SPI_OK_SELECT);
}

SPIPlanPtr
evn_spi_keep_plan(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types)
{
	if (*plan == NULL)
	{
		SPIPlanPtr fresh = SPI_prepare_cursor(sql, nargs, types, CURSOR_OPT_GENERIC_PLAN);

		if (fresh == NULL || SPI_keepplan(fresh) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		*plan = fresh;
	}
	return *plan;
}

Datum
evn_spi_value_or_null(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

Datum
evn_spi_value(uint64 row, int column)
{
	bool  isnull;
	Datum value = evn_spi_value_or_null(row, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d", column);
	return value;
}

char *
evn_spi_qualified_name(Oid relid)
{
	char *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}
