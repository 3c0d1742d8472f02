/*
 * frame.c
 *		Cutting a stream of bytes into messages.
 *
 * A text that is being gathered borrows from the chunk as long as it is one
 * piece of it.  It is copied into a buffer of its own when something must be
 * appended, and when the chunk has to be given back.
 */
#include "c.h"

#include "frame.h"

#define FIRST_BUFFER 1024

/* a `retry` that is larger counts as this */
#define MAX_RETRY_MS PG_INT32_MAX

/* values of EvnFramer.number before there is a digit, and behind what is none */
#define NO_NUMBER  (-1)
#define NOT_NUMBER (-2)

/* ---- texts ---- */

static void
text_clear(EvnFrameText *text)
{
	text->len = 0;
	text->cut = false;
}

static void
text_swap(EvnFrameText *a, EvnFrameText *b)
{
	EvnFrameText c = *a;

	*a = *b;
	*b = c;
}

/* never NULL, whatever was borrowed for no bytes */
static const char *
text_data(const EvnFrameText *text)
{
	return text->len > 0 ? text->data : "";
}

/* Move a text into its buffer, which gets room for need bytes. */
static bool
text_own(EvnFrameText *text, size_t need, size_t limit)
{
	bool borrowed = text->data != text->buffer;

	if (need > text->size)
	{
		size_t size = Min(Max(need, Max(2 * text->size, FIRST_BUFFER)), limit);
		char  *buffer = realloc(text->buffer, size);

		if (buffer == NULL)
			return false;
		text->buffer = buffer;
		text->size = size;
	}
	if (borrowed)
		memcpy(text->buffer, text->data, text->len);
	text->data = text->buffer;
	return true;
}

/* Append bytes of the chunk or of a constant, as many as the limit leaves room for. */
static bool
text_append(EvnFrameText *text, const char *s, size_t n, size_t limit)
{
	if (n > limit - text->len)
	{
		n = limit - text->len;
		text->cut = true;
	}
	if (n == 0)
		return true;
	if (text->len == 0)
		text->data = s;
	else
	{
		if (!text_own(text, text->len + n, limit))
			return false;
		memcpy(text->buffer + text->len, s, n);
	}
	text->len += n;
	return true;
}

/* Let go of the chunk. */
static bool
text_settle(EvnFrameText *text, size_t limit)
{
	return text->len == 0 || text->data == text->buffer || text_own(text, text->len, limit);
}

/* ---- all kinds ---- */

static EvnFrameResult
out_of_memory(EvnFramer *framer)
{
	framer->failed = true;
	return EVN_FRAME_NO_MEMORY;
}

/* bytes of the stream up to pos */
static uint64
offset_of_pos(const EvnFramer *framer)
{
	return framer->fed - (framer->end - framer->pos);
}

/* What is gathered up to now is a message; its memory is used again by the next one. */
static EvnFrameResult
give_message(EvnFramer *framer, EvnFrame *frame, size_t len, EvnFrameResult result)
{
	framer->boundary = offset_of_pos(framer);
	frame->data = text_data(&framer->data);
	frame->len = len;
	frame->end_offset = framer->boundary;
	frame->event = "";
	frame->event_len = 0;
	frame->id = NULL;
	frame->id_len = 0;
	text_clear(&framer->data);
	return result;
}

/* ---- lines ---- */

/* One byte more is kept than may be, as it can be the carriage return of the line's end. */
static size_t
line_limit(const EvnFramer *framer)
{
	return framer->max_len + 1;
}

static EvnFrameResult
end_line(EvnFramer *framer, EvnFrame *frame)
{
	const EvnFrameText *line = &framer->data;
	size_t				len = line->len;

	if (!line->cut && len > 0 && line->data[len - 1] == '\r')
		len--;
	if (line->cut || len > framer->max_len)
		return give_message(framer, frame, framer->max_len, EVN_FRAME_TOO_LONG);
	return give_message(framer, frame, len, len > 0 ? EVN_FRAME_MESSAGE : EVN_FRAME_KEEP_ALIVE);
}

static EvnFrameResult
next_line(EvnFramer *framer, EvnFrame *frame)
{
	const char *start = framer->pos;
	const char *lf = memchr(start, '\n', framer->end - start);
	const char *stop = lf != NULL ? lf : framer->end;

	framer->pos = lf != NULL ? lf + 1 : stop;
	if (!text_append(&framer->data, start, stop - start, line_limit(framer)))
		return out_of_memory(framer);
	if (lf != NULL)
		return end_line(framer, frame);
	if (!text_settle(&framer->data, line_limit(framer)))
		return out_of_memory(framer);
	return EVN_FRAME_MORE;
}

