/*
 * mastodon_status.h
 *		What Mastodon calls a status, as a flat post.
 */
#ifndef EVN_MASTODON_STATUS_H
#define EVN_MASTODON_STATUS_H

#include "flat_post.h"

/*
 * Write it to flat; returns the post's id, 0 when it has none.  False when it
 * is no JSON object: it is to be handed on as it is.  What is read along goes
 * to the arena.
 */
extern bool evn_mastodon_status(EvnText status, EvnArena *arena, StringInfo flat, int64 *id);

#endif /* EVN_MASTODON_STATUS_H */
