/*
 * tweet_decode_test.c
 *		Unit tests of the decoder: every form, every result.
 *
 * Messages are written with ' for ", to be readable.
 */
#include "c.h"

#include "tap.h"
#include "tweet_decode.h"

#define SECOND INT64CONST(1000000)

/* seconds since 1970 to what is stored */
#define UNIX(s) ((INT64CONST(s) - 946684800) * SECOND)

#define JULY UNIX(1562135580) /* 2019-07-03 06:33:00 UTC */

static EvnDecoder *decoder;
static EvnArena	  *arena;
static EvnTweet	   tweet;
static char		  *payload; /* what tweet points into */

/* Decode a copy that ends where its memory ends. */
static EvnDecodeResult
decode_bytes(const char *bytes, size_t len)
{
	free(payload);
	payload = malloc(Max(len, 1));
	memcpy(payload, bytes, len);
	evn_arena_reset(arena);
	memset(&tweet, 0x5a, sizeof(tweet));
	return evn_tweet_decode(decoder, arena, payload, len, &tweet);
}

static EvnDecodeResult
decode(const char *message)
{
	char		   *json = strdup(message);
	char		   *quote;
	EvnDecodeResult result;

	for (quote = json; (quote = strchr(quote, '\'')) != NULL;)
		*quote = '"';
	result = decode_bytes(json, strlen(json));
	free(json);
	return result;
}

static void
decodes(const char *message, const char *name)
{
	EvnDecodeResult result = decode(message);

	ok(result == EVN_DECODE_OK && tweet.type == EVN_MESSAGE_TWEET, "%s: %s", name,
	   evn_tweet_decode_code(result));
}

static void
fails(EvnDecodeResult expected, const char *message)
{
	EvnDecodeResult result = decode(message);

	ok(result == expected, "%s for %s", evn_tweet_decode_code(expected), message);
	if (result != expected)
		printf("# got %s\n", evn_tweet_decode_code(result));
}

/* expected NULL: absent */
static void
is_text(EvnText text, const char *expected, const char *name)
{
	if (expected == NULL)
		ok(text.data == NULL, "%s is absent", name);
	else
		ok(text.data != NULL && text.len == (int) strlen(expected) &&
			   memcmp(text.data, expected, text.len) == 0,
		   "%s", name);
}

static void
is_point(bool given, double lon, double lat, const char *name)
{
	ok(tweet.hints.has_point == given &&
		   (!given || (tweet.hints.lon == lon && tweet.hints.lat == lat)),
	   "%s", name);
}

/* ---- the flat form ---- */

static void
test_flat(void)
{
	decodes("{'id':1146305824956410060,'created_at':'2019-07-03T06:33:00Z','author_id':'42',"
			"'city':'Toronto','lang':'en','is_retweet':false,'text':'hello','country_code':'CA',"
			"'lon':-79.38,'lat':43.65,'hashtags':['a','#b'],'unknown':{'id':[1,2]}}",
			"flat, all fields");
	ok(tweet.id == INT64CONST(1146305824956410060), "id");
	ok(tweet.created_at == JULY, "created_at");
	ok(tweet.has_author && tweet.author_id == 42, "author");
	ok(tweet.kind == EVN_KIND_POST, "kind");
	is_text(tweet.lang, "en", "lang");
	is_text(tweet.text, "hello", "text");
	is_text(tweet.hints.place, "Toronto", "place");
	is_text(tweet.hints.country_code, "CA", "country code");
	is_text(tweet.hints.profile, NULL, "profile");
	is_point(true, -79.38, 43.65, "point");
	ok(tweet.nhashtags == 2, "two hashtags");
	is_text(tweet.hashtags[0], "a", "first hashtag");
	is_text(tweet.hashtags[1], "b", "second hashtag, without #");

	decodes("{'id':7,'timestamp':1562135580}", "flat, as little as there may be");
	ok(tweet.id == 7 && tweet.created_at == JULY && !tweet.has_author, "id and time");
	is_text(tweet.text, NULL, "text");
	is_text(tweet.lang, NULL, "lang");
	is_text(tweet.hints.place, NULL, "place");
	is_point(false, 0, 0, "no point");
	ok(tweet.nhashtags == 0, "no hashtags");

	decodes("{'id':'7','timestamp':1562135580000,'is_retweet':true,'place':'Ottawa'}",
			"flat retweet");
	ok(tweet.kind == EVN_KIND_RETWEET, "kind");
	ok(tweet.created_at == JULY, "milliseconds");
	is_text(tweet.hints.place, "Ottawa", "place as a string");
	decodes("{'id':7,'timestamp':1,'created_at':'2019-07-03 06:33:00'}", "both times");
	ok(tweet.created_at == JULY, "created_at before timestamp");
	decodes(
		"{'id':7,'timestamp':1562135580,'created_at':null,'text':null,'city':null,'author_id':null,"
		"'lon':null,'lat':null,'is_retweet':null,'hashtags':null,'lang':null,'place':null}",
		"nulls");
	ok(tweet.created_at == JULY && !tweet.has_author && tweet.kind == EVN_KIND_POST,
	   "null is absent");
	decodes("{'id':7,'timestamp':1562135580,'text':'','city':'','author_id':0}", "empty strings");
	ok(tweet.text.data != NULL && tweet.text.len == 0, "an empty text is a text");
	ok(tweet.has_author && tweet.author_id == 0, "author 0");
	decodes(
		"{'id':7,'timestamp':1562135580,'place':'Ottawa','city':'Toronto','country_code':'CAN'}",
		"city and place");
	is_text(tweet.hints.place, "Toronto", "city before place");
	is_text(tweet.hints.country_code, NULL, "a country code of three letters");
	decodes("{'text':'x','timestamp':1562135580,'data':{'id':'8','text':'y'},'delete':true,'id':7}",
			"fields of other forms");
	ok(tweet.id == 7, "an id of its own makes the message the post");
	decodes("{'id':7,'timestamp':1562135580,'user':'somebody','geo':'43.65,-79.38','entities':[],"
			"'includes':[1],'status':'new'}",
			"other things of known names");
	ok(!tweet.has_author && !tweet.hints.has_point && tweet.nhashtags == 0, "are nothing to us");
}

