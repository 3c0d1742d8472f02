/*
 * http_stream.c
 *		HTTP requests through libcurl.
 *
 * libcurl calls back on our own thread, from within evn_http_serve and
 * evn_http_wait only.  Nothing in a callback may raise: memory is malloc'd and
 * errors are kept.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <poll.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "http_stream.h"

#define BUFFER		  (1024 * 1024)
#define RECEIVE_BYTES (256 * 1024L)
#define MAX_SOCKETS	  16 /* of one or two transfers */
#define USER_AGENT	  "evilnet/" EVN_VERSION

typedef struct Socket
{
	curl_socket_t fd;
	int			  wanted; /* CURL_POLL_... */
} Socket;

#if LIBCURL_VERSION_NUM >= 0x075600
#define HAVE_WEBSOCKET
#endif

/* What was received of a WebSocket's message at once. */
typedef struct Piece
{
	struct Piece *next;
	size_t		  len;
	bool		  message_ends;
	char		  data[FLEXIBLE_ARRAY_MEMBER];
} Piece;

struct EvnHttp
{
	CURLM	   *multi;
	TimestampTz timer_at; /* when libcurl wants to be called; 0 never */
	Socket		sockets[MAX_SOCKETS];
	int			nsockets;
	dlist_head	transfers;
};

struct EvnHttpTransfer
{
	dlist_node		   node; /* of http's */
	EvnHttp			  *http;
	CURL			  *easy;
	struct curl_slist *headers;
	EvnHttpState	   state;
	char			   error[CURL_ERROR_SIZE];
	char			  *buffer;
	size_t			   len; /* that was not taken */
	bool			   paused;

	bool   websocket;
	bool   closed; /* by the other side */
	Piece *pieces; /* instead of the buffer, in a list */
	Piece *last_piece;
};

/* ---- what libcurl calls */

static int
note_timer(CURLM *multi, long timeout_ms, void *arg)
{
	EvnHttp *http = arg;

	http->timer_at =
		timeout_ms < 0 ? 0 : TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	return 0;
}

static int
note_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	EvnHttp *http = arg;
	int		 i = 0;

	while (i < http->nsockets && http->sockets[i].fd != fd)
		i++;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < http->nsockets)
			http->sockets[i] = http->sockets[--http->nsockets];
		return 0;
	}
	if (i == MAX_SOCKETS)
		return -1;
	if (i == http->nsockets)
		http->nsockets++;
	http->sockets[i] = (Socket) {fd, what};
	return 0;
}

