/*
 * html_text.c
 *		HTML to plain text, in one pass.
 *
 * Whatever is written is no longer than the markup it is written for, so that
 * writing never overtakes reading.  Line feeds are written when text follows,
 * so that there are none at the ends.
 */
#include "c.h"

#include "html_text.h"

/* the longest name in the table below */
#define MAX_ENTITY_NAME 6

/* "&#x0010FFFF;": more leading zeros make it no character */
#define MAX_NUMBER_DIGITS 8

#define MAX_CODE_POINT 0x10FFFF

typedef struct Reader
{
	const char *pos;
	const char *end;
	char	   *start; /* of what is written */
	char	   *out;
	int			newlines; /* to be written before the next text */
} Reader;

typedef struct Entity
{
	const char *name;
	uint32		code_point;
} Entity;

/* those of HTML 4 that posts hold, in the order of their bytes */
static const Entity entities[] = {
	{"AElig", 0xC6},	{"Aacute", 0xC1},	{"Acirc", 0xC2},	{"Agrave", 0xC0},
	{"Aring", 0xC5},	{"Atilde", 0xC3},	{"Auml", 0xC4},		{"Ccedil", 0xC7},
	{"ETH", 0xD0},		{"Eacute", 0xC9},	{"Ecirc", 0xCA},	{"Egrave", 0xC8},
	{"Euml", 0xCB},		{"Iacute", 0xCD},	{"Icirc", 0xCE},	{"Igrave", 0xCC},
	{"Iuml", 0xCF},		{"Ntilde", 0xD1},	{"OElig", 0x152},	{"Oacute", 0xD3},
	{"Ocirc", 0xD4},	{"Ograve", 0xD2},	{"Oslash", 0xD8},	{"Otilde", 0xD5},
	{"Ouml", 0xD6},		{"Prime", 0x2033},	{"Scaron", 0x160},	{"THORN", 0xDE},
	{"Uacute", 0xDA},	{"Ucirc", 0xDB},	{"Ugrave", 0xD9},	{"Uuml", 0xDC},
	{"Yacute", 0xDD},	{"Yuml", 0x178},	{"aacute", 0xE1},	{"acirc", 0xE2},
	{"acute", 0xB4},	{"aelig", 0xE6},	{"agrave", 0xE0},	{"amp", 0x26},
	{"apos", 0x27},		{"aring", 0xE5},	{"atilde", 0xE3},	{"auml", 0xE4},
	{"bdquo", 0x201E},	{"brvbar", 0xA6},	{"bull", 0x2022},	{"ccedil", 0xE7},
	{"cedil", 0xB8},	{"cent", 0xA2},		{"copy", 0xA9},		{"curren", 0xA4},
	{"dagger", 0x2020}, {"darr", 0x2193},	{"deg", 0xB0},		{"divide", 0xF7},
	{"eacute", 0xE9},	{"ecirc", 0xEA},	{"egrave", 0xE8},	{"emsp", 0x2003},
	{"ensp", 0x2002},	{"eth", 0xF0},		{"euml", 0xEB},		{"euro", 0x20AC},
	{"fnof", 0x192},	{"frac12", 0xBD},	{"frac14", 0xBC},	{"frac34", 0xBE},
	{"ge", 0x2265},		{"gt", 0x3E},		{"harr", 0x2194},	{"hearts", 0x2665},
	{"hellip", 0x2026}, {"iacute", 0xED},	{"icirc", 0xEE},	{"iexcl", 0xA1},
	{"igrave", 0xEC},	{"infin", 0x221E},	{"iquest", 0xBF},	{"iuml", 0xEF},
	{"laquo", 0xAB},	{"larr", 0x2190},	{"ldquo", 0x201C},	{"le", 0x2264},
	{"lrm", 0x200E},	{"lsaquo", 0x2039}, {"lsquo", 0x2018},	{"lt", 0x3C},
	{"macr", 0xAF},		{"mdash", 0x2014},	{"micro", 0xB5},	{"middot", 0xB7},
	{"minus", 0x2212},	{"nbsp", 0xA0},		{"ndash", 0x2013},	{"ne", 0x2260},
	{"not", 0xAC},		{"ntilde", 0xF1},	{"oacute", 0xF3},	{"ocirc", 0xF4},
	{"oelig", 0x153},	{"ograve", 0xF2},	{"ordf", 0xAA},		{"ordm", 0xBA},
	{"oslash", 0xF8},	{"otilde", 0xF5},	{"ouml", 0xF6},		{"para", 0xB6},
	{"permil", 0x2030}, {"plusmn", 0xB1},	{"pound", 0xA3},	{"prime", 0x2032},
	{"quot", 0x22},		{"raquo", 0xBB},	{"rarr", 0x2192},	{"rdquo", 0x201D},
	{"reg", 0xAE},		{"rlm", 0x200F},	{"rsaquo", 0x203A}, {"rsquo", 0x2019},
	{"sbquo", 0x201A},	{"scaron", 0x161},	{"sect", 0xA7},		{"shy", 0xAD},
	{"sup1", 0xB9},		{"sup2", 0xB2},		{"sup3", 0xB3},		{"szlig", 0xDF},
	{"thinsp", 0x2009}, {"thorn", 0xFE},	{"times", 0xD7},	{"trade", 0x2122},
	{"uacute", 0xFA},	{"uarr", 0x2191},	{"ucirc", 0xFB},	{"ugrave", 0xF9},
	{"uml", 0xA8},		{"uuml", 0xFC},		{"yacute", 0xFD},	{"yen", 0xA5},
	{"yuml", 0xFF},		{"zwj", 0x200D},	{"zwnj", 0x200C},
};

