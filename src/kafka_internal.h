/*
 * kafka_internal.h
 *		What the kafka_*.c files share: the only header that includes rdkafka.h.
 */
#ifndef EVN_KAFKA_INTERNAL_H
#define EVN_KAFKA_INTERNAL_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "kafka_config.h"

/*
 * A configuration with the given defaults and then the options; NULL on error
 * with *error filled.  Owned by the caller until rd_kafka_new takes it.
 */
extern rd_kafka_conf_t *evn_kafka_config_make(const EvnKafkaOption *defaults, int ndefaults,
											  const EvnKafkaOption *options, int noptions,
											  EvnKafkaError *error);

/* Set one of evilnet's own properties, which cannot fail. */
extern void evn_kafka_config_set(rd_kafka_conf_t *conf, const char *name, const char *value);

/*
 * rd_kafka_new with all signals blocked in the threads it starts: PostgreSQL's
 * handlers must run on its own thread.  Takes conf over in any case.
 */
extern rd_kafka_t *evn_kafka_config_start(rd_kafka_type_t type, rd_kafka_conf_t *conf,
										  EvnKafkaError *error);

extern void evn_kafka_config_error(EvnKafkaError *error, rd_kafka_resp_err_t code);

#define EVN_KAFKA_LINE_LEN 384

typedef struct EvnKafkaLog
{
	pthread_mutex_t mutex;
	char			line[EVN_KAFKA_LINE_LEN]; /* empty when there was none since the last look */
} EvnKafkaLog;

/* Keep what the handle made of conf logs; takes the handle's opaque pointer. */
extern void evn_kafka_log_watch(EvnKafkaLog *log, rd_kafka_conf_t *conf);

/* Keep a line; a summary takes the place of no other. */
extern void evn_kafka_log_keep(EvnKafkaLog *log, const char *line, bool summary);

/* Take the last line; false when there is none. */
extern bool evn_kafka_log_take(EvnKafkaLog *log, char line[EVN_KAFKA_LINE_LEN]);

/* An error by its code, and the line that may tell why. */
extern void evn_kafka_log_error(EvnKafkaLog *log, EvnKafkaError *error, rd_kafka_resp_err_t code);

#endif /* EVN_KAFKA_INTERNAL_H */