static size_t
receive(char *data, size_t size, size_t n, void *arg)
{
	EvnHttpTransfer *transfer = arg;
	size_t			 len = size * n;

	transfer->state = EVN_HTTP_OPEN;
	if (transfer->len > 0 && transfer->len + len > BUFFER)
	{
		transfer->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (len > BUFFER)
		return 0; /* no single piece is so long */
	memcpy(transfer->buffer + transfer->len, data, len);
	transfer->len += len;
	return len;
}

#ifdef HAVE_WEBSOCKET
static bool
add_piece(EvnHttpTransfer *transfer, const char *data, size_t len, bool message_ends)
{
	Piece *piece = malloc(offsetof(Piece, data) + len);

	if (piece == NULL)
		return false;
	piece->next = NULL;
	piece->len = len;
	piece->message_ends = message_ends;
	memcpy(piece->data, data, len);
	if (transfer->pieces == NULL)
		transfer->pieces = piece;
	else
		transfer->last_piece->next = piece;
	transfer->last_piece = piece;
	transfer->len += len;
	return true;
}

/*
 * Messages are told apart by what libcurl says during the call only, so each is
 * accepted, and the pause is for what is not read yet.  It answers pings itself.
 */
static size_t
receive_piece(char *data, size_t size, size_t n, void *arg)
{
	EvnHttpTransfer			   *transfer = arg;
	const struct curl_ws_frame *frame = curl_ws_meta(transfer->easy);

	transfer->state = EVN_HTTP_OPEN;
	if (frame == NULL)
		return size * n + 1;
	/* whoever closes waits for us to do so, too: any other length ends the transfer */
	transfer->closed = transfer->closed || (frame->flags & CURLWS_CLOSE) != 0;
	if (transfer->closed)
		return size * n + 1;
	if ((frame->flags & (CURLWS_PING | CURLWS_PONG)) != 0)
		return size * n;
	if (!add_piece(transfer, data, size * n,
				   frame->bytesleft == 0 && (frame->flags & CURLWS_CONT) == 0))
		return size * n + 1;
	if (transfer->len > BUFFER && !transfer->paused)
	{
		transfer->paused = true;
		(void) curl_easy_pause(transfer->easy, CURLPAUSE_RECV);
	}
	return size * n;
}
#else
#define receive_piece receive /* such a transfer is never begun */
#endif

/* The last line of the header of the last answer: a redirect's is followed by another one. */
static size_t
receive_header(char *data, size_t size, size_t n, void *arg)
{
	EvnHttpTransfer *transfer = arg;
	long			 status = evn_http_status(transfer);

	if (size * n <= 2 && status >= 200)
		transfer->state = EVN_HTTP_OPEN;
	return size * n;
}

/* ---- transfers */

EvnHttp *
evn_http_open(void)
{
	static bool initialized = false;
	EvnHttp	   *http = calloc(1, sizeof(EvnHttp));

	if (http == NULL)
		return NULL;
	if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
	{
		free(http);
		return NULL;
	}
	initialized = true;
	http->multi = curl_multi_init();
	if (http->multi == NULL)
	{
		free(http);
		return NULL;
	}
	dlist_init(&http->transfers);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, note_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, note_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	return http;
}

void
evn_http_close(EvnHttp *http)
{
	while (!dlist_is_empty(&http->transfers))
		evn_http_end(dlist_head_element(EvnHttpTransfer, node, &http->transfers));
	curl_multi_cleanup(http->multi);
	free(http);
}

static bool
add_header(EvnHttpTransfer *transfer, const char *name, const char *value)
{
	char			  *line;
	struct curl_slist *list;

	if (value == NULL)
		return true;
	line = malloc(strlen(name) + strlen(value) + 3);
	if (line == NULL)
		return false;
	sprintf(line, "%s: %s", name, value);
	list = curl_slist_append(transfer->headers, line);
	free(line);
	if (list != NULL)
		transfer->headers = list;
	return list != NULL;
}

/* Where a request may go to, and how far it is trusted. */
static CURLcode
set_security(CURL *easy, const EvnHttpRequest *request)
{
	CURLcode code = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
									 strncmp(request->url, "ws", 2) == 0 ? "ws,wss" : "http,https");

	/* a token is for the host that it was given for */
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	if (code == CURLE_OK && request->ca_file != NULL)
		code = curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_PROXY, request->proxy == NULL ? "" : request->proxy);
	/* the environment does not say otherwise */
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	if (code == CURLE_OK && request->user != NULL)
	{
		code = curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		if (code == CURLE_OK)
			code = curl_easy_setopt(easy, CURLOPT_USERNAME, request->user);
		if (code == CURLE_OK)
			code = curl_easy_setopt(easy, CURLOPT_PASSWORD, request->password);
	}
	if (code == CURLE_OK && request->bearer != NULL)
	{
		code = curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		if (code == CURLE_OK)
			code = curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, request->bearer);
	}
	return code;
}

static CURLcode
set_options(EvnHttpTransfer *transfer, const EvnHttpRequest *request)
{
	CURL	*easy = transfer->easy;
	CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, request->url);

	if (code == CURLE_OK)
		code = set_security(easy, request);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT);
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	if (code == CURLE_OK && request->body != NULL)
		code = curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
	if (code == CURLE_OK && transfer->headers != NULL)
		code = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	return code;
}

