/*
 * batch.c
 *		The messages of one ingest transaction.
 */
#include "postgres.h"

#include "batch.h"

const char evn_batch_too_old[] = "too_old";

static void
mark_dead(EvnBatchMessage *message, const char *reason, const char *detail)
{
	message->decoded = EVN_OUTCOME_DEAD;
	message->reason = reason;
	message->detail = detail;
}

void
evn_batch_decode(EvnBatchMessage *message, EvnDecoder *decoder, EvnArena *arena,
				 const EvnAccepted *accepted)
{
	EvnDecodeResult result = evn_tweet_decode(decoder, arena, message->kafka.payload,
											  message->kafka.len, &message->tweet);

	if (result == EVN_DECODE_NO_MEMORY)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory decoding a message")));
	if (result != EVN_DECODE_OK)
		mark_dead(message, evn_tweet_decode_code(result), evn_tweet_decode_message(result));
	else if (message->tweet.type == EVN_MESSAGE_DELETE)
		message->decoded = EVN_OUTCOME_DELETE;
	else if (message->tweet.type == EVN_MESSAGE_NOTICE)
		message->decoded = EVN_OUTCOME_NOTICE;
	else if (message->tweet.created_at < accepted->earliest)
		mark_dead(message, evn_batch_too_old, "the post is older than the stream's retention");
	else if (message->tweet.created_at > accepted->latest)
		mark_dead(message, "in_the_future",
				  "the post's time is ahead of the server's clock by more than evilnet.max_future");
	else
		message->decoded = EVN_OUTCOME_ROW;
	message->outcome = message->decoded;
}
