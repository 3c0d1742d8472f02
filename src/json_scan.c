/*
 * json_scan.c
 *		A pull scanner for JSON over PostgreSQL's lexer.
 *
 * The lexer leaves to us the grammar, so that values are read as they come and
 * nothing recurses, and what the escapes of a string mean.
 */
#include "c.h"

#include "compat.h"
#include "json_scan.h"
#include "mb/pg_wchar.h"

#define UNICODE_ESCAPE_LEN 6 /* \uXXXX */

bool
evn_json_scan_fail(EvnJsonScan *scan, EvnDecodeResult error)
{
	if (scan->error == EVN_DECODE_OK)
		scan->error = error;
	return false;
}

/* ---- escapes ---- */

/* The code unit of the \uXXXX at s, or -1 if there is none; its digits are known to be such. */
static int
read_code_unit(const char *s, const char *end)
{
	int unit = 0;
	int i;

	if (end - s < UNICODE_ESCAPE_LEN || s[0] != '\\' || s[1] != 'u')
		return -1;
	for (i = 2; i < UNICODE_ESCAPE_LEN; i++)
		unit = unit * 16 + (s[i] <= '9' ? s[i] - '0' : (s[i] | 0x20) - 'a' + 10);
	return unit;
}

/*
 * The code point of the \u escape or surrogate pair at *s, which is moved
 * behind it; -1 when it is half a pair.
 */
static int
read_code_point(const char **s, const char *end)
{
	int unit = read_code_unit(*s, end);

	if (unit < 0 || is_utf16_surrogate_second(unit))
		return -1;
	*s += UNICODE_ESCAPE_LEN;
	if (is_utf16_surrogate_first(unit))
	{
		int second = read_code_unit(*s, end);

		if (second < 0 || !is_utf16_surrogate_second(second))
			return -1;
		*s += UNICODE_ESCAPE_LEN;
		return (int) surrogate_pair_to_codepoint(unit, second);
	}
	return unit;
}

/* Refuse half surrogate pairs and NUL, which the lexer lets pass as long as it does not unescape. */
static bool
check_escapes(EvnJsonScan *scan, EvnText raw)
{
	const char *end = raw.data + raw.len;
	const char *s = raw.data;

	while ((s = memchr(s, '\\', end - s)) != NULL)
	{
		int code_point;

		if (s[1] != 'u')
		{
			s += 2;
			continue;
		}
		code_point = read_code_point(&s, end);
		if (code_point < 0)
			return evn_json_scan_fail(scan, EVN_DECODE_BAD_ESCAPE);
		if (code_point == 0)
			return evn_json_scan_fail(scan, EVN_DECODE_NUL);
	}
	return true;
}

/* What the character after a backslash stands for; \u is not among them. */
static char
simple_escape(char c)
{
	switch (c)
	{
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return c;
	}
}

static int
write_utf8(int code_point, char *out)
{
	unicode_to_utf8((pg_wchar) code_point, (unsigned char *) out);
	if (code_point < 0x80)
		return 1;
	if (code_point < 0x800)
		return 2;
	return code_point < 0x10000 ? 3 : 4;
}

/* Copy a checked string with its escapes resolved; returns the new length. */
static int32
unescape(EvnText raw, char *copy)
{
	const char *s = raw.data;
	const char *end = s + raw.len;
	char	   *out = copy;

	while (s < end)
	{
		if (*s != '\\')
			*out++ = *s++;
		else if (s[1] == 'u')
			out += write_utf8(read_code_point(&s, end), out);
		else
		{
			*out++ = simple_escape(s[1]);
			s += 2;
		}
	}
	return (int32) (out - copy);
}

EvnText
evn_json_scan_text(EvnJsonScan *scan, EvnArena *arena, const EvnJsonString *string)
{
	EvnText text = string->raw;
	char   *copy;

	if (!string->escaped)
		return text;

	/* an escape is never shorter than what it means */
	copy = evn_arena_alloc(arena, text.len);
	if (copy == NULL)
	{
		(void) evn_json_scan_fail(scan, EVN_DECODE_NO_MEMORY);
		return (EvnText) {NULL, 0};
	}
	text.len = unescape(text, copy);
	text.data = copy;
	return text;
}

/* ---- tokens ---- */

/* Step to the next token. */
static inline bool
next_token(EvnJsonScan *scan)
{
	JsonParseErrorType result = json_lex(&scan->lex);

	if (likely(result == JSON_SUCCESS))
		return true;
	if (result == JSON_ESCAPING_INVALID || result == JSON_UNICODE_ESCAPE_FORMAT)
		return evn_json_scan_fail(scan, EVN_DECODE_BAD_ESCAPE);
	return evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
}

/* The token at hand must be this one. */
static inline bool
require(EvnJsonScan *scan, JsonTokenType type)
{
	return likely(scan->lex.token_type == type) || evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
}

static inline bool
expect(EvnJsonScan *scan, JsonTokenType type)
{
	return next_token(scan) && require(scan, type);
}

