/*
 * frame_reference.h
 *		What frame.c ought to cut out of a stream, by code that has all of it in
 *		memory and does not care how long it takes; and the framer itself, fed
 *		in chunks of any size.  For the unit tests and for fuzzing.
 */
#ifndef EVN_FRAME_REFERENCE_H
#define EVN_FRAME_REFERENCE_H

#include "frame.h"

/* what the messages of one run were, to be compared with those of another */
typedef struct Log
{
	char  *data;
	size_t len;
	size_t size;
} Log;

typedef void (*LogFrame)(Log *log, EvnFrameResult result, const EvnFrame *frame);

static void
log_bytes(Log *log, const char *s, size_t n)
{
	if (log->len + n > log->size)
	{
		log->size = 2 * (log->len + n) + 64;
		log->data = realloc(log->data, log->size);
		if (log->data == NULL)
			abort();
	}
	if (n > 0)
		memcpy(log->data + log->len, s, n);
	log->len += n;
}

static void
log_text(Log *log, const char *s, size_t n)
{
	char length[32];

	log_bytes(log, length, snprintf(length, sizeof(length), " %zu:", n));
	log_bytes(log, s, n);
}

/* Everything that a frame says. */
static void
log_frame(Log *log, EvnFrameResult result, const EvnFrame *frame)
{
	char head[64];

	log_bytes(log, head,
			  snprintf(head, sizeof(head), "%d @%llu", (int) result,
					   (unsigned long long) frame->end_offset));
	log_text(log, frame->data, frame->len);
	log_text(log, frame->event, frame->event_len);
	if (frame->id != NULL)
		log_text(log, frame->id, frame->id_len);
	log_bytes(log, "\n", 1);
}

