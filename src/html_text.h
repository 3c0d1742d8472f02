/*
 * html_text.h
 *		The text of a post that is written in HTML, as Mastodon delivers it.
 *
 * Not a browser: what HTML allows but no server writes is only kept from doing
 * harm.  Pure C, allocates nothing.
 */
#ifndef EVN_HTML_TEXT_H
#define EVN_HTML_TEXT_H

#include "c.h"

/*
 * Write the text of html to out, which has room for len bytes and may be html
 * itself, as nothing is longer than what it is written for.  Returns the
 * text's length.
 *
 * Tags are dropped, what is between them stays, also what Mastodon does not
 * show of a link, as the links would be broken without it.  <br> becomes a
 * line feed, a paragraph is set off by an empty line.  Entities become UTF-8
 * unless they are unknown, not closed or no character that text can hold.
 */
extern size_t evn_html_text(const char *html, size_t len, char *out);

#endif /* EVN_HTML_TEXT_H */