/* ---- events ---- */

static const char *
find(const char *s, const char *end, char c)
{
	const char *found = memchr(s, c, end - s);

	return found != NULL ? found : end;
}

/*
 * Where the line ends that pos is in.  Both ends are looked for once per
 * chunk and end, not once per line: usually there is only one of them, and
 * each search for the other would go through the whole chunk.
 */
static const char *
find_line_end(EvnFramer *framer)
{
	if (framer->next_lf < framer->pos)
		framer->next_lf = find(framer->pos, framer->end, '\n');
	if (framer->next_cr < framer->pos)
		framer->next_cr = find(framer->pos, framer->end, '\r');
	return Min(framer->next_lf, framer->next_cr);
}

static EvnFrameField
field_of_name(const char *name, int len)
{
	if (len == 0)
		return EVN_FRAME_FIELD_COMMENT;
	if (len == 4 && memcmp(name, "data", 4) == 0)
		return EVN_FRAME_FIELD_DATA;
	if (len == 5 && memcmp(name, "event", 5) == 0)
		return EVN_FRAME_FIELD_EVENT;
	if (len == 2 && memcmp(name, "id", 2) == 0)
		return EVN_FRAME_FIELD_ID;
	if (len == 5 && memcmp(name, "retry", 5) == 0)
		return EVN_FRAME_FIELD_RETRY;
	return EVN_FRAME_FIELD_UNKNOWN;
}

/* The name of the line's field is complete. */
static bool
begin_field(EvnFramer *framer)
{
	bool joined = true;

	framer->field = field_of_name(framer->name, framer->name_len);
	switch (framer->field)
	{
		case EVN_FRAME_FIELD_DATA:
			if (framer->has_data)
				joined = text_append(&framer->data, "\n", 1, framer->max_len);
			framer->has_data = true;
			break;
		case EVN_FRAME_FIELD_EVENT:
			text_clear(&framer->event);
			break;
		case EVN_FRAME_FIELD_ID:
			text_clear(&framer->value);
			break;
		case EVN_FRAME_FIELD_RETRY:
			framer->number = NO_NUMBER;
			break;
		default:
			return true;
	}
	framer->begun = true;
	return joined;
}

/*
 * Drop the byte order mark a stream may begin with; returns how many bytes of
 * it are here.  What only begins like one is a field that nobody knows.
 */
static size_t
take_bom(EvnFramer *framer, const char *s, size_t n)
{
	static const char bom[] = "\xEF\xBB\xBF";
	size_t			  i = 0;

	while (i < n && framer->bom >= 0)
	{
		if (s[i] == bom[framer->bom])
		{
			i++;
			if (++framer->bom == 3)
				framer->bom = -1;
			continue;
		}
		if (framer->bom > 0)
			framer->field = EVN_FRAME_FIELD_UNKNOWN;
		framer->bom = -1;
	}
	return i;
}

/* Take the field's name, and the colon if it is here; *n is what that took. */
static bool
take_name(EvnFramer *framer, const char *s, size_t *n)
{
	size_t i;

	for (i = 0; i < *n; i++)
	{
		if (s[i] == ':')
		{
			*n = i + 1;
			return begin_field(framer);
		}
		if (framer->name_len == sizeof(framer->name))
		{
			framer->field = EVN_FRAME_FIELD_UNKNOWN;
			return true;
		}
		framer->name[framer->name_len++] = s[i];
	}
	return true;
}

static void
take_number(EvnFramer *framer, const char *s, size_t n)
{
	size_t i;

	for (i = 0; i < n && framer->number != NOT_NUMBER; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			framer->number = NOT_NUMBER;
		else
			framer->number = Min(Max(framer->number, 0) * 10 + s[i] - '0', MAX_RETRY_MS);
	}
}

static bool
take_value(EvnFramer *framer, const char *s, size_t n)
{
	switch (framer->field)
	{
		case EVN_FRAME_FIELD_DATA:
			return text_append(&framer->data, s, n, framer->max_len);
		case EVN_FRAME_FIELD_EVENT:
			return text_append(&framer->event, s, n, EVN_FRAME_NAME_MAX);
		case EVN_FRAME_FIELD_ID:
			return text_append(&framer->value, s, n, EVN_FRAME_NAME_MAX);
		case EVN_FRAME_FIELD_RETRY:
			take_number(framer, s, n);
			return true;
		default:
			return true;
	}
}

