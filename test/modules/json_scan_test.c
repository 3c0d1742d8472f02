/*
 * json_scan_test.c
 *		Unit tests of json_scan.c: what is JSON, what is not, and what a
 *		string means.
 */
#include "c.h"

#include "json_scan.h"
#include "tap.h"

#define BAD_JSON EVN_DECODE_BAD_JSON

typedef struct Sample
{
	const char	   *json;
	EvnDecodeResult result;
} Sample;

static const Sample samples[] = {
	{"null", EVN_DECODE_OK},
	{" \t\r\n true \t\r\n ", EVN_DECODE_OK},
	{"false", EVN_DECODE_OK},
	{"\"\"", EVN_DECODE_OK},
	{"\"abcdefgh\"", EVN_DECODE_OK},
	{"\"a\\\\u0000b\"", EVN_DECODE_OK}, /* an escaped backslash, then plain text */
	{"\"abcdefghijklmnop\\nqrs\"", EVN_DECODE_OK},
	{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\"", EVN_DECODE_OK},
	{"\"\x7f\xc2\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf\"", EVN_DECODE_OK},
	{"0", EVN_DECODE_OK},
	{"-0", EVN_DECODE_OK},
	{"-0.0e-0", EVN_DECODE_OK},
	{"12345678901234567890123456789012345678901234567890", EVN_DECODE_OK},
	{"1e999", EVN_DECODE_OK},
	{"1.5E+10", EVN_DECODE_OK},
	{"[]", EVN_DECODE_OK},
	{"{}", EVN_DECODE_OK},
	{"[ ]", EVN_DECODE_OK},
	{"[[],{},[{}],1,\"a\",null]", EVN_DECODE_OK},
	{"{\"a\":{\"b\":[{\"c\":[]},{}]},\"a\":1}", EVN_DECODE_OK},
	{"{ \"a\" : 1 , \"b\" : [ 1 , 2 ] }", EVN_DECODE_OK},

	{"", BAD_JSON},
	{" ", BAD_JSON},
	{"nul", BAD_JSON},
	{"nulll", BAD_JSON},
	{"NULL", BAD_JSON},
	{"tru", BAD_JSON},
	{"truex", BAD_JSON},
	{"f", BAD_JSON},
	{"falsefalse", BAD_JSON},
	{"NaN", BAD_JSON},
	{"Infinity", BAD_JSON},
	{"-Infinity", BAD_JSON},
	{"undefined", BAD_JSON},
	{"-", BAD_JSON},
	{"+1", BAD_JSON},
	{"01", BAD_JSON},
	{"-01", BAD_JSON},
	{".5", BAD_JSON},
	{"1.", BAD_JSON},
	{"1.e5", BAD_JSON},
	{"1e", BAD_JSON},
	{"1e+", BAD_JSON},
	{"1e+-1", BAD_JSON},
	{"0x10", BAD_JSON},
	{"1a", BAD_JSON},
	{"1 2", BAD_JSON},
	{"--1", BAD_JSON},
	{"1_000", BAD_JSON},
	{"\"", BAD_JSON},
	{"\"abc", BAD_JSON},
	{"\"abcdefgh", BAD_JSON},
	{"\"a\\", BAD_JSON},
	{"'a'", BAD_JSON},
	{"\"a\nb\"", BAD_JSON},
	{"\"a\tb\"", BAD_JSON},
	{"\"abcdefgh\x1f\"", BAD_JSON},
	{"\x0b"
	 "1",
	 BAD_JSON},
	{"[", BAD_JSON},
	{"]", BAD_JSON},
	{"[1", BAD_JSON},
	{"[1,", BAD_JSON},
	{"[1,]", BAD_JSON},
	{"[,1]", BAD_JSON},
	{"[,]", BAD_JSON},
	{"[1 2]", BAD_JSON},
	{"[1}", BAD_JSON},
	{"[1]]", BAD_JSON},
	{"[1:2]", BAD_JSON},
	{"[\"a\":1]", BAD_JSON},
	{"{", BAD_JSON},
	{"}", BAD_JSON},
	{"{\"a\"", BAD_JSON},
	{"{\"a\":", BAD_JSON},
	{"{\"a\":1", BAD_JSON},
	{"{\"a\":1,", BAD_JSON},
	{"{\"a\":1,}", BAD_JSON},
	{"{,}", BAD_JSON},
	{"{\"a\"}", BAD_JSON},
	{"{\"a\",1}", BAD_JSON},
	{"{\"a\":}", BAD_JSON},
	{"{a:1}", BAD_JSON},
	{"{1:1}", BAD_JSON},
	{"{null:1}", BAD_JSON},
	{"{\"a\":1]", BAD_JSON},
	{"{\"a\":1}}", BAD_JSON},
	{"{\"a\":1 \"b\":2}", BAD_JSON},
	{"{\"a\"::1}", BAD_JSON},
	{"{\"a\":1,,\"b\":2}", BAD_JSON},
	{"{[]:1}", BAD_JSON},
	{"{}{}", BAD_JSON},
	{"{} x", BAD_JSON},
	{"{},", BAD_JSON},
	{"/**/1", BAD_JSON},
	{"1//", BAD_JSON},
	{"\xef\xbb\xbf{}", BAD_JSON},

	{"\"\\x\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\'\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\U0041\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\u00g0\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\u12\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\uD83D\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\uD83Dxxxxxx\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\uD83D\\n\\n\\n\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\uD83D\\u0041\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\uD83D\\uD83D\\uDE00\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\uDE00\"", EVN_DECODE_BAD_ESCAPE},
	{"\"\\uDE00\\uD83D\"", EVN_DECODE_BAD_ESCAPE},
	{"[\"a\",{\"\\uDE00\":1}]", EVN_DECODE_BAD_ESCAPE},
	{"\"\\u0000\"", EVN_DECODE_NUL},
	{"{\"a\\u0000b\":1}", EVN_DECODE_NUL},

	{"\"\xff\"", EVN_DECODE_BAD_ENCODING},
	{"\"\xc3\"", EVN_DECODE_BAD_ENCODING},
	{"\"\xc0\x80\"", EVN_DECODE_BAD_ENCODING},
	{"\"\xed\xa0\xbd\xed\xb8\x80\"", EVN_DECODE_BAD_ENCODING}, /* CESU-8 */
	{"\"\xf4\x90\x80\x80\"", EVN_DECODE_BAD_ENCODING},
	{"\"caf\xe9\"", EVN_DECODE_BAD_ENCODING}};