/* The token at hand as a string, which it is. */
static inline bool
take_string(EvnJsonScan *scan, EvnJsonString *string)
{
	string->raw.data = scan->lex.token_start + 1;
	string->raw.len = (int32) (scan->lex.token_terminator - 1 - string->raw.data);
	string->escaped = memchr(string->raw.data, '\\', string->raw.len) != NULL;
	return likely(!string->escaped) || check_escapes(scan, string->raw);
}

/* ---- grammar ---- */

static inline bool
enter(EvnJsonScan *scan, bool object)
{
	uint64 bit;

	if (scan->depth == EVN_DECODE_MAX_DEPTH)
		return evn_json_scan_fail(scan, EVN_DECODE_TOO_DEEP);
	bit = UINT64CONST(1) << scan->depth;
	scan->objects = object ? scan->objects | bit : scan->objects & ~bit;
	scan->depth++;
	scan->opened = true;
	return true;
}

/* The token at hand as a value, or the beginning of one. */
static inline bool
take_value(EvnJsonScan *scan, EvnJsonValue *value)
{
	value->text.raw.data = scan->lex.token_start;
	value->text.raw.len = 0;
	value->text.escaped = false;
	switch (scan->lex.token_type)
	{
		case JSON_TOKEN_STRING:
			value->type = EVN_JSON_STRING;
			return take_string(scan, &value->text);
		case JSON_TOKEN_NUMBER:
			value->type = EVN_JSON_NUMBER;
			value->text.raw.len = (int32) (scan->lex.token_terminator - scan->lex.token_start);
			return true;
		case JSON_TOKEN_OBJECT_START:
			value->type = EVN_JSON_OBJECT;
			return enter(scan, true);
		case JSON_TOKEN_ARRAY_START:
			value->type = EVN_JSON_ARRAY;
			return enter(scan, false);
		case JSON_TOKEN_NULL:
			value->type = EVN_JSON_NULL;
			return true;
		case JSON_TOKEN_TRUE:
			value->type = EVN_JSON_TRUE;
			return true;
		case JSON_TOKEN_FALSE:
			value->type = EVN_JSON_FALSE;
			return true;
		default:
			return evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
	}
}

/*
 * Step to the first token of the next member, past a comma if there must be
 * one; false at the container's end, which is then left.
 */
static inline bool
next_member(EvnJsonScan *scan, JsonTokenType closing)
{
	bool first = scan->opened;

	if (unlikely(scan->error != EVN_DECODE_OK) || !next_token(scan))
		return false;
	scan->opened = false;
	if (scan->lex.token_type == closing)
	{
		scan->depth--;
		return false;
	}
	return first || (require(scan, JSON_TOKEN_COMMA) && next_token(scan));
}

static inline bool
take_field(EvnJsonScan *scan, EvnJsonString *name, EvnJsonValue *value)
{
	return next_member(scan, JSON_TOKEN_OBJECT_END) && require(scan, JSON_TOKEN_STRING) &&
		   take_string(scan, name) && expect(scan, JSON_TOKEN_COLON) && next_token(scan) &&
		   take_value(scan, value);
}

bool
evn_json_scan_field(EvnJsonScan *scan, EvnJsonString *name, EvnJsonValue *value)
{
	return take_field(scan, name, value);
}

bool
evn_json_scan_element(EvnJsonScan *scan, EvnJsonValue *value)
{
	return next_member(scan, JSON_TOKEN_ARRAY_END) && take_value(scan, value);
}

static inline bool
in_object(const EvnJsonScan *scan)
{
	return (scan->objects >> (scan->depth - 1)) & 1;
}

EvnText
evn_json_scan_skip(EvnJsonScan *scan, const EvnJsonValue *value)
{
	EvnText		  text = value->text.raw;
	EvnJsonString name;
	EvnJsonValue  inner;
	int			  outside = scan->depth - 1;

	if (value->type != EVN_JSON_ARRAY && value->type != EVN_JSON_OBJECT)
		return text;

	/* that a nested container ends is one member less to wait for, nothing more */
	while (scan->error == EVN_DECODE_OK && scan->depth > outside)
	{
		if (in_object(scan))
			(void) take_field(scan, &name, &inner);
		else
			(void) evn_json_scan_element(scan, &inner);
	}
	text.len = (int32) (scan->lex.token_terminator - text.data);
	return text;
}

bool
evn_json_scan_end(EvnJsonScan *scan)
{
	return scan->error == EVN_DECODE_OK && expect(scan, JSON_TOKEN_END);
}

bool
evn_json_scan_reopen(EvnJsonScan *scan, EvnText part, EvnJsonValue *value)
{
	evn_json_lex_open(&scan->lex, part.data, part.len);
	scan->opened = false;
	scan->depth = 0;
	scan->objects = 0;
	return next_token(scan) && take_value(scan, value);
}

bool
evn_json_scan_open(EvnJsonScan *scan, const char *json, size_t len, EvnJsonValue *value)
{
	EvnText whole = {json, (int32) len};
	int		valid = pg_encoding_verifymbstr(PG_UTF8, json, (int) len);

	scan->error = EVN_DECODE_OK;
	if (valid < (int) len)
		return evn_json_scan_fail(scan,
								  json[valid] == '\0' ? EVN_DECODE_NUL : EVN_DECODE_BAD_ENCODING);
	return evn_json_scan_reopen(scan, whole, value);
}