static void
test_points(void)
{
	decodes("{'id':7,'timestamp':1562135580,'lon':-180,'lat':90}", "on the edge");
	is_point(true, -180, 90, "point on the edge");
	decodes("{'id':7,'timestamp':1562135580,'lon':180.01,'lat':0}", "lon off the globe");
	is_point(false, 0, 0, "no point");
	decodes("{'id':7,'timestamp':1562135580,'lon':0,'lat':-90.01}", "lat off the globe");
	is_point(false, 0, 0, "no point");
	decodes("{'id':7,'timestamp':1562135580,'lon':1}", "lon alone");
	is_point(false, 0, 0, "no point");
	decodes("{'id':7,'timestamp':1562135580,'coordinates':[2.5,1e1]}", "coordinates as an array");
	is_point(true, 2.5, 10, "lon, lat");
	decodes(
		"{'id':7,'timestamp':1562135580,'coordinates':{'type':'Polygon','coordinates':[[[1,2],[3,4]]]}}",
		"not a point");
	is_point(false, 0, 0, "no point");
	decodes(
		"{'id':7,'timestamp':1562135580,'coordinates':{},'geo':{'type':'Point','coordinates':[1,2]}}",
		"geo alone");
	is_point(true, 2, 1, "lat, lon");
	decodes("{'id':7,'timestamp':1562135580,'geo':{'coordinates':[1,2]},"
			"'coordinates':{'coordinates':[3,4,5],'type':'Point'}}",
			"both");
	is_point(true, 3, 4, "coordinates before geo");
}

/* ---- v1.1 ---- */

#define V1 \
	"'created_at':'Wed Jul 03 06:33:00 +0000 2019','id':1146305824956410100," \
	"'id_str':'1146305824956410060'"