static void
set_callbacks(EvnHttpTransfer *transfer, const EvnHttpRequest *request)
{
	CURL *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
	transfer->websocket = strncmp(request->url, "ws", 2) == 0;
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, transfer->websocket ? receive_piece : receive);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, receive_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, request->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms);
}

static bool
begin(EvnHttpTransfer *transfer, const EvnHttpRequest *request, char error[EVN_HTTP_ERROR_LEN])
{
	CURLcode code;

	transfer->buffer = malloc(BUFFER);
	transfer->easy = curl_easy_init();
	if (transfer->buffer == NULL || transfer->easy == NULL ||
		!add_header(transfer, "Accept", request->accept) ||
		!add_header(transfer, "Last-Event-ID", request->last_id) ||
		!add_header(transfer, "Content-Type",
					request->body == NULL ? NULL
					: request->is_form	  ? "application/x-www-form-urlencoded"
										  : "application/json"))
	{
		snprintf(error, EVN_HTTP_ERROR_LEN, "out of memory");
		return false;
	}
	set_callbacks(transfer, request);
	code = set_options(transfer, request);
	if (code == CURLE_OK &&
		curl_multi_add_handle(transfer->http->multi, transfer->easy) == CURLM_OK)
		return true;
	snprintf(error, EVN_HTTP_ERROR_LEN, "%s",
			 code == CURLE_OK ? "out of memory" : curl_easy_strerror(code));
	return false;
}

EvnHttpTransfer *
evn_http_begin(EvnHttp *http, const EvnHttpRequest *request, char error[EVN_HTTP_ERROR_LEN])
{
	EvnHttpTransfer *transfer = calloc(1, sizeof(EvnHttpTransfer));

	if (transfer == NULL)
	{
		snprintf(error, EVN_HTTP_ERROR_LEN, "out of memory");
		return NULL;
	}
	transfer->http = http;
	dlist_push_tail(&http->transfers, &transfer->node);
	if (begin(transfer, request, error))
		return transfer;
	evn_http_end(transfer);
	return NULL;
}

static void
drop_piece(EvnHttpTransfer *transfer)
{
	Piece *piece = transfer->pieces;

	transfer->len -= piece->len;
	transfer->pieces = piece->next;
	free(piece);
}

void
evn_http_end(EvnHttpTransfer *transfer)
{
	dlist_delete(&transfer->node);
	if (transfer->easy != NULL)
	{
		curl_multi_remove_handle(transfer->http->multi, transfer->easy);
		curl_easy_cleanup(transfer->easy);
	}
	while (transfer->pieces != NULL)
		drop_piece(transfer);
	curl_slist_free_all(transfer->headers);
	free(transfer->buffer);
	free(transfer);
}

/* ---- going on */

static void
note_ends(EvnHttp *http)
{
	CURLMsg *message;
	int		 left;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		EvnHttpTransfer *transfer;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
		transfer->state =
			message->data.result == CURLE_OK || transfer->closed ? EVN_HTTP_DONE : EVN_HTTP_FAILED;
		if (message->data.result != CURLE_OK && transfer->error[0] == '\0')
			strlcpy(transfer->error, curl_easy_strerror(message->data.result),
					sizeof(transfer->error));
	}
}

void
evn_http_serve(EvnHttp *http)
{
	int running;

	(void) curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	note_ends(http);
}

static uint32
events_of(int wanted)
{
	return (wanted == CURL_POLL_OUT ? 0 : WL_SOCKET_READABLE) |
		   (wanted == CURL_POLL_IN ? 0 : WL_SOCKET_WRITEABLE);
}

static int
flags_of(uint32 events)
{
	return (events & WL_SOCKET_READABLE ? CURL_CSELECT_IN : 0) |
		   (events & WL_SOCKET_WRITEABLE ? CURL_CSELECT_OUT : 0);
}

