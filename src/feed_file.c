/*
 * feed_file.c
 *		Archives: files of one message a line, plain or compressed.
 *
 * The endpoint is a path or a pattern; files are read in the order of their
 * names.  The cursor is the file and the offset after the last line, in bytes
 * as uncompressed.  By that order a file was read or not: one that appears
 * later, but sorts before the cursor, is not read.
 */
#include "postgres.h"

#include <glob.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "archive_reader.h"
#include "compat.h"
#include "feed_file.h"
#include "frame.h"
#include "tweet_decode.h"
#include "worker.h"

#define ARENA_BLOCK (64 * 1024)

typedef struct FileFeed
{
	char	  **paths;
	int			npaths;
	int			current; /* npaths when all are read */
	EvnArchive *archive; /* of the current path; NULL before it is opened */
	bool		ended;	 /* it has no more bytes */
	EvnFramer	framer;
	int64		skip; /* bytes of the current file that are not wanted any more */

	bool		   has_message; /* read, and not taken yet */
	EvnFeedMessage message;
	int64		   message_end;

	/* after the last message that was taken; NULL before the first */
	char *cursor_file;
	int64 cursor_offset;

	EvnDecoder *decoder;
	EvnArena   *arena;

	/* at recorded pace: message time and the clock run side by side from these on */
	double		pace; /* times as fast; 0: as fast as it goes */
	int64		first_created_at;
	TimestampTz began_at; /* 0 before the first message */
	TimestampTz due;	  /* when the message is to be handed out */
} FileFeed;

/* ---- open and close */

static void
close_archive(FileFeed *feed)
{
	if (feed->archive != NULL)
		evn_archive_close(feed->archive);
	feed->archive = NULL;
	evn_frame_free(&feed->framer);
}

static void
close_feed(void *arg)
{
	FileFeed *feed = arg;

	close_archive(feed);
	if (feed->decoder != NULL)
		evn_tweet_decoder_free(feed->decoder);
	if (feed->arena != NULL)
		evn_arena_free(feed->arena);
}

/* The files of a pattern in the order of their names; names without wildcards need not exist. */
static char **
find_paths(const char *pattern, int *npaths)
{
	glob_t found;
	char **paths;

	switch (glob(pattern, GLOB_NOCHECK, NULL, &found))
	{
		case 0:
			break;
		case GLOB_NOSPACE:
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("could not list the files of \"%s\"", pattern)));
	}
	/* nothing is raised until they are copied, but for want of memory */
	paths = palloc(sizeof(char *) * (found.gl_pathc + 1));
	for (size_t i = 0; i < found.gl_pathc; i++)
		paths[i] = pstrdup(found.gl_pathv[i]);
	*npaths = (int) found.gl_pathc;
	globfree(&found);
	return paths;
}

static void
go_to_cursor(FileFeed *feed, const Jsonb *cursor)
{
	char *file = evn_source_param(cursor, "file");
	char *offset = evn_source_param(cursor, "offset");

	if (file == NULL || offset == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the position of the source is not one in files")));
	feed->cursor_file = file;
	feed->cursor_offset = pg_strtoint64(offset);
	while (feed->current < feed->npaths && strcmp(feed->paths[feed->current], file) < 0)
		feed->current++;
	if (feed->current < feed->npaths && strcmp(feed->paths[feed->current], file) == 0)
		feed->skip = feed->cursor_offset;
}

static double
read_pace(const Jsonb *params)
{
	char  *text = evn_source_param(params, "pace");
	double pace =
		text == NULL ? 0 : DatumGetFloat8(DirectFunctionCall1(float8in, CStringGetDatum(text)));

	if (!(pace >= 0 && pace <= 1e6))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" must be between 0 and 1000000, not \"%s\"", "pace", text),
				 errhint("1 is as recorded, 10 ten times as fast, 0 as fast as it goes.")));
	return pace;
}

static void
file_check(const char *endpoint, const Jsonb *params)
{
	if (!is_absolute_path(endpoint))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is not an absolute path", endpoint),
						errhint("The endpoint of archives is a path, or a pattern like "
								"\"/srv/posts/*.ndjson.gz\".")));
	(void) read_pace(params);
}