static void
test_v1(void)
{
	decodes("{" V1
			",'text':'short\xe2\x80\xa6','user':{'id':905506149,'id_str':'905506149','name':'n',"
			"'location':'Toronto, ON','lang':'fr','created_at':'Thu Jun 30 00:47:41 +0000 2011'},"
			"'coordinates':{'type':'Point','coordinates':[-79.38,43.65]},"
			"'geo':{'type':'Point','coordinates':[43.65,-79.38]},"
			"'place':{'id':'x','full_name':'Toronto, Ontario','name':'Toronto','country_code':'CA',"
			"'place_type':'city','bounding_box':{'type':'Polygon','coordinates':[[[1,2],[3,4]]]}},"
			"'in_reply_to_status_id':null,'is_quote_status':false,"
			"'entities':{'hashtags':[{'text':'one','indices':[0,4]}],'urls':[]},"
			"'lang':'en','timestamp_ms':'1562135580658'}",
			"v1.1");
	ok(tweet.id == INT64CONST(1146305824956410060), "id_str before id");
	ok(tweet.created_at == JULY + 658000, "timestamp_ms before created_at");
	ok(tweet.author_id == 905506149, "author");
	ok(tweet.kind == EVN_KIND_POST, "kind");
	is_text(tweet.lang, "en", "lang is the post's, not the user's");
	is_text(tweet.text, "short\xe2\x80\xa6", "text");
	is_text(tweet.hints.place, "Toronto, Ontario", "place");
	is_text(tweet.hints.country_code, "CA", "country code");
	is_text(tweet.hints.profile, "Toronto, ON", "profile");
	is_point(true, -79.38, 43.65, "point");
	ok(tweet.nhashtags == 1, "one hashtag");
	is_text(tweet.hashtags[0], "one", "hashtag");

	decodes("{" V1
			",'text':'sho','truncated':true,'extended_tweet':{'full_text':'a long text','entities':"
			"{'hashtags':[{'text':'x'},{'text':'y'}]}},'entities':{'hashtags':[{'text':'x'}]}}",
			"extended");
	is_text(tweet.text, "a long text", "the long text");
	ok(tweet.nhashtags == 2, "the long text's hashtags");
	ok(tweet.created_at == JULY, "created_at");
	decodes("{" V1 ",'full_text':'full','display_text_range':[0,4],'extended_tweet':null}",
			"extended mode");
	is_text(tweet.text, "full", "full_text");
	decodes("{" V1 ",'full_text':'full','extended_tweet':{'full_text':'longer'}}", "both of them");
	is_text(tweet.text, "longer", "extended_tweet first");
	decodes("{" V1 ",'extended_tweet':{'full_text':'a','entities':{'hashtags':[]}},"
			"'entities':{'hashtags':[{'text':'cut'}]}}",
			"no hashtags in the long text");
	ok(tweet.nhashtags == 0, "none then");
	decodes("{'id_str':'1146305824956410060','_id':'1','_rev':'2-a',"
			"'text':'x'}",
			"no id but id_str, no time");
	ok(tweet.id == INT64CONST(1146305824956410060) && tweet.created_at == JULY + 658000,
	   "time from the id");
	decodes(
		"{" V1
		",'place':{'name':'Toronto','country_code':''},'user':null,'coordinates':null,'geo':null}",
		"place without full_name");
	is_text(tweet.hints.place, "Toronto", "its name");
	is_text(tweet.hints.country_code, NULL, "an empty country code");
	decodes("{'created_at':'Wed Jul 03 06:33:00 +0000 2019','id':5,'hashtags':[{'text':'flat'}],"
			"'user':{'id':3}}",
			"without entities");
	is_text(tweet.hashtags[0], "flat", "hashtags of the status itself");
	ok(tweet.author_id == 3, "user.id");
}

static void
is_kind(EvnTweetKind kind, const char *message)
{
	decode(message);
	ok(tweet.type == EVN_MESSAGE_TWEET && tweet.kind == kind, "kind %d: %s", kind, message);
}

static void
test_kinds(void)
{
	is_kind(EVN_KIND_RETWEET,
			"{" V1 ",'retweeted_status':{'id':1,'user':{'location':'not mine'}}}");
	is_kind(EVN_KIND_POST,
			"{" V1 ",'retweeted_status':null,'quoted_status':null,'quoted_status_id':null}");
	is_kind(EVN_KIND_REPLY, "{" V1 ",'in_reply_to_status_id':12}");
	is_kind(EVN_KIND_REPLY, "{" V1 ",'in_reply_to_status_id_str':'12'}");
	is_kind(EVN_KIND_POST, "{" V1 ",'in_reply_to_status_id':null,'in_reply_to_status_id_str':''}");
	is_kind(EVN_KIND_QUOTE, "{" V1 ",'is_quote_status':true}");
	is_kind(EVN_KIND_QUOTE, "{" V1 ",'quoted_status':{'id':1}}");
	is_kind(EVN_KIND_QUOTE, "{" V1 ",'quoted_status_id':1,'is_quote_status':false}");
	is_kind(EVN_KIND_QUOTE, "{" V1 ",'quoted_status_id_str':'1'}");
	is_kind(EVN_KIND_RETWEET, "{" V1 ",'is_quote_status':true,'retweeted_status':{},"
							  "'in_reply_to_status_id':1}");
	is_kind(EVN_KIND_REPLY, "{" V1 ",'is_quote_status':true,'in_reply_to_status_id':1}");

	is_kind(EVN_KIND_RETWEET, "{'data':{'id':'1146305824956410060','referenced_tweets':"
							  "[{'type':'retweeted','id':'1'}]}}");
	is_kind(EVN_KIND_RETWEET, "{'data':{'id':'1146305824956410060','referenced_posts':"
							  "[{'type':'reposted','id':'1'}]}}");
	is_kind(EVN_KIND_REPLY, "{'data':{'id':'1146305824956410060','referenced_tweets':"
							"[{'type':'quoted','id':'1'},{'type':'replied_to','id':'2'}]}}");
	is_kind(EVN_KIND_QUOTE, "{'data':{'id':'1146305824956410060','referenced_posts':"
							"[{'id':'1','type':'quoted'},null]}}");
	is_kind(EVN_KIND_POST, "{'data':{'id':'1146305824956410060','referenced_tweets':[]}}");
	is_kind(EVN_KIND_POST, "{'data':{'id':'1146305824956410060','referenced_tweets':"
						   "[{'type':'something new','id':'1'}]}}");

	decode("{" V1 ",'user':{'id':3,'location':'mine'},'place':null,"
		   "'retweeted_status':{'place':{'full_name':'not mine'},'user':{'location':'not mine'}}}");
	is_text(tweet.hints.profile, "mine", "a retweet's profile is its own author's");
	is_text(tweet.hints.place, NULL, "a retweet's place is its own");
}

