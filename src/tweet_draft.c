/*
 * tweet_draft.c
 *		Reading a message into a draft, once, front to back.
 *
 * What each kind of object may hold is written down as a table of rules:
 * field -> how to read it, and where in the draft it goes.  Fields without a
 * rule are skipped, though their grammar is checked.  A v1.1 status, a flat
 * message and the "data" of a v2 envelope share one table: their fields do not
 * contradict each other.
 */
#include "c.h"

#include <math.h>

#include "tweet_draft.h"

typedef void (*ReadFunction)(EvnDecoder *d, const EvnJsonValue *value, void *slot);

typedef struct FieldRule
{
	ReadFunction read;	 /* NULL: skip the field */
	size_t		 offset; /* of the slot in what the object is read into */
} FieldRule;

StaticAssertDecl(EVN_F_COUNT <= 64, "the fields seen in an object are a set of bits");

static inline void
fail(EvnDecoder *d, EvnDecodeResult error)
{
	(void) evn_json_scan_fail(&d->scan, error);
}

/* Read the object just begun by its rules. */
static void
read_object(EvnDecoder *d, const FieldRule *rules, void *target)
{
	uint64		  seen = 0;
	EvnJsonString name;
	EvnJsonValue  value;

	while (evn_json_scan_field(&d->scan, &name, &value))
	{
		/* "\u0069d" is "id" too */
		EvnText			 plain = evn_json_scan_text(&d->scan, d->arena, &name);
		EvnField		 field = evn_tweet_field_find(&d->fields, plain);
		const FieldRule *rule = &rules[field];

		if (rule->read == NULL)
		{
			evn_json_scan_skip(&d->scan, &value);
			continue;
		}
		/* notices are one field with many names */
		if (seen & (UINT64CONST(1) << field) && field != EVN_F_NOTICE)
			fail(d, EVN_DECODE_DUPLICATE_KEY);
		seen |= UINT64CONST(1) << field;
		rule->read(d, &value, (char *) target + rule->offset);
	}
}

/*
 * An object to be read.  Where "user" or the like is something else, it is not
 * of the forms we know but some field of that name, and nothing to us.
 */
static bool
is_object_of_ours(EvnDecoder *d, const EvnJsonValue *value)
{
	if (value->type != EVN_JSON_OBJECT)
		evn_json_scan_skip(&d->scan, value);
	return value->type == EVN_JSON_OBJECT;
}

/* An object to be read; null is an absent one, anything else an error. */
static bool
is_object(EvnDecoder *d, const EvnJsonValue *value)
{
	if (value->type != EVN_JSON_OBJECT && value->type != EVN_JSON_NULL)
		fail(d, EVN_DECODE_BAD_VALUE);
	return value->type == EVN_JSON_OBJECT;
}

static bool
is_array(EvnDecoder *d, const EvnJsonValue *value)
{
	if (value->type != EVN_JSON_ARRAY && value->type != EVN_JSON_NULL)
		fail(d, EVN_DECODE_BAD_VALUE);
	return value->type == EVN_JSON_ARRAY;
}

/* ---- single values ---- */

static void
read_text(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	if (value->type == EVN_JSON_STRING)
		*(EvnText *) slot = evn_json_scan_text(&d->scan, d->arena, &value->text);
	else if (value->type != EVN_JSON_NULL)
		fail(d, EVN_DECODE_BAD_VALUE);
}

/* a number or string */
static void
read_scalar(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraftScalar *scalar = slot;

	if (value->type == EVN_JSON_NULL)
		return;
	if (value->type != EVN_JSON_STRING && value->type != EVN_JSON_NUMBER)
		fail(d, EVN_DECODE_BAD_VALUE);
	scalar->type = value->type;
	scalar->text = evn_json_scan_text(&d->scan, d->arena, &value->text);
}

/* Digits only and at most INT64_MAX; -1 otherwise. */
static int64
parse_digits(EvnText text)
{
	uint64 result = 0;
	int	   i;

	if (text.len < 1 || text.len > 19)
		return -1;
	for (i = 0; i < text.len; i++)
	{
		if (text.data[i] < '0' || text.data[i] > '9')
			return -1;
		result = result * 10 + text.data[i] - '0';
	}
	return result > PG_INT64_MAX ? -1 : (int64) result;
}

/* a value of a type that no id has is a bad id, not an error in itself */
static void
read_id(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraftId *id = slot;

	if (value->type == EVN_JSON_NULL)
		return;
	id->given = true;
	id->value = -1;
	if (value->type == EVN_JSON_STRING || value->type == EVN_JSON_NUMBER)
		id->value = parse_digits(evn_json_scan_text(&d->scan, d->arena, &value->text));
	evn_json_scan_skip(&d->scan, value);
}

