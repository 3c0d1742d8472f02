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

/*
 * Queue one message (copied).  key may be NULL.  False when the local queue is
 * full (call evn_kafka_producer_serve and try again) with error->message
 * empty, or on an error with *error filled.
 */
extern bool evn_kafka_producer_send(EvnKafkaProducer *producer, const char *topic,
									const char *payload, size_t len, const char *key,
									size_t key_len, EvnKafkaError *error);

/* serve delivery reports for at most timeout_ms; returns how many messages are still on their way */
extern int evn_kafka_producer_serve(EvnKafkaProducer *producer, int timeout_ms);

/* messages delivered and failed so far; the first failure in *error if any failed */
extern int64 evn_kafka_producer_delivered(EvnKafkaProducer *producer);
extern int64 evn_kafka_producer_failed(EvnKafkaProducer *producer, EvnKafkaError *error);

#endif /* EVN_KAFKA_PRODUCER_H */