/* ---- v2 ---- */

#define V2_DATA \
	"'data':{'author_id':'2244994945','created_at':'2019-07-03T06:33:00.000Z'," \
	"'geo':{'place_id':'01a9a39529b27f36'},'id':'1146305824956410060','lang':'en'," \
	"'entities':{'hashtags':[{'start':0,'end':3,'tag':'hi'}]},'text':'hello'," \
	"'edit_history_post_ids':['1146305824956410060']}"
#define V2_INCLUDES \
	"'includes':{'places':[{'full_name':'Paris, France','id':'other','country_code':'FR'}," \
	"{'country_code':'CA','full_name':'Toronto, Ontario','geo':{'type':'Feature','bbox':" \
	"[-79.6,43.5,-79.1,43.8],'properties':{}},'id':'01a9a39529b27f36','name':'Toronto'}]," \
	"'users':[{'id':'2244994945','location':'YYZ'},{'id':'1','location':'Paris'}]," \
	"'posts':[{'id':'9','text':'not this one'}],'tweets':[{'id':'9','text':'nor this'}]}"

static void
check_v2(const char *message, const char *name)
{
	decodes(message, name);
	ok(tweet.id == INT64CONST(1146305824956410060) && tweet.created_at == JULY, "id and time");
	ok(tweet.has_author && tweet.author_id == INT64CONST(2244994945), "author");
	is_text(tweet.text, "hello", "text");
	is_text(tweet.lang, "en", "lang");
	ok(tweet.nhashtags == 1, "one hashtag");
	is_text(tweet.hashtags[0], "hi", "hashtag");
	is_text(tweet.hints.place, "Toronto, Ontario", "place");
	is_text(tweet.hints.country_code, "CA", "country code");
	is_text(tweet.hints.profile, "YYZ", "profile");
	is_point(false, 0, 0, "the middle of a box is not a point");
}

static void
test_v2(void)
{
	check_v2("{" V2_DATA "," V2_INCLUDES
			 ",'matching_rules':[{'id':1412189062441439700,'tag':'t'}]}",
			 "v2");
	check_v2("{'matching_rules':[]," V2_INCLUDES ",'errors':[{'title':'Not Found Error'}]," V2_DATA
			 "}",
			 "v2, includes before data");
	decodes("{'data':{'id':'1146305824956410060','text':'short'}}", "v2, reduced");
	ok(tweet.created_at == JULY + 658000, "time from the id");
	is_text(tweet.text, "short", "text");
	decodes(
		"{'data':{'id':'1146305824956410060','text':'sho','note_tweet':{'text':'long','entities':"
		"{'hashtags':[{'tag':'a'},{'tag':'b'}]}}}}",
		"note_tweet");
	is_text(tweet.text, "long", "the long text");
	ok(tweet.nhashtags == 2, "the long text's hashtags");
	decodes("{'data':{'note_post':{'text':'long'},'id':'1146305824956410060','text':'sho'}}",
			"note_post");
	is_text(tweet.text, "long", "the long text");
	decodes(
		"{'data':{'id':'1146305824956410060','geo':{'coordinates':{'type':'Point','coordinates':"
		"[-79.38,43.65]},'place_id':'nowhere'}},'includes':{'places':[{'id':'x','full_name':'X'}]}}",
		"point, and a place that is not included");
	is_point(true, -79.38, 43.65, "lon, lat");
	is_text(tweet.hints.place, NULL, "place");
	decodes(
		"{'data':{'id':'1146305824956410060'},'includes':{'places':null,'users':[{'id':null},null]}}",
		"nulls in includes");
	decodes(
		"{'includes':null,'data':{'id':'1146305824956410060','geo':{},'entities':{},'withheld':{}}}",
		"empty objects");
	decodes("{'data':{'id':'1146305824956410060','author_id':'5'},'includes':{'users':"
			"[{'location':'a\\u00e9','id':'\\u0035'}]}}",
			"escapes in includes");
	is_text(tweet.hints.profile, "a\xc3\xa9", "profile");
}

