/*
 * tweet_field.c
 *		Field names and looking them up.
 */
#include "c.h"

#include "tweet_field.h"

/* of "in_reply_to_status_id_str", "user_profile_modification" */
#define MAX_NAME 25

typedef struct FieldName
{
	const char *name;
	int			len;
	EvnField	field;
} FieldName;

#define NAME(name, field) {name, sizeof(name) - 1, field}

static const FieldName field_names[] = {
	NAME("author_id", EVN_F_AUTHOR_ID),
	NAME("city", EVN_F_CITY),
	NAME("coordinates", EVN_F_COORDINATES),
	NAME("country_code", EVN_F_COUNTRY_CODE),
	NAME("created_at", EVN_F_CREATED_AT),
	NAME("data", EVN_F_DATA),
	NAME("delete", EVN_F_DELETE),
	NAME("entities", EVN_F_ENTITIES),
	NAME("extended_tweet", EVN_F_EXTENDED_TWEET),
	NAME("full_name", EVN_F_FULL_NAME),
	NAME("full_text", EVN_F_FULL_TEXT),
	NAME("geo", EVN_F_GEO),
	NAME("hashtags", EVN_F_HASHTAGS),
	NAME("id", EVN_F_ID),
	NAME("id_str", EVN_F_ID_STR),
	NAME("in_reply_to_status_id", EVN_F_IN_REPLY_TO_STATUS_ID),
	NAME("in_reply_to_status_id_str", EVN_F_IN_REPLY_TO_STATUS_ID_STR),
	NAME("includes", EVN_F_INCLUDES),
	NAME("is_quote_status", EVN_F_IS_QUOTE_STATUS),
	NAME("is_retweet", EVN_F_IS_RETWEET),
	NAME("lang", EVN_F_LANG),
	NAME("lat", EVN_F_LAT),
	NAME("location", EVN_F_LOCATION),
	NAME("lon", EVN_F_LON),
	NAME("name", EVN_F_NAME),
	NAME("note_post", EVN_F_NOTE_POST),
	NAME("note_tweet", EVN_F_NOTE_TWEET),
	NAME("place", EVN_F_PLACE),
	NAME("place_id", EVN_F_PLACE_ID),
	NAME("places", EVN_F_PLACES),
	NAME("post", EVN_F_POST),
	NAME("quoted_status", EVN_F_QUOTED_STATUS),
	NAME("quoted_status_id", EVN_F_QUOTED_STATUS_ID),
	NAME("quoted_status_id_str", EVN_F_QUOTED_STATUS_ID_STR),
	NAME("referenced_posts", EVN_F_REFERENCED_POSTS),
	NAME("referenced_tweets", EVN_F_REFERENCED_TWEETS),
	NAME("retweeted_status", EVN_F_RETWEETED_STATUS),
	NAME("status", EVN_F_STATUS),
	NAME("tag", EVN_F_TAG),
	NAME("text", EVN_F_TEXT),
	NAME("timestamp", EVN_F_TIMESTAMP),
	NAME("timestamp_ms", EVN_F_TIMESTAMP_MS),
	NAME("tweet", EVN_F_TWEET),
	NAME("type", EVN_F_TYPE),
	NAME("user", EVN_F_USER),
	NAME("users", EVN_F_USERS),

	/* v1.1 streams */
	NAME("control", EVN_F_NOTICE),
	NAME("disconnect", EVN_F_NOTICE),
	NAME("for_user", EVN_F_NOTICE),
	NAME("friends", EVN_F_NOTICE),
	NAME("friends_str", EVN_F_NOTICE),
	NAME("heartbeat", EVN_F_NOTICE),
	NAME("limit", EVN_F_NOTICE),
	NAME("scrub_geo", EVN_F_NOTICE),
	NAME("status_withheld", EVN_F_NOTICE),
	NAME("user_withheld", EVN_F_NOTICE),
	NAME("warning", EVN_F_NOTICE),

	/* v2 streams and compliance streams */
	NAME("connection_issue", EVN_F_NOTICE),
	NAME("disconnect_type", EVN_F_NOTICE),
	NAME("drop", EVN_F_NOTICE),
	NAME("errors", EVN_F_NOTICE),
	NAME("post_edit", EVN_F_NOTICE),
	NAME("tweet_edit", EVN_F_NOTICE),
	NAME("undrop", EVN_F_NOTICE),
	NAME("user_delete", EVN_F_NOTICE),
	NAME("user_profile_modification", EVN_F_NOTICE),
	NAME("user_protect", EVN_F_NOTICE),
	NAME("user_suspend", EVN_F_NOTICE),
	NAME("user_undelete", EVN_F_NOTICE),
	NAME("user_unprotect", EVN_F_NOTICE),
	NAME("user_unsuspend", EVN_F_NOTICE),
	NAME("withheld", EVN_F_NOTICE),
};

static inline uint32
hash_name(const char *name, int len)
{
	uint32 h = (unsigned char) name[0] * 31 + (unsigned char) name[len - 1];

	h = h * 31 + (unsigned char) name[len / 2];
	return (h * 7 + len) % EVN_FIELD_SLOTS;
}

void
evn_tweet_field_index(EvnFieldIndex *index)
{
	size_t i;

	StaticAssertStmt(lengthof(field_names) < PG_UINT8_MAX, "a slot holds the number of a name");
	memset(index, 0, sizeof(EvnFieldIndex));
	for (i = 0; i < lengthof(field_names); i++)
	{
		uint32 slot = hash_name(field_names[i].name, field_names[i].len);

		while (index->slots[slot] != 0)
			slot = (slot + 1) % EVN_FIELD_SLOTS;
		index->slots[slot] = (uint8) (i + 1);
	}
}

EvnField
evn_tweet_field_find(const EvnFieldIndex *index, EvnText name)
{
	uint32 slot;

	if (name.len == 0 || name.len > MAX_NAME)
		return EVN_F_UNKNOWN;
	slot = hash_name(name.data, name.len);
	while (index->slots[slot] != 0)
	{
		const FieldName *known = &field_names[index->slots[slot] - 1];

		if (known->len == name.len && memcmp(known->name, name.data, name.len) == 0)
			return known->field;
		slot = (slot + 1) % EVN_FIELD_SLOTS;
	}
	return EVN_F_UNKNOWN;
}
