/*
 * bluesky_commit.h
 *		What Jetstream says of a record, as a flat post or a delete notice.
 */
#ifndef EVN_BLUESKY_COMMIT_H
#define EVN_BLUESKY_COMMIT_H

#include "flat_post.h"

typedef enum EvnCommitResult
{
	EVN_COMMIT_POST,	 /* flat has it, or the notice that it is deleted */
	EVN_COMMIT_UNWANTED, /* well, but of accounts, or another collection */
	EVN_COMMIT_STRANGE	 /* to be handed on as it is */
} EvnCommitResult;

typedef struct EvnCommit
{
	int64 id;	   /* of the post; 0 for none */
	int64 time_us; /* since 1970, when Jetstream saw it; 0: it does not say */
} EvnCommit;

#define EVN_BLUESKY_POST   "app.bsky.feed.post"
#define EVN_BLUESKY_REPOST "app.bsky.feed.repost"

/* What is read along goes to the arena. */
extern EvnCommitResult evn_bluesky_commit(EvnText message, bool reposts, EvnArena *arena,
										  StringInfo flat, EvnCommit *commit);

#endif /* EVN_BLUESKY_COMMIT_H */
