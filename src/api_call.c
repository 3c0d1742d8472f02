/*
 * api_call.c
 *		Requests to a network's API.
 */
#include "postgres.h"

#include <time.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "clock.h"
#include "compat.h"
#include "json_scan.h"
#include "spi.h"
#include "tweet_time.h"
#include "api_call.h"
#include "worker.h"

#define UNIX_EPOCH_US	 ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)
#define ANSWER_MS		 60000
#define MAX_ANSWER_BYTES (32 * 1024 * 1024)

EvnHttpTransfer *
evn_api_call_request(EvnHttp *http, const EvnFeedServer *server, const char *path,
					 const EvnApiRequest *request)
{
	char			*url = psprintf("%s%s", server->url, path);
	EvnHttpRequest	 whole = {.url = url,
							  .bearer = request->client_id == NULL ? server->bearer : NULL,
							  .user = request->client_id,
							  .password = request->client_secret,
							  .is_form = request->is_form,
							  .body = request->body,
							  .accept = request->accept,
							  .last_id = request->last_id,
							  .proxy = server->proxy,
							  .ca_file = server->ca_file,
							  .connect_timeout_ms = server->connect_timeout_ms,
							  .timeout_ms = request->timeout_ms};
	char			 error[EVN_HTTP_ERROR_LEN];
	EvnHttpTransfer *transfer = evn_http_begin(http, &whole, error);

	pfree(url);
	if (transfer == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
						errmsg("could not ask \"%s\": %s", server->url, error)));
	return transfer;
}

void
evn_api_call_begin(EvnApiCall *call, EvnHttp *http, const EvnFeedServer *server, const char *path,
				   const EvnApiRequest *request)
{
	EvnApiRequest limited = {0};

	if (request != NULL)
		limited = *request;
	limited.timeout_ms = ANSWER_MS;
	initStringInfo(&call->body);
	call->server = server;
	call->transfer = evn_api_call_request(http, server, path, &limited);
}

void
evn_api_call_end(EvnApiCall *call)
{
	evn_http_end(call->transfer);
	pfree(call->body.data);
	call->transfer = NULL;
}

