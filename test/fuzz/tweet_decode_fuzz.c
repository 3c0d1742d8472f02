/*
 * tweet_decode_fuzz.c
 *		Any bytes into the decoder.
 *
 * Besides what the sanitizers see, it must agree with PostgreSQL's JSON
 * parser, which has the same lexer but a grammar of its own, on what is JSON,
 * return nothing out of its ranges, and take a message that it took once more
 * with white space around it.
 */
#include "c.h"

#include "common/jsonapi.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "tweet_decode.h"

/* small blocks, so that writing past what was allocated is noticed */
#define ARENA_BLOCK 16

#define EPOCH_2000 INT64CONST(946684800)
#define FIRST_TIME ((INT64CONST(1136073600) - EPOCH_2000) * 1000000)
#define LAST_TIME  ((INT64CONST(4102444800) - EPOCH_2000) * 1000000 - 1)

extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

static void
require(bool condition)
{
	if (!condition)
		abort();
}

static bool
is_json(const char *json, size_t len)
{
	JsonLexContext lex;

	evn_json_lex_open(&lex, json, len);
	return pg_parse_json(&lex, &nullSemAction) == JSON_SUCCESS;
}

/* Results that say something about the whole text; the others may come before its end. */
static void
check_grammar(EvnDecodeResult result, const char *json, size_t len)
{
	switch (result)
	{
		case EVN_DECODE_OK:
		case EVN_DECODE_NO_ID:
		case EVN_DECODE_NO_TIME:
		case EVN_DECODE_BAD_TIME:
		case EVN_DECODE_UNKNOWN_FORM:
			require(is_json(json, len));
			break;
		case EVN_DECODE_BAD_JSON:
			require(!is_json(json, len));
			break;
		default:
			break;
	}
}

static void
check_text(EvnText text)
{
	if (text.data == NULL)
	{
		require(text.len == 0);
		return;
	}
	require(text.len >= 0);
	require(pg_encoding_verifymbstr(PG_UTF8, text.data, text.len) == text.len);
}

static void
check_tweet(const EvnTweet *tweet)
{
	int i;

	require(tweet->id > 0);
	require(tweet->created_at >= FIRST_TIME && tweet->created_at <= LAST_TIME);
	require(tweet->author_id >= 0);
	require(tweet->kind >= EVN_KIND_POST && tweet->kind <= EVN_KIND_QUOTE);
	check_text(tweet->lang);
	check_text(tweet->text);
	check_text(tweet->hints.place);
	check_text(tweet->hints.country_code);
	check_text(tweet->hints.profile);
	if (tweet->hints.has_point)
		require(tweet->hints.lon >= -180 && tweet->hints.lon <= 180 && tweet->hints.lat >= -90 &&
				tweet->hints.lat <= 90);
	for (i = 0; i < tweet->nhashtags; i++)
		check_text(tweet->hashtags[i]);
}

static bool
same_text(EvnText a, EvnText b)
{
	return (a.data == NULL) == (b.data == NULL) && a.len == b.len &&
		   (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Decode again with white space around it. */
static void
check_again(EvnDecoder *decoder, EvnArena *arena, EvnDecodeResult result, const EvnTweet *tweet,
			const char *json, size_t len)
{
	char	*spaced = malloc(len + 4);
	EvnTweet again;

	require(spaced != NULL);
	memcpy(spaced, "\n ", 2);
	memcpy(spaced + 2, json, len);
	memcpy(spaced + 2 + len, "\r\n", 2);
	require(evn_tweet_decode(decoder, arena, spaced, len + 4, &again) == result);
	if (result == EVN_DECODE_OK)
		require(again.type == tweet->type && again.kind == tweet->kind && again.id == tweet->id &&
				again.created_at == tweet->created_at && again.author_id == tweet->author_id &&
				again.nhashtags == tweet->nhashtags && same_text(again.text, tweet->text) &&
				same_text(again.hints.place, tweet->hints.place) &&
				same_text(again.hints.profile, tweet->hints.profile));
	free(spaced);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static EvnDecoder *decoder = NULL;
	const char		  *json = (const char *) data;
	EvnArena		  *arena = evn_arena_create(ARENA_BLOCK);
	EvnTweet		   tweet;
	EvnDecodeResult	   result;

	/* one for all inputs, as a worker has it; what one leaves behind must not matter to the next */
	if (decoder == NULL)
		decoder = evn_tweet_decoder_create();
	require(arena != NULL && decoder != NULL);
	result = evn_tweet_decode(decoder, arena, json, size, &tweet);
	require(result != EVN_DECODE_NO_MEMORY);
	check_grammar(result, json, size);
	if (result == EVN_DECODE_OK && tweet.type == EVN_MESSAGE_TWEET)
		check_tweet(&tweet);
	if (result == EVN_DECODE_OK && tweet.type == EVN_MESSAGE_DELETE)
		require(tweet.id > 0);
	/* what is cut off within an escape is wrong in another way when it goes on */
	if (result != EVN_DECODE_BAD_JSON)
		check_again(decoder, arena, result, &tweet, json, size);
	evn_arena_free(arena);
	return 0;
}
