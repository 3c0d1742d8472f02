/*
 * kafka_consumer.c
 *		Reading one topic's partitions from explicit offsets.
 *
 * Partitions are assigned by hand, so there is no group and no rebalance; the
 * group id only names our position in lag tools.  Messages are taken with the
 * batch call, which is cheaper than polling one by one and in librdkafka 2.0
 * is not safe beside seek and pause: we re-assign instead.
 */
#include "c.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "kafka_consumer.h"
#include "kafka_internal.h"

#define POLL_MAX	  1024 /* messages taken from the library at a time */
#define CLOSE_SECONDS 5	   /* more than it ever needs, when it does not wait for itself */

struct EvnKafkaConsumer
{
	rd_kafka_t		   *handle;
	rd_kafka_queue_t   *queue;		  /* messages and errors */
	rd_kafka_queue_t   *commit_queue; /* answers to commits */
	bool				committing;	  /* one is on its way */
	char			   *topic;
	int					fd; /* eventfd that the library writes when the queue fills */
	EvnKafkaLog			log;
	rd_kafka_message_t *polled[POLL_MAX];
};

static const EvnKafkaOption defaults[] = {
	{"allow.auto.create.topics", "false"},
	{"check.crcs", "true"},
	{"fetch.message.max.bytes", "4194304"},
	{"fetch.wait.max.ms", "100"},
	{"queued.min.messages", "200000"},
	{"socket.timeout.ms", "10000"}, /* closing waits for a commit that a hanging broker owes us */
};

static const EvnKafkaOption forced[] = {
	{"auto.offset.reset", "error"},
	{"enable.auto.commit", "false"},
	{"enable.auto.offset.store", "false"},
	{"enable.partition.eof", "true"},
	/* closing waits that long, looked at once a second, for a commit that found no coordinator */
	{"session.timeout.ms", "100"},
};

/*
 * A probe wants one message of each partition.  Its broker must not hold back
 * the next question while it waits for news on this one, and the library not
 * for its queue to empty, which it looks at once a second.
 */
static const EvnKafkaOption probing[] = {
	{"fetch.message.max.bytes", "65536"},
	{"fetch.wait.max.ms", "0"},
	{"queued.min.messages", "100000"},
};

static void
set_all(rd_kafka_conf_t *conf, const EvnKafkaOption *options, int noptions)
{
	for (int i = 0; i < noptions; i++)
		evn_kafka_config_set(conf, options[i].name, options[i].value);
}

static bool
open_queues(EvnKafkaConsumer *consumer, EvnKafkaError *error)
{
	static const uint64 one = 1;

	rd_kafka_poll_set_consumer(consumer->handle);
	consumer->queue = rd_kafka_queue_get_consumer(consumer->handle);
	consumer->commit_queue = rd_kafka_queue_new(consumer->handle);
	consumer->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (consumer->fd < 0)
	{
		snprintf(error->message, sizeof(error->message), "could not create an event descriptor");
		return false;
	}
	rd_kafka_queue_io_event_enable(consumer->queue, consumer->fd, &one, sizeof(one));
	return true;
}

EvnKafkaConsumer *
evn_kafka_consumer_open(const EvnKafkaOption *options, int noptions, const char *topic,
						const char *group_id, EvnKafkaUse use, EvnKafkaError *error)
{
	EvnKafkaConsumer *consumer = calloc(1, sizeof(EvnKafkaConsumer));
	rd_kafka_conf_t	 *conf = NULL;

	if (consumer != NULL)
		consumer->fd = -1;
	if (consumer == NULL || (consumer->topic = strdup(topic)) == NULL)
		snprintf(error->message, sizeof(error->message), "out of memory");
	else
		conf = evn_kafka_config_make(defaults, lengthof(defaults), options, noptions, error);
	if (conf != NULL)
	{
		set_all(conf, forced, lengthof(forced));
		if (use == EVN_KAFKA_PROBE)
			set_all(conf, probing, lengthof(probing));
		evn_kafka_config_set(conf, "group.id", group_id);
		evn_kafka_log_watch(&consumer->log, conf);
		consumer->handle = evn_kafka_config_start(RD_KAFKA_CONSUMER, conf, error);
		if (consumer->handle != NULL && open_queues(consumer, error))
			return consumer;
	}
	if (consumer != NULL)
		(void) evn_kafka_consumer_close(consumer);
	return NULL;
}

static void *
destroy_handle(void *handle)
{
	/* we are in no group that had to be left */
	rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return NULL;
}

