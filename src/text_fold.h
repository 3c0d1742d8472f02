/*
 * text_fold.h
 *		Place names in the form they are compared in.
 *
 * Case, diacritics, punctuation and common abbreviations make no difference
 * afterwards: "São Paulo" and "SAO  PAULO", "St. Louis" and "Saint Louis".
 * Pure C without allocation.
 */
#ifndef EVN_TEXT_FOLD_H
#define EVN_TEXT_FOLD_H

#include "tweet.h"

/* longest folded text; whatever is longer names no city */
#define EVN_FOLD_SIZE 160

/* segments of a text: "Calgary, Alberta | Canada" has three; more are dropped */
#define EVN_FOLD_SEGMENTS 6

typedef struct EvnFoldedText
{
	int		nsegments;
	EvnText segments[EVN_FOLD_SEGMENTS]; /* never empty; slices of buffer */
	int		len;
	char	buffer[EVN_FOLD_SIZE + 8]; /* the segments, one ',' between them */
} EvnFoldedText;

/* Fold and split; nsegments is 0 when nothing is left or it is too long. */
extern void evn_text_fold(EvnText text, EvnFoldedText *folded);

#endif /* EVN_TEXT_FOLD_H */