/* ---- notices ---- */

static void
is_delete(int64 id, const char *message)
{
	EvnDecodeResult result = decode(message);

	ok(result == EVN_DECODE_OK && tweet.type == EVN_MESSAGE_DELETE && tweet.id == id, "deletes: %s",
	   message);
}

static void
is_notice(const char *message)
{
	EvnDecodeResult result = decode(message);

	ok(result == EVN_DECODE_OK && tweet.type == EVN_MESSAGE_NOTICE, "notice: %s", message);
}

static void
test_notices(void)
{
	is_delete(
		INT64CONST(1146305824956410060),
		"{'delete':{'status':{'id':1146305824956410100,'id_str':'1146305824956410060','user_id':3,"
		"'user_id_str':'3'},'timestamp_ms':'1562135580658'}}");
	is_delete(12, "{'delete':{'status':{'id':12}}}");
	is_delete(12, "{'data':{'delete':{'event_at':'2021-07-06T18:40:40.000Z',"
				  "'tweet':{'author_id':'3','id':'12'}}}}");
	is_delete(12, "{'data':{'delete':{'post':{'id':'12','author_id':'3'},'quote_tweet_id':'4'}}}");
	is_delete(12, "{'delete':{'tweet':{'id':'12'}},'created_at':'x'}");
	fails(EVN_DECODE_NO_ID, "{'delete':{'status':{'user_id':3}}}");
	fails(EVN_DECODE_NO_ID, "{'delete':{'status':{'id':0}}}");
	fails(EVN_DECODE_NO_ID, "{'delete':{}}");
	fails(EVN_DECODE_BAD_VALUE, "{'delete':{'status':5}}");

	is_notice("{'limit':{'track':3,'timestamp_ms':'1562135580658'}}");
	is_notice(
		"{'scrub_geo':{'user_id':1,'user_id_str':'1','up_to_status_id':2,'up_to_status_id_str':'2'}}");
	is_notice("{'status_withheld':{'id':1,'user_id':2,'withheld_in_countries':['DE']}}");
	is_notice("{'user_withheld':{'id':1,'withheld_in_countries':['DE']}}");
	is_notice("{'warning':{'code':'FALLING_BEHIND','message':'m','percent_full':60}}");
	is_notice("{'disconnect':{'code':4,'stream_name':'','reason':''}}");
	is_notice("{'for_user':'1','message':{'text':'t'}}");
	is_notice("{'friends':[1,2]}");
	is_notice("{'errors':[{'title':'operational-disconnect','disconnect_type':'Upstream'}]}");
	is_notice("{'title':'operational-disconnect','disconnect_type':'x','detail':'d','type':'u'}");
	is_notice(
		"{'title':'ConnectionException','connection_issue':'TooManyConnections','detail':'d'}");
	is_notice("{'data':null,'errors':[]}");
	is_notice("{'data':{'withheld':{'tweet':{'id':'1'},'withheld_in_countries':['DE']}}}");
	is_notice("{'data':{'drop':{'tweet':{'id':'1'}}}}");
	is_notice("{'data':{'tweet_edit':{'tweet':{'id':'1'},'initial_tweet_id':'1'}}}");
	is_notice(
		"{'data':{'user_profile_modification':{'user':{'id':'1'},'profile_field':'location'}}}");
	is_notice("{'limit':{'track':1},'warning':{}}");
}

/* ---- ids ---- */

static void
is_id(int64 id, const char *message)
{
	EvnDecodeResult result = decode(message);

	ok(result == EVN_DECODE_OK && tweet.id == id, "id " INT64_FORMAT, id);
}

