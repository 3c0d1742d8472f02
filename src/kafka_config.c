/*
 * kafka_config.c
 *		librdkafka properties as foreign server and user mapping options.
 */
#include "c.h"

#include <signal.h>

#include "kafka_internal.h"

#define ARRAY_END(array) ((array) + lengthof(array))

typedef struct Refusal
{
	const char *name; /* one property, or with a star at its end all that begin so */
	const char *reason;
} Refusal;

#define POSITIONS "Positions are kept in PostgreSQL; this would move or skip them."
#define GROUP	  "evilnet assigns partitions itself, and names the group."
#define CODE	  "It can run code in a server process."
#define KERBEROS \
	"evilnet does not run kinit; it uses the ticket of the server's operating system user."
#define UNSECURED "It is for unsecured tokens, which are good for tests only."
#define OURS	  "evilnet sets it itself."
#define LOG		  "evilnet reads the library's log itself."
#define TESTS	  "It is for librdkafka's own tests."

/*
 * At odds with exactly once, or able to run code.  Not only the obvious ones:
 * ssl.providers loads a shared object of any path; kinit's command line is
 * built from the principal without quoting; internal.termination.signal takes
 * the handler of a signal; the ut_ properties are function pointers that
 * librdkafka accepts as text.
 */
static const Refusal refusals[] = {
	{"auto.commit.*", POSITIONS},
	{"auto.offset.reset", POSITIONS},
	{"delivery.report.only.error", OURS},
	{"enable.auto.*", POSITIONS},
	{"enable.partition.eof", POSITIONS},
	{"enable.sasl.oauthbearer.unsecure.jwt", UNSECURED},
	{"enable_sasl_queue", OURS},
	{"enabled_events", OURS},
	{"debug", LOG},
	{"group.*", GROUP},
	{"internal.*", "It takes over the handler of a signal of the server process."},
	{"log*", LOG},
	{"metadata.broker.list", "It is another name of \"bootstrap.servers\"."},
	{"offset.store.*", POSITIONS},
	{"partition.assignment.strategy", GROUP},
	{"plugin.*", CODE},
	{"sasl.kerberos.keytab", KERBEROS},
	{"sasl.kerberos.kinit.cmd", KERBEROS},
	{"sasl.kerberos.min.time.before.relogin", KERBEROS},
	{"sasl.oauthbearer.config", UNSECURED},
	{"session.timeout.ms", OURS},
	{"ssl.engine.*", CODE},
	{"ssl.providers", CODE},
	{"statistics.interval.ms", LOG},
	{"test.*", TESTS},
	{"transactional.id", "Publishing is not transactional."},
	{"ut_*", TESTS},
};

/* a part of the name that tells a secret, so that properties of later versions are covered */
static const char *const secret_parts[] = {
	"password", "passphrase", "secret", "key.pem", "private", "assertion",
};

/* set whatever the options say: kinit never runs, and log lines name no threads */
static const EvnKafkaOption always[] = {
	{"log.connection.close", "false"},
	{"log.thread.name", "false"},
	{"sasl.kerberos.min.time.before.relogin", "0"},
};

static bool
matches(const char *name, const char *pattern)
{
	size_t len = strlen(pattern) - 1;

	return pattern[len] == '*' ? strncmp(name, pattern, len) == 0 : strcmp(name, pattern) == 0;
}

const char *
evn_kafka_config_refusal(const char *name)
{
	for (const Refusal *refusal = refusals; refusal < ARRAY_END(refusals); refusal++)
		if (matches(name, refusal->name))
			return refusal->reason;
	return NULL;
}

EvnKafkaPropertyKind
evn_kafka_config_kind(const char *name)
{
	if (evn_kafka_config_refusal(name) != NULL)
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
		   strstr(name, ".file") != NULL;
}

/* librdkafka's reason repeats the value, so a secret's is replaced by our own. */
static void
describe(EvnKafkaError *error, rd_kafka_conf_res_t result, const char *name, const char *reason)
{
	error->fatal = true;
	if (evn_kafka_config_refusal(name) != NULL)
		snprintf(error->message, sizeof(error->message), "property \"%s\" cannot be set", name);
	else if (result == RD_KAFKA_CONF_UNKNOWN)
		snprintf(error->message, sizeof(error->message), "no such property \"%s\"", name);
	else if (evn_kafka_config_kind(name) == EVN_KAFKA_SECRET)
		snprintf(error->message, sizeof(error->message), "invalid value for property \"%s\"", name);
	else
		snprintf(error->message, sizeof(error->message), "%.*s", (int) strcspn(reason, "\n"),
				 reason);
}

static bool
set_property(rd_kafka_conf_t *conf, const char *name, const char *value, EvnKafkaError *error)
{
	char				reason[512] = "";
	rd_kafka_conf_res_t result = RD_KAFKA_CONF_INVALID;

	/* a catalog may hold what an earlier version accepted */
	if (evn_kafka_config_refusal(name) == NULL)
		result = rd_kafka_conf_set(conf, name, value, reason, sizeof(reason));

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
	for (const EvnKafkaOption *option = always; option < ARRAY_END(always); option++)
		evn_kafka_config_set(conf, option->name, option->value);
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
