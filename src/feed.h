/*
 * feed.h
 *		What every kind of source can do: hand out the messages of an endpoint
 *		from a cursor on, and say where it is.
 *
 * A feed lives in the memory context it was opened in, and what it holds
 * besides memory is let go when that is reset.  Its functions raise on error and
 * are called outside any transaction, but for open and check.
 */
#ifndef EVN_FEED_H
#define EVN_FEED_H

#include "nodes/pg_list.h"
#include "shmem.h"
#include "source.h"

typedef struct EvnFeed EvnFeed;

typedef struct EvnFeedMessage
{
	const char *data; /* until it is taken */
	size_t		len;
	bool		too_long; /* data is only its beginning */
	int64		id;		  /* of the post, or of the one that is deleted; 0 for none */
} EvnFeedMessage;

#define EVN_FEED_MAX_MESSAGE (4 * 1024 * 1024) /* as much as the decoder takes */

typedef enum EvnFeedResult
{
	EVN_FEED_MESSAGE,
	EVN_FEED_WAIT, /* nothing has come */
	EVN_FEED_END   /* there will be nothing more */
} EvnFeedResult;

/* What a source would change at its network. */
typedef struct EvnFeedChange
{
	const char *action;	 /* add, delete or keep */
	const char *value;	 /* a rule */
	const char *tag;	 /* or NULL */
	const char *problem; /* why the network does not take it, or NULL */
} EvnFeedChange;

typedef struct EvnFeedApi EvnFeedApi;

/* A server of evilnet_http as one user may use it; palloc'd. */
typedef struct EvnFeedServer
{
	const EvnFeedApi *api;
	const char		 *url;		 /* without a slash at its end; NULL for archives */
	const char		 *bearer;	 /* token, or NULL */
	const char		 *client_id; /* and secret, to get a token; or NULL */
	const char		 *client_secret;
	const char		 *proxy;   /* or NULL */
	const char		 *ca_file; /* or NULL for the system's certificates */
	int				  connect_timeout_ms;
} EvnFeedServer;

struct EvnFeedApi
{
	const char *name; /* option "api" of a server */
	const char *url;  /* unless the server has its own; NULL when it must, or has no network */
	const char *token_path;	 /* where apps get a token; NULL when they do not */
	const char *params;		 /* names of its parameters, with blanks between; NULL for none */
	bool		websocket;	 /* its url is wss or ws */
	bool		reads_files; /* there is no network, and the owner needs pg_read_server_files */

	/* Raise unless a source can be made of these. */
	void (*check)(const char *endpoint, const Jsonb *params);
	/* EvnFeedChange *, which the network was asked about; NULL when a source changes nothing there. */
	List *(*dry_run)(const char *endpoint, const Jsonb *params, const EvnFeedServer *server);
	/* Both live as long as the feed. */
	EvnFeed *(*open)(const EvnSource *source, const EvnFeedServer *server);
	/* The same message again until it is taken. */
	EvnFeedResult (*next)(EvnFeed *feed, EvnFeedMessage *message);
	void (*take)(EvnFeed *feed);
	/* What statistics say; state is that of the worker when nothing has come. */
	void (*status)(const EvnFeed *feed, EvnSourceStatus *status);
	/* Wait for something to come, for the latch, or so long. */
	void (*wait)(EvnFeed *feed, long timeout_ms);
	/* where to go on after all that was taken, NULL for where it began; palloc'd in the current context */
	Jsonb *(*cursor)(EvnFeed *feed);
};

/* NULL when there is none of that name */
extern const EvnFeedApi *evn_feed_api(const char *name);

/* the names of all, for a hint; palloc'd */
extern char *evn_feed_api_names(void);

#endif /* EVN_FEED_H */
