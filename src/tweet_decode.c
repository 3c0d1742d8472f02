/*
 * tweet_decode.c
 *		One message into one EvnTweet: what a draft means.
 *
 * doc/messages.md states the rules.
 */
#include "c.h"

#include "tweet_decode.h"
#include "tweet_draft.h"
#include "tweet_time.h"

EvnDecoder *
evn_tweet_decoder_create(void)
{
	EvnDecoder *decoder = calloc(1, sizeof(EvnDecoder));

	if (decoder != NULL)
		evn_tweet_field_index(&decoder->fields);
	return decoder;
}

void
evn_tweet_decoder_free(EvnDecoder *decoder)
{
	if (decoder == NULL)
		return;
	free(decoder->tags);
	free(decoder);
}

static inline EvnText
first_of(EvnText a, EvnText b)
{
	return a.data != NULL ? a : b;
}

static EvnDecodeResult
judge_author(const EvnDraft *draft, EvnTweet *tweet)
{
	const EvnDraftId *id = evn_tweet_draft_id(&draft->author_id, &draft->author_id_str);

	if (id->given && id->value < 0)
		return EVN_DECODE_BAD_VALUE;
	tweet->has_author = id->given;
	tweet->author_id = id->value;
	return EVN_DECODE_OK;
}

static EvnDecodeResult
judge_time(const EvnDraft *draft, EvnTweet *tweet)
{
	EvnDraftScalar value = draft->timestamp_ms;
	bool		   readable;

	if (value.type == EVN_JSON_NULL)
		value = draft->created_at;
	if (value.type == EVN_JSON_NULL)
		value = draft->timestamp;
	if (value.type == EVN_JSON_NULL)
		return evn_tweet_time_of_id(tweet->id, &tweet->created_at) ? EVN_DECODE_OK
																   : EVN_DECODE_NO_TIME;
	if (value.type == EVN_JSON_NUMBER)
		readable = evn_tweet_time_parse_number(value.text, &tweet->created_at);
	else
		readable = evn_tweet_time_parse(value.text, &tweet->created_at);
	return readable ? EVN_DECODE_OK : EVN_DECODE_BAD_TIME;
}

static EvnTweetKind
judge_kind(const EvnDraft *draft)
{
	if (draft->retweet)
		return EVN_KIND_RETWEET;
	if (draft->reply)
		return EVN_KIND_REPLY;
	return draft->quote ? EVN_KIND_QUOTE : EVN_KIND_POST;
}

/* coordinates are the post's own; geo is the older spelling, lon and lat the flat one */
static void
judge_point(const EvnDraft *draft, EvnCityHints *hints)
{
	EvnDraftPoint point = draft->coordinates.given ? draft->coordinates : draft->geo;

	if (!point.given && draft->lon.given && draft->lat.given)
		evn_tweet_draft_set_point(&point, draft->lon.value, draft->lat.value);
	hints->has_point = point.given;
	hints->lon = point.lon;
	hints->lat = point.lat;
}

static void
judge_hints(const EvnDraft *draft, EvnCityHints *hints)
{
	EvnText country = first_of(draft->place_country_code, draft->country_code);

	hints->place = first_of(draft->city, first_of(draft->place_full_name, draft->place_name));
	if (country.len == 2)
		hints->country_code = country;
	hints->profile = draft->profile;
	judge_point(draft, hints);
}

static EvnDecodeResult
judge_hashtags(const EvnDecoder *decoder, const EvnDraft *draft, EvnTweet *tweet)
{
	const EvnDraftTags *tags = &draft->plain_tags;
	EvnText			   *copy;

	if (draft->long_tags.given)
		tags = &draft->long_tags;
	else if (draft->tags.given)
		tags = &draft->tags;
	if (tags->count == 0)
		return EVN_DECODE_OK;
	copy = evn_arena_alloc(decoder->arena, tags->count * sizeof(EvnText));
	if (copy == NULL)
		return EVN_DECODE_NO_MEMORY;
	memcpy(copy, decoder->tags + tags->first, tags->count * sizeof(EvnText));
	tweet->hashtags = copy;
	tweet->nhashtags = tags->count;
	return EVN_DECODE_OK;
}

static EvnDecodeResult
judge_post(const EvnDecoder *decoder, const EvnDraft *draft, EvnTweet *tweet)
{
	EvnDecodeResult result;

	tweet->type = EVN_MESSAGE_TWEET;
	tweet->id = evn_tweet_draft_id(&draft->id, &draft->id_str)->value;
	if (tweet->id <= 0)
		return EVN_DECODE_NO_ID;
	result = judge_time(draft, tweet);
	if (result == EVN_DECODE_OK)
		result = judge_author(draft, tweet);
	if (result == EVN_DECODE_OK)
		result = judge_hashtags(decoder, draft, tweet);
	tweet->kind = judge_kind(draft);
	tweet->lang = draft->lang;
	tweet->text = first_of(draft->long_text, first_of(draft->full_text, draft->text));
	judge_hints(draft, &tweet->hints);
	return result;
}