static bool
same_log(const Log *a, const Log *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void
log_free(Log *log)
{
	free(log->data);
	memset(log, 0, sizeof(*log));
}

/* ---- reference ---- */

static void
reference_message(Log *log, const char *s, size_t len, size_t max_len, size_t end_offset)
{
	EvnFrame frame = {s, Min(len, max_len), end_offset, "", 0, NULL, 0};

	log_frame(log,
			  len > max_len ? EVN_FRAME_TOO_LONG
			  : len > 0		? EVN_FRAME_MESSAGE
							: EVN_FRAME_KEEP_ALIVE,
			  &frame);
}

static void
reference_lines(Log *log, const char *s, size_t len, size_t max_len)
{
	size_t start = 0;

	while (start < len)
	{
		size_t stop = start;
		size_t n;

		while (stop < len && s[stop] != '\n')
			stop++;
		n = stop - start;
		if (n > 0 && s[stop - 1] == '\r')
			n--;
		reference_message(log, s + start, n, max_len, Min(stop + 1, len));
		start = stop + 1;
	}
}

/* NUL ends a message, and is not part of the stream; what none ends is incomplete. */
static void
reference_pieces(Log *log, const char *s, size_t len, size_t max_len)
{
	size_t start = 0;
	size_t messages = 0;
	size_t i;

	for (i = 0; i < len; i++)
	{
		if (s[i] != '\0')
			continue;
		reference_message(log, s + start, i - start, max_len, i - messages);
		start = i + 1;
		messages++;
	}
}

typedef struct ReferenceEvent
{
	size_t		boundary;
	char	   *data; /* of all lines, each with a line feed */
	size_t		len;
	const char *event;
	size_t		event_len;
	const char *id; /* kept from event to event */
	size_t		id_len;
	bool		begun;
	bool		long_id;
} ReferenceEvent;

static void
reference_dispatch(Log *log, ReferenceEvent *state, size_t max_len)
{
	/* the last line feed is not part of the data */
	size_t	 len = state->len > 0 ? state->len - 1 : 0;
	EvnFrame frame = {state->data,
					  Min(len, max_len),
					  state->boundary,
					  state->event,
					  Min(state->event_len, EVN_FRAME_NAME_MAX),
					  state->id,
					  state->id_len};

	if (len > max_len || state->event_len > EVN_FRAME_NAME_MAX || state->long_id)
		log_frame(log, EVN_FRAME_TOO_LONG, &frame);
	else if (state->len > 0)
		log_frame(log, EVN_FRAME_MESSAGE, &frame);
	else if (state->begun)
		log_frame(log, EVN_FRAME_KEEP_ALIVE, &frame);
	state->len = state->event_len = 0;
	state->begun = state->long_id = false;
}

static void
reference_field(ReferenceEvent *state, const char *name, size_t name_len, const char *value,
				size_t len)
{
	if (name_len == 4 && memcmp(name, "data", 4) == 0)
	{
		memcpy(state->data + state->len, value, len);
		state->data[state->len + len] = '\n';
		state->len += len + 1;
	}
	else if (name_len == 5 && memcmp(name, "event", 5) == 0)
	{
		state->event = value;
		state->event_len = len;
	}
	else if (name_len == 2 && memcmp(name, "id", 2) == 0)
	{
		if (memchr(value, '\0', Min(len, EVN_FRAME_NAME_MAX)) == NULL)
		{
			if (len > EVN_FRAME_NAME_MAX)
				state->long_id = true;
			else
			{
				state->id = value;
				state->id_len = len;
			}
		}
	}
	else if (name_len != 5 || memcmp(name, "retry", 5) != 0)
		return;
	state->begun = true;
}

static void
reference_line(Log *log, ReferenceEvent *state, const char *line, size_t len, size_t max_len,
			   size_t end_offset)
{
	const char *colon = memchr(line, ':', len);

	if (len == 0)
	{
		state->boundary = end_offset;
		reference_dispatch(log, state, max_len);
	}
	else if (colon == line)
	{
		EvnFrame frame = {"", 0, 0, "", 0, NULL, 0};

		if (!state->begun)
			state->boundary = end_offset;
		frame.end_offset = state->boundary;
		log_frame(log, EVN_FRAME_KEEP_ALIVE, &frame);
	}
	else if (colon == NULL)
		reference_field(state, line, len, "", 0);
	else
	{
		const char *value = colon + 1;

		if (value < line + len && *value == ' ')
			value++;
		reference_field(state, line, colon - line, value, line + len - value);
	}
}

static void
reference_events(Log *log, const char *s, size_t len, size_t max_len)
{
	ReferenceEvent state = {0};
	size_t		   i = len >= 3 && memcmp(s, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;

	/* each line of data is longer by its name and colon than what it adds */
	state.data = malloc(len + 1);
	state.event = "";
	while (i < len)
	{
		size_t start = i;

		while (i < len && s[i] != '\r' && s[i] != '\n')
			i++;
		if (i == len)
			break;
		reference_line(log, &state, s + start, i - start, max_len, i + 1);
		i += s[i] == '\r' && i + 1 < len && s[i + 1] == '\n' ? 2 : 1;
	}
	free(state.data);
}

static void
reference_frames(EvnFraming framing, Log *log, const char *s, size_t len, size_t max_len)
{
	if (framing == EVN_FRAMING_LINES)
		reference_lines(log, s, len, max_len);
	else if (framing == EVN_FRAMING_SSE)
		reference_events(log, s, len, max_len);
	else
		reference_pieces(log, s, len, max_len);
}

/* ---- the framer ---- */

typedef struct FrameRun
{
	EvnFramer framer;
	size_t	  max_len;
	uint32	  seed; /* of the chunks' sizes; 0: all in one */
	Log		 *log;
	LogFrame  on_frame;
	bool	  sane; /* nothing was above the limits */
} FrameRun;

static void
run_take(FrameRun *run, EvnFrameResult result, const EvnFrame *frame)
{
	if (result == EVN_FRAME_NO_MEMORY)
		abort();
	if (frame->len > run->max_len || frame->event_len > EVN_FRAME_NAME_MAX ||
		frame->id_len > EVN_FRAME_NAME_MAX || frame->end_offset > run->framer.fed)
		run->sane = false;
	run->on_frame(run->log, result, frame);
}

/* In a copy exactly as long, gone as soon as the framer gives it back. */
static void
run_chunk(FrameRun *run, const char *s, size_t len, bool message_ends)
{
	char		  *chunk = malloc(len > 0 ? len : 1);
	EvnFrame	   frame;
	EvnFrameResult result;

	if (chunk == NULL)
		abort();
	memcpy(chunk, s, len);
	if (run->framer.framing == EVN_FRAMING_WEBSOCKET)
		evn_frame_feed_piece(&run->framer, len > 0 ? chunk : NULL, len, message_ends);
	else
		evn_frame_feed(&run->framer, len > 0 ? chunk : NULL, len);
	while ((result = evn_frame_next(&run->framer, &frame)) != EVN_FRAME_MORE)
		run_take(run, result, &frame);
	free(chunk);
	if (evn_frame_memory(&run->framer) > run->max_len + 1 + 3 * EVN_FRAME_NAME_MAX)
		run->sane = false;
}

/* Mostly small chunks, now and then an empty one. */
static size_t
run_chunk_len(FrameRun *run, size_t left)
{
	uint32 bits;

	if (run->seed == 0)
		return left;
	run->seed = run->seed * 1664525 + 1013904223;
	bits = run->seed >> 16;
	return Min((bits >> 3) & ((1u << (bits & 7)) - 1), left);
}

/* Feed len bytes in chunks; the last one may be empty when it ends a message. */
static void
run_part(FrameRun *run, const char *s, size_t len, bool message_ends)
{
	size_t done = 0;
	bool   last;

	do
	{
		size_t n = run_chunk_len(run, len - done);

		last = done + n == len;
		run_chunk(run, s + done, n, last && message_ends);
		done += n;
	} while (!last);
}

static void
run_pieces(FrameRun *run, const char *s, size_t len)
{
	const char *end = s + len;
	const char *stop;

	while (s < end && (stop = memchr(s, '\0', end - s)) != NULL)
	{
		run_part(run, s, stop - s, true);
		s = stop + 1;
	}
	run_part(run, s, end - s, false);
}

/* Returns whether it kept to its limits. */
static bool
run_frames(EvnFraming framing, Log *log, LogFrame on_frame, const char *s, size_t len,
		   size_t max_len, uint32 seed)
{
	FrameRun run = {
		.max_len = max_len, .seed = seed, .log = log, .on_frame = on_frame, .sane = true};
	EvnFrame	   frame;
	EvnFrameResult result;

	evn_frame_init(&run.framer, framing, max_len);
	if (framing == EVN_FRAMING_WEBSOCKET)
		run_pieces(&run, s, len);
	else
		run_part(&run, s, len, false);
	while ((result = evn_frame_finish(&run.framer, &frame)) != EVN_FRAME_MORE)
		run_take(&run, result, &frame);
	evn_frame_free(&run.framer);
	return run.sane;
}

#endif /* EVN_FRAME_REFERENCE_H */