/* Read all of a text that ends where its memory ends. */
static EvnDecodeResult
scan_all(const char *json, size_t len)
{
	char		*copy = malloc(len + 1);
	EvnJsonScan	 scan;
	EvnJsonValue value;

	memmove(copy + 1, json, len);
	if (evn_json_scan_open(&scan, copy + 1, len, &value))
	{
		(void) evn_json_scan_skip(&scan, &value);
		(void) evn_json_scan_end(&scan);
	}
	free(copy);
	return scan.error;
}

static void
test_grammar(void)
{
	size_t i;

	for (i = 0; i < lengthof(samples); i++)
	{
		EvnDecodeResult result = scan_all(samples[i].json, strlen(samples[i].json));

		ok(result == samples[i].result, "%s: sample %d", evn_tweet_decode_code(samples[i].result),
		   (int) i);
	}
	ok(scan_all("\"a\0b\"", 5) == EVN_DECODE_NUL, "NUL in a string");
	ok(scan_all("{}\0", 3) == EVN_DECODE_NUL, "NUL behind the text");
	ok(scan_all("\0", 1) == EVN_DECODE_NUL, "NUL alone");
}

/* levels of brackets, closed in the right order unless cut off */
static void
nest(char *out, int levels, const char *opening, const char *closing)
{
	int i;

	*out = '\0';
	for (i = 0; i < levels; i++)
		strcat(out, opening);
	strcat(out, "1");
	for (i = 0; i < levels; i++)
		strcat(out, closing);
}

static void
test_depth(void)
{
	char text[1000];

	nest(text, EVN_DECODE_MAX_DEPTH, "[", "]");
	ok(scan_all(text, strlen(text)) == EVN_DECODE_OK, "arrays as deep as they may be");
	nest(text, EVN_DECODE_MAX_DEPTH, "{\"a\":", "}");
	ok(scan_all(text, strlen(text)) == EVN_DECODE_OK, "objects as deep as they may be");
	nest(text, EVN_DECODE_MAX_DEPTH / 2, "[{\"a\":", "}]");
	ok(scan_all(text, strlen(text)) == EVN_DECODE_OK, "both in turn");
	nest(text, EVN_DECODE_MAX_DEPTH / 2, "[{\"a\":", "]}");
	ok(scan_all(text, strlen(text)) == BAD_JSON, "closed in the wrong order");
	nest(text, EVN_DECODE_MAX_DEPTH + 1, "[", "]");
	ok(scan_all(text, strlen(text)) == EVN_DECODE_TOO_DEEP, "arrays one level deeper");
	nest(text, EVN_DECODE_MAX_DEPTH + 1, "{\"a\":", "}");
	ok(scan_all(text, strlen(text)) == EVN_DECODE_TOO_DEEP, "objects one level deeper");
}