/*
 * librdkafka 2.0 now and then waits for itself for ever when a topic was
 * deleted while it was read.  A server that is asked to stop must not.
 */
static bool
destroy_in_time(rd_kafka_t *handle)
{
	struct timespec until;
	sigset_t		all;
	sigset_t		before;
	pthread_t		thread;
	int				failed;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&thread, NULL, destroy_handle, handle);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
	{
		destroy_handle(handle);
		return true;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += CLOSE_SECONDS;
	if (pthread_timedjoin_np(thread, NULL, &until) == 0)
		return true;
	pthread_detach(thread);
	return false;
}

bool
evn_kafka_consumer_close(EvnKafkaConsumer *consumer)
{
	if (consumer->queue != NULL)
	{
		rd_kafka_queue_io_event_enable(consumer->queue, -1, NULL, 0);
		rd_kafka_queue_destroy(consumer->queue);
	}
	if (consumer->commit_queue != NULL)
		rd_kafka_queue_destroy(consumer->commit_queue);
	/* what the library may still use stays */
	if (consumer->handle != NULL && !destroy_in_time(consumer->handle))
		return false;
	if (consumer->fd >= 0)
		close(consumer->fd);
	free(consumer->topic);
	free(consumer);
	return true;
}

int
evn_kafka_consumer_partitions(EvnKafkaConsumer *consumer, int timeout_ms, EvnKafkaError *error)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer->handle, consumer->topic, NULL);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t				code;
	int								n = -1;

	if (topic == NULL)
		code = rd_kafka_last_error();
	else
	{
		code = rd_kafka_metadata(consumer->handle, 0, topic, &metadata, timeout_ms);
		rd_kafka_topic_destroy(topic);
	}
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		code = metadata->topic_cnt == 1 ? metadata->topics[0].err
										: RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
		if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
			n = 0;
		else if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			n = metadata->topics[0].partition_cnt;
		rd_kafka_metadata_destroy(metadata);
	}
	if (n < 0)
		evn_kafka_log_error(&consumer->log, error, code);
	return n;
}

/*
 * Ask for the offset of a time, or with RD_KAFKA_OFFSET_BEGINNING or _END for
 * that of the first and the next message; negative when no record is that
 * late.  rd_kafka_query_watermark_offsets would wait for a leader that is away
 * longer than it is told, for ever if need be.
 */
static bool
ask_offset(EvnKafkaConsumer *consumer, int32 partition, int64 when, int timeout_ms, int64 *offset,
		   EvnKafkaError *error)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t				 code;

	rd_kafka_topic_partition_list_add(list, consumer->topic, partition)->offset = when;
	code = rd_kafka_offsets_for_times(consumer->handle, list, timeout_ms);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		code = list->elems[0].err;
	*offset = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		evn_kafka_log_error(&consumer->log, error, code);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

bool
evn_kafka_consumer_watermarks(EvnKafkaConsumer *consumer, int32 partition, int timeout_ms,
							  int64 *low, int64 *high, EvnKafkaError *error)
{
	return ask_offset(consumer, partition, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, low, error) &&
		   ask_offset(consumer, partition, RD_KAFKA_OFFSET_END, timeout_ms, high, error);
}

bool
evn_kafka_consumer_offset_for_time(EvnKafkaConsumer *consumer, int32 partition, int64 timestamp_ms,
								   int timeout_ms, int64 *offset, EvnKafkaError *error)
{
	if (!ask_offset(consumer, partition, timestamp_ms, timeout_ms, offset, error))
		return false;
	/* no record that late: the end */
	return *offset >= 0 ||
		   ask_offset(consumer, partition, RD_KAFKA_OFFSET_END, timeout_ms, offset, error);
}

static rd_kafka_topic_partition_list_t *
make_list(EvnKafkaConsumer *consumer, const EvnKafkaPosition *positions, int npositions)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(npositions);

	for (int i = 0; i < npositions; i++)
		rd_kafka_topic_partition_list_add(list, consumer->topic, positions[i].partition)->offset =
			positions[i].offset;
	return list;
}