void
evn_http_poll(EvnHttp *http)
{
	struct pollfd fds[MAX_SOCKETS];
	int			  n = http->nsockets;
	int			  running;

	for (int i = 0; i < n; i++)
		fds[i] =
			(struct pollfd) {.fd = http->sockets[i].fd,
							 .events = (http->sockets[i].wanted == CURL_POLL_OUT ? 0 : POLLIN) |
									   (http->sockets[i].wanted == CURL_POLL_IN ? 0 : POLLOUT)};
	if (n > 0 && poll(fds, n, 0) > 0)
		for (int i = 0; i < n; i++)
			if (fds[i].revents != 0)
				(void) curl_multi_socket_action(
					http->multi, fds[i].fd,
					(fds[i].revents & ~POLLOUT ? CURL_CSELECT_IN : 0) |
						(fds[i].revents & POLLOUT ? CURL_CSELECT_OUT : 0),
					&running);
	evn_http_serve(http);
}

void
evn_http_wait(EvnHttp *http, long timeout_ms)
{
	WaitEventSet *set = evn_wait_event_set_create(MAX_SOCKETS + 2);
	WaitEvent	  events[MAX_SOCKETS];
	int			  n;
	int			  running;

	if (http->timer_at != 0)
		timeout_ms =
			Min(timeout_ms, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), http->timer_at));
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < http->nsockets; i++)
		AddWaitEventToSet(set, events_of(http->sockets[i].wanted), http->sockets[i].fd, NULL, NULL);
	n = WaitEventSetWait(set, timeout_ms, events, lengthof(events), PG_WAIT_EXTENSION);
	FreeWaitEventSet(set);
	ResetLatch(MyLatch);
	/* libcurl's timer rings once, and is set again when there is need */
	if (http->timer_at != 0 && http->timer_at <= GetCurrentTimestamp())
		http->timer_at = 0;
	for (int i = 0; i < n; i++)
		if (events[i].fd != PGINVALID_SOCKET)
			(void) curl_multi_socket_action(http->multi, events[i].fd, flags_of(events[i].events),
											&running);
	evn_http_serve(http);
}

/* ---- answers */

bool
evn_http_has_websocket(void)
{
#ifdef HAVE_WEBSOCKET
	const char *const *protocol = curl_version_info(CURLVERSION_NOW)->protocols;

	for (; *protocol != NULL; protocol++)
		if (strcmp(*protocol, "wss") == 0)
			return true;
#endif
	return false;
}

const char *
evn_http_version(void)
{
	return curl_version_info(CURLVERSION_NOW)->version;
}

EvnHttpState
evn_http_state(const EvnHttpTransfer *transfer)
{
	return transfer->state;
}

long
evn_http_status(const EvnHttpTransfer *transfer)
{
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	return transfer->websocket && status == 101 ? 200 : status;
}

const char *
evn_http_error(const EvnHttpTransfer *transfer)
{
	return transfer->error;
}

const char *
evn_http_header(const EvnHttpTransfer *transfer, const char *name)
{
	struct curl_header *header;

	/* that of a WebSocket is informational */
	if (curl_easy_header(transfer->easy, name, 0, CURLH_HEADER | CURLH_1XX, -1, &header) !=
		CURLHE_OK)
		return NULL;
	return header->value;
}

size_t
evn_http_body(const EvnHttpTransfer *transfer, const char **data)
{
	*data = transfer->buffer;
	return transfer->websocket ? 0 : transfer->len;
}

void
evn_http_take(EvnHttpTransfer *transfer, size_t len)
{
	transfer->len -= len;
	memmove(transfer->buffer, transfer->buffer + len, transfer->len);
	if (!transfer->paused)
		return;
	transfer->paused = false;
	(void) curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
}

bool
evn_http_piece(const EvnHttpTransfer *transfer, const char **data, size_t *len, bool *message_ends)
{
	const Piece *piece = transfer->pieces;

	if (piece == NULL)
		return false;
	*data = piece->data;
	*len = piece->len;
	*message_ends = piece->message_ends;
	return true;
}

void
evn_http_take_piece(EvnHttpTransfer *transfer)
{
	drop_piece(transfer);
	if (!transfer->paused || transfer->len > BUFFER / 2)
		return;
	transfer->paused = false;
	(void) curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
}