/* a finite number */
static bool
parse_double(EvnText text, double *result)
{
	char buffer[64];

	if (text.len >= (int) sizeof(buffer))
		return false;
	memcpy(buffer, text.data, text.len);
	buffer[text.len] = '\0';
	*result = strtod(buffer, NULL);
	return isfinite(*result);
}

static void
read_number(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraftNumber *number = slot;

	if (value->type == EVN_JSON_NULL)
		return;
	number->given = value->type == EVN_JSON_NUMBER && parse_double(value->text.raw, &number->value);
	if (!number->given)
		fail(d, EVN_DECODE_BAD_VALUE);
}

/* true is noted, false leaves what another field said */
static void
read_flag(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	if (value->type == EVN_JSON_TRUE)
		*(bool *) slot = true;
	else if (value->type != EVN_JSON_FALSE && value->type != EVN_JSON_NULL)
		fail(d, EVN_DECODE_BAD_VALUE);
}

/* true when another post is named */
static void
read_reference(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraftScalar id = {EVN_JSON_NULL};

	read_scalar(d, value, &id);
	if (id.text.len > 0)
		*(bool *) slot = true;
}

/* true when there is an object, which is of no further interest */
static void
read_nested(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	if (!is_object(d, value))
		return;
	*(bool *) slot = true;
	evn_json_scan_skip(&d->scan, value);
}

/* true when there is a value of any type */
static void
read_presence(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	if (value->type != EVN_JSON_NULL)
		*(bool *) slot = true;
	evn_json_scan_skip(&d->scan, value);
}

/* ---- points ---- */

static inline bool
text_is(EvnText text, const char *word)
{
	return text.len == (int) strlen(word) && memcmp(text.data, word, text.len) == 0;
}

/* That a point is off the globe is not worth losing the message. */
void
evn_tweet_draft_set_point(EvnDraftPoint *point, double lon, double lat)
{
	if (fabs(lon) > 180 || fabs(lat) > 90)
		return;
	point->given = true;
	point->lon = lon;
	point->lat = lat;
}

/* The first two numbers of an array; false when it holds something else. */
static bool
read_pair(EvnDecoder *d, double *first, double *second)
{
	double		 numbers[2];
	int			 n = 0;
	bool		 valid = true;
	EvnJsonValue value;

	while (evn_json_scan_element(&d->scan, &value))
	{
		if (n < 2)
			valid = valid && value.type == EVN_JSON_NUMBER &&
					parse_double(value.text.raw, &numbers[n++]);
		evn_json_scan_skip(&d->scan, &value);
	}
	if (n < 2 || !valid)
		return false;
	*first = numbers[0];
	*second = numbers[1];
	return true;
}

typedef struct GeoJson
{
	EvnText type;
	bool	has_coordinates;
	bool	valid;
	double	lon;
	double	lat;
} GeoJson;

static void
read_lon_lat(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	GeoJson *geo = slot;

	if (!is_array(d, value))
		return;
	geo->has_coordinates = true;
	geo->valid = read_pair(d, &geo->lon, &geo->lat);
}

static const FieldRule geojson_rules[EVN_F_COUNT] = {
	[EVN_F_TYPE] = {read_text, offsetof(GeoJson, type)},
	[EVN_F_COORDINATES] = {read_lon_lat, 0},
};

/* A GeoJSON object, of which points are of interest, or [lon, lat] alone. */
static void
read_point(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	GeoJson geo = {{NULL}};

	if (value->type == EVN_JSON_ARRAY)
		read_lon_lat(d, value, &geo);
	else if (is_object(d, value))
		read_object(d, geojson_rules, &geo);
	if (!geo.has_coordinates)
		return;
	if (geo.type.data != NULL && !text_is(geo.type, "Point"))
		return;
	if (geo.valid)
		evn_tweet_draft_set_point(slot, geo.lon, geo.lat);
	else
		fail(d, EVN_DECODE_BAD_VALUE);
}

/* v1.1 has [lat, lon] here, v2 a GeoJSON object, which is the other way round */
static void
read_geo_coordinates(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraft *draft = slot;
	double	  lat;
	double	  lon;

	if (value->type != EVN_JSON_ARRAY)
		read_point(d, value, &draft->geo);
	else if (read_pair(d, &lat, &lon))
		evn_tweet_draft_set_point(&draft->geo, lon, lat);
	else
		fail(d, EVN_DECODE_BAD_VALUE);
}