static void
test_ids(void)
{
	is_id(PG_INT64_MAX, "{'id':9223372036854775807,'timestamp':1562135580}");
	is_id(PG_INT64_MAX, "{'id':'9223372036854775807','timestamp':1562135580}");
	is_id(PG_INT64_MAX - 1, "{'id':9223372036854775806,'timestamp':1562135580}");
	is_id(INT64CONST(9007199254740993), "{'id':9007199254740993,'timestamp':1562135580}");
	is_id(1, "{'id':1,'timestamp':1562135580}");
	is_id(1, "{'id':'0001','timestamp':1562135580}");
	is_id(5, "{'id':1e400,'id_str':'5','timestamp':1562135580}");
	is_id(5, "{'\\u0069d':5,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':9223372036854775808,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':18446744073709551617,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':99999999999999999999999,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':0,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':-5,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':1.0,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':1e3,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':'','timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':' 1','timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':'1x','timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':true,'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':[1],'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':{'a':1},'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':5,'id_str':'x','timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'id':null,'text':'t','timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'text':'t'}");
	fails(EVN_DECODE_NO_ID, "{'user':{'id':1}}");
	fails(EVN_DECODE_NO_ID, "{'timestamp':1562135580}");
	fails(EVN_DECODE_NO_ID, "{'data':{'text':'t'}}");
	fails(EVN_DECODE_NO_ID, "{'text':'t','errors':[]}");
}

/* ---- failures ---- */

static void
test_failures(void)
{
	fails(EVN_DECODE_EMPTY, "");
	ok(decode(" \r\n\t") == EVN_DECODE_EMPTY, "white space is empty");
	ok(evn_tweet_decode(decoder, arena, NULL, 0, &tweet) == EVN_DECODE_EMPTY,
	   "a tombstone is empty");
	fails(EVN_DECODE_BAD_ENCODING, "{'id':7,'timestamp':1562135580,'x':'\xff'}");
	ok(decode_bytes("{\"id\":7,\"timestamp\":1562135580}\0", 32) == EVN_DECODE_NUL, "a NUL byte");
	fails(EVN_DECODE_NUL, "{'id':7,'timestamp':1562135580,'text':'a\\u0000b'}");
	fails(EVN_DECODE_NUL, "{'id':7,'timestamp':1562135580,'skipped':['\\u0000']}");
	fails(EVN_DECODE_BAD_ESCAPE, "{'id':7,'timestamp':1562135580,'text':'\\ud83d'}");
	fails(EVN_DECODE_BAD_ESCAPE, "{'id':7,'timestamp':1562135580,'skipped':['\\ude00']}");
	fails(EVN_DECODE_BAD_ESCAPE, "{'id':7,'timestamp':1562135580,'text':'\\x'}");
	fails(EVN_DECODE_BAD_JSON, "hello");
	fails(EVN_DECODE_BAD_JSON, "{'id':7,'timestamp':1562135580");
	fails(EVN_DECODE_BAD_JSON, "{'id':7,'timestamp':1562135580}}");
	fails(EVN_DECODE_BAD_JSON, "{'id':7,'timestamp':1562135580} {'id':8,'timestamp':1562135580}");
	fails(EVN_DECODE_BAD_JSON, "{'id':7,'timestamp':1562135580,}");
	fails(EVN_DECODE_BAD_JSON, "{'id':7,'timestamp':1562135580,'skipped':[1,]}");
	fails(EVN_DECODE_BAD_JSON, "[1,2");
	fails(EVN_DECODE_BAD_JSON, "5 5");
	fails(EVN_DECODE_UNKNOWN_FORM, "{}");
	fails(EVN_DECODE_UNKNOWN_FORM, "[]");
	fails(EVN_DECODE_UNKNOWN_FORM, "[{'id':7,'timestamp':1562135580}]");
	fails(EVN_DECODE_UNKNOWN_FORM, "5");
	fails(EVN_DECODE_UNKNOWN_FORM, "null");
	fails(EVN_DECODE_UNKNOWN_FORM, "'text'");
	fails(EVN_DECODE_UNKNOWN_FORM,
		  "{'did':'did:plc:x','time_us':1,'kind':'commit','commit':{'rev':'a'}}");
	fails(EVN_DECODE_UNKNOWN_FORM, "{'data':{}}");
	fails(EVN_DECODE_UNKNOWN_FORM, "{'data':[{'id':'7'}],'errors':[]}");
	fails(EVN_DECODE_UNKNOWN_FORM, "{'delete':5}");

	fails(EVN_DECODE_DUPLICATE_KEY, "{'id':7,'timestamp':1562135580,'id':7}");
	fails(EVN_DECODE_DUPLICATE_KEY, "{'id':7,'timestamp':1562135580,'text':null,'te\\u0078t':'b'}");
	fails(EVN_DECODE_DUPLICATE_KEY, "{" V1 ",'user':{'id':1,'id':2}}");
	fails(EVN_DECODE_DUPLICATE_KEY, "{" V1 ",'place':{'name':'a','name':'a'}}");
	fails(EVN_DECODE_DUPLICATE_KEY, "{'data':{'id':'7'},'data':{'id':'7'}}");
	fails(EVN_DECODE_DUPLICATE_KEY, "{'data':{'id':'7'},'includes':{'users':[],'users':[]}}");
	decodes("{'id':7,'timestamp':1562135580,'x':1,'x':2,'y':{'id':1,'id':2}}",
			"duplicates nobody reads");

	fails(EVN_DECODE_NO_TIME, "{'id':7,'text':'t'}");
	fails(EVN_DECODE_NO_TIME, "{'id':1000000000000,'created_at':null}");
	fails(EVN_DECODE_BAD_TIME, "{'id':7,'created_at':'yesterday'}");
	fails(EVN_DECODE_BAD_TIME, "{'id':7,'created_at':''}");
	fails(EVN_DECODE_BAD_TIME, "{'id':1146305824956410060,'timestamp':0}");
	fails(EVN_DECODE_BAD_TIME, "{'id':7,'timestamp':-1562135580}");
	fails(EVN_DECODE_BAD_TIME, "{'id':7,'created_at':'2005-12-31T23:59:59Z'}");
	fails(EVN_DECODE_BAD_TIME, "{'id':7,'created_at':'2100-01-01T00:00:00Z'}");
	fails(EVN_DECODE_BAD_TIME, "{" V1 ",'timestamp_ms':'x'}");
}