/* every control character, quote and backslash, at every place of a word and beyond */
static void
test_every_byte(void)
{
	bool right = true;
	int	 byte;
	int	 place;

	for (byte = 1; byte < 128; byte++)
	{
		EvnDecodeResult expected = EVN_DECODE_OK;

		if (byte < ' ' || byte == '"')
			expected = BAD_JSON;
		if (byte == '\\')
			expected = EVN_DECODE_BAD_ESCAPE;
		for (place = 1; place <= 20; place++)
		{
			char text[] = "\"xxxxxxxxxxxxxxxxxxxxx\"";

			text[place] = (char) byte;
			if (scan_all(text, strlen(text)) != expected)
				right = false;
		}
	}
	ok(right, "every ASCII character at every place in a string");
}

typedef struct Meaning
{
	const char *json;
	const char *text;
} Meaning;

static const Meaning meanings[] = {
	{"\"\"", ""},
	{"\"plain\"", "plain"},
	{"\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
	{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
	{"\"a\\\\u0000b\"", "a\\u0000b"},
	{"\"\\\\\\\\\"", "\\\\"},
	{"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"},
	{"\"\\uD800\\uDC00\\uDBFF\\uDFFF\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
	{"\"\xf0\x9f\x98\x80 and \\ud83d\\ude00\"", "\xf0\x9f\x98\x80 and \xf0\x9f\x98\x80"},
};

static void
test_meaning(void)
{
	EvnArena	*arena = evn_arena_create(16);
	EvnJsonScan	 scan;
	EvnJsonValue value;
	EvnText		 text;
	size_t		 i;

	for (i = 0; i < lengthof(meanings); i++)
	{
		(void) evn_json_scan_open(&scan, meanings[i].json, strlen(meanings[i].json), &value);
		text = evn_json_scan_text(&scan, arena, &value.text);
		ok(text.len == (int) strlen(meanings[i].text) &&
			   memcmp(text.data, meanings[i].text, text.len) == 0,
		   "meaning of %s", meanings[i].json);
	}
	(void) evn_json_scan_open(&scan, "\"plain\"", 7, &value);
	ok(evn_json_scan_text(&scan, arena, &value.text).data == value.text.raw.data,
	   "a string without escapes is not copied");
	evn_arena_free(arena);
}

static void
test_parts(void)
{
	static const char json[] = "{\"a\": {\"b\":[1, {}]} ,\"c\":[]}";
	EvnJsonScan		  scan;
	EvnJsonString	  name;
	EvnJsonValue	  value;
	EvnText			  part;

	(void) evn_json_scan_open(&scan, json, strlen(json), &value);
	ok(evn_json_scan_field(&scan, &name, &value) && value.type == EVN_JSON_OBJECT, "first field");
	part = evn_json_scan_skip(&scan, &value);
	ok(part.len == 13 && memcmp(part.data, "{\"b\":[1, {}]}", 13) == 0,
	   "a skipped part is returned as written");
	ok(evn_json_scan_field(&scan, &name, &value) && value.type == EVN_JSON_ARRAY, "second field");
	ok(!evn_json_scan_element(&scan, &value), "an empty array");
	ok(!evn_json_scan_field(&scan, &name, &value) && scan.error == EVN_DECODE_OK, "no third field");
	ok(evn_json_scan_end(&scan), "the end");
	ok(evn_json_scan_reopen(&scan, part, &value) && value.type == EVN_JSON_OBJECT,
	   "read once more");
	ok(evn_json_scan_field(&scan, &name, &value) && name.raw.data[0] == 'b', "its field");
	(void) evn_json_scan_skip(&scan, &value);
	ok(!evn_json_scan_field(&scan, &name, &value) && evn_json_scan_end(&scan), "its end");
}

static void
test_errors_stick(void)
{
	EvnJsonScan	  scan;
	EvnJsonString name;
	EvnJsonValue  value;

	(void) evn_json_scan_open(&scan, "{\"a\":1,\"b\":2}", 13, &value);
	(void) evn_json_scan_field(&scan, &name, &value);
	ok(!evn_json_scan_fail(&scan, EVN_DECODE_BAD_VALUE), "recorded");
	ok(!evn_json_scan_fail(&scan, EVN_DECODE_NO_ID) && scan.error == EVN_DECODE_BAD_VALUE,
	   "the first error stays");
	ok(!evn_json_scan_field(&scan, &name, &value), "no further field");
	ok(!evn_json_scan_element(&scan, &value), "no further element");
	ok(!evn_json_scan_end(&scan), "no end");
}

int
main(void)
{
	test_grammar();
	test_depth();
	test_every_byte();
	test_meaning();
	test_parts();
	test_errors_stick();
	return tap_done();
}