static const FieldRule geo_rules[EVN_F_COUNT] = {
	[EVN_F_COORDINATES] = {read_geo_coordinates, 0},
	[EVN_F_PLACE_ID] = {read_text, offsetof(EvnDraft, place_id)},
};

static void
read_geo(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	if (is_object_of_ours(d, value))
		read_object(d, geo_rules, slot);
}

/* ---- hashtags ---- */

static void
add_tag(EvnDecoder *d, EvnText tag)
{
	if (tag.len > 0 && tag.data[0] == '#')
	{
		tag.data++;
		tag.len--;
	}
	if (tag.len == 0)
		return;
	if (d->ntags == d->max_tags)
	{
		int		 max = Max(64, d->max_tags * 2);
		EvnText *tags = realloc(d->tags, max * sizeof(EvnText));

		if (tags == NULL)
		{
			fail(d, EVN_DECODE_NO_MEMORY);
			return;
		}
		d->tags = tags;
		d->max_tags = max;
	}
	d->tags[d->ntags++] = tag;
}

static const FieldRule tag_rules[EVN_F_COUNT] = {
	[EVN_F_TAG] = {read_text, 0},  /* v2 */
	[EVN_F_TEXT] = {read_text, 0}, /* v1.1 */
};

/* strings, or objects that hold one */
static void
read_tags(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraftTags *range = slot;
	EvnJsonValue  element;

	if (!is_array(d, value))
		return;
	range->given = true;
	range->first = d->ntags;
	while (evn_json_scan_element(&d->scan, &element))
	{
		EvnText tag = {NULL};

		if (element.type == EVN_JSON_OBJECT)
			read_object(d, tag_rules, &tag);
		else
			read_text(d, &element, &tag);
		add_tag(d, tag);
	}
	range->count = d->ntags - range->first;
}

static const FieldRule entity_rules[EVN_F_COUNT] = {
	[EVN_F_HASHTAGS] = {read_tags, 0},
};

static void
read_entities(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	if (is_object_of_ours(d, value))
		read_object(d, entity_rules, slot);
}

/* ---- the parts of a post ---- */

static const FieldRule long_text_rules[EVN_F_COUNT] = {
	[EVN_F_ENTITIES] = {read_entities, offsetof(EvnDraft, long_tags)},
	[EVN_F_FULL_TEXT] = {read_text, offsetof(EvnDraft, long_text)}, /* v1.1 */
	[EVN_F_TEXT] = {read_text, offsetof(EvnDraft, long_text)},		/* v2 */
};

static void
read_long_text(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	if (is_object(d, value))
		read_object(d, long_text_rules, slot);
}

static const FieldRule user_rules[EVN_F_COUNT] = {
	[EVN_F_ID] = {read_id, offsetof(EvnDraft, author_id)},
	[EVN_F_ID_STR] = {read_id, offsetof(EvnDraft, author_id_str)},
	[EVN_F_LOCATION] = {read_text, offsetof(EvnDraft, profile)},
};

static void
read_user(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraft *draft = slot;

	if (!is_object_of_ours(d, value))
		return;
	draft->user = true;
	read_object(d, user_rules, draft);
}

static const FieldRule place_rules[EVN_F_COUNT] = {
	[EVN_F_COUNTRY_CODE] = {read_text, offsetof(EvnDraft, place_country_code)},
	[EVN_F_FULL_NAME] = {read_text, offsetof(EvnDraft, place_full_name)},
	[EVN_F_NAME] = {read_text, offsetof(EvnDraft, place_name)},
};

/* v1.1 has an object here, the flat form a string */
static void
read_place(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraft *draft = slot;

	if (value->type == EVN_JSON_STRING)
		read_text(d, value, &draft->place_full_name);
	else if (is_object(d, value))
		read_object(d, place_rules, draft);
}

static const FieldRule referenced_rules[EVN_F_COUNT] = {
	[EVN_F_TYPE] = {read_text, 0},
};

static void
read_referenced(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraft	*draft = slot;
	EvnJsonValue element;

	if (!is_array(d, value))
		return;
	while (evn_json_scan_element(&d->scan, &element))
	{
		EvnText type = {NULL};

		if (!is_object(d, &element))
			continue;
		read_object(d, referenced_rules, &type);
		if (text_is(type, "retweeted") || text_is(type, "reposted"))
			draft->retweet = true;
		else if (text_is(type, "replied_to"))
			draft->reply = true;
		else if (text_is(type, "quoted"))
			draft->quote = true;
	}
}

