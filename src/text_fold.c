/*
 * text_fold.c
 *		Place names in the form they are compared in.
 *
 * Every code point becomes letters, a space, a separator of segments, or
 * nothing.  Letters of Latin, Greek, Cyrillic, Arabic and Hebrew lose case,
 * diacritics and variant forms; other scripts stay as they are.
 */
#include "c.h"

#include "text_fold.h"

/*
 * Latin letters from U+00C0 and U+1E00 on as the ASCII letter they are read
 * as; '1' to '5' stand for the pairs below, '.' for nothing.
 */
static const char latin_extended[] = "aaaaaa2ceeeeiiiidnooooo.ouuuuy41" /* U+00C0 */
									 "aaaaaa2ceeeeiiiidnooooo.ouuuuy4y"
									 "aaaaaaccccccccddddeeeeeeeeeegggg" /* U+0100 */
									 "gggghhhhiiiiiiiiii55jjkkklllllll"
									 "lllnnnnnnnnnoooooo33rrrrrrssssss"
									 "ssttttttuuuuuuuuuuuuwwyyyzzzzzzs"
									 "bb..bboccdddd.eeeffgg.iikkllmnno"
									 "oo..pp.....ttttuuuvyyzz........."
									 "....zzzlllnnnaaiioouuuuuuuuuueaa"
									 "aa22ggggkkoooo..jzzzgg..nnaa22oo"
									 "aaaaeeeeiiiioooorrrruuuusstt..hh" /* U+0200 */
									 "nd..zzaaeeooooooooyylntj..acclts"
									 "z..buveejj..rryy";

static const char latin_additional[] = "aabbbbbbccddddddddddeeeeeeeeeeff" /* U+1E00 */
									   "gghhhhhhhhhhiiiikkkkkkllllllllmm"
									   "mmmmnnnnnnnnoooooooopppprrrrrrrr"
									   "ssssssssssttttttttuuuuuuuuuuvvvv"
									   "wwwwwwwwwwxxxxyyzzzzzzhtwyas..1d"
									   "aaaaaaaaaaaaaaaaaaaaaaaaeeeeeeee"
									   "eeeeeeeeiiiioooooooooooooooooooo"
									   "oooouuuuuuuuuuuuuuyyyyyyyyllvvyy";

static const char *const latin_pairs[] = {"ss", "ae", "oe", "th", "ij"};

/* Greek from U+0386 to U+03CE: U+0380 plus the byte is the plain small letter */
static const uint8 greek[] = {
	0x31, 0x00, 0x35, 0x37, 0x39, 0x00, 0x3f, 0x00, 0x45, 0x49, 0x39, 0x31, 0x32, 0x33, 0x34,
	0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x43, 0x43,
	0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x39, 0x45, 0x31, 0x35, 0x37, 0x39, 0x45, 0x31, 0x32,
	0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41,
	0x43, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x39, 0x45, 0x3f, 0x45, 0x49};

/* words that are written in two ways */
typedef struct WordForm
{
	const char *from;
	const char *to;
} WordForm;

static const WordForm word_forms[] = {
	{"saint", "st"},
	{"sainte", "ste"},
	{"mount", "mt"},
	{"fort", "ft"},
};

/* what is not a letter; above every code point */
#define FOLD_SPACE	   0x110000
#define FOLD_SEPARATOR 0x110001
#define FOLD_DOT	   0x110002 /* nothing in "D.C.", a space in "St. Louis" */
#define FOLD_HYPHEN	   0x110003 /* a separator beside a space, else a space */
#define FOLD_NOTHING   0x110004

typedef struct Writer
{
	EvnFoldedText *folded;
	int			   word;	  /* where the current word starts */
	int			   since_dot; /* letters since the last dot */
	bool		   pending_space;
	bool		   pending_hyphen;
	bool		   cjk; /* the last letter is Han, Kana or Hangul */
	bool		   overflow;
} Writer;

