/*
 * kafka_producer.c
 *		Publishing a set of messages and waiting until the broker has them.
 */
#include "c.h"

#include "kafka_internal.h"
#include "kafka_producer.h"

#define MARKS 64 /* that may wait for their messages at a time */

struct EvnKafkaProducer
{
	EvnKafkaLog	  log; /* first, as the library's opaque pointer means both */
	rd_kafka_t	 *handle;
	int64		  delivered;
	int64		  failed;
	EvnKafkaError first_failure;
	int64		  mark; /* of the messages that are sent now */
	int64		  confirmed;
	int64		  pending[MARKS]; /* messages on their way, by mark modulo MARKS */
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
	/* one that failed is never confirmed, nor is what comes after it */
	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		producer->pending[(uintptr_t) message->_private]--;
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
	if (producer != NULL)
		producer->confirmed = -1;
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

EvnKafkaSent
evn_kafka_producer_send(EvnKafkaProducer *producer, const char *topic, const char *payload,
						size_t len, const char *key, size_t key_len, EvnKafkaError *error)
{
	uintptr_t			slot = producer->mark % MARKS;
	rd_kafka_resp_err_t code;

	code = rd_kafka_producev(producer->handle, RD_KAFKA_V_TOPIC(topic),
							 RD_KAFKA_V_VALUE(unconstify(char *, payload), len),
							 RD_KAFKA_V_KEY(key, key_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
							 RD_KAFKA_V_OPAQUE((void *) slot), RD_KAFKA_V_END);
	switch (code)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			producer->pending[slot]++;
			return EVN_KAFKA_SENT;
		case RD_KAFKA_RESP_ERR__QUEUE_FULL:
			return EVN_KAFKA_FULL;
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
			evn_kafka_config_error(error, code);
			return EVN_KAFKA_TOO_LARGE;
		default:
			evn_kafka_config_error(error, code);
			return EVN_KAFKA_NOT_SENT;
	}
}

bool
evn_kafka_producer_mark(EvnKafkaProducer *producer, int64 *mark)
{
	if (producer->mark + 1 - evn_kafka_producer_confirmed(producer) >= MARKS)
		return false;
	*mark = producer->mark++;
	return true;
}

int64
evn_kafka_producer_confirmed(EvnKafkaProducer *producer)
{
	while (producer->confirmed + 1 < producer->mark &&
		   producer->pending[(producer->confirmed + 1) % MARKS] == 0)
		producer->confirmed++;
	return producer->confirmed;
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
