/*
 * kafka_broker.c
 *		librdkafka's in-process broker.
 *
 * It needs a client handle to live in, which never connects anywhere.  It
 * listens on loopback at a port of its own choice.
 */
#include "c.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>

#include "kafka_broker.h"
#include "kafka_internal.h"

struct EvnKafkaBroker
{
	rd_kafka_t				*handle;
	rd_kafka_mock_cluster_t *cluster;
};

/* The cluster's thread inherits the signal mask too. */
static rd_kafka_mock_cluster_t *
start_cluster(rd_kafka_t *handle)
{
	sigset_t				 all;
	sigset_t				 before;
	rd_kafka_mock_cluster_t *cluster;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	cluster = rd_kafka_mock_cluster_new(handle, 1);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return cluster;
}

EvnKafkaBroker *
evn_kafka_broker_start(EvnKafkaError *error)
{
	EvnKafkaBroker	*broker = calloc(1, sizeof(EvnKafkaBroker));
	rd_kafka_conf_t *conf;

	if (broker == NULL)
	{
		snprintf(error->message, sizeof(error->message), "out of memory");
		return NULL;
	}
	conf = rd_kafka_conf_new();
	/* that it has no brokers to connect to is no news */
	evn_kafka_config_set(conf, "log_level", "3");
	broker->handle = evn_kafka_config_start(RD_KAFKA_PRODUCER, conf, error);
	if (broker->handle != NULL)
		broker->cluster = start_cluster(broker->handle);
	if (broker->cluster != NULL)
		return broker;
	if (broker->handle != NULL)
	{
		snprintf(error->message, sizeof(error->message), "librdkafka could not start its broker");
		rd_kafka_destroy(broker->handle);
	}
	free(broker);
	return NULL;
}

void
evn_kafka_broker_stop(EvnKafkaBroker *broker)
{
	rd_kafka_mock_cluster_destroy(broker->cluster);
	rd_kafka_destroy(broker->handle);
	free(broker);
}

const char *
evn_kafka_broker_address(EvnKafkaBroker *broker)
{
	return rd_kafka_mock_cluster_bootstraps(broker->cluster);
}