/* One code point; a broken sequence is consumed bytewise and reads as a space. */
static uint32
next_code_point(const unsigned char **cursor, const unsigned char *end)
{
	const unsigned char *p = *cursor;
	int					 extra = p[0] < 0xE0 ? 1 : p[0] < 0xF0 ? 2 : 3;
	uint32				 code = p[0] & (0x3F >> extra);
	int					 i;

	*cursor = p + 1;
	if (p[0] < 0xC2 || p[0] > 0xF4 || end - p <= extra)
		return FOLD_SPACE;
	for (i = 1; i <= extra; i++)
	{
		if ((p[i] & 0xC0) != 0x80)
			return FOLD_SPACE;
		code = code << 6 | (p[i] & 0x3F);
	}
	*cursor = p + extra + 1;
	return code;
}

static uint32
fold_ascii(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c + ('a' - 'A');
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return c;
	switch (c)
	{
		case '\'':
		case '`':
		case '"':
			return FOLD_NOTHING;
		case '.':
			return FOLD_DOT;
		case '-':
			return FOLD_HYPHEN;
		case ',':
		case ';':
		case ':':
		case '/':
		case '|':
		case '\\':
		case '(':
		case ')':
		case '[':
		case ']':
		case '&':
		case '\n':
		case '\r':
			return FOLD_SEPARATOR;
		default:
			return FOLD_SPACE;
	}
}

static uint32
fold_cyrillic(uint32 code)
{
	if (code >= 0x410 && code <= 0x42F)
		code += 0x20;
	else if (code >= 0x400 && code <= 0x40F)
		code += 0x50;
	else if (code >= 0x490 && code <= 0x4BF)
		code |= 1;
	switch (code)
	{
		case 0x439: /* short i */
		case 0x45D:
			return 0x438;
		case 0x450:
		case 0x451: /* yo */
			return 0x435;
		case 0x457: /* yi */
			return 0x456;
		case 0x45E: /* short u */
			return 0x443;
		default:
			return code;
	}
}

static uint32
fold_semitic(uint32 code)
{
	/* vowel signs */
	if ((code >= 0x591 && code <= 0x5C7 && code != 0x5BE) || (code >= 0x64B && code <= 0x65F) ||
		code == 0x670 || code == 0x640)
		return FOLD_NOTHING;
	switch (code)
	{
		case 0x60C: /* comma */
		case 0x61B: /* semicolon */
			return FOLD_SEPARATOR;
		case 0x5BE: /* maqaf */
			return FOLD_SPACE;
		case 0x622: /* alef and its variants */
		case 0x623:
		case 0x625:
		case 0x671:
			return 0x627;
		case 0x624: /* waw with hamza */
			return 0x648;
		case 0x626: /* yeh and its variants */
		case 0x649:
		case 0x6CC:
			return 0x64A;
		case 0x629: /* teh marbuta */
			return 0x647;
		case 0x6A9: /* keheh */
			return 0x643;
		default:
			return code;
	}
}

/* General and CJK punctuation, symbols, full-width forms, emoji */
static uint32
fold_symbol(uint32 code)
{
	if (code >= 0xFF01 && code <= 0xFF5E)
		return fold_ascii((unsigned char) (code - 0xFEE0));
	if (code >= 0x3000 && code <= 0x303F)
		return code == 0x3001 || code == 0x3002 ? FOLD_SEPARATOR : FOLD_SPACE;
	switch (code)
	{
		case 0x200B: /* zero width: space, joiners, direction marks */
		case 0x200C:
		case 0x200D:
		case 0x200E:
		case 0x200F:
		case 0x2018: /* single quotation marks */
		case 0x2019:
		case 0x30FB: /* katakana middle dot */
		case 0xFE0F: /* emoji variation selector */
		case 0xFEFF:
			return FOLD_NOTHING;
		case 0x2010:
		case 0x2011:
			return FOLD_HYPHEN;
		default:
			break;
	}
	/* the ideographic iteration mark and what follows are letters */
	if ((code >= 0x2000 && code <= 0x200A) || code == 0x202F || code == 0x2060)
		return FOLD_SPACE;
	return FOLD_SEPARATOR;
}

