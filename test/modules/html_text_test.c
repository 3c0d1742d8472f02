/*
 * html_text_test.c
 *		Unit tests of html_text.c.
 */
#include "c.h"

#include "html_text.h"
#include "tap.h"

typedef struct Sample
{
	const char *html;
	const char *text;
} Sample;

static const Sample samples[] = {
	{"", ""},
	{"plain", "plain"},

	/* as Mastodon writes */
	{"<p>one</p>", "one"},
	{"<p>one</p><p>two</p>", "one\n\ntwo"},
	{"<p>one<br />two<br/>three<br>four</p>", "one\ntwo\nthree\nfour"},
	{"<p>one<br><br>two</p>", "one\n\ntwo"},
	{"<p>It&#39;s &quot;it&quot; &amp; &lt;3</p>", "It's \"it\" & <3"},
	{"<p><a href=\"https://a.b/tags/x\" class=\"mention hashtag\" rel=\"tag\">#<span>x</span></a> y</p>",
	 "#x y"},
	{"<p><span class=\"h-card\" translate=\"no\"><a href=\"https://a.b/@c\">@<span>c</span></a></span> hi</p>",
	 "@c hi"},
	{"<a href=\"https://www.a.b/c/d\"><span class=\"invisible\">https://www.</span>"
	 "<span class=\"ellipsis\">a.b/c</span><span class=\"invisible\">/d</span></a>",
	 "https://www.a.b/c/d"},
	{"<p>caf\xC3\xA9 \xF0\x9F\x98\x80</p>", "caf\xC3\xA9 \xF0\x9F\x98\x80"},

	/* as others do */
	{"one<p>two</p>three", "one\n\ntwo\n\nthree"},
	{"<P>one</P>\n<P CLASS=x>two</P>\n", "one\n\ntwo"},
	{"<br><br>one<br><br>", "one"},
	{"one <br> two", "one\ntwo"},
	{"one\ntwo", "one two"},
	{"  one  two  ", "one  two"},
	{"<ul><li>one</li><li>two</li></ul>three", "one\ntwo\n\nthree"},
	{"<blockquote><p>one</p></blockquote><p>two</p>", "one\n\ntwo"},
	{"<div>one</div><div>two</div>", "one\ntwo"},
	{"<h1>one</h1>two<hr>three", "one\n\ntwo\n\nthree"},
	{"<em>o</em>n<b>e</b>", "one"},

	/* entities */
	{"&nbsp;&eacute;&hellip;&euro;&apos;&Eacute;",
	 "\xC2\xA0\xC3\xA9\xE2\x80\xA6\xE2\x82\xAC'\xC3\x89"},
	{"&#65;&#x42;&#X43;&#x1F600;&#128512;", "ABC\xF0\x9F\x98\x80\xF0\x9F\x98\x80"},
	{"&#x7F;&#x80;&#x7FF;&#x800;&#xFFFF;&#x10000;&#x10FFFF;",
	 "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
	{"&#xD7FF;&#xE000;", "\xED\x9F\xBF\xEE\x80\x80"},
	{"&#xD800;&#xDFFF;&#x110000;", "&#xD800;&#xDFFF;&#x110000;"},
	{"&#0;&#x0;&#;&#x;&#-1;&#1a;&#xg;", "&#0;&#x0;&#;&#x;&#-1;&#1a;&#xg;"},
	{"&#99999999;&#999999999999999999999;&#xFFFFFFFFF;",
	 "&#99999999;&#999999999999999999999;&#xFFFFFFFFF;"},
	{"&amp;lt;", "&lt;"},
	{"&amp;amp;amp;", "&amp;amp;"},
	{"&lt;b&gt;", "<b>"},
	{"&foo; &am; &ampx; &AMP; &; & && &&amp;", "&foo; &am; &ampx; &AMP; &; & && &&"},
	{"&amp &lt &#65 &verylongname; a&b=c&copy=d", "&amp &lt &#65 &verylongname; a&b=c&copy=d"},
	{"AT&T", "AT&T"},
	{"one&#10;two&#32;", "one\ntwo"},

	/* markup that is none, and markup that is broken */
	{"1 < 2 > 1 <3 <- <", "1 < 2 > 1 <3 <- <"},
	{"a<b", "a"},
	{"a<b c=\"d", "a"},
	{"a</", "a"},
	{"a</>b", "ab"},
	{"a<a title=\"1 > 2\">b</a>", "ab"},
	{"a<a title = '1 > 2' x=y>b</a>", "ab"},
	{"a<a it's>b</a>", "ab"},
	{"a<a b=c'd>e", "ae"},
	{"a<!-- <p> > -- -->b<!---->c<!-->d<!--->e<!-- f", "abcde"},
	{"a<!DOCTYPE html>b<?xml ?>c<![CDATA[d]]>e", "abce"},
	{"a<script>if (1 < 2) '<p>' </scrip> &amp;</script >b", "ab"},
	{"a<SCRIPT src=\"x\">b</Script>c<style>p > a {}</style>d", "acd"},
	{"a<script/>b", "a"},
	{"a<style>b</", "a"},
	{"a<scripts>b</script>c", "abc"},
	{"a<brr>b<pp>c<p2>d", "abcd"},
};

/* In buffers as long as the text, so that going beyond them is noticed. */
static char *
text_of(const char *html, size_t len, size_t *text_len, bool *same)
{
	char  *in = malloc(len + (len == 0));
	char  *out = malloc(len + (len == 0));
	size_t again;

	memcpy(in, html, len);
	*text_len = evn_html_text(in, len, out);
	again = evn_html_text(in, len, in);
	*same = *text_len <= len && again == *text_len && memcmp(in, out, again) == 0;
	free(in);
	return out;
}

static void
test_samples(void)
{
	size_t i;

	for (i = 0; i < lengthof(samples); i++)
	{
		const Sample *sample = &samples[i];
		bool		  same;
		size_t		  len;
		char		 *text = text_of(sample->html, strlen(sample->html), &len, &same);
		bool		  right = len == strlen(sample->text) && memcmp(text, sample->text, len) == 0;

		ok(right && same, "%.*s", (int) strcspn(sample->html, "\n"), sample->html);
		if (!right)
			printf("# got: %.*s\n", (int) len, text);
		free(text);
	}
}

/* Cut off anywhere nothing is read behind the end. */
static void
test_cut_off(void)
{
	bool   same = true;
	size_t i;
	size_t len;

	for (i = 0; i < lengthof(samples); i++)
	{
		for (len = 0; len < strlen(samples[i].html); len++)
		{
			bool   one_same;
			size_t text_len;

			free(text_of(samples[i].html, len, &text_len, &one_same));
			same = same && one_same;
		}
	}
	ok(same, "cut off anywhere, and written over what is read");
}

/* At the ends of the table and beside names that begin alike. */
static void
test_names(void)
{
	static const char *const names[] = {"AElig", "zwnj", "zwj",	  "yuml",  "hearts", "amp", "lt",
										"gt",	 "quot", "Prime", "prime", "iexcl",	 "ETH", "eth"};
	size_t					 i;

	for (i = 0; i < lengthof(names); i++)
	{
		char   html[16];
		size_t len = snprintf(html, sizeof(html), "&%s;", names[i]);

		ok(evn_html_text(html, len, html) < len, "&%s;", names[i]);
	}
}

int
main(void)
{
	test_samples();
	test_cut_off();
	test_names();
	return tap_done();
}
