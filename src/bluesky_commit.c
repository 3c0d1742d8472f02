/*
 * bluesky_commit.c
 *		What Jetstream says of a record.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "bluesky_commit.h"
#include "compat.h"
#include "tweet_time.h"

#define UNIX_EPOCH_US ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

enum
{
	DID,
	TIME_US,
	KIND,
	COMMIT,
	NFIELDS
};

static const char *const names[NFIELDS] = {
	[DID] = "did", [TIME_US] = "time_us", [KIND] = "kind", [COMMIT] = "commit"};

enum
{
	OPERATION,
	COLLECTION,
	RKEY,
	RECORD,
	NCOMMIT
};

static const char *const commit_names[NCOMMIT] = {
	[OPERATION] = "operation", [COLLECTION] = "collection", [RKEY] = "rkey", [RECORD] = "record"};

enum
{
	CREATED_AT,
	LANGS,
	TEXT,
	FACETS,
	REPLY,
	NRECORD
};

static const char *const record_names[NRECORD] = {[CREATED_AT] = "createdAt",
												  [LANGS] = "langs",
												  [TEXT] = "text",
												  [FACETS] = "facets",
												  [REPLY] = "reply"};

/* A message under way. */
typedef struct Reader
{
	EvnJsonScan scan;
	EvnArena   *arena;
	StringInfo	flat;
} Reader;

