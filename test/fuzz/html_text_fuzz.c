/*
 * html_text_fuzz.c
 *		Any bytes as the HTML of a post.
 *
 * Its text must be no longer, the same when it is written over the HTML,
 * UTF-8 without NUL if the HTML was, and the text of itself once it is written
 * as HTML.
 */
#include "c.h"

#include "html_text.h"
#include "mb/pg_wchar.h"

/* "&#38;" */
#define ESCAPED_LEN 5

extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

static void
require(bool condition)
{
	if (!condition)
		abort();
}

/* Never of size 0, which may be NULL. */
static char *
get_memory(size_t size)
{
	char *memory = malloc(size > 0 ? size : 1);

	require(memory != NULL);
	return memory;
}

static bool
is_text(const char *s, size_t len)
{
	return pg_encoding_verifymbstr(PG_UTF8, s, (int) len) == (int) len;
}

static void
check_in_place(const char *html, size_t html_len, const char *text, size_t len)
{
	char *copy = get_memory(html_len);

	memcpy(copy, html, html_len);
	require(evn_html_text(copy, html_len, copy) == len && memcmp(copy, text, len) == 0);
	free(copy);
}

/* What could be markup or is a blank as entities, the rest as it is. */
static size_t
escape(const char *text, size_t len, char *out)
{
	size_t escaped = 0;
	size_t i;

	for (i = 0; i < len; i++)
	{
		if (strchr("&< \t\r\n\f", text[i]) != NULL && text[i] != '\0')
			escaped += sprintf(out + escaped, "&#%d;", text[i]);
		else
			out[escaped++] = text[i];
	}
	return escaped;
}

static void
check_again(const char *text, size_t len)
{
	/* sprintf ends with NUL */
	char  *html = get_memory(len * ESCAPED_LEN + 1);
	size_t html_len = escape(text, len, html);

	require(evn_html_text(html, html_len, html) == len && memcmp(html, text, len) == 0);
	free(html);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	const char *html = (const char *) data;
	char	   *text = get_memory(size);
	size_t		len = evn_html_text(html, size, text);

	require(len <= size);
	if (is_text(html, size))
		require(is_text(text, len));
	check_in_place(html, size, text, len);
	check_again(text, len);
	free(text);
	return 0;
}
