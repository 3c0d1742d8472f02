/*
 * spi.h
 *		SQL from C: pinned search_path, the rights of the extension's owner
 *		where the catalog is written, one-line queries.
 *
 * All of it needs a transaction and raises on error.  What is set here is
 * reset by the end of the block or, on error, of the (sub)transaction.
 */
#ifndef EVN_SPI_H
#define EVN_SPI_H

#include "executor/spi.h"

/* who the current user was, while another one acts */
typedef struct EvnActingAs
{
	Oid userid;
	int sec_context;
} EvnActingAs;

/*
 * Act as userid; restricted, as maintenance of that user's own tables and
 * queries by somebody else has to be.  An error ends it as well.
 */
extern void evn_spi_act_as(EvnActingAs *before, Oid userid, bool restricted);
extern void evn_spi_act_as_before(const EvnActingAs *before);

/* the state that evn_spi_begin changed */
typedef struct EvnSpi
{
	int guc_nest;
	Oid userid;
	int sec_context;
} EvnSpi;

/* SPI_connect with search_path pinned, as user userid (InvalidOid: unchanged) */
extern void evn_spi_begin(EvnSpi *spi, Oid userid);
extern void evn_spi_end(EvnSpi *spi);

/* owner of evilnet's catalog */
extern Oid evn_spi_catalog_owner(void);

/* whether evilnet is installed here in the version of this library; if not of
 * this version, says so at elevel (0 for not at all) */
extern bool evn_spi_catalog_usable(int elevel);

/* run a statement and check its result code; returns the rows processed */
extern uint64 evn_spi_exec(const char *sql, int expected);
extern uint64 evn_spi_execf(int expected, const char *format, ...) pg_attribute_printf(2, 3);
extern uint64 evn_spi_exec_args(const char *sql, int nargs, Oid *types, Datum *values,
								const char *nulls, int expected);

/*
 * Run a SELECT that sees what the query sees that called us, and nothing that
 * was committed since: for what has to fit to rows that are read likewise.
 */
extern uint64 evn_spi_read(const char *sql, int nargs, Oid *types, Datum *values,
						   const char *nulls);

/* prepare a statement on first use and keep it for the life of the process */
extern SPIPlanPtr evn_spi_keep_plan(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types);

/* a value of the last result; NULL is an error in _value */
extern Datum evn_spi_value(uint64 row, int column);
extern Datum evn_spi_value_or_null(uint64 row, int column, bool *isnull);

/* "schema"."name" of a relation, palloc'd */
extern char *evn_spi_qualified_name(Oid relid);

#endif /* EVN_SPI_H */