static bool
is_text(Reader *reader, const EvnJsonValue *value, const char *word)
{
	EvnText text = evn_flat_text_of(&reader->scan, reader->arena, value);

	return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

/* The hash of "did/rkey", which names a record for good; 0 when memory is out. */
static int64
record_id(Reader *reader, EvnText did, EvnText rkey)
{
	char *name = evn_arena_alloc(reader->arena, did.len + 1 + rkey.len);

	if (name == NULL)
	{
		(void) evn_json_scan_fail(&reader->scan, EVN_DECODE_NO_MEMORY);
		return 0;
	}
	memcpy(name, did.data, did.len);
	name[did.len] = '/';
	memcpy(name + did.len + 1, rkey.data, rkey.len);
	return evn_flat_hash(name, did.len + 1 + rkey.len);
}

/* ---- a record */

/* Whoever posts says when: believed when it is about when Jetstream saw it. */
static bool
is_credible(Reader *reader, const EvnJsonValue *created_at, int64 time_us)
{
	EvnText text = evn_flat_text_of(&reader->scan, reader->arena, created_at);
	int64	said;

	if (text.data == NULL || !evn_tweet_time_parse(text, &said))
		return false;
	said += UNIX_EPOCH_US;
	return said >= time_us - USECS_PER_DAY && said <= time_us + USECS_PER_DAY;
}

static void
add_time(Reader *reader, const EvnJsonValue *created_at, int64 time_us)
{
	if (time_us == 0 || is_credible(reader, created_at, time_us))
		evn_flat_add(reader->flat, "created_at", created_at);
	else
		evn_flat_add_number(reader->flat, "created_at", time_us / 1000);
}

/* The first language without what follows it: "pt" of "pt-BR". */
static void
add_language(Reader *reader, const EvnJsonValue *langs)
{
	EvnJsonScan	 inner = {.error = EVN_DECODE_OK};
	EvnJsonValue element;
	EvnText		 lang;
	const char	*dash;

	if (langs->type != EVN_JSON_ARRAY || !evn_json_scan_reopen(&inner, langs->text.raw, &element) ||
		!evn_json_scan_element(&inner, &element))
		return;
	lang = evn_flat_text_of(&inner, reader->arena, &element);
	if (lang.data == NULL)
		return;
	dash = memchr(lang.data, '-', lang.len);
	if (dash != NULL)
		lang.len = (int32) (dash - lang.data);
	evn_flat_add_text(reader->flat, "lang", lang);
}

/* The tags among the features of one facet. */
static void
add_features(Reader *reader, const EvnJsonValue *features)
{
	static const char *const feature_names[] = {"$type", "tag"};
	EvnJsonScan				 inner = {.error = EVN_DECODE_OK};
	EvnJsonValue			 element;
	EvnJsonValue			 feature[lengthof(feature_names)];

	if (features->type != EVN_JSON_ARRAY ||
		!evn_json_scan_reopen(&inner, features->text.raw, &element))
		return;
	while (evn_json_scan_element(&inner, &element))
	{
		if (element.type != EVN_JSON_OBJECT)
		{
			(void) evn_json_scan_skip(&inner, &element);
			continue;
		}
		evn_flat_pick(&inner, reader->arena, feature_names, lengthof(feature_names), feature);
		if (is_text(reader, &feature[0], "app.bsky.richtext.facet#tag") &&
			feature[1].type == EVN_JSON_STRING)
			evn_flat_add_element(reader->flat, &feature[1]);
	}
}

static void
add_hashtags(Reader *reader, const EvnJsonValue *facets)
{
	static const char *const facet_names[] = {"features"};
	EvnJsonScan				 inner = {.error = EVN_DECODE_OK};
	EvnJsonValue			 element;
	EvnJsonValue			 features;

	if (facets->type != EVN_JSON_ARRAY || !evn_json_scan_reopen(&inner, facets->text.raw, &element))
		return;
	appendStringInfoString(reader->flat, ",\"hashtags\":[");
	while (evn_json_scan_element(&inner, &element))
	{
		if (element.type != EVN_JSON_OBJECT)
		{
			(void) evn_json_scan_skip(&inner, &element);
			continue;
		}
		evn_flat_pick(&inner, reader->arena, facet_names, 1, &features);
		add_features(reader, &features);
	}
	appendStringInfoChar(reader->flat, ']');
}

/* Where the post that is replied to is, if there is one. */
static void
add_reply(Reader *reader, const EvnJsonValue *reply)
{
	static const char *const reply_names[] = {"parent"};
	static const char *const parent_names[] = {"uri"};
	EvnJsonValue			 parent;
	EvnJsonValue			 uri;

	evn_flat_pick_in(&reader->scan, reader->arena, reply, reply_names, 1, &parent);
	evn_flat_pick_in(&reader->scan, reader->arena, &parent, parent_names, 1, &uri);
	if (uri.type == EVN_JSON_STRING)
		evn_flat_add(reader->flat, "in_reply_to_status_id", &uri);
}

static void
add_record(Reader *reader, const EvnJsonValue *record, const EvnCommit *commit, EvnText did,
		   bool repost)
{
	EvnJsonValue fields[NRECORD];

	evn_flat_pick_in(&reader->scan, reader->arena, record, record_names, NRECORD, fields);
	evn_flat_begin(reader->flat);
	evn_flat_add_number(reader->flat, "id", commit->id);
	add_time(reader, &fields[CREATED_AT], commit->time_us);
	evn_flat_add_number(reader->flat, "author_id", evn_flat_hash(did.data, did.len));
	add_language(reader, &fields[LANGS]);
	if (repost)
		appendStringInfoString(reader->flat, ",\"is_retweet\":true");
	else
		evn_flat_add(reader->flat, "text", &fields[TEXT]);
	add_hashtags(reader, &fields[FACETS]);
	add_reply(reader, &fields[REPLY]);
	evn_flat_end(reader->flat);
}

/* ---- a message */

static EvnCommitResult
read_commit(Reader *reader, const EvnJsonValue *message, bool reposts, EvnCommit *commit)
{
	EvnJsonValue fields[NCOMMIT];
	EvnText		 did = evn_flat_text_of(&reader->scan, reader->arena, &message[DID]);
	EvnText		 rkey;
	bool		 repost;

	evn_flat_pick_in(&reader->scan, reader->arena, &message[COMMIT], commit_names, NCOMMIT, fields);
	rkey = evn_flat_text_of(&reader->scan, reader->arena, &fields[RKEY]);
	if (did.len == 0 || rkey.len == 0 || fields[COLLECTION].type != EVN_JSON_STRING)
		return EVN_COMMIT_STRANGE;
	repost = is_text(reader, &fields[COLLECTION], EVN_BLUESKY_REPOST);
	if (!is_text(reader, &fields[COLLECTION], EVN_BLUESKY_POST) && !(repost && reposts))
		return EVN_COMMIT_UNWANTED;
	commit->id = record_id(reader, did, rkey);
	if (is_text(reader, &fields[OPERATION], "delete"))
		evn_flat_delete(reader->flat, commit->id);
	else if (fields[RECORD].type == EVN_JSON_OBJECT)
		add_record(reader, &fields[RECORD], commit, did, repost);
	else
		return EVN_COMMIT_STRANGE;
	return EVN_COMMIT_POST;
}

EvnCommitResult
evn_bluesky_commit(EvnText message, bool reposts, EvnArena *arena, StringInfo flat,
				   EvnCommit *commit)
{
	Reader			reader = {.arena = arena, .flat = flat};
	EvnJsonValue	fields[NFIELDS];
	EvnCommitResult result;

	*commit = (EvnCommit) {0};
	if (!evn_flat_open(&reader.scan, message))
		return EVN_COMMIT_STRANGE;
	evn_flat_pick(&reader.scan, arena, names, NFIELDS, fields);
	if (!evn_json_scan_end(&reader.scan))
		return EVN_COMMIT_STRANGE;
	commit->time_us = evn_flat_digits(&fields[TIME_US]);
	if (fields[KIND].type == EVN_JSON_STRING && !is_text(&reader, &fields[KIND], "commit"))
		return EVN_COMMIT_UNWANTED;
	result = read_commit(&reader, fields, reposts, commit);
	return reader.scan.error == EVN_DECODE_OK ? result : EVN_COMMIT_STRANGE;
}
