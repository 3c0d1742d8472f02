/*
 * sink.h
 *		Where a source hands its messages on to: a Kafka topic, or a stream.
 *
 * A sink is told with each checkpoint which cursor covers everything that was
 * put so far.  It stores that cursor in the transaction that stores the messages
 * into the stream, or once Kafka has acknowledged every message before it; so
 * what is lost in a crash is fetched again, and nothing is left out.
 *
 * A sink lives in the memory context it was opened in; what it holds besides
 * is let go when that is reset.  Raises on error, after which the messages since
 * the last stored cursor have to be put again.  Runs its own transactions.
 */
#ifndef EVN_SINK_H
#define EVN_SINK_H

#include "feed.h"

typedef struct EvnSink EvnSink;

typedef struct EvnSinkKind
{
	EvnSink *(*open)(const EvnSource *source);
	/* False when there is no room now: serve, and put it again. */
	bool (*put)(EvnSink *sink, const EvnFeedMessage *message);
	/* The cursor (copied; NULL for none) covers what was put so far.  False as above. */
	bool (*checkpoint)(EvnSink *sink, const Jsonb *cursor);
	/* Go on with what is on its way; false when nothing is. */
	bool (*serve)(EvnSink *sink);
} EvnSinkKind;

extern const EvnSinkKind evn_sink_kafka;
extern const EvnSinkKind evn_sink_stream;

#endif /* EVN_SINK_H */
