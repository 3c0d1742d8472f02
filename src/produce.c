/*
 * produce.c
 *		SQL function evilnet.produce: publish messages.
 *
 * A session keeps one producer, for the server and user it was last used with,
 * until either changes; connecting for every call would cost more than the call.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "fdw_servers.h"
#include "kafka_producer.h"
#include "shmem.h"
#include "stream.h"

#define SERVE_MS 100 /* how soon an interrupt is noticed */

PG_FUNCTION_INFO_V1(evn_produce);

static EvnKafkaProducer *kept = NULL;
static Oid				 kept_server = InvalidOid;
static Oid				 kept_user = InvalidOid;
static char kept_broker[EVN_ADDRESS_LEN]; /* of the embedded broker, which may have moved */
static bool kept_stale = false;

static void
forget_producer(void)
{
	if (kept != NULL)
		evn_kafka_producer_close(kept);
	kept = NULL;
}

static void
close_at_exit(int code, Datum arg)
{
	forget_producer();
}

static void
server_changed(Datum arg, int cacheid, uint32 hash)
{
	kept_stale = true;
}

static void
register_once(void)
{
	static bool registered = false;

	if (registered)
		return;
	before_shmem_exit(close_at_exit, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, server_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, server_changed, (Datum) 0);
	registered = true;
}

static EvnKafkaProducer *
get_producer(ForeignServer *server, Oid userid)
{
	EvnKafkaError	error = {0};
	EvnKafkaOption *options;
	char			broker[EVN_ADDRESS_LEN] = "";
	int				noptions;

	if (evn_shared != NULL)
		(void) evn_shmem_broker_address(broker);
	if (kept != NULL && !kept_stale && kept_server == server->serverid && kept_user == userid &&
		strcmp(kept_broker, broker) == 0)
		return kept;
	register_once();
	forget_producer();
	options = evn_fdw_servers_options(server, userid, &noptions);
	kept_stale = false;
	kept = evn_kafka_producer_open(options, noptions, &error);
	if (kept == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
						errmsg("Kafka: %s", error.message)));
	kept_server = server->serverid;
	kept_user = userid;
	strlcpy(kept_broker, broker, sizeof(kept_broker));
	return kept;
}

/* Hand one message to the library, waiting for room in its queue. */
static void
send_message(EvnKafkaProducer *producer, const char *topic, Datum message, bool isnull, Datum key,
			 bool no_key)
{
	text		 *value = isnull ? NULL : DatumGetTextPP(message);
	text		 *keytext = no_key ? NULL : DatumGetTextPP(key);
	EvnKafkaError error = {0};
	EvnKafkaSent  sent;

	while ((sent = evn_kafka_producer_send(
				producer, topic, isnull ? NULL : VARDATA_ANY(value),
				isnull ? 0 : VARSIZE_ANY_EXHDR(value), no_key ? NULL : VARDATA_ANY(keytext),
				no_key ? 0 : VARSIZE_ANY_EXHDR(keytext), &error)) != EVN_KAFKA_SENT)
	{
		if (sent != EVN_KAFKA_FULL)
			ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
							errmsg("could not publish a message: %s", error.message),
							errdetail("Messages before it may have been published.")));
		(void) evn_kafka_producer_serve(producer, SERVE_MS);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
send_all(EvnKafkaProducer *producer, const char *topic, ArrayType *messages, ArrayType *keys)
{
	Datum *values;
	Datum *key_values = NULL;
	bool  *nulls;
	bool  *key_nulls = NULL;
	int	   n;
	int	   nkeys;

	deconstruct_array(messages, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	if (keys != NULL)
	{
		deconstruct_array(keys, TEXTOID, -1, false, TYPALIGN_INT, &key_values, &key_nulls, &nkeys);
		if (nkeys != n)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("%d messages but %d keys", n, nkeys),
					 errhint("Give a key for each message; null for a message without one.")));
	}
	for (int i = 0; i < n; i++)
		send_message(producer, topic, values[i], nulls[i], keys == NULL ? (Datum) 0 : key_values[i],
					 keys == NULL || key_nulls[i]);
	while (evn_kafka_producer_serve(producer, SERVE_MS) > 0)
		CHECK_FOR_INTERRUPTS();
}

Datum
evn_produce(PG_FUNCTION_ARGS)
{
	ForeignServer	 *server;
	EvnKafkaProducer *producer;
	EvnKafkaError	  error = {0};
	char			 *topic;
	int64			  delivered;
	int64			  failed;

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("server, topic and messages must not be null")));
	topic = text_to_cstring(PG_GETARG_TEXT_PP(1));
	evn_stream_check_topic(topic);
	server = evn_fdw_servers_get(NameStr(*PG_GETARG_NAME(0)), GetUserId());
	producer = get_producer(server, GetUserId());
	delivered = evn_kafka_producer_delivered(producer);
	failed = evn_kafka_producer_failed(producer, &error);
	PG_TRY();
	{
		send_all(producer, topic, PG_GETARG_ARRAYTYPE_P(2),
				 PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3));
	}
	PG_CATCH();
	{
		/* what is still on its way is not waited for */
		forget_producer();
		PG_RE_THROW();
	}
	PG_END_TRY();
	delivered = evn_kafka_producer_delivered(producer) - delivered;
	failed = evn_kafka_producer_failed(producer, &error) - failed;
	if (failed > 0)
	{
		forget_producer();
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("could not publish " INT64_FORMAT " of " INT64_FORMAT " messages: %s",
						failed, failed + delivered, error.message)));
	}
	PG_RETURN_INT64(delivered);
}