static const FieldRule deleted_rules[EVN_F_COUNT] = {
	[EVN_F_ID] = {read_id, offsetof(EvnDraft, deleted_id)},
	[EVN_F_ID_STR] = {read_id, offsetof(EvnDraft, deleted_id_str)},
};

static void
read_deleted(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	if (is_object(d, value))
		read_object(d, deleted_rules, slot);
}

static const FieldRule delete_rules[EVN_F_COUNT] = {
	[EVN_F_POST] = {read_deleted, 0},
	[EVN_F_STATUS] = {read_deleted, 0},
	[EVN_F_TWEET] = {read_deleted, 0},
};

static void
read_delete(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraft *draft = slot;

	if (!is_object_of_ours(d, value))
		return;
	draft->deletion = true;
	read_object(d, delete_rules, draft);
}

#define POST_RULES(draft) \
	[EVN_F_AUTHOR_ID] = {read_id, (draft) + offsetof(EvnDraft, author_id)}, \
	[EVN_F_CITY] = {read_text, (draft) + offsetof(EvnDraft, city)}, \
	[EVN_F_COORDINATES] = {read_point, (draft) + offsetof(EvnDraft, coordinates)}, \
	[EVN_F_COUNTRY_CODE] = {read_text, (draft) + offsetof(EvnDraft, country_code)}, \
	[EVN_F_CREATED_AT] = {read_scalar, (draft) + offsetof(EvnDraft, created_at)}, \
	[EVN_F_DELETE] = {read_delete, (draft)}, \
	[EVN_F_ENTITIES] = {read_entities, (draft) + offsetof(EvnDraft, tags)}, \
	[EVN_F_EXTENDED_TWEET] = {read_long_text, (draft)}, \
	[EVN_F_FULL_TEXT] = {read_text, (draft) + offsetof(EvnDraft, full_text)}, \
	[EVN_F_GEO] = {read_geo, (draft)}, \
	[EVN_F_HASHTAGS] = {read_tags, (draft) + offsetof(EvnDraft, plain_tags)}, \
	[EVN_F_ID] = {read_id, (draft) + offsetof(EvnDraft, id)}, \
	[EVN_F_ID_STR] = {read_id, (draft) + offsetof(EvnDraft, id_str)}, \
	[EVN_F_IN_REPLY_TO_STATUS_ID] = {read_reference, (draft) + offsetof(EvnDraft, reply)}, \
	[EVN_F_IN_REPLY_TO_STATUS_ID_STR] = {read_reference, (draft) + offsetof(EvnDraft, reply)}, \
	[EVN_F_IS_QUOTE_STATUS] = {read_flag, (draft) + offsetof(EvnDraft, quote)}, \
	[EVN_F_IS_RETWEET] = {read_flag, (draft) + offsetof(EvnDraft, retweet)}, \
	[EVN_F_LANG] = {read_text, (draft) + offsetof(EvnDraft, lang)}, \
	[EVN_F_LAT] = {read_number, (draft) + offsetof(EvnDraft, lat)}, \
	[EVN_F_LON] = {read_number, (draft) + offsetof(EvnDraft, lon)}, \
	[EVN_F_NOTE_POST] = {read_long_text, (draft)}, [EVN_F_NOTE_TWEET] = {read_long_text, (draft)}, \
	[EVN_F_NOTICE] = {read_presence, (draft) + offsetof(EvnDraft, notice)}, \
	[EVN_F_PLACE] = {read_place, (draft)}, \
	[EVN_F_QUOTED_STATUS] = {read_nested, (draft) + offsetof(EvnDraft, quote)}, \
	[EVN_F_QUOTED_STATUS_ID] = {read_reference, (draft) + offsetof(EvnDraft, quote)}, \
	[EVN_F_QUOTED_STATUS_ID_STR] = {read_reference, (draft) + offsetof(EvnDraft, quote)}, \
	[EVN_F_REFERENCED_POSTS] = {read_referenced, (draft)}, \
	[EVN_F_REFERENCED_TWEETS] = {read_referenced, (draft)}, \
	[EVN_F_RETWEETED_STATUS] = {read_nested, (draft) + offsetof(EvnDraft, retweet)}, \
	[EVN_F_TEXT] = {read_text, (draft) + offsetof(EvnDraft, text)}, \
	[EVN_F_TIMESTAMP] = {read_scalar, (draft) + offsetof(EvnDraft, timestamp)}, \
	[EVN_F_TIMESTAMP_MS] = {read_scalar, (draft) + offsetof(EvnDraft, timestamp_ms)}, \
	[EVN_F_USER] = {read_user, (draft)}

