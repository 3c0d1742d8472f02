/*
 * kafka_broker.h
 *		librdkafka's in-process broker: in memory, loopback, for trying out only.
 *
 * Nothing here raises.
 */
#ifndef EVN_KAFKA_BROKER_H
#define EVN_KAFKA_BROKER_H

#include "kafka_config.h"

typedef struct EvnKafkaBroker EvnKafkaBroker;

/*
 * Topics are made on first use, with four partitions.  NULL on error with
 * *error filled; stopped with evn_kafka_broker_stop.
 */
extern EvnKafkaBroker *evn_kafka_broker_start(EvnKafkaError *error);
extern void evn_kafka_broker_stop(EvnKafkaBroker *broker);

/* "127.0.0.1:port"; belongs to the broker */
extern const char *evn_kafka_broker_address(EvnKafkaBroker *broker);

#endif /* EVN_KAFKA_BROKER_H */