static bool
is_symbol(uint32 code)
{
	return (code >= 0x2000 && code <= 0x2BFF) ||
		   (code >= 0x3000 && code <= 0x303F && code != 0x3005) || code == 0x30FB ||
		   (code >= 0xFE00 && code <= 0xFE0F) || code == 0xFEFF ||
		   (code >= 0xFF01 && code <= 0xFF5E) || (code >= 0x1F000 && code <= 0x1FAFF);
}

/* A letter that is not ASCII, pairs of letters aside */
static uint32
fold_code_point(uint32 code)
{
	if (code < 0xC0)
		return code == 0xB7 ? FOLD_SEPARATOR : FOLD_SPACE; /* middle dot */
	if (code < 0xC0 + sizeof(latin_extended) - 1)
		return (unsigned char) latin_extended[code - 0xC0];
	if (code >= 0x1E00 && code <= 0x1EFF)
		return (unsigned char) latin_additional[code - 0x1E00];
	if (code >= 0x2B0 && code <= 0x36F)
		return FOLD_NOTHING; /* modifier letters and combining marks */
	if (code >= 0x386 && code <= 0x3CE)
		return greek[code - 0x386] == 0 ? FOLD_SPACE : 0x380 + greek[code - 0x386];
	if (code >= 0x400 && code <= 0x4FF)
		return fold_cyrillic(code);
	if (code >= 0x531 && code <= 0x556)
		return code + 0x30; /* Armenian capitals */
	if (code >= 0x591 && code <= 0x6FF)
		return fold_semitic(code);
	return is_symbol(code) ? fold_symbol(code) : code;
}

static bool
is_cjk(uint32 code)
{
	return (code >= 0x2E80 && code <= 0x9FFF) || (code >= 0xAC00 && code <= 0xD7A3) ||
		   (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x20000 && code <= 0x323AF);
}

static void
put_byte(Writer *writer, char byte)
{
	if (writer->folded->len >= EVN_FOLD_SIZE)
		writer->overflow = true;
	else
		writer->folded->buffer[writer->folded->len++] = byte;
}

static void
put_utf8(Writer *writer, uint32 code)
{
	if (code < 0x80)
		put_byte(writer, (char) code);
	else if (code < 0x800)
	{
		put_byte(writer, (char) (0xC0 | code >> 6));
		put_byte(writer, (char) (0x80 | (code & 0x3F)));
	}
	else if (code < 0x10000)
	{
		put_byte(writer, (char) (0xE0 | code >> 12));
		put_byte(writer, (char) (0x80 | (code >> 6 & 0x3F)));
		put_byte(writer, (char) (0x80 | (code & 0x3F)));
	}
	else
	{
		put_byte(writer, (char) (0xF0 | code >> 18));
		put_byte(writer, (char) (0x80 | (code >> 12 & 0x3F)));
		put_byte(writer, (char) (0x80 | (code >> 6 & 0x3F)));
		put_byte(writer, (char) (0x80 | (code & 0x3F)));
	}
}

/* Bring the word just written into its usual form. */
static void
end_word(Writer *writer)
{
	EvnFoldedText *folded = writer->folded;
	char		  *word = folded->buffer + writer->word;
	int			   len = folded->len - writer->word;
	int			   i;

	if (len < 4 || len > 6)
		return;
	for (i = 0; i < (int) lengthof(word_forms); i++)
	{
		if (strlen(word_forms[i].from) == (size_t) len &&
			memcmp(word, word_forms[i].from, len) == 0)
		{
			int to_len = (int) strlen(word_forms[i].to);

			memcpy(word, word_forms[i].to, to_len);
			folded->len = writer->word + to_len;
			return;
		}
	}
}

