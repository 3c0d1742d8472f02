/*
 * frame_test.c
 *		Unit tests of frame.c.
 */
#include "c.h"

#include "frame_reference.h"
#include "tap.h"

#define MAX_LEN 8

/* how often each sample is cut into chunks, and how many samples are drawn */
#define CUTS  30
#define DRAWN 10000

/* literals may hold NUL */
#define BYTES(literal) (literal), sizeof(literal) - 1

/* A frame as M(essage), K(eep-alive) or L(ong), its data, and what it has of ~event and #id. */
static void
log_short(Log *log, EvnFrameResult result, const EvnFrame *frame)
{
	log_bytes(log,
			  result == EVN_FRAME_MESSAGE	   ? "M"
			  : result == EVN_FRAME_KEEP_ALIVE ? "K"
											   : "L",
			  1);
	log_bytes(log, frame->data, frame->len);
	if (frame->event_len > 0)
		log_bytes(log, "~", 1);
	log_bytes(log, frame->event, frame->event_len);
	if (frame->id != NULL)
		log_bytes(log, "#", 1);
	log_bytes(log, frame->id, frame->id_len);
	log_bytes(log, ";", 1);
}

/* However it is cut, these are the frames. */
static void
check(EvnFraming framing, const char *input, size_t len, const char *expected, size_t expected_len,
	  const char *name)
{
	Log	   log = {0};
	bool   same = true;
	uint32 seed;

	for (seed = 0; seed < CUTS && same; seed++)
	{
		log.len = 0;
		same = run_frames(framing, &log, log_short, input, len, MAX_LEN, seed) &&
			   log.len == expected_len &&
			   (log.len == 0 || memcmp(log.data, expected, log.len) == 0);
	}
	ok(same, "%s", name);
	if (!same)
		printf("# wanted %s\n# got    %.*s\n", expected, (int) log.len, log.data);
	log_free(&log);
}

static void
test_lines(void)
{
#define LINES(input, expected, name) check(EVN_FRAMING_LINES, BYTES(input), BYTES(expected), name)

	LINES("", "", "no lines");
	LINES("one\ntwo\n", "Mone;Mtwo;", "lines");
	LINES("one\r\ntwo\r\n", "Mone;Mtwo;", "lines that end with CR LF");
	LINES("one\ntwo", "Mone;Mtwo;", "the last line has no end");
	LINES("one\r\ntwo\r", "Mone;Mtwo;", "the last line has half an end");
	LINES("\n\r\nx\n\r", "K;K;Mx;K;", "empty lines");
	LINES("a\rb\r\r\n", "Ma\rb\r;", "a CR that ends no line");
	LINES("a\0b\n", "Ma\0b;", "NUL is a byte like others");
	LINES("12345678\n1\n", "M12345678;M1;", "as long as may be");
	LINES("12345678\r\n1\n", "M12345678;M1;", "as long as may be, with CR LF");
	LINES("123456789\n1\n", "L12345678;M1;", "too long by a byte");
	LINES("123456789\r\n1\n", "L12345678;M1;", "too long by a byte, with CR LF");
	LINES("1234567890123456789\n1\n", "L12345678;M1;", "much too long");
	LINES("1\n1234567890123456789", "M1;L12345678;", "too long and without end");
	LINES("12345678\r\r\n", "L12345678;", "too long by a CR");
#undef LINES
}

