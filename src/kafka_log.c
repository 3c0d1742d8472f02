/*
 * kafka_log.c
 *		The last thing librdkafka complained about.
 *
 * A broker that is away for a day makes thousands of lines; one is kept, so
 * that memory is bounded however rarely anybody asks.  The callback runs on
 * the library's threads: it copies under a mutex and calls nothing of
 * PostgreSQL's.
 */
#include "c.h"

#include "kafka_internal.h"

#define LEVEL_ERROR 3 /* syslog's LOG_ERR, as librdkafka numbers its lines */

static void
on_line(const rd_kafka_t *handle, int level, const char *facility, const char *line)
{
	EvnKafkaLog *log = handle == NULL ? NULL : rd_kafka_opaque(handle);

	/* facility ERROR sums up what a line before it said in full */
	if (log != NULL && level <= LEVEL_ERROR)
		evn_kafka_log_keep(log, line, strcmp(facility, "ERROR") == 0);
}

void
evn_kafka_log_watch(EvnKafkaLog *log, rd_kafka_conf_t *conf)
{
	pthread_mutex_init(&log->mutex, NULL);
	log->line[0] = '\0';
	rd_kafka_conf_set_opaque(conf, log);
	rd_kafka_conf_set_log_cb(conf, on_line);
}

void
evn_kafka_log_keep(EvnKafkaLog *log, const char *line, bool summary)
{
	size_t len = strnlen(line, sizeof(log->line) - 1);

	pthread_mutex_lock(&log->mutex);
	if (!summary || log->line[0] == '\0')
	{
		memcpy(log->line, line, len);
		log->line[len] = '\0';
	}
	pthread_mutex_unlock(&log->mutex);
}

bool
evn_kafka_log_take(EvnKafkaLog *log, char line[EVN_KAFKA_LINE_LEN])
{
	pthread_mutex_lock(&log->mutex);
	memcpy(line, log->line, EVN_KAFKA_LINE_LEN);
	log->line[0] = '\0';
	pthread_mutex_unlock(&log->mutex);
	return line[0] != '\0';
}

void
evn_kafka_log_error(EvnKafkaLog *log, EvnKafkaError *error, rd_kafka_resp_err_t code)
{
	char   line[EVN_KAFKA_LINE_LEN];
	size_t len;

	evn_kafka_config_error(error, code);
	/* the library's own codes say little more than that time is over */
	if (code > RD_KAFKA_RESP_ERR__END || !evn_kafka_log_take(log, line))
		return;
	len = strlen(error->message);
	snprintf(error->message + len, sizeof(error->message) - len, " (%s)", line);
}
