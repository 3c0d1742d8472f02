/*
 * kafka_internal.h
 *		What the kafka_*.c files share: the only header that includes rdkafka.h.
 */
#ifndef EVN_KAFKA_INTERNAL_H
#define EVN_KAFKA_INTERNAL_H

#include <librdkafka/rdkafka.h>

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

#endif /* EVN_KAFKA_INTERNAL_H */
