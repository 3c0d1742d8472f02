/*
 * kafka_producer.h
 *		Publishing a set of messages and waiting until the broker has them.
 *
 * Nothing here raises.  A producer belongs to the process that opened it.
 */
#ifndef EVN_KAFKA_PRODUCER_H
#define EVN_KAFKA_PRODUCER_H

#include "kafka_config.h"

typedef struct EvnKafkaProducer EvnKafkaProducer;

/* NULL on error with *error filled; closed with evn_kafka_producer_close */
extern EvnKafkaProducer *evn_kafka_producer_open(const EvnKafkaOption *options, int noptions,
												 EvnKafkaError *error);
extern void evn_kafka_producer_close(EvnKafkaProducer *producer);

typedef enum EvnKafkaSent
{
	EVN_KAFKA_SENT,
	EVN_KAFKA_FULL,		 /* no room in the local queue: serve, and send it again */
	EVN_KAFKA_TOO_LARGE, /* above message.max.bytes */
	EVN_KAFKA_NOT_SENT	 /* with *error filled */
} EvnKafkaSent;

/* Queue one message (copied).  key may be NULL. */
extern EvnKafkaSent evn_kafka_producer_send(EvnKafkaProducer *producer, const char *topic,
											const char *payload, size_t len, const char *key,
											size_t key_len, EvnKafkaError *error);

/*
 * Messages sent so far are of the current mark; those that follow are of the
 * next one.  False when so many marks wait for their messages that no other is
 * free: serve and try again.
 */
extern bool evn_kafka_producer_mark(EvnKafkaProducer *producer, int64 *mark);

/* the last mark up to which the broker has every message; -1 when it has not the first one's */
extern int64 evn_kafka_producer_confirmed(EvnKafkaProducer *producer);

/* serve delivery reports for at most timeout_ms; returns how many messages are still on their way */
extern int evn_kafka_producer_serve(EvnKafkaProducer *producer, int timeout_ms);

/* messages delivered and failed so far; the first failure in *error if any failed */
extern int64 evn_kafka_producer_delivered(EvnKafkaProducer *producer);
extern int64 evn_kafka_producer_failed(EvnKafkaProducer *producer, EvnKafkaError *error);

#endif /* EVN_KAFKA_PRODUCER_H */