/* ---- a v2 envelope ---- */

const EvnDraftId *
evn_tweet_draft_id(const EvnDraftId *id, const EvnDraftId *id_str)
{
	return id_str->given ? id_str : id;
}

typedef struct IncludedUser
{
	EvnDraftId id;
	EvnText	   location;
} IncludedUser;

static const FieldRule included_user_rules[EVN_F_COUNT] = {
	[EVN_F_ID] = {read_id, offsetof(IncludedUser, id)},
	[EVN_F_LOCATION] = {read_text, offsetof(IncludedUser, location)},
};

/* The author among the users this post refers to. */
static void
read_included_users(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraft		 *draft = slot;
	const EvnDraftId *author = evn_tweet_draft_id(&draft->author_id, &draft->author_id_str);
	EvnJsonValue	  element;

	if (!is_array(d, value))
		return;
	while (evn_json_scan_element(&d->scan, &element))
	{
		IncludedUser user = {{false}};

		if (!is_object(d, &element))
			continue;
		read_object(d, included_user_rules, &user);
		if (author->given && user.id.given && user.id.value == author->value)
			draft->profile = user.location;
	}
}

typedef struct IncludedPlace
{
	EvnText id;
	EvnText full_name;
	EvnText name;
	EvnText country_code;
} IncludedPlace;

static const FieldRule included_place_rules[EVN_F_COUNT] = {
	[EVN_F_COUNTRY_CODE] = {read_text, offsetof(IncludedPlace, country_code)},
	[EVN_F_FULL_NAME] = {read_text, offsetof(IncludedPlace, full_name)},
	[EVN_F_ID] = {read_text, offsetof(IncludedPlace, id)},
	[EVN_F_NAME] = {read_text, offsetof(IncludedPlace, name)},
};

static inline bool
same_text(EvnText a, EvnText b)
{
	return a.data != NULL && b.data != NULL && a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* The post's own place among those it refers to. */
static void
read_included_places(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnDraft	*draft = slot;
	EvnJsonValue element;

	if (!is_array(d, value))
		return;
	while (evn_json_scan_element(&d->scan, &element))
	{
		IncludedPlace place = {{NULL}};

		if (!is_object(d, &element))
			continue;
		read_object(d, included_place_rules, &place);
		if (!same_text(place.id, draft->place_id))
			continue;
		draft->place_full_name = place.full_name;
		draft->place_name = place.name;
		draft->place_country_code = place.country_code;
	}
}

static const FieldRule includes_rules[EVN_F_COUNT] = {
	[EVN_F_PLACES] = {read_included_places, 0},
	[EVN_F_USERS] = {read_included_users, 0},
};

/* Who and where the post is shows in "data": put off until that was read. */
static void
read_includes(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnMessage *message = slot;

	if (!is_object_of_ours(d, value))
		return;
	if (message->has_data)
		read_object(d, includes_rules, &message->data);
	else
		message->includes = evn_json_scan_skip(&d->scan, value);
}

static const FieldRule data_rules[EVN_F_COUNT] = {POST_RULES(0)};

static void
read_data(EvnDecoder *d, const EvnJsonValue *value, void *slot)
{
	EvnMessage *message = slot;

	message->has_data = is_object_of_ours(d, value);
	message->strange_data = !message->has_data && value->type != EVN_JSON_NULL;
	if (!message->has_data)
		return;
	memset(&message->data, 0, sizeof(EvnDraft));
	read_object(d, data_rules, &message->data);
}

static const FieldRule message_rules[EVN_F_COUNT] = {
	POST_RULES(offsetof(EvnMessage, top)),
	[EVN_F_DATA] = {read_data, 0},
	[EVN_F_INCLUDES] = {read_includes, 0},
};

void
evn_tweet_draft_read(EvnDecoder *decoder, EvnMessage *message)
{
	EvnJsonValue includes;

	/* data is cleared when there is one */
	memset(&message->top, 0, sizeof(EvnDraft));
	message->has_data = message->strange_data = false;
	message->includes = (EvnText) {NULL, 0};
	decoder->ntags = 0;
	read_object(decoder, message_rules, message);
	if (!evn_json_scan_end(&decoder->scan))
		return;
	if (message->has_data && message->includes.data != NULL &&
		evn_json_scan_reopen(&decoder->scan, message->includes, &includes))
		read_object(decoder, includes_rules, &message->data);
}
