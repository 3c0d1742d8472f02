/*
 * frame.h
 *		Cuts what a source receives into messages.
 *
 * Three kinds of framing: lines (streams of the X API, NDJSON files), server
 * sent events (the event stream of the HTML standard), and the messages of a
 * WebSocket put together from the pieces in which libcurl hands them over.
 *
 * Pure C, never raises.  A message that lies in one chunk is a pointer into
 * it; only what spans chunks is copied.  What comes out does not depend on
 * where the chunks were cut.
 *
 *		evn_frame_init(&framer, EVN_FRAMING_LINES, max_len);
 *		while (a chunk is received)
 *		{
 *			evn_frame_feed(&framer, chunk, len);
 *			while ((result = evn_frame_next(&framer, &frame)) != EVN_FRAME_MORE)
 *				...
 *		}
 *		while (evn_frame_finish(&framer, &frame) != EVN_FRAME_MORE)
 *			...
 *		evn_frame_free(&framer);
 */
#ifndef EVN_FRAME_H
#define EVN_FRAME_H

#include "c.h"

/* The longest event type and event id; a message with a longer one counts as too long. */
#define EVN_FRAME_NAME_MAX 16384

typedef enum EvnFraming
{
	EVN_FRAMING_LINES,
	EVN_FRAMING_SSE,
	EVN_FRAMING_WEBSOCKET
} EvnFraming;

typedef enum EvnFrameResult
{
	EVN_FRAME_MORE,		  /* nothing more in what was fed */
	EVN_FRAME_MESSAGE,	  /* a message, perhaps an empty one if it is an event */
	EVN_FRAME_KEEP_ALIVE, /* an empty line or message, a comment, or an event without data */
	EVN_FRAME_TOO_LONG,	  /* a message above the limit, told at its end; data is its beginning */
	EVN_FRAME_NO_MEMORY	  /* from now on always: the stream must be read again from its cursor */
} EvnFrameResult;

/*
 * What was cut out; its pointers are good until the next call for the framer.
 * The last three are of events only.
 */
typedef struct EvnFrame
{
	const char *data;
	size_t		len;

	/*
	 * Bytes of the stream up to here: a file read again from this offset goes
	 * on with the next message.  Before an event under way for the comments in it.
	 */
	uint64 end_offset;

	const char *event; /* its type, empty when the server named none */
	size_t		event_len;
	const char *id; /* the last id the server sent, also with an earlier event; NULL for none */
	size_t		id_len;
} EvnFrame;

/* ---- private to frame.c; here so that the caller can own a framer without allocating it ---- */

/* bytes of the chunk, or a copy as soon as they are more than a piece of one */
typedef struct EvnFrameText
{
	const char *data;
	size_t		len; /* bytes kept, at most the limit */
	bool		cut; /* there were more */
	char	   *buffer;
	size_t		size;
} EvnFrameText;

typedef enum EvnFrameField
{
	EVN_FRAME_FIELD_NAME, /* in its name, which is not complete */
	EVN_FRAME_FIELD_DATA,
	EVN_FRAME_FIELD_EVENT,
	EVN_FRAME_FIELD_ID,
	EVN_FRAME_FIELD_RETRY,
	EVN_FRAME_FIELD_COMMENT,
	EVN_FRAME_FIELD_UNKNOWN
} EvnFrameField;

typedef struct EvnFramer
{
	EvnFraming framing;
	size_t	   max_len;
	bool	   failed; /* memory was out */

	/* the chunk */
	const char *pos;
	const char *end;
	const char *next_lf; /* of events: the first ones from pos on, end if there are none */
	const char *next_cr;
	bool		piece_ends; /* of a WebSocket: the chunk's end is the message's */

	uint64 fed;		 /* bytes of the stream up to the chunk's end */
	uint64 boundary; /* up to the end of the last message */

	EvnFrameText data;	/* of the message under way */
	EvnFrameText event; /* its type */
	EvnFrameText id;	/* the last one, whatever event it came with */
	EvnFrameText value; /* of an id whose line is not complete */

	/* of events: the line under way */
	EvnFrameField field;
	bool		  in_line;	/* it has at least a byte */
	bool		  in_value; /* behind the colon and the blank that may follow it */
	bool		  after_cr; /* a line feed that comes next belongs to the line before */
	int			  bom;		/* bytes of the byte order mark that were seen; -1: none can come */
	char		  name[5];
	int			  name_len;
	int64		  number; /* of a retry, negative if it is none */

	/* of events: the event under way */
	bool has_data;
	bool begun; /* any field that we know */
	bool too_long;
	bool has_id; /* of the stream */

	int64 retry_ms; /* what evn_frame_retry_ms tells */
} EvnFramer;

/* ---- calls ---- */

/* max_len is that of a message's data, without the end of its line. */
extern void evn_frame_init(EvnFramer *framer, EvnFraming framing, size_t max_len);
extern void evn_frame_free(EvnFramer *framer);

/*
 * Hand over the next chunk, which the framer borrows until evn_frame_next
 * says that it needs more; only then may another one follow.
 */
extern void evn_frame_feed(EvnFramer *framer, const char *data, size_t len);

/*
 * The same for a WebSocket: a piece of a text or binary message, never of a
 * control frame, which may come between the pieces.  message_ends when no byte
 * of the frame is left (bytesleft is 0) and no continuation follows (CURLWS_CONT
 * is not set, which says so since libcurl 8.13; before, it cannot be known).
 */
extern void evn_frame_feed_piece(EvnFramer *framer, const char *data, size_t len,
								 bool message_ends);

extern EvnFrameResult evn_frame_next(EvnFramer *framer, EvnFrame *frame);

/*
 * The stream has ended: the last line, if nothing ended it.  An event or a
 * WebSocket's message that has not ended is dropped, as it may be incomplete.
 * Comes after evn_frame_next has asked for more, and until it does so itself.
 */
extern EvnFrameResult evn_frame_finish(EvnFramer *framer, EvnFrame *frame);

/*
 * Bytes that have come since the end of the last message.  Memory is bounded
 * whatever they are, but a caller should not wait for ever for an end to come.
 */
extern uint64 evn_frame_pending(const EvnFramer *framer);

/* How long the server wants its clients to wait before they connect again; -1 if it said nothing. */
extern int64 evn_frame_retry_ms(const EvnFramer *framer);

/* Bytes allocated, for statistics and tests. */
extern size_t evn_frame_memory(const EvnFramer *framer);

#endif /* EVN_FRAME_H */