static void
end_segment(Writer *writer)
{
	EvnFoldedText *folded = writer->folded;
	int			   start = 0;

	end_word(writer);
	if (folded->nsegments > 0)
	{
		EvnText *last = &folded->segments[folded->nsegments - 1];

		start = (int) (last->data - folded->buffer) + last->len + 1;
	}
	if (folded->len > start && folded->nsegments < EVN_FOLD_SEGMENTS)
	{
		folded->segments[folded->nsegments].data = folded->buffer + start;
		folded->segments[folded->nsegments].len = folded->len - start;
		folded->nsegments++;
		put_byte(writer, ',');
	}
	else
		folded->len = start;
	writer->word = folded->len;
	writer->since_dot = 0;
	writer->pending_space = writer->pending_hyphen = false;
	writer->cjk = false;
}

/* Is the end of what is written the start of a segment? */
static bool
at_segment_start(const Writer *writer)
{
	return writer->folded->len == 0 || writer->folded->buffer[writer->folded->len - 1] == ',';
}

static void
put_letter(Writer *writer, uint32 code)
{
	bool cjk = code >= 0x2E80 && is_cjk(code);

	if ((writer->pending_space || writer->pending_hyphen) && !at_segment_start(writer))
	{
		/* Chinese and Japanese set no spaces within a name */
		if ((writer->pending_space && writer->pending_hyphen) || (cjk && writer->cjk))
			end_segment(writer);
		else
		{
			end_word(writer);
			put_byte(writer, ' ');
			writer->word = writer->folded->len;
			writer->since_dot = 0;
		}
	}
	writer->pending_space = writer->pending_hyphen = false;
	put_utf8(writer, code);
	writer->since_dot++;
	writer->cjk = cjk;
}

static void
put_folded(Writer *writer, uint32 code)
{
	switch (code)
	{
		case FOLD_NOTHING:
			break;
		case FOLD_SPACE:
			writer->pending_space = true;
			break;
		case FOLD_HYPHEN:
			writer->pending_hyphen = true;
			break;
		case FOLD_DOT:
			if (writer->since_dot > 1)
				writer->pending_space = true;
			writer->since_dot = 0;
			break;
		case FOLD_SEPARATOR:
			end_segment(writer);
			break;
		default:
			put_letter(writer, code);
			break;
	}
}

/* A flag is two regional indicators; it reads as a segment with the country's code. */
static bool
put_flag(Writer *writer, uint32 code, const unsigned char **cursor, const unsigned char *end)
{
	const unsigned char *next = *cursor;
	uint32				 second;

	if (code < 0x1F1E6 || code > 0x1F1FF || next == end || *next != 0xF0)
		return false;
	second = next_code_point(&next, end);
	if (second < 0x1F1E6 || second > 0x1F1FF)
		return false;
	end_segment(writer);
	put_letter(writer, 'a' + (code - 0x1F1E6));
	put_letter(writer, 'a' + (second - 0x1F1E6));
	end_segment(writer);
	*cursor = next;
	return true;
}

static void
put_code_point(Writer *writer, uint32 code)
{
	uint32 folded = code < 0x110000 ? fold_code_point(code) : code;

	bool is_pair = folded >= '1' && folded <= '5' && code < 0xFF00; /* not a full-width digit */

	if (!is_pair && folded != '.')
		put_folded(writer, folded);
	else if (is_pair)
	{
		put_letter(writer, (unsigned char) latin_pairs[folded - '1'][0]);
		put_letter(writer, (unsigned char) latin_pairs[folded - '1'][1]);
	}
}

void
evn_text_fold(EvnText text, EvnFoldedText *folded)
{
	Writer				 writer = {.folded = folded};
	const unsigned char *p = (const unsigned char *) text.data;
	const unsigned char *end = p + text.len;

	folded->nsegments = 0;
	folded->len = 0;
	if (text.data == NULL)
		return;
	while (p < end && !writer.overflow)
	{
		if (*p < 0x80)
			put_folded(&writer, fold_ascii(*p++));
		else
		{
			uint32 code = next_code_point(&p, end);

			if (!put_flag(&writer, code, &p, end))
				put_code_point(&writer, code);
		}
	}
	end_segment(&writer);
	if (writer.overflow)
		folded->nsegments = 0;
}