typedef struct Tag
{
	const char *name;
	int			newlines; /* how many set its content off */
} Tag;

static const Tag blocks[] = {{"blockquote", 2}, {"div", 1}, {"dl", 2}, {"h1", 2},  {"h2", 2},
							 {"h3", 2},			{"h4", 2},	{"h5", 2}, {"h6", 2},  {"hr", 2},
							 {"li", 1},			{"ol", 2},	{"p", 2},  {"pre", 2}, {"table", 2},
							 {"tr", 1},			{"ul", 2}};

/* ---- characters ---- */

static inline bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* Is the n bytes' name this one, which is in lower case? */
static bool
same_name(const char *s, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
	{
		char c = s[i] >= 'A' && s[i] <= 'Z' ? s[i] + ('a' - 'A') : s[i];

		/* also ends at the end of a shorter name */
		if (c != name[i])
			return false;
	}
	return name[n] == '\0';
}

/* ---- writing ---- */

/* Blanks at the end of a line mean nothing. */
static void
drop_blanks(Reader *reader)
{
	while (reader->out > reader->start && is_space(reader->out[-1]))
		reader->out--;
}

static void
write_newlines(Reader *reader)
{
	if (reader->newlines == 0)
		return;
	drop_blanks(reader);
	if (reader->out > reader->start)
	{
		memset(reader->out, '\n', reader->newlines);
		reader->out += reader->newlines;
	}
	reader->newlines = 0;
}

static void
write_char(Reader *reader, char c)
{
	write_newlines(reader);
	*reader->out++ = c;
}

/* A blank, of which there are none at the start of a line. */
static void
write_blank(Reader *reader)
{
	if (reader->out > reader->start && reader->newlines == 0)
		*reader->out++ = ' ';
}

static void
write_code_point(Reader *reader, uint32 c)
{
	if (c < 0x80)
		write_char(reader, (char) c);
	else if (c < 0x800)
		write_char(reader, (char) (0xC0 | c >> 6));
	else if (c < 0x10000)
	{
		write_char(reader, (char) (0xE0 | c >> 12));
		write_char(reader, (char) (0x80 | (c >> 6 & 0x3F)));
	}
	else
	{
		write_char(reader, (char) (0xF0 | c >> 18));
		write_char(reader, (char) (0x80 | (c >> 12 & 0x3F)));
		write_char(reader, (char) (0x80 | (c >> 6 & 0x3F)));
	}
	if (c >= 0x80)
		write_char(reader, (char) (0x80 | (c & 0x3F)));
}

/* ---- entities ---- */