static void
test_bad_values(void)
{
	static const char *const fields[] = {"'text':5",
										 "'text':['a']",
										 "'lang':true",
										 "'city':{}",
										 "'place':7",
										 "'place':{'full_name':7}",
										 "'author_id':'x'",
										 "'author_id':-1",
										 "'author_id':9223372036854775808",
										 "'author_id':1.5",
										 "'author_id':{}",
										 "'user':{'location':5}",
										 "'user':{'id':'x'}",
										 "'country_code':1",
										 "'is_retweet':'true'",
										 "'is_retweet':1",
										 "'retweeted_status':true",
										 "'in_reply_to_status_id':{}",
										 "'lon':'1','lat':2",
										 "'lon':1e999,'lat':0",
										 "'lon':true",
										 "'lat':{}",
										 "'coordinates':5",
										 "'coordinates':{'coordinates':5}",
										 "'coordinates':{'coordinates':[1]}",
										 "'coordinates':{'type':'Point','coordinates':['1','2']}",
										 "'coordinates':[1,1e999]",
										 "'geo':{'coordinates':[]}",
										 "'geo':{'place_id':5}",
										 "'coordinates':{'type':5}",
										 "'entities':{'hashtags':{}}",
										 "'hashtags':'a'",
										 "'hashtags':[5]",
										 "'hashtags':[{'text':5}]",
										 "'extended_tweet':'x'",
										 "'note_tweet':{'text':5}",
										 "'referenced_tweets':{}",
										 "'referenced_posts':[{'type':5}]",
										 "'referenced_tweets':['quoted']",
										 "'created_at':{}",
										 "'created_at':true",
										 "'timestamp_ms':[]",
										 "'quoted_status':1"};
	size_t					 i;
	char					 message[200];

	for (i = 0; i < lengthof(fields); i++)
	{
		snprintf(message, sizeof(message), "{'id':7,'timestamp':1562135580,%s}", fields[i]);
		fails(EVN_DECODE_BAD_VALUE, message);
	}
	fails(EVN_DECODE_BAD_VALUE, "{'data':{'id':'7'},'includes':{'users':{}}}");
	fails(EVN_DECODE_BAD_VALUE, "{'data':{'id':'7'},'includes':{'places':['x']}}");
}

/* ---- large, deep, cut off ---- */

static void
test_size(void)
{
	static const char message[] = "{\"id\":7,\"timestamp\":1562135580}";
	char			 *large = malloc(EVN_DECODE_MAX_BYTES + 1);

	memset(large, ' ', EVN_DECODE_MAX_BYTES + 1);
	memcpy(large, message, strlen(message));
	ok(decode_bytes(large, EVN_DECODE_MAX_BYTES) == EVN_DECODE_OK, "as large as it may be");
	ok(decode_bytes(large, EVN_DECODE_MAX_BYTES + 1) == EVN_DECODE_TOO_LARGE, "one byte more");
	memset(large, '[', EVN_DECODE_MAX_BYTES);
	ok(decode_bytes(large, EVN_DECODE_MAX_BYTES) == EVN_DECODE_TOO_DEEP, "brackets only");
	free(large);
}