static void
test_events(void)
{
#define EVENTS(input, expected, name) check(EVN_FRAMING_SSE, BYTES(input), BYTES(expected), name)

	EVENTS("", "", "no events");
	EVENTS("data: x\n\n", "Mx;", "an event");
	EVENTS("data:x\n\ndata:  y\n\n", "Mx;M y;", "one blank is no part of the value");
	EVENTS("data: x\r\n\r\ndata: y\r\n\r\n", "Mx;My;", "CR LF");
	EVENTS("data: x\r\ndata: y\r\n\r\n", "Mx\ny;", "CR LF does not end two lines");
	EVENTS("data: x\r\rdata: y\r\r", "Mx;My;", "CR");
	EVENTS("data: x\r\n\n\rdata: y\n\r", "Mx;My;", "line ends of all kinds");
	EVENTS("data: x\ndata: y\ndata\ndata:\n\n", "Mx\ny\n\n;", "several lines of data");
	EVENTS("data\n\ndata\ndata\n\ndata:", "M;M\n;", "data that is empty");
	EVENTS("data: x\n", "", "an event that did not end");
	EVENTS("data: x", "", "a line that did not end");
	EVENTS("event: e\ndata: x\n\ndata: y\n\n", "Mx~e;My;", "a type is of one event");
	EVENTS("event: e\nevent: f\ndata: x\n\n", "Mx~f;", "the last type counts");
	EVENTS("id: 1\ndata: x\n\ndata: y\n\n", "Mx#1;My#1;", "an id stays");
	EVENTS("id: 1\ndata: x\n\nid\ndata: y\n\n", "Mx#1;My#;", "until an empty one comes");
	EVENTS("id: 1\ndata: x\n\nid: 2\0\ndata: y\n\n", "Mx#1;My#1;", "an id with NUL is none");
	EVENTS("id: 1\n\ndata: x\n\n", "K#1;Mx#1;", "an id without data");
	EVENTS("event: e\n\ndata: x\n\n", "K~e;Mx;", "a type without data");
	EVENTS(":\n\n: hello\n:)\n", "K;K;K;", "comments");
	EVENTS("data: x\n:thump\ndata: y\n\n", "K;Mx\ny;", "a comment within an event");
	EVENTS("Data: x\ndata : x\n data: x\ndatas: x\ndat: x\nx\n\n", "", "fields nobody knows");
	EVENTS("datadata\ndata: x\n\n", "Mx;", "a name that only begins like one");
	EVENTS("\n\n\r\n\r\r", "", "empty lines");
	EVENTS("\xEF\xBB\xBF"
		   "data: x\n\n",
		   "Mx;", "a byte order mark");
	EVENTS("\xEF\xBB\xBF\xEF\xBB\xBF"
		   "data: x\n\n",
		   "", "only one of them");
	EVENTS("\xEF\xBB"
		   "data: x\ndata: y\n\n",
		   "My;", "half of one is the name of a field");
	EVENTS("\xEF\n\ndata: y\n\n", "My;", "a third of one is a line");
	EVENTS("data: 12345678\n\ndata: x\n\n", "M12345678;Mx;", "as long as may be");
	EVENTS("data: 123456789\n\ndata: x\n\n", "L12345678;Mx;", "too long by a byte");
	EVENTS("data: 1234567\ndata\n\ndata: x\n\n", "M1234567\n;Mx;", "as long, in two lines");
	EVENTS("data: 1234567\ndata: 8\n\n", "L1234567\n;", "too long by a byte, in two lines");
	EVENTS("data: 12345678\ndata\n\n", "L12345678;", "too long by a line feed");
	EVENTS(":1234567890123456789\n1234567890: 1234567890\ndata: x\n\n", "K;Mx;",
		   "what is not kept may be long");
	EVENTS("id: 123456789\nevent: 123456789\ndata: x\n\n", "Mx~123456789#123456789;",
		   "types and ids have a limit of their own");
#undef EVENTS
}

static void
test_pieces(void)
{
#define PIECES(input, expected, name) \
	check(EVN_FRAMING_WEBSOCKET, BYTES(input), BYTES(expected), name)

	PIECES("", "", "no messages");
	PIECES("one\0two\0", "Mone;Mtwo;", "messages");
	PIECES("one\0two", "Mone;", "a message that did not end");
	PIECES("\0\0x\0", "K;K;Mx;", "empty messages");
	PIECES("a\r\nb\n\0", "Ma\r\nb\n;", "lines mean nothing in it");
	PIECES("12345678\0x\0", "M12345678;Mx;", "as long as may be");
	PIECES("123456789\0x\0", "L12345678;Mx;", "too long by a byte");
	PIECES("1234567890123456789\0x\0", "L12345678;Mx;", "much too long");
#undef PIECES
}

static void
test_zero_copy(void)
{
	static const char lines[] = "one\ntwo\r\nthr";
	static const char event[] = "event: e\nid: 1\ndata: x\n\n";
	EvnFramer		  framer;
	EvnFrame		  frame;

	evn_frame_init(&framer, EVN_FRAMING_LINES, MAX_LEN);
	evn_frame_feed(&framer, BYTES(lines));
	ok(evn_frame_next(&framer, &frame) == EVN_FRAME_MESSAGE && frame.data == lines,
	   "a line is where it was");
	ok(evn_frame_next(&framer, &frame) == EVN_FRAME_MESSAGE && frame.data == lines + 4,
	   "another one is where it was");
	ok(evn_frame_memory(&framer) == 0, "nothing was copied");
	ok(evn_frame_next(&framer, &frame) == EVN_FRAME_MORE && evn_frame_memory(&framer) > 0,
	   "what has no end yet is");
	ok(evn_frame_pending(&framer) == 3, "and pending");
	evn_frame_free(&framer);

	evn_frame_init(&framer, EVN_FRAMING_SSE, MAX_LEN);
	evn_frame_feed(&framer, BYTES(event));
	ok(evn_frame_next(&framer, &frame) == EVN_FRAME_MESSAGE && frame.data == event + 21 &&
		   frame.event == event + 7 && frame.id == event + 13 && evn_frame_memory(&framer) == 0,
	   "an event is where it was");
	ok(evn_frame_next(&framer, &frame) == EVN_FRAME_MORE && evn_frame_pending(&framer) == 0,
	   "and nothing pending");
	evn_frame_free(&framer);

	evn_frame_init(&framer, EVN_FRAMING_WEBSOCKET, MAX_LEN);
	evn_frame_feed_piece(&framer, BYTES(lines) - 5, true);
	ok(evn_frame_next(&framer, &frame) == EVN_FRAME_MESSAGE && frame.data == lines &&
		   evn_frame_memory(&framer) == 0,
	   "a message in one piece is where it was");
	evn_frame_free(&framer);
}