/* 0 if the n bytes are no name of an entity */
static uint32
code_point_of_name(const char *s, size_t n)
{
	size_t low = 0;
	size_t high = lengthof(entities);

	while (low < high)
	{
		size_t		  middle = (low + high) / 2;
		const Entity *entity = &entities[middle];
		int			  order = strncmp(s, entity->name, n);

		if (order == 0 && entity->name[n] == '\0')
			return entity->code_point;
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

static int
digit_value(char c, bool hex)
{
	if (is_digit(c))
		return c - '0';
	if (hex && c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (hex && c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The number between s and the semicolon; 0 if it is none, or no character. */
static uint32
code_point_of_number(const char *s, const char *end, const char **behind)
{
	uint32 c = 0;
	bool   hex = s < end && (*s | 0x20) == 'x';
	int	   i;

	if (hex)
		s++;
	for (i = 0; i < MAX_NUMBER_DIGITS && s < end && digit_value(*s, hex) >= 0; i++, s++)
		c = c * (hex ? 16 : 10) + digit_value(*s, hex);
	if (s == end || *s != ';' || c > MAX_CODE_POINT || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	*behind = s + 1;
	return c;
}

/* The entity that begins with the ampersand at pos; an ampersand that begins none is itself. */
static void
read_entity(Reader *reader)
{
	const char *s = reader->pos + 1;
	const char *behind = NULL;
	uint32		c = 0;

	if (s < reader->end && *s == '#')
		c = code_point_of_number(s + 1, reader->end, &behind);
	else
	{
		const char *name = s;

		while (s < reader->end && s - name < MAX_ENTITY_NAME && (is_letter(*s) || is_digit(*s)))
			s++;
		if (s > name && s < reader->end && *s == ';')
		{
			c = code_point_of_name(name, s - name);
			behind = s + 1;
		}
	}
	reader->pos = c != 0 ? behind : reader->pos + 1;
	if (c == 0)
		c = '&';
	write_code_point(reader, c);
}

/* ---- markup ---- */

/*
 * Go behind a tag's end, from somewhere behind its name.  A > in a quoted
 * value does not end it; a quote that follows no equals sign is none.
 */
static void
skip_attributes(Reader *reader)
{
	bool value = false; /* an equals sign, and nothing since */

	while (reader->pos < reader->end)
	{
		char c = *reader->pos++;

		if (c == '>')
			return;
		if (value && (c == '"' || c == '\''))
		{
			const char *quote = memchr(reader->pos, c, reader->end - reader->pos);

			reader->pos = quote != NULL ? quote + 1 : reader->end;
		}
		value = c == '=' || (value && is_space(c));
	}
}

static void
skip_behind(Reader *reader, const char *mark)
{
	size_t n = strlen(mark);

	while (reader->end - reader->pos >= n)
	{
		const char *s = memchr(reader->pos, mark[0], reader->end - reader->pos);

		if (s == NULL || reader->end - s < n)
			break;
		reader->pos = s + 1;
		if (memcmp(s, mark, n) == 0)
		{
			reader->pos = s + n;
			return;
		}
	}
	reader->pos = reader->end;
}

/* Where the name ends that begins at s. */
static const char *
name_end(const Reader *reader, const char *s)
{
	while (s < reader->end && (is_letter(*s) || is_digit(*s)))
		s++;
	return s;
}

/* Go behind the end tag of an element whose content is no text. */
static void
skip_element(Reader *reader, const char *name)
{
	for (;;)
	{
		const char *tag;

		skip_behind(reader, "</");
		tag = reader->pos;
		reader->pos = name_end(reader, tag);
		if (tag == reader->end || same_name(tag, reader->pos - tag, name))
		{
			skip_attributes(reader);
			return;
		}
	}
}

static void
read_tag(Reader *reader, bool closing)
{
	const char *name = reader->pos + (closing ? 2 : 1);
	size_t		n;
	size_t		i;

	reader->pos = name_end(reader, name);
	n = reader->pos - name;
	skip_attributes(reader);
	if (same_name(name, n, "br"))
		reader->newlines++;
	else if (!closing && same_name(name, n, "script"))
		skip_element(reader, "script");
	else if (!closing && same_name(name, n, "style"))
		skip_element(reader, "style");
	for (i = 0; i < lengthof(blocks); i++)
	{
		if (same_name(name, n, blocks[i].name))
			reader->newlines = Max(reader->newlines, blocks[i].newlines);
	}
}

/* The markup that begins with the < at pos; one that begins none is itself. */
static void
read_markup(Reader *reader)
{
	const char *s = reader->pos;
	size_t		left = reader->end - s;

	if (left >= 2 && is_letter(s[1]))
		read_tag(reader, false);
	else if (left >= 3 && s[1] == '/' && is_letter(s[2]))
		read_tag(reader, true);
	else if (left >= 4 && memcmp(s, "<!--", 4) == 0)
	{
		/* also <!--> and <!---> are whole comments */
		reader->pos += 2;
		skip_behind(reader, "-->");
	}
	else if (left >= 2 && (s[1] == '!' || s[1] == '?' || s[1] == '/'))
		skip_behind(reader, ">");
	else
	{
		reader->pos++;
		write_char(reader, '<');
	}
}

size_t
evn_html_text(const char *html, size_t len, char *out)
{
	Reader reader = {html, html + len, out, out, 0};

	while (reader.pos < reader.end)
	{
		char c = *reader.pos;

		if (c == '&')
			read_entity(&reader);
		else if (c == '<')
			read_markup(&reader);
		else
		{
			reader.pos++;
			if (is_space(c))
				write_blank(&reader);
			else
				write_char(&reader, c);
		}
	}
	drop_blanks(&reader);
	return reader.out - out;
}