bool
evn_kafka_consumer_assign(EvnKafkaConsumer *consumer, const EvnKafkaPosition *positions,
						  int npositions, EvnKafkaError *error)
{
	rd_kafka_topic_partition_list_t *list = make_list(consumer, positions, npositions);
	rd_kafka_resp_err_t				 code = rd_kafka_assign(consumer->handle, list);

	rd_kafka_topic_partition_list_destroy(list);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		evn_kafka_config_error(error, code);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static EvnKafkaEvent
event_of(EvnKafkaConsumer *consumer, const rd_kafka_message_t *message)
{
	switch (message->err)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			return EVN_KAFKA_MESSAGE;
		case RD_KAFKA_RESP_ERR__PARTITION_EOF:
			return EVN_KAFKA_END;
		case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
		case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
			return EVN_KAFKA_OUT_OF_RANGE;
		default:
			evn_kafka_log_keep(&consumer->log, rd_kafka_message_errstr(message),
							   message->err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN);
			return EVN_KAFKA_FAILURE;
	}
}

static void
fill_message(EvnKafkaConsumer *consumer, EvnKafkaMessage *out, rd_kafka_message_t *message)
{
	out->event = event_of(consumer, message);
	out->partition = message->partition;
	out->offset = message->offset;
	out->handle = message;
	/* an error's payload is its text */
	out->payload = out->event == EVN_KAFKA_MESSAGE ? message->payload : NULL;
	out->len = out->event == EVN_KAFKA_MESSAGE ? message->len : 0;
	out->key = out->event == EVN_KAFKA_MESSAGE ? message->key : NULL;
	out->key_len = message->key_len;
	out->timestamp_ms =
		out->event == EVN_KAFKA_MESSAGE ? rd_kafka_message_timestamp(message, NULL) : -1;
}

int
evn_kafka_consumer_poll(EvnKafkaConsumer *consumer, EvnKafkaMessage *messages, int max)
{
	ssize_t n =
		rd_kafka_consume_batch_queue(consumer->queue, 0, consumer->polled, Min(max, POLL_MAX));
	int kept = 0;

	for (ssize_t i = 0; i < n; i++)
	{
		fill_message(consumer, &messages[kept], consumer->polled[i]);
		/* an error of no partition is remembered, and all there is to it */
		if (messages[kept].event != EVN_KAFKA_MESSAGE && consumer->polled[i]->partition < 0)
			rd_kafka_message_destroy(consumer->polled[i]);
		else
			kept++;
	}
	return kept;
}

void
evn_kafka_consumer_release(EvnKafkaConsumer *consumer, EvnKafkaMessage *messages, int n)
{
	for (int i = 0; i < n; i++)
		rd_kafka_message_destroy(messages[i].handle);
}

int64
evn_kafka_consumer_waiting(EvnKafkaConsumer *consumer)
{
	return rd_kafka_queue_length(consumer->queue);
}

int
evn_kafka_consumer_fd(EvnKafkaConsumer *consumer)
{
	return consumer->fd;
}

void
evn_kafka_consumer_clear_fd(EvnKafkaConsumer *consumer)
{
	uint64 count;

	/* nothing to read is fine */
	if (read(consumer->fd, &count, sizeof(count)) < 0)
		return;
}

int64
evn_kafka_consumer_seen_end(EvnKafkaConsumer *consumer, int32 partition)
{
	int64_t low;
	int64_t high;

	if (rd_kafka_get_watermark_offsets(consumer->handle, consumer->topic, partition, &low, &high) !=
		RD_KAFKA_RESP_ERR_NO_ERROR)
		return -1;
	return high < 0 ? -1 : high;
}

/*
 * One commit at a time: a broker answers them one after the other, and closing
 * waits for all that are on their way.  What is left out here is told by the
 * next call.
 */
bool
evn_kafka_consumer_commit_hint(EvnKafkaConsumer *consumer, const EvnKafkaPosition *positions,
							   int npositions)
{
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_event_t				*answer = rd_kafka_queue_poll(consumer->commit_queue, 0);

	if (answer != NULL)
	{
		consumer->committing = false;
		rd_kafka_event_destroy(answer);
	}
	if (consumer->committing)
		return false;
	list = make_list(consumer, positions, npositions);
	consumer->committing = rd_kafka_commit_queue(consumer->handle, list, consumer->commit_queue,
												 NULL, NULL) == RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_topic_partition_list_destroy(list);
	return true;
}

bool
evn_kafka_consumer_error(EvnKafkaConsumer *consumer, EvnKafkaError *error)
{
	char line[EVN_KAFKA_LINE_LEN];

	if (!evn_kafka_log_take(&consumer->log, line))
		return false;
	error->fatal = false;
	snprintf(error->message, sizeof(error->message), "%s", line);
	return true;
}
