/*
 * kafka_producer.c
 *		Publishing a set of messages and waiting until the broker has them.
 */
#include "c.h"

#include "kafka_internal.h"
#include "kafka_producer.h"

struct EvnKafkaProducer
{
	EvnKafkaLog	  log; /* first, as the library's opaque pointer means both */
	rd_kafka_t	 *handle;
	int64		  delivered;
	int64		  failed;
	EvnKafkaError first_failure;
};

static const EvnKafkaOption defaults[] = {
	{"enable.idempotence", "true"},
	{"linger.ms", "5"},
	{"message.timeout.ms", "60000"},
};

/* Runs on our thread, inside rd_kafka_poll: counts only. */
static void
delivery_report(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
	EvnKafkaProducer *producer = opaque;

	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		producer->delivered++;
	else if (producer->failed++ == 0)
		evn_kafka_log_error(&producer->log, &producer->first_failure, message->err);
}

EvnKafkaProducer *
evn_kafka_producer_open(const EvnKafkaOption *options, int noptions, EvnKafkaError *error)
{
	EvnKafkaProducer *producer = calloc(1, sizeof(EvnKafkaProducer));
	rd_kafka_conf_t	 *conf = NULL;

	if (producer == NULL)
		snprintf(error->message, sizeof(error->message), "out of memory");
	else
		conf = evn_kafka_config_make(defaults, lengthof(defaults), options, noptions, error);
	if (conf != NULL)
	{
		evn_kafka_log_watch(&producer->log, conf);
		rd_kafka_conf_set_dr_msg_cb(conf, delivery_report);
		producer->handle = evn_kafka_config_start(RD_KAFKA_PRODUCER, conf, error);
	}
	if (producer != NULL && producer->handle == NULL)
	{
		free(producer);
		return NULL;
	}
	return producer;
}

void
evn_kafka_producer_close(EvnKafkaProducer *producer)
{
	rd_kafka_purge(producer->handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
										 RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_destroy(producer->handle);
	free(producer);
}

bool
evn_kafka_producer_send(EvnKafkaProducer *producer, const char *topic, const char *payload,
						size_t len, const char *key, size_t key_len, EvnKafkaError *error)
{
	rd_kafka_resp_err_t code;

	error->message[0] = '\0';
	code = rd_kafka_producev(producer->handle, RD_KAFKA_V_TOPIC(topic),
							 RD_KAFKA_V_VALUE(unconstify(char *, payload), len),
							 RD_KAFKA_V_KEY(key, key_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
							 RD_KAFKA_V_END);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
		evn_kafka_config_error(error, code);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

int
evn_kafka_producer_serve(EvnKafkaProducer *producer, int timeout_ms)
{
	/* with nothing on its way nothing would end the wait */
	rd_kafka_poll(producer->handle, rd_kafka_outq_len(producer->handle) > 0 ? timeout_ms : 0);
	return rd_kafka_outq_len(producer->handle);
}

int64
evn_kafka_producer_delivered(EvnKafkaProducer *producer)
{
	return producer->delivered;
}

int64
evn_kafka_producer_failed(EvnKafkaProducer *producer, EvnKafkaError *error)
{
	*error = producer->first_failure;
	return producer->failed;
}