/* Take some bytes of a line, without its end. */
static bool
take_in_line(EvnFramer *framer, const char *s, size_t n)
{
	size_t taken = framer->bom >= 0 ? take_bom(framer, s, n) : 0;

	if (taken == n)
		return true;
	s += taken;
	n -= taken;
	framer->in_line = true;
	if (framer->field == EVN_FRAME_FIELD_NAME)
	{
		taken = n;
		if (!take_name(framer, s, &taken))
			return false;
		s += taken;
		n -= taken;
	}
	if (n > 0 && !framer->in_value)
	{
		framer->in_value = true;
		if (*s == ' ')
		{
			s++;
			n--;
		}
	}
	return take_value(framer, s, n);
}

/* An id that holds NUL is to be ignored. */
static void
end_id(EvnFramer *framer)
{
	if (memchr(text_data(&framer->value), '\0', framer->value.len) != NULL)
		return;
	if (framer->value.cut)
	{
		framer->too_long = true;
		return;
	}
	text_swap(&framer->id, &framer->value);
	framer->has_id = true;
}

static void
forget_line(EvnFramer *framer)
{
	framer->field = EVN_FRAME_FIELD_NAME;
	framer->name_len = 0;
	framer->in_line = framer->in_value = false;
}

/* A comment says that the server is alive, also within an event, which is not over by it. */
static EvnFrameResult
give_comment(EvnFramer *framer, EvnFrame *frame)
{
	memset(frame, 0, sizeof(*frame));
	frame->data = frame->event = "";
	if (!framer->begun)
		framer->boundary = offset_of_pos(framer);
	frame->end_offset = framer->boundary;
	return EVN_FRAME_KEEP_ALIVE;
}

/* An empty line: what has begun is an event, unless it has no data. */
static EvnFrameResult
give_event(EvnFramer *framer, EvnFrame *frame)
{
	EvnFrameResult result = EVN_FRAME_MORE;
	size_t		   len = framer->data.len;

	if (framer->too_long || framer->data.cut || framer->event.cut)
		result = EVN_FRAME_TOO_LONG;
	else if (framer->has_data)
		result = EVN_FRAME_MESSAGE;
	else if (framer->begun)
		result = EVN_FRAME_KEEP_ALIVE;
	(void) give_message(framer, frame, len, result);
	frame->event = text_data(&framer->event);
	frame->event_len = framer->event.len;
	frame->id = framer->has_id ? text_data(&framer->id) : NULL;
	frame->id_len = framer->has_id ? framer->id.len : 0;
	text_clear(&framer->event);
	framer->has_data = framer->begun = framer->too_long = false;
	return result;
}

static EvnFrameResult
end_event_line(EvnFramer *framer, EvnFrame *frame)
{
	EvnFrameField field;
	bool		  empty = !framer->in_line && framer->bom <= 0;

	if (framer->bom > 0)
		framer->field = EVN_FRAME_FIELD_UNKNOWN;
	framer->bom = -1;
	if (empty)
		return give_event(framer, frame);
	/* without a colon the whole line is the name */
	if (framer->field == EVN_FRAME_FIELD_NAME && !begin_field(framer))
		return out_of_memory(framer);
	field = framer->field;
	if (field == EVN_FRAME_FIELD_ID)
		end_id(framer);
	if (field == EVN_FRAME_FIELD_RETRY && framer->number >= 0)
		framer->retry_ms = framer->number;
	forget_line(framer);
	return field == EVN_FRAME_FIELD_COMMENT ? give_comment(framer, frame) : EVN_FRAME_MORE;
}

/* Take the rest of the chunk up to the first line's end in it, if there is one. */
static EvnFrameResult
next_event_line(EvnFramer *framer, EvnFrame *frame)
{
	const char *start = framer->pos;
	const char *stop;

	if (framer->after_cr && *start == '\n')
	{
		framer->after_cr = false;
		framer->pos++;
		return EVN_FRAME_MORE;
	}
	framer->after_cr = false;
	stop = find_line_end(framer);
	framer->pos = stop;
	if (!take_in_line(framer, start, stop - start))
		return out_of_memory(framer);
	if (stop == framer->end)
		return EVN_FRAME_MORE;
	/* ends the line at once, as the line feed that may follow can be long in coming */
	framer->after_cr = *stop == '\r';
	framer->pos++;
	return end_event_line(framer, frame);
}