/* A file is read on from the end of any line in it. */
static void
test_resume(void)
{
	static const char file[] = "one\n\r\ntwo\r\n1234567890\nthree\n";
	EvnFramer		  framer;
	EvnFrame		  frame;
	Log				  all = {0};
	bool			  same = true;

	(void) run_frames(EVN_FRAMING_LINES, &all, log_short, BYTES(file), MAX_LEN, 0);
	evn_frame_init(&framer, EVN_FRAMING_LINES, MAX_LEN);
	evn_frame_feed(&framer, BYTES(file));
	while (evn_frame_next(&framer, &frame) != EVN_FRAME_MORE)
	{
		size_t offset = frame.end_offset;
		Log	   parts = {0};

		(void) run_frames(EVN_FRAMING_LINES, &parts, log_short, file, offset, MAX_LEN, 1);
		(void) run_frames(EVN_FRAMING_LINES, &parts, log_short, file + offset,
						  sizeof(file) - 1 - offset, MAX_LEN, 1);
		same = same && same_log(&parts, &all);
		log_free(&parts);
	}
	ok(same, "a file read on from any of its lines");
	evn_frame_free(&framer);
	log_free(&all);
}

static int64
retry_after(const char *stream)
{
	EvnFramer framer;
	EvnFrame  frame;
	size_t	  i;
	int64	  retry_ms;

	evn_frame_init(&framer, EVN_FRAMING_SSE, MAX_LEN);
	for (i = 0; i < strlen(stream); i++)
	{
		evn_frame_feed(&framer, stream + i, 1);
		while (evn_frame_next(&framer, &frame) != EVN_FRAME_MORE)
			;
	}
	retry_ms = evn_frame_retry_ms(&framer);
	evn_frame_free(&framer);
	return retry_ms;
}

static void
test_retry(void)
{
	ok(retry_after("data: x\n\n") == -1, "no retry");
	ok(retry_after("retry: 3000\n") == 3000, "a retry");
	ok(retry_after("retry: 3000") == -1, "a retry that is not complete");
	ok(retry_after("retry:0\n") == 0, "a retry of nothing");
	ok(retry_after("retry: 10\nretry: 20\n\n") == 20, "the last one counts");
	ok(retry_after("retry: 10\nretry: 2s\nretry: -1\nretry: \nretry\nretry:  1\n") == 10,
	   "what is no number does not count");
	ok(retry_after("retry: 99999999999999999999999999\n") == PG_INT32_MAX, "a retry without end");
}

/* an event whose type or id is as long as may be, and longer */
static void
test_names(void)
{
	static const char *const names[] = {"event: ", "id: "};
	static char				 stream[EVN_FRAME_NAME_MAX + 64];
	size_t					 i;
	int						 more;

	for (i = 0; i < lengthof(names); i++)
	{
		for (more = 0; more < 2; more++)
		{
			EvnFramer framer;
			EvnFrame  frame;
			size_t	  len = strlen(names[i]);

			memcpy(stream, names[i], len);
			memset(stream + len, 'x', EVN_FRAME_NAME_MAX + more);
			len += EVN_FRAME_NAME_MAX + more;
			memcpy(stream + len, "\ndata: y\n\n", 10);
			evn_frame_init(&framer, EVN_FRAMING_SSE, MAX_LEN);
			evn_frame_feed(&framer, stream, len + 10);
			ok(evn_frame_next(&framer, &frame) == (more ? EVN_FRAME_TOO_LONG : EVN_FRAME_MESSAGE) &&
				   frame.len == 1,
			   "%s%s", names[i], more ? "too long by a byte" : "as long as may be");
			evn_frame_free(&framer);
		}
	}
}

