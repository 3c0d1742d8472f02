/*
 * feed.c
 *		The kinds of sources there are.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "feed.h"
#include "feed_bluesky.h"
#include "feed_file.h"
#include "feed_mastodon.h"
#include "feed_wikimedia.h"
#include "feed_x.h"

static const EvnFeedApi *const apis[] = {&evn_feed_file, &evn_feed_x, &evn_feed_mastodon,
										 &evn_feed_wikimedia, &evn_feed_bluesky};

const EvnFeedApi *
evn_feed_api(const char *name)
{
	for (int i = 0; i < lengthof(apis); i++)
		if (strcmp(apis[i]->name, name) == 0)
			return apis[i];
	return NULL;
}

char *
evn_feed_api_names(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(apis); i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ", ", apis[i]->name);
	return names.data;
}
