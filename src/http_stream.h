/*
 * http_stream.h
 *		HTTP requests whose answers are read while they come.
 *
 * The transfers of a process go on while it waits for them or for its latch
 * (evn_http_wait).  What has come stands in a bounded buffer; when it is full,
 * the connection is not read from, so that the server has to wait.  Nothing
 * here raises, but for evn_http_wait in which signals are served by others.
 */
#ifndef EVN_HTTP_STREAM_H
#define EVN_HTTP_STREAM_H

#include "c.h"

#define EVN_HTTP_ERROR_LEN 256

typedef struct EvnHttp		   EvnHttp;			/* the transfers of a process */
typedef struct EvnHttpTransfer EvnHttpTransfer; /* one of them */

typedef struct EvnHttpRequest
{
	const char *url;	/* https or http; wss or ws for a WebSocket */
	const char *bearer; /* token, or NULL */
	const char *user;	/* and password, of basic authentication; or NULL */
	const char *password;
	const char *body;	 /* JSON to POST, or NULL to GET */
	bool		is_form; /* the body, not JSON */
	const char *accept;	 /* type of answer wanted, or NULL */
	const char *last_id; /* Last-Event-ID, or NULL */
	const char *proxy;	 /* or NULL for none, whatever the environment says */
	const char *ca_file; /* certificates to trust, or NULL for the system's */
	long		connect_timeout_ms;
	long		timeout_ms; /* of the whole; 0 for none */
} EvnHttpRequest;			/* copied */

typedef enum EvnHttpState
{
	EVN_HTTP_CONNECTING, /* no answer yet */
	EVN_HTTP_OPEN,		 /* the header has come: status is known */
	EVN_HTTP_DONE,		 /* the answer is complete */
	EVN_HTTP_FAILED		 /* network: error tells */
} EvnHttpState;

/* NULL when out of memory; closed, with all transfers, by evn_http_close */
extern EvnHttp *evn_http_open(void);
extern void evn_http_close(EvnHttp *http);

/* NULL when out of memory or the URL is none that is allowed; ended by evn_http_end */
extern EvnHttpTransfer *evn_http_begin(EvnHttp *http, const EvnHttpRequest *request,
									   char error[EVN_HTTP_ERROR_LEN]);
extern void evn_http_end(EvnHttpTransfer *transfer);

/* Go on with all transfers, but for what their sockets have received. */
extern void evn_http_serve(EvnHttp *http);

/* The same with that, without waiting for it. */
extern void evn_http_poll(EvnHttp *http);

/* Wait until there is something to serve, for the latch, or so long. */
extern void evn_http_wait(EvnHttp *http, long timeout_ms);

/* Whether libcurl reads WebSockets; which version of it there is. */
extern bool evn_http_has_websocket(void);
extern const char *evn_http_version(void);

extern EvnHttpState evn_http_state(const EvnHttpTransfer *transfer);
/* 200 for a WebSocket that was opened */
extern long evn_http_status(const EvnHttpTransfer *transfer);
extern const char *evn_http_error(const EvnHttpTransfer *transfer);

/* a header of the answer, NULL when it is not there; until the next call */
extern const char *evn_http_header(const EvnHttpTransfer *transfer, const char *name);

/*
 * What has come and was not taken yet; stays where it is until it is taken,
 * while more may come behind it.
 */
extern size_t evn_http_body(const EvnHttpTransfer *transfer, const char **data);
extern void evn_http_take(EvnHttpTransfer *transfer, size_t len);

/*
 * The same of a WebSocket: the first piece of a message that was not taken,
 * and whether it is the message's last one.  False when there is none.
 */
extern bool evn_http_piece(const EvnHttpTransfer *transfer, const char **data, size_t *len,
						   bool *message_ends);
extern void evn_http_take_piece(EvnHttpTransfer *transfer);

#endif /* EVN_HTTP_STREAM_H */
