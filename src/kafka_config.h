/*
 * kafka_config.h
 *		librdkafka properties as foreign server and user mapping options.
 *
 * librdkafka itself knows which properties exist and which values they take;
 * this file adds which of them are secret, and which evilnet sets itself or
 * must refuse because they break exactly-once or run code.
 */
#ifndef EVN_KAFKA_CONFIG_H
#define EVN_KAFKA_CONFIG_H

#include "c.h"

typedef struct EvnKafkaOption
{
	const char *name;
	const char *value;
} EvnKafkaOption;

/* an error as a value; message never holds the value of a secret property */
typedef struct EvnKafkaError
{
	bool fatal; /* retrying with the same configuration cannot help */
	char message[512];
} EvnKafkaError;

typedef enum EvnKafkaPropertyKind
{
	EVN_KAFKA_PLAIN,  /* allowed on the server */
	EVN_KAFKA_SECRET, /* allowed in a user mapping only */
	EVN_KAFKA_REFUSED /* evilnet sets it, or it is not safe */
} EvnKafkaPropertyKind;

extern EvnKafkaPropertyKind evn_kafka_config_kind(const char *name);

/* why a property is refused, a sentence; NULL when it is not */
extern const char *evn_kafka_config_refusal(const char *name);

/* whether the property names a file that the server's process reads */
extern bool evn_kafka_config_reads_file(const char *name);

/* librdkafka's own verdict on one property; false with *error filled */
extern bool evn_kafka_config_check(const char *name, const char *value, EvnKafkaError *error);

/* value of "bootstrap.servers" that means the embedded broker of this cluster */
#define EVN_KAFKA_EMBEDDED "embedded"

#endif /* EVN_KAFKA_CONFIG_H */
