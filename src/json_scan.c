/*
 * json_scan.c
 *		A pull scanner for JSON.
 *
 * PostgreSQL's own lexer, with which this began, takes as long for the tokens
 * alone as the whole decoding takes with this, and leaves the grammar and the
 * meaning of escapes to its callers.  The fuzz target holds the two against
 * each other.
 */
#include "c.h"

#include "json_scan.h"
#include "mb/pg_wchar.h"
#include "port/pg_bitutils.h"

#define UNICODE_ESCAPE_LEN 6 /* \uXXXX */

bool
evn_json_scan_fail(EvnJsonScan *scan, EvnDecodeResult error)
{
	if (scan->error == EVN_DECODE_OK)
		scan->error = error;
	return false;
}

/* ---- escapes ---- */

/* The code unit of the \uXXXX at s, or -1. */
static int
read_code_unit(const char *s, const char *end)
{
	int unit = 0;
	int i;

	if (end - s < UNICODE_ESCAPE_LEN || s[0] != '\\' || s[1] != 'u')
		return -1;
	for (i = 2; i < UNICODE_ESCAPE_LEN; i++)
	{
		unsigned char c = (unsigned char) s[i];

		if (c >= '0' && c <= '9')
			unit = unit * 16 + c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			unit = unit * 16 + (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return unit;
}

/*
 * The code point of the \u escape or surrogate pair at *s, which is moved
 * behind it; -1 when it is malformed or half a pair.
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

/* What the character after a backslash stands for, 0 for none; \u is not among them. */
static char
simple_escape(char c)
{
	switch (c)
	{
		case '"':
		case '\\':
		case '/':
			return c;
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
			return '\0';
	}
}

/* Step over the escape at scan->pos. */
static bool
pass_escape(EvnJsonScan *scan)
{
	int code_point;

	if (scan->end - scan->pos < 2)
		return evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
	if (scan->pos[1] != 'u')
	{
		if (simple_escape(scan->pos[1]) == '\0')
			return evn_json_scan_fail(scan, EVN_DECODE_BAD_ESCAPE);
		scan->pos += 2;
		return true;
	}
	code_point = read_code_point(&scan->pos, scan->end);
	if (code_point < 0)
		return evn_json_scan_fail(scan, EVN_DECODE_BAD_ESCAPE);
	if (code_point == 0)
		return evn_json_scan_fail(scan, EVN_DECODE_NUL);
	return true;
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

static inline void
skip_white_space(EvnJsonScan *scan)
{
	while (scan->pos < scan->end &&
		   (*scan->pos == ' ' || *scan->pos == '\t' || *scan->pos == '\n' || *scan->pos == '\r'))
		scan->pos++;
}

/* The next character that is not white space, or NUL, which no text holds, at the end. */
static inline char
peek(EvnJsonScan *scan)
{
	if (scan->pos < scan->end && (unsigned char) *scan->pos > ' ')
		return *scan->pos;
	skip_white_space(scan);
	return scan->pos < scan->end ? *scan->pos : '\0';
}

/* Step over this character, which must come next. */
static inline bool
expect(EvnJsonScan *scan, char c)
{
	if (peek(scan) != c)
		return evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
	scan->pos++;
	return true;
}

/* all bytes of a word the same */
#define EACH_BYTE(c) (UINT64CONST(0x0101010101010101) * (c))

/* Non-zero where a byte of the word is 0; bytes above such a one may show too. */
static inline uint64
zero_bytes(uint64 word)
{
	return (word - EACH_BYTE(1)) & ~word & EACH_BYTE(0x80);
}

/* The first quote, backslash or control character from pos on, or the end. */
static inline const char *
find_special(const char *pos, const char *end)
{
#ifndef WORDS_BIGENDIAN
	for (; end - pos >= (int) sizeof(uint64); pos += sizeof(uint64))
	{
		uint64 word;
		uint64 special;

		memcpy(&word, pos, sizeof(word));
		special = zero_bytes(word ^ EACH_BYTE('"')) | zero_bytes(word ^ EACH_BYTE('\\')) |
				  ((word - EACH_BYTE(0x20)) & ~word & EACH_BYTE(0x80));
		if (special != 0)
			return pos + pg_rightmost_one_pos64(special) / BITS_PER_BYTE;
	}
#endif
	while (pos < end && *pos != '"' && *pos != '\\' && (unsigned char) *pos >= 0x20)
		pos++;
	return pos;
}

/* A string, whose opening quote is at scan->pos. */
static inline bool
take_string(EvnJsonScan *scan, EvnJsonString *string)
{
	const char *start = ++scan->pos;

	string->escaped = false;
	for (;;)
	{
		scan->pos = find_special(scan->pos, scan->end);
		if (unlikely(scan->pos == scan->end || (unsigned char) *scan->pos < 0x20))
			return evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
		if (*scan->pos == '"')
			break;
		string->escaped = true;
		if (!pass_escape(scan))
			return false;
	}
	string->raw.data = start;
	string->raw.len = (int32) (scan->pos - start);
	scan->pos++;
	return true;
}

/* One digit or more. */
static inline bool
pass_digits(EvnJsonScan *scan)
{
	const char *start = scan->pos;

	while (scan->pos < scan->end && *scan->pos >= '0' && *scan->pos <= '9')
		scan->pos++;
	return scan->pos > start || evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
}

static inline bool
pass_char(EvnJsonScan *scan, char c)
{
	if (scan->pos == scan->end || *scan->pos != c)
		return false;
	scan->pos++;
	return true;
}

static bool
pass_number(EvnJsonScan *scan)
{
	(void) pass_char(scan, '-');
	/* no further digit may follow a leading zero; if one does, it is no comma either */
	if (!pass_char(scan, '0') && !pass_digits(scan))
		return false;
	if (pass_char(scan, '.') && !pass_digits(scan))
		return false;
	if (pass_char(scan, 'e') || pass_char(scan, 'E'))
	{
		if (!pass_char(scan, '-'))
			(void) pass_char(scan, '+');
		return pass_digits(scan);
	}
	return true;
}

static bool
pass_word(EvnJsonScan *scan, const char *word, int len)
{
	if (scan->end - scan->pos < len || memcmp(scan->pos, word, len) != 0)
		return evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
	scan->pos += len;
	return true;
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
	scan->pos++;
	return true;
}

static inline bool
take_number(EvnJsonScan *scan, EvnJsonValue *value)
{
	value->type = EVN_JSON_NUMBER;
	if (!pass_number(scan))
		return false;
	value->text.raw.len = (int32) (scan->pos - value->text.raw.data);
	return true;
}

/* Begin the value that comes next; all of it unless it is an object or array. */
static inline bool
take_value(EvnJsonScan *scan, EvnJsonValue *value)
{
	char c = peek(scan);

	value->text.raw.data = scan->pos;
	value->text.raw.len = 0;
	value->text.escaped = false;
	switch (c)
	{
		case '"':
			value->type = EVN_JSON_STRING;
			return take_string(scan, &value->text);
		case '{':
			value->type = EVN_JSON_OBJECT;
			return enter(scan, true);
		case '[':
			value->type = EVN_JSON_ARRAY;
			return enter(scan, false);
		case 'n':
			value->type = EVN_JSON_NULL;
			return pass_word(scan, "null", 4);
		case 't':
			value->type = EVN_JSON_TRUE;
			return pass_word(scan, "true", 4);
		case 'f':
			value->type = EVN_JSON_FALSE;
			return pass_word(scan, "false", 5);
		default:
			return take_number(scan, value);
	}
}

/*
 * Step to the next member, past a comma if there must be one; false at the
 * container's end, which is then left.
 */
static inline bool
next_member(EvnJsonScan *scan, char closing)
{
	bool first = scan->opened;

	if (unlikely(scan->error != EVN_DECODE_OK))
		return false;
	scan->opened = false;
	if (peek(scan) == closing)
	{
		scan->pos++;
		scan->depth--;
		return false;
	}
	return first || expect(scan, ',');
}

static inline bool
take_field(EvnJsonScan *scan, EvnJsonString *name, EvnJsonValue *value)
{
	if (!next_member(scan, '}'))
		return false;
	if (unlikely(peek(scan) != '"'))
		return evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
	return take_string(scan, name) && expect(scan, ':') && take_value(scan, value);
}

bool
evn_json_scan_field(EvnJsonScan *scan, EvnJsonString *name, EvnJsonValue *value)
{
	return take_field(scan, name, value);
}

bool
evn_json_scan_element(EvnJsonScan *scan, EvnJsonValue *value)
{
	return next_member(scan, ']') && take_value(scan, value);
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
	text.len = (int32) (scan->pos - text.data);
	return text;
}

bool
evn_json_scan_end(EvnJsonScan *scan)
{
	if (scan->error != EVN_DECODE_OK)
		return false;
	skip_white_space(scan);
	return scan->pos == scan->end || evn_json_scan_fail(scan, EVN_DECODE_BAD_JSON);
}

bool
evn_json_scan_reopen(EvnJsonScan *scan, EvnText part, EvnJsonValue *value)
{
	scan->pos = part.data;
	scan->end = part.data + part.len;
	scan->opened = false;
	scan->depth = 0;
	scan->objects = 0;
	return take_value(scan, value);
}

bool
evn_json_scan_open(EvnJsonScan *scan, const char *json, size_t len, EvnJsonValue *value)
{
	EvnText whole = {json, (int32) len};
	int		valid = pg_encoding_verifymbstr(PG_UTF8, json, (int) len);

	scan->error = EVN_DECODE_OK;
	if (valid < (int) len)
		return evn_json_scan_fail(scan, json[valid] == '\0' ? EVN_DECODE_NUL : EVN_DECODE_BAD_ENCODING);
	return evn_json_scan_reopen(scan, whole, value);
}
