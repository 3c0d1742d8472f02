/*
 * api_call.h
 *		Requests to a network's API: documents that it answers with, and what its
 *		refusals mean.
 *
 * evn_api_call_read runs a transaction of its own where there is none.  Raises when
 * memory runs out or a document is none.
 */
#ifndef EVN_API_CALL_H
#define EVN_API_CALL_H

#include "feed.h"
#include "http_stream.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "reconnect.h"

typedef struct EvnApiCall
{
	const EvnFeedServer *server;
	EvnHttpTransfer		*transfer;
	StringInfoData		 body;
} EvnApiCall;

/* What was refused, and when to come again. */
typedef struct EvnApiRefusal
{
	EvnReconnectCause cause;
	int64			  reset_at; /* of evn_clock_now(), or EVN_RECONNECT_NO_RESET */
	long			  status;	/* of HTTP; 0 when there was no answer */
	char			  error[EVN_HTTP_ERROR_LEN];
} EvnApiRefusal;

/* What of EvnHttpRequest depends on the request. */
typedef struct EvnApiRequest
{
	const char *body;
	bool		is_form;   /* the body, not JSON */
	const char *client_id; /* and secret, instead of the token; or NULL */
	const char *client_secret;
	const char *accept;
	const char *last_id;
	long		timeout_ms; /* 0 for a stream */
} EvnApiRequest;

/* How many more requests an endpoint takes, as far as it says so. */
typedef struct EvnApiRate
{
	int64		left;	  /* -1: not known */
	TimestampTz reset_at; /* of evn_clock_now(); 0: not known */
} EvnApiRate;

/* Ask for url + path.  Never NULL. */
extern EvnHttpTransfer *evn_api_call_request(EvnHttp *http, const EvnFeedServer *server,
											 const char *path, const EvnApiRequest *request);

/* What an answer says of the rate; left alone unless it says something. */
extern void evn_api_call_rate(const EvnHttpTransfer *transfer, EvnApiRate *rate);

/* What time it is by the clock of who answered; ours when it does not say. */
extern TimestampTz evn_api_call_server_time(const EvnHttpTransfer *transfer);

/* The same for a document, by itself; request NULL to GET it. */
extern void evn_api_call_begin(EvnApiCall *call, EvnHttp *http, const EvnFeedServer *server,
							   const char *path, const EvnApiRequest *request);
extern void evn_api_call_end(EvnApiCall *call);

/* Take what has come; true when the answer is complete, or failed. */
extern bool evn_api_call_serve(EvnApiCall *call);

/* Whether the answer is a document; else why not, and when to ask again. */
extern bool evn_api_call_ok(const EvnApiCall *call, EvnApiRefusal *refusal);

/* Why a transfer that ended, or was answered with another status than 200, did so. */
extern void evn_api_call_refusal(const EvnFeedServer *server, const EvnHttpTransfer *transfer,
								 const char *body, EvnApiRefusal *refusal);

/* What the network says as one line of legal UTF-8, cut to the size, unless it tells the secret. */
extern void evn_api_call_quote(const EvnFeedServer *server, char *line, size_t size,
							   const char *text, size_t len);

/*
 * Rows (char **, by column; NULL for null) of a query with the document as $1,
 * of type json, and a text or NULL as $2; all columns are text.  palloc'd.
 * Raises 58030 when the document is not made as the query takes for granted.
 */
extern List *evn_api_call_read(const char *sql, const char *document, const char *argument);

/* Append text to a query string, percent-encoded. */
extern void evn_api_call_encode(StringInfo path, const char *text);

#endif /* EVN_API_CALL_H */