static EvnDecodeResult
judge_deletion(const EvnDraft *draft, EvnTweet *tweet)
{
	tweet->type = EVN_MESSAGE_DELETE;
	tweet->id = evn_tweet_draft_id(&draft->deleted_id, &draft->deleted_id_str)->value;
	return tweet->id > 0 ? EVN_DECODE_OK : EVN_DECODE_NO_ID;
}

static inline bool
has_id(const EvnDraft *draft)
{
	return draft->id.given || draft->id_str.given;
}

/* a post that lost its id, rather than something else */
static bool
looks_like_post(const EvnDraft *draft)
{
	return draft->text.data != NULL || draft->full_text.data != NULL || draft->user ||
		   draft->author_id.given || draft->created_at.type != EVN_JSON_NULL ||
		   draft->timestamp.type != EVN_JSON_NULL || draft->timestamp_ms.type != EVN_JSON_NULL;
}

static EvnDecodeResult
judge_draft(const EvnDecoder *decoder, const EvnDraft *draft, EvnTweet *tweet)
{
	if (has_id(draft))
		return judge_post(decoder, draft, tweet);
	if (draft->deletion)
		return judge_deletion(draft, tweet);
	if (looks_like_post(draft))
		return EVN_DECODE_NO_ID;
	if (!draft->notice)
		return EVN_DECODE_UNKNOWN_FORM;
	tweet->type = EVN_MESSAGE_NOTICE;
	return EVN_DECODE_OK;
}

/* An id in the outermost object makes that the post; else "data" is, if there is one. */
static EvnDecodeResult
judge_message(const EvnDecoder *decoder, const EvnMessage *message, EvnTweet *tweet)
{
	if (has_id(&message->top))
		return judge_post(decoder, &message->top, tweet);
	if (message->has_data)
		return judge_draft(decoder, &message->data, tweet);
	if (message->strange_data)
		return EVN_DECODE_UNKNOWN_FORM;
	return judge_draft(decoder, &message->top, tweet);
}

static bool
is_blank(const char *payload, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
	{
		if (payload[i] != ' ' && payload[i] != '\t' && payload[i] != '\r' && payload[i] != '\n')
			return false;
	}
	return true;
}

/* JSON, but not an object. */
static EvnDecodeResult
refuse(EvnJsonScan *scan, const EvnJsonValue *value)
{
	evn_json_scan_skip(scan, value);
	return evn_json_scan_end(scan) ? EVN_DECODE_UNKNOWN_FORM : scan->error;
}

EvnDecodeResult
evn_tweet_decode(EvnDecoder *decoder, EvnArena *arena, const char *payload, size_t len,
				 EvnTweet *tweet)
{
	EvnMessage	 message;
	EvnJsonValue value;

	if (payload == NULL || is_blank(payload, len))
		return EVN_DECODE_EMPTY;
	if (len > EVN_DECODE_MAX_BYTES)
		return EVN_DECODE_TOO_LARGE;
	if (!evn_json_scan_open(&decoder->scan, payload, len, &value))
		return decoder->scan.error;
	if (value.type != EVN_JSON_OBJECT)
		return refuse(&decoder->scan, &value);
	decoder->arena = arena;
	evn_tweet_draft_read(decoder, &message);
	if (decoder->scan.error != EVN_DECODE_OK)
		return decoder->scan.error;
	memset(tweet, 0, sizeof(EvnTweet));
	return judge_message(decoder, &message, tweet);
}

typedef struct ResultText
{
	const char *code;
	const char *message;
} ResultText;

static const ResultText result_texts[] = {
	[EVN_DECODE_OK] = {"ok", "decoded"},
	[EVN_DECODE_EMPTY] = {"empty", "the message has no content"},
	[EVN_DECODE_TOO_LARGE] = {"too_large", "the message is larger than 4 MB"},
	[EVN_DECODE_BAD_ENCODING] = {"bad_encoding", "the message is not valid UTF-8"},
	[EVN_DECODE_NUL] = {"nul", "the message holds a NUL character, which text cannot store"},
	[EVN_DECODE_BAD_ESCAPE] = {"bad_escape",
							   "the message holds a malformed escape or half a surrogate pair"},
	[EVN_DECODE_BAD_JSON] = {"bad_json", "the message is not complete, well-formed JSON"},
	[EVN_DECODE_TOO_DEEP] = {"too_deep", "the message is nested deeper than 64 levels"},
	[EVN_DECODE_DUPLICATE_KEY] = {"duplicate_key", "a key stands twice in one object"},
	[EVN_DECODE_NO_ID] = {"no_id", "the post has no id that is a positive 64-bit integer"},
	[EVN_DECODE_NO_TIME] = {"no_time", "the post has no time, and its id does not hold one"},
	[EVN_DECODE_BAD_TIME] = {"bad_time",
							 "the time of the post is unreadable or not between 2006 and 2099"},
	[EVN_DECODE_BAD_VALUE] = {"bad_value", "a field is not of the type or range it should be"},
	[EVN_DECODE_UNKNOWN_FORM] = {"unknown_form", "the message is JSON but none of the known forms"},
	[EVN_DECODE_NO_MEMORY] = {"no_memory", "out of memory"},
};

const char *
evn_tweet_decode_code(EvnDecodeResult result)
{
	return result_texts[result].code;
}

const char *
evn_tweet_decode_message(EvnDecodeResult result)
{
	return result_texts[result].message;
}