static EvnFrameResult
next_event(EvnFramer *framer, EvnFrame *frame)
{
	while (framer->pos < framer->end)
	{
		EvnFrameResult result = next_event_line(framer, frame);

		if (result != EVN_FRAME_MORE)
			return result;
	}
	if (!text_settle(&framer->data, framer->max_len) ||
		!text_settle(&framer->event, EVN_FRAME_NAME_MAX) ||
		!text_settle(&framer->id, EVN_FRAME_NAME_MAX) ||
		!text_settle(&framer->value, EVN_FRAME_NAME_MAX))
		return out_of_memory(framer);
	return EVN_FRAME_MORE;
}

/* ---- pieces of a WebSocket's messages ---- */

static EvnFrameResult
next_piece(EvnFramer *framer, EvnFrame *frame)
{
	EvnFrameText *message = &framer->data;

	if (!text_append(message, framer->pos, framer->end - framer->pos, framer->max_len))
		return out_of_memory(framer);
	framer->pos = framer->end;
	if (framer->piece_ends)
	{
		framer->piece_ends = false;
		if (message->cut)
			return give_message(framer, frame, message->len, EVN_FRAME_TOO_LONG);
		return give_message(framer, frame, message->len,
							message->len > 0 ? EVN_FRAME_MESSAGE : EVN_FRAME_KEEP_ALIVE);
	}
	if (!text_settle(message, framer->max_len))
		return out_of_memory(framer);
	return EVN_FRAME_MORE;
}

/* ---- calls ---- */

void
evn_frame_init(EvnFramer *framer, EvnFraming framing, size_t max_len)
{
	Assert(max_len > 0 && max_len < SIZE_MAX / 4);
	memset(framer, 0, sizeof(*framer));
	framer->framing = framing;
	framer->max_len = max_len;
	framer->retry_ms = -1;
	framer->pos = framer->end = framer->next_lf = framer->next_cr = "";
}

void
evn_frame_free(EvnFramer *framer)
{
	free(framer->data.buffer);
	free(framer->event.buffer);
	free(framer->id.buffer);
	free(framer->value.buffer);
	memset(framer, 0, sizeof(*framer));
}

void
evn_frame_feed(EvnFramer *framer, const char *data, size_t len)
{
	Assert(framer->failed || framer->pos == framer->end);
	framer->pos = len > 0 ? data : "";
	framer->end = framer->pos + len;
	framer->fed += len;
	if (framer->framing == EVN_FRAMING_SSE)
	{
		framer->next_lf = find(framer->pos, framer->end, '\n');
		framer->next_cr = find(framer->pos, framer->end, '\r');
	}
}

void
evn_frame_feed_piece(EvnFramer *framer, const char *data, size_t len, bool message_ends)
{
	Assert(framer->framing == EVN_FRAMING_WEBSOCKET);
	evn_frame_feed(framer, data, len);
	framer->piece_ends = message_ends;
}

EvnFrameResult
evn_frame_next(EvnFramer *framer, EvnFrame *frame)
{
	if (unlikely(framer->failed))
		return EVN_FRAME_NO_MEMORY;
	switch (framer->framing)
	{
		case EVN_FRAMING_LINES:
			return next_line(framer, frame);
		case EVN_FRAMING_SSE:
			return next_event(framer, frame);
		case EVN_FRAMING_WEBSOCKET:
			return next_piece(framer, frame);
	}
	return EVN_FRAME_MORE;
}

EvnFrameResult
evn_frame_finish(EvnFramer *framer, EvnFrame *frame)
{
	if (framer->failed)
		return EVN_FRAME_NO_MEMORY;
	if (framer->framing != EVN_FRAMING_LINES || framer->data.len == 0)
		return EVN_FRAME_MORE;
	return end_line(framer, frame);
}

uint64
evn_frame_pending(const EvnFramer *framer)
{
	return offset_of_pos(framer) - framer->boundary;
}

int64
evn_frame_retry_ms(const EvnFramer *framer)
{
	return framer->retry_ms;
}

size_t
evn_frame_memory(const EvnFramer *framer)
{
	return framer->data.size + framer->event.size + framer->id.size + framer->value.size;
}