static void
test_depth(void)
{
	char message[1000];
	char nested[EVN_DECODE_MAX_DEPTH * 2 + 1] = "";
	int	 i;

	for (i = 1; i < EVN_DECODE_MAX_DEPTH; i++)
		strcat(nested, "[");
	for (i = 1; i < EVN_DECODE_MAX_DEPTH; i++)
		strcat(nested, "]");
	snprintf(message, sizeof(message), "{'id':7,'timestamp':1562135580,'x':%s}", nested);
	decodes(message, "as deep as it may be");
	snprintf(message, sizeof(message), "{'id':7,'timestamp':1562135580,'x':[%s]}", nested);
	fails(EVN_DECODE_TOO_DEEP, message);
}

static void
test_hashtags_and_arena(void)
{
	char message[20000] = "{'id':7,'timestamp':1562135580,'hashtags':[";
	int	 i;
	bool right = true;

	for (i = 0; i < 1000; i++)
		sprintf(message + strlen(message), "%s'#\\u00e9%d'", i > 0 ? "," : "", i);
	strcat(message, "]}");
	decodes(message, "a thousand hashtags with escapes");
	ok(tweet.nhashtags == 1000, "all there");
	for (i = 0; i < tweet.nhashtags; i++)
	{
		char expected[20];

		sprintf(expected, "\xc3\xa9%d", i);
		right = right && tweet.hashtags[i].len == (int) strlen(expected) &&
				memcmp(tweet.hashtags[i].data, expected, tweet.hashtags[i].len) == 0;
	}
	ok(right, "and right");
	decodes("{'id':7,'timestamp':1562135580,'hashtags':['#','',null,{},{'text':'x'}]}",
			"empty hashtags");
	ok(tweet.nhashtags == 1, "are left out");
}

static void
test_text(void)
{
	decodes(
		"\r\n {'id':7,'timestamp':1562135580,'text':'\\ud83d\\ude00 caf\\u00e9 \\'\\\\\\/\\n'}\r\n",
		"white space around, escapes within");
	is_text(tweet.text, "\xf0\x9f\x98\x80 caf\xc3\xa9 \"\\/\n", "escapes");
	decodes(
		"{'id':7,'timestamp':1562135580,'text':'\xf0\x9f\x98\x80 caf\xc3\xa9 \xe6\x9d\xb1\xe4\xba\xac'}",
		"UTF-8");
	is_text(tweet.text, "\xf0\x9f\x98\x80 caf\xc3\xa9 \xe6\x9d\xb1\xe4\xba\xac", "UTF-8");
	ok(tweet.text.data > payload && tweet.text.data < payload + 100, "not copied");
}

static void
test_cut_off(void)
{
	static const char *const messages[] = {
		"{" V2_DATA "," V2_INCLUDES "}",
		"{" V2_INCLUDES "," V2_DATA "}",
		"{" V1 ",'text':'\\ud83d\\ude00 \xf0\x9f\x98\x80','user':{'id':3,'location':'\\u00e9'},"
		"'x':[true,null,-1.5e3]}",
		"{'delete':{'status':{'id':12}}}",
	};
	size_t i;

	for (i = 0; i < lengthof(messages); i++)
	{
		char  *json = strdup(messages[i]);
		size_t len = strlen(json);
		bool   refused = true;
		char  *quote;

		for (quote = json; (quote = strchr(quote, '\'')) != NULL;)
			*quote = '"';
		ok(decode_bytes(json, len) == EVN_DECODE_OK, "whole");
		while (--len > 0)
		{
			EvnDecodeResult result = decode_bytes(json, len);

			if (result != EVN_DECODE_BAD_JSON && result != EVN_DECODE_BAD_ESCAPE &&
				result != EVN_DECODE_BAD_ENCODING)
				refused = false;
		}
		ok(refused, "refused when cut off anywhere");
		free(json);
	}
}

static void
test_results(void)
{
	int	 a;
	int	 b;
	bool distinct = true;

	for (a = EVN_DECODE_OK; a <= EVN_DECODE_NO_MEMORY; a++)
	{
		ok(strlen(evn_tweet_decode_message(a)) > 0, "message of %s", evn_tweet_decode_code(a));
		for (b = EVN_DECODE_OK; b < a; b++)
			distinct = distinct && strcmp(evn_tweet_decode_code(a), evn_tweet_decode_code(b)) != 0;
	}
	ok(distinct, "codes are distinct");
}

int
main(void)
{
	decoder = evn_tweet_decoder_create();
	arena = evn_arena_create(64);
	test_flat();
	test_points();
	test_v1();
	test_kinds();
	test_v2();
	test_notices();
	test_ids();
	test_failures();
	test_bad_values();
	test_size();
	test_depth();
	test_hashtags_and_arena();
	test_text();
	test_cut_off();
	test_results();
	evn_tweet_decoder_free(decoder);
	evn_tweet_decoder_free(NULL);
	evn_arena_free(arena);
	free(payload);
	return tap_done();
}