/* the linker makes this the realloc of everything: it fails after so many times, never if negative */
static int allocations_left = -1;

extern void *__real_realloc(void *memory, size_t size);
extern void *__wrap_realloc(void *memory, size_t size);

void *
__wrap_realloc(void *memory, size_t size)
{
	if (allocations_left == 0)
		return NULL;
	if (allocations_left > 0)
		allocations_left--;
	return __real_realloc(memory, size);
}

/* Feed byte by byte, with memory for so many buffers; returns whether that was enough. */
static bool
enough_memory(EvnFraming framing, const char *stream, int allocations)
{
	EvnFramer	   framer;
	EvnFrame	   frame;
	EvnFrameResult result = EVN_FRAME_MORE;
	size_t		   i;

	evn_frame_init(&framer, framing, MAX_LEN);
	allocations_left = allocations;
	for (i = 0; i < strlen(stream) && result == EVN_FRAME_MORE; i++)
	{
		evn_frame_feed(&framer, stream + i, 1);
		result = evn_frame_next(&framer, &frame);
	}
	allocations_left = -1;
	if (result == EVN_FRAME_NO_MEMORY)
		ok(evn_frame_next(&framer, &frame) == EVN_FRAME_NO_MEMORY &&
			   evn_frame_finish(&framer, &frame) == EVN_FRAME_NO_MEMORY,
		   "and it stays so, as bytes were lost");
	evn_frame_free(&framer);
	return result == EVN_FRAME_MESSAGE;
}

static void
test_no_memory(void)
{
	static const char event[] = "event: e\nid: 1\ndata: x\ndata: y\n\n";
	int				  enough = 0;

	ok(!enough_memory(EVN_FRAMING_LINES, "line\n", 0), "no memory for a line");
	ok(enough_memory(EVN_FRAMING_LINES, "line\n", 1), "memory for a line");
	ok(!enough_memory(EVN_FRAMING_WEBSOCKET, "piece", 0), "no memory for a message");
	while (!enough_memory(EVN_FRAMING_SSE, event, enough))
		enough++;
	ok(enough == 3, "an event takes three buffers, and fails without any of them");
}

/* Bytes that mean something, in any order. */
static size_t
draw(uint32 *seed, char *out, size_t size)
{
	static const char *const tokens[] = {"data",	 "event",  "id",	   "retry", ":",
										 ":",		 " ",	   "\n",	   "\n",	"\r",
										 "\r\n",	 "x",	   "12",	   "\xEF",	"",
										 "abcdefgh", "data: ", "\ndata:x", "\n\n",	"\xEF\xBB\xBF"};
	size_t					 len = 0;
	size_t					 wanted;

	*seed = *seed * 1664525 + 1013904223;
	wanted = (*seed >> 16) % (size - 16);
	while (len < wanted)
	{
		const char *token;

		*seed = *seed * 1664525 + 1013904223;
		token = tokens[(*seed >> 16) % lengthof(tokens)];
		if (*token == '\0')
			out[len++] = '\0';
		memcpy(out + len, token, strlen(token));
		len += strlen(token);
	}
	return len;
}

static void
test_drawn(EvnFraming framing, const char *name)
{
	uint32 seed = 42;
	int	   wrong = 0;
	int	   i;

	for (i = 0; i < DRAWN; i++)
	{
		char   stream[96];
		size_t len = draw(&seed, stream, sizeof(stream));
		size_t max_len = 1 + seed % 32;
		Log	   expected = {0};
		Log	   whole = {0};
		Log	   cut = {0};

		reference_frames(framing, &expected, stream, len, max_len);
		if (!run_frames(framing, &whole, log_frame, stream, len, max_len, 0) ||
			!run_frames(framing, &cut, log_frame, stream, len, max_len, seed) ||
			!same_log(&whole, &expected) || !same_log(&cut, &expected))
			wrong++;
		log_free(&expected);
		log_free(&whole);
		log_free(&cut);
	}
	ok(wrong == 0, "%s drawn by lot, cut anywhere, are what the reference says (%d of %d differ)",
	   name, wrong, DRAWN);
}

int
main(void)
{
	test_lines();
	test_events();
	test_pieces();
	test_zero_copy();
	test_resume();
	test_retry();
	test_names();
	test_no_memory();
	test_drawn(EVN_FRAMING_LINES, "lines");
	test_drawn(EVN_FRAMING_SSE, "events");
	test_drawn(EVN_FRAMING_WEBSOCKET, "messages");
	return tap_done();
}