static EvnFeed *
file_open(const EvnSource *source, const EvnFeedServer *server)
{
	FileFeed			  *feed = palloc0(sizeof(FileFeed));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	feed->paths = find_paths(source->endpoint, &feed->npaths);
	if (source->cursor != NULL)
		go_to_cursor(feed, source->cursor);
	feed->pace = read_pace(source->params);
	callback->func = close_feed;
	callback->arg = feed;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	feed->decoder = evn_tweet_decoder_create();
	feed->arena = evn_arena_create(ARENA_BLOCK);
	if (feed->decoder == NULL || feed->arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return (EvnFeed *) feed;
}

/* ---- read */

pg_noreturn static void
fail(const FileFeed *feed, const char *error)
{
	ereport(ERROR, (errcode(ERRCODE_IO_ERROR),
					errmsg("could not read file \"%s\": %s", feed->paths[feed->current], error)));
}

static void
open_archive(FileFeed *feed)
{
	char error[EVN_ARCHIVE_ERROR_LEN];

	feed->archive = evn_archive_open(feed->paths[feed->current], error);
	if (feed->archive == NULL)
		fail(feed, error);
	feed->ended = false;
	evn_frame_init(&feed->framer, EVN_FRAMING_LINES, EVN_FEED_MAX_MESSAGE);
}

/* More bytes for the framer; false at the end of the file. */
static bool
read_more(FileFeed *feed)
{
	char		error[EVN_ARCHIVE_ERROR_LEN];
	const char *data;
	size_t		len;

	CHECK_FOR_INTERRUPTS();
	if (!evn_archive_read(feed->archive, &data, &len, error))
		fail(feed, error);
	feed->ended = len == 0;
	if (!feed->ended)
		evn_frame_feed(&feed->framer, data, len);
	return !feed->ended;
}

static EvnFrameResult
next_frame(FileFeed *feed, EvnFrame *frame)
{
	EvnFrameResult result;

	do
	{
		result = feed->ended ? evn_frame_finish(&feed->framer, frame)
							 : evn_frame_next(&feed->framer, frame);
	} while (result == EVN_FRAME_MORE && !feed->ended && (read_more(feed) || feed->ended));
	if (result == EVN_FRAME_NO_MEMORY)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return result;
}

static void
next_file(FileFeed *feed)
{
	close_archive(feed);
	feed->current++;
	feed->skip = 0;
}

/* The next line that is wanted; false when all files are read. */
static bool
read_message(FileFeed *feed)
{
	EvnFrame	   frame;
	EvnFrameResult result;

	while (feed->current < feed->npaths)
	{
		if (feed->archive == NULL)
			open_archive(feed);
		result = next_frame(feed, &frame);
		if (result == EVN_FRAME_MORE)
		{
			next_file(feed);
			continue;
		}
		if (result == EVN_FRAME_KEEP_ALIVE || (int64) frame.end_offset <= feed->skip)
			continue;
		feed->message.data = frame.data;
		feed->message.len = frame.len;
		feed->message.too_long = result == EVN_FRAME_TOO_LONG;
		feed->message_end = frame.end_offset;
		return true;
	}
	return false;
}

/* When a post is to be handed out: as long after the first one as it was then. */
static TimestampTz
due_at(FileFeed *feed, int64 created_at)
{
	if (feed->began_at == 0)
	{
		feed->first_created_at = created_at;
		feed->began_at = GetCurrentTimestamp();
	}
	return feed->began_at + (int64) ((created_at - feed->first_created_at) / feed->pace);
}

/* What the line is, if it is anything: it is handed out in any case. */
static void
look_at_message(FileFeed *feed)
{
	EvnTweet tweet;

	feed->message.id = 0;
	evn_arena_reset(feed->arena);
	if (evn_tweet_decode(feed->decoder, feed->arena, feed->message.data, feed->message.len,
						 &tweet) != EVN_DECODE_OK ||
		tweet.type == EVN_MESSAGE_NOTICE)
		return;
	feed->message.id = tweet.id;
	/* anything but a post goes with the one before it */
	if (feed->pace > 0 && tweet.type == EVN_MESSAGE_TWEET)
		feed->due = due_at(feed, tweet.created_at);
}

static EvnFeedResult
file_next(EvnFeed *handle, EvnFeedMessage *message)
{
	FileFeed *feed = (FileFeed *) handle;

	if (!feed->has_message)
	{
		feed->has_message = read_message(feed);
		if (!feed->has_message)
			return EVN_FEED_END;
		look_at_message(feed);
	}
	if (feed->pace > 0 && feed->due > GetCurrentTimestamp())
		return EVN_FEED_WAIT;
	*message = feed->message;
	return EVN_FEED_MESSAGE;
}

static void
file_take(EvnFeed *handle)
{
	FileFeed *feed = (FileFeed *) handle;

	feed->has_message = false;
	feed->cursor_file = feed->paths[feed->current];
	feed->cursor_offset = feed->message_end;
}

/* Its time has not come. */
static void
file_status(const EvnFeed *handle, EvnSourceStatus *status)
{
	*status = (EvnSourceStatus) {.state = EVN_WORKER_IDLE, .rate_left = -1};
}

static void
file_wait(EvnFeed *handle, long timeout_ms)
{
	FileFeed *feed = (FileFeed *) handle;

	if (feed->has_message)
		timeout_ms =
			Min(timeout_ms, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), feed->due) + 1);
	evn_worker_wait(timeout_ms);
}

static Jsonb *
file_cursor(EvnFeed *handle)
{
	FileFeed	  *feed = (FileFeed *) handle;
	StringInfoData text;

	if (feed->cursor_file == NULL)
		return NULL;
	initStringInfo(&text);
	appendStringInfoString(&text, "{\"file\": ");
	escape_json(&text, feed->cursor_file);
	appendStringInfo(&text, ", \"offset\": " INT64_FORMAT "}", feed->cursor_offset);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data)));
}

const EvnFeedApi evn_feed_file = {
	.name = "file",
	.params = "pace",
	.reads_files = true,
	.check = file_check,
	.open = file_open,
	.next = file_next,
	.take = file_take,
	.status = file_status,
	.wait = file_wait,
	.cursor = file_cursor,
};
