/*
 * kafka_config.c
 *		librdkafka properties as foreign server and user mapping options.
 */
#include "c.h"

#include <signal.h>

#include "kafka_internal.h"

#define ARRAY_END(array) ((array) + lengthof(array))

/* set by evilnet itself, or at odds with exactly once, or able to run code */
static const char *const refused[] = {"auto.commit.enable",
									  "auto.commit.interval.ms",
									  "auto.offset.reset",
									  "enable.auto.commit",
									  "enable.auto.offset.store",
									  "enable.partition.eof",
									  "group.id",
									  "group.instance.id",
									  "group.protocol",
									  "group.remote.assignor",
									  "partition.assignment.strategy",
									  "offset.store.method",
									  "offset.store.path",
									  "transactional.id",
									  "plugin.library.paths",
									  "sasl.kerberos.kinit.cmd",
									  "ssl.engine.location",
									  "debug",
									  "log.queue",
									  "log.thread.name",
									  "log_level",
									  "statistics.interval.ms"};

/* a part of the name that tells a secret, so that properties of later versions are covered */
static const char *const secret_parts[] = {"password",			 "secret",	"key.pem",
										   "oauthbearer.config", "private", "assertion"};

EvnKafkaPropertyKind
evn_kafka_config_kind(const char *name)
{
	for (const char *const *entry = refused; entry < ARRAY_END(refused); entry++)
		if (strcmp(name, *entry) == 0)
			return EVN_KAFKA_REFUSED;
	if (strncmp(name, "test.", strlen("test.")) == 0)
		return EVN_KAFKA_REFUSED;
	for (const char *const *part = secret_parts; part < ARRAY_END(secret_parts); part++)
		if (strstr(name, *part) != NULL)
			return EVN_KAFKA_SECRET;
	return EVN_KAFKA_PLAIN;
}

bool
evn_kafka_config_reads_file(const char *name)
{
	size_t len = strlen(name);
	size_t suffix = strlen(".location");

	return (len > suffix && strcmp(name + len - suffix, ".location") == 0) ||
		   strstr(name, "keytab") != NULL || strstr(name, ".file") != NULL;
}

/* librdkafka's reason repeats the value, so a secret's is replaced by our own. */
static void
describe(EvnKafkaError *error, rd_kafka_conf_res_t result, const char *name, const char *reason)
{
	error->fatal = true;
	if (result == RD_KAFKA_CONF_UNKNOWN)
		snprintf(error->message, sizeof(error->message), "no such property \"%s\"", name);
	else if (evn_kafka_config_kind(name) == EVN_KAFKA_SECRET)
		snprintf(error->message, sizeof(error->message), "invalid value for property \"%s\"", name);
	else
		snprintf(error->message, sizeof(error->message), "%s", reason);
}

static bool
set_property(rd_kafka_conf_t *conf, const char *name, const char *value, EvnKafkaError *error)
{
	char				reason[512];
	rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, reason, sizeof(reason));

	if (result != RD_KAFKA_CONF_OK)
		describe(error, result, name, reason);
	return result == RD_KAFKA_CONF_OK;
}

bool
evn_kafka_config_check(const char *name, const char *value, EvnKafkaError *error)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	bool			 ok = set_property(conf, name, value, error);

	rd_kafka_conf_destroy(conf);
	return ok;
}

void
evn_kafka_config_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char reason[512];

	(void) rd_kafka_conf_set(conf, name, value, reason, sizeof(reason));
}

rd_kafka_conf_t *
evn_kafka_config_make(const EvnKafkaOption *defaults, int ndefaults, const EvnKafkaOption *options,
					  int noptions, EvnKafkaError *error)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	for (int i = 0; i < ndefaults; i++)
		evn_kafka_config_set(conf, defaults[i].name, defaults[i].value);
	for (int i = 0; i < noptions; i++)
		if (!set_property(conf, options[i].name, options[i].value, error))
		{
			rd_kafka_conf_destroy(conf);
			return NULL;
		}
	return conf;
}

rd_kafka_t *
evn_kafka_config_start(rd_kafka_type_t type, rd_kafka_conf_t *conf, EvnKafkaError *error)
{
	sigset_t	all;
	sigset_t	before;
	rd_kafka_t *handle;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	handle = rd_kafka_new(type, conf, error->message, sizeof(error->message));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (handle == NULL)
	{
		error->fatal = true;
		rd_kafka_conf_destroy(conf);
	}
	return handle;
}

void
evn_kafka_config_error(EvnKafkaError *error, rd_kafka_resp_err_t code)
{
	error->fatal = code == RD_KAFKA_RESP_ERR__INVALID_ARG || code == RD_KAFKA_RESP_ERR__FATAL;
	snprintf(error->message, sizeof(error->message), "%s", rd_kafka_err2str(code));
}
