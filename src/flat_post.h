/*
 * flat_post.h
 *		Posts of networks in the flat form that streams understand
 *		(doc/messages.md), built from the JSON in which they come.
 *
 * A post is read once: the members that matter are picked out of its objects,
 * and what needs no other form is copied as it is written, right or wrong, so
 * that the stream judges it.  The scan's error tells that it is no JSON.
 * Raises only when memory runs out, for StringInfo.
 */
#ifndef EVN_FLAT_POST_H
#define EVN_FLAT_POST_H

#include "feed.h"
#include "json_scan.h"
#include "lib/stringinfo.h"

/* Begin to read a message; false unless it is an object. */
extern bool evn_flat_open(EvnJsonScan *scan, EvnText message);

/*
 * The members of the object just begun that have these names, which are then
 * behind us; absent ones are null, of those that stand twice the last counts.
 * An object or array among them is whole and can be read by evn_flat_pick_in.
 */
extern void evn_flat_pick(EvnJsonScan *scan, EvnArena *arena, const char *const *names, int n,
						  EvnJsonValue *values);

/* The same of an object that was picked, after what it was picked from; all null when it is none. */
extern void evn_flat_pick_in(EvnJsonScan *scan, EvnArena *arena, const EvnJsonValue *object,
							 const char *const *names, int n, EvnJsonValue *values);

/* What a picked string means; absent when it is something else. */
extern EvnText evn_flat_text_of(EvnJsonScan *scan, EvnArena *arena, const EvnJsonValue *value);

/* A picked string or number that is an id of digits; 0 for others. */
extern int64 evn_flat_digits(const EvnJsonValue *value);

/* 63 bits of what names a thing where that is no number, never 0. */
extern int64 evn_flat_hash(const char *name, size_t len);

/* ---- writing: members of one object, begun by the first */

extern void evn_flat_begin(StringInfo flat);
extern void evn_flat_add(StringInfo flat, const char *name, const EvnJsonValue *value);
extern void evn_flat_add_text(StringInfo flat, const char *name, EvnText text);
extern void evn_flat_add_number(StringInfo flat, const char *name, int64 number);
/* of an array, whose brackets are the caller's */
extern void evn_flat_add_element(StringInfo flat, const EvnJsonValue *value);
extern void evn_flat_end(StringInfo flat);

/* The whole of a notice that the post with this id is deleted. */
extern void evn_flat_delete(StringInfo flat, int64 id);

/* What a feed hands out, until the text changes; one that is too long is cut. */
extern EvnFeedMessage evn_flat_message(EvnText text, int64 id);

#endif /* EVN_FLAT_POST_H */