bool
evn_api_call_serve(EvnApiCall *call)
{
	const char *data;
	size_t		len = evn_http_body(call->transfer, &data);

	if (call->body.len + len > MAX_ANSWER_BYTES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the answer of the network is too long")));
	appendBinaryStringInfo(&call->body, data, (int) len);
	evn_http_take(call->transfer, len);
	return evn_http_state(call->transfer) == EVN_HTTP_DONE ||
		   evn_http_state(call->transfer) == EVN_HTTP_FAILED;
}

static TimestampTz
from_unix(int64 seconds)
{
	return seconds * USECS_PER_SEC - UNIX_EPOCH_US;
}

TimestampTz
evn_api_call_server_time(const EvnHttpTransfer *transfer)
{
	const char *date = evn_http_header(transfer, "date");
	struct tm	tm = {0};

	if (date == NULL || strptime(date, "%a, %d %b %Y %H:%M:%S", &tm) == NULL)
		return evn_clock_now();
	return from_unix(timegm(&tm));
}

/* Seconds since 1970 (X), a time of ISO 8601 (Mastodon); 0 for none. */
static TimestampTz
read_time(const char *text)
{
	struct tm tm = {0};

	if (strchr(text, 'T') == NULL)
		return from_unix(strtoll(text, NULL, 10));
	return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL ? 0 : from_unix(timegm(&tm));
}

/* Times of the server's clock are told by ours; those that are past say nothing. */
static TimestampTz
reset_at(const EvnHttpTransfer *transfer)
{
	const char *header = evn_http_header(transfer, "retry-after");
	TimestampTz wait_us;

	if (header != NULL)
		wait_us = strtoll(header, NULL, 10) * USECS_PER_SEC;
	else if ((header = evn_http_header(transfer, "x-rate-limit-reset")) != NULL ||
			 (header = evn_http_header(transfer, "x-ratelimit-reset")) != NULL)
		wait_us = read_time(header) - evn_api_call_server_time(transfer);
	else
		return 0;
	return wait_us <= 0 ? 0 : evn_clock_now() + Min(wait_us, USECS_PER_DAY);
}

void
evn_api_call_rate(const EvnHttpTransfer *transfer, EvnApiRate *rate)
{
	const char *left = evn_http_header(transfer, "x-rate-limit-remaining");

	if (left == NULL)
		left = evn_http_header(transfer, "x-ratelimit-remaining");
	if (left == NULL)
		return;
	rate->left = strtoll(left, NULL, 10);
	rate->reset_at = reset_at(transfer);
}

static bool
holds(const char *text, size_t len, const char *secret)
{
	return secret != NULL && secret[0] != '\0' && memmem(text, len, secret, strlen(secret)) != NULL;
}

void
evn_api_call_quote(const EvnFeedServer *server, char *line, size_t size, const char *text,
				   size_t len)
{
	const char *end = text + len;
	size_t		n = 0;

	if (holds(text, len, server->bearer) || holds(text, len, server->client_secret))
	{
		strlcpy(line, "(not shown, as it holds the secret)", size);
		return;
	}
	while (text < end && *text != '\0')
	{
		int	 char_len = pg_utf_mblen((const unsigned char *) text);
		bool legal =
			char_len <= end - text && pg_utf8_islegal((const unsigned char *) text, char_len);

		if (!legal)
			char_len = 1;
		if (n + char_len >= size)
			break;
		if (legal && (unsigned char) *text >= ' ')
			memcpy(line + n, text, char_len);
		else
			line[n] = legal ? ' ' : '?';
		n += char_len;
		text += char_len;
	}
	line[n] = '\0';
}

static void
describe(const EvnFeedServer *server, EvnApiRefusal *refusal, long status, const char *body)
{
	int n = snprintf(refusal->error, sizeof(refusal->error), "the network answers %ld%s", status,
					 body[0] == '\0' ? "" : ": ");

	evn_api_call_quote(server, refusal->error + n, sizeof(refusal->error) - n, body, strlen(body));
}

/*
 * 429 says as well that there is a connection already, which may be one that
 * the network has not found to be dead yet: then it tells that more requests
 * would be taken, and the reset that comes with it is not what to wait for.
 */
static bool
is_rate_limit(const EvnHttpTransfer *transfer)
{
	EvnApiRate rate = {.left = 0};

	evn_api_call_rate(transfer, &rate);
	return evn_http_status(transfer) == 429 && rate.left == 0;
}

void
evn_api_call_refusal(const EvnFeedServer *server, const EvnHttpTransfer *transfer, const char *body,
					 EvnApiRefusal *refusal)
{
	long status = evn_http_status(transfer);

	refusal->status = status;
	refusal->reset_at = EVN_RECONNECT_NO_RESET;
	refusal->cause = EVN_RECONNECT_NETWORK;
	if (evn_http_state(transfer) == EVN_HTTP_FAILED && (status == 0 || status == 200))
		snprintf(refusal->error, sizeof(refusal->error), "%s", evn_http_error(transfer));
	else if (status == 200)
		snprintf(refusal->error, sizeof(refusal->error), "the network ended the connection");
	else
	{
		describe(server, refusal, status, body);
		refusal->cause = is_rate_limit(transfer) ? EVN_RECONNECT_RATE_LIMIT : EVN_RECONNECT_HTTP;
		if (refusal->cause == EVN_RECONNECT_RATE_LIMIT && reset_at(transfer) != 0)
			refusal->reset_at = reset_at(transfer);
	}
}

static bool
is_json(const char *text, size_t len)
{
	EvnJsonScan	 scan;
	EvnJsonValue value;

	if (!evn_json_scan_open(&scan, text, len, &value))
		return false;
	(void) evn_json_scan_skip(&scan, &value);
	return evn_json_scan_end(&scan);
}

bool
evn_api_call_ok(const EvnApiCall *call, EvnApiRefusal *refusal)
{
	long status = evn_http_status(call->transfer);
	bool is_complete =
		evn_http_state(call->transfer) == EVN_HTTP_DONE && (status == 200 || status == 201);

	if (is_complete && is_json(call->body.data, call->body.len))
		return true;
	evn_api_call_refusal(call->server, call->transfer, call->body.data, refusal);
	if (is_complete)
	{
		refusal->cause = EVN_RECONNECT_HTTP;
		snprintf(refusal->error, sizeof(refusal->error), "the network's answer is not JSON");
	}
	return false;
}

/* A document of another make is the network's fault: it may send a better one later. */
static void
blame_network(MemoryContext caller)
{
	ErrorData *error;

	MemoryContextSwitchTo(caller);
	error = CopyErrorData();
	FlushErrorState();
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION)
		error->sqlerrcode = ERRCODE_IO_ERROR;
	ReThrowError(error);
}

static char **
row_of(uint64 row, int ncolumns)
{
	char **values = palloc(sizeof(char *) * ncolumns);

	for (int i = 0; i < ncolumns; i++)
	{
		bool  isnull;
		Datum value = evn_spi_value_or_null(row, i + 1, &isnull);

		values[i] = isnull ? NULL : TextDatumGetCString(value);
	}
	return values;
}

static List *
read_rows(const char *sql, const char *document, const char *argument, MemoryContext caller)
{
	Oid			  types[2] = {JSONOID, TEXTOID};
	Datum		  values[2] = {(Datum) 0, (Datum) 0};
	List		 *rows = NIL;
	MemoryContext old;
	EvnSpi		  spi;

	evn_spi_begin(&spi, InvalidOid);
	values[0] = DirectFunctionCall1(json_in, CStringGetDatum(document));
	if (argument != NULL)
		values[1] = CStringGetTextDatum(argument);
	evn_spi_exec_args(sql, 2, types, values, argument == NULL ? " n" : NULL, SPI_OK_SELECT);
	old = MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
		rows = lappend(rows, row_of(i, SPI_tuptable->tupdesc->natts));
	MemoryContextSwitchTo(old);
	evn_spi_end(&spi);
	return rows;
}

List *
evn_api_call_read(const char *sql, const char *document, const char *argument)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		  own_transaction = !IsTransactionState();
	List *volatile rows = NIL;

	if (own_transaction)
		evn_worker_begin_transaction();
	PG_TRY();
	{
		rows = read_rows(sql, document, argument, caller);
	}
	PG_CATCH();
	{
		blame_network(caller);
	}
	PG_END_TRY();
	if (own_transaction)
		evn_worker_commit_transaction();
	MemoryContextSwitchTo(caller);
	return rows;
}

void
evn_api_call_encode(StringInfo path, const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (isalnum((unsigned char) *text) || strchr("-._~", *text) != NULL)
			appendStringInfoChar(path, *text);
		else
			appendStringInfo(path, "%%%02X", (unsigned char) *text);
	}
}
