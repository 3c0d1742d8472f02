/*
 * store_messages.c
 *		SQL function that stores messages which do not come from Kafka.
 *
 * An archive, or posts of one's own: they are decoded, resolved, counted and
 * set aside as those of a worker are, in the caller's transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "gazetteer.h"
#include "ingest.h"

#define ARENA_BLOCK	 (64 * 1024)
#define NO_PARTITION (-1) /* Kafka's partition of what came from elsewhere */

PG_FUNCTION_INFO_V1(evn_store_messages);

/* What the library's memory hangs on, so that an error frees it. */
typedef struct Decoding
{
	EvnDecoder *decoder;
	EvnArena   *arena;
} Decoding;

static void
end_decoding(void *arg)
{
	Decoding *decoding = arg;

	if (decoding->decoder != NULL)
		evn_tweet_decoder_free(decoding->decoder);
	if (decoding->arena != NULL)
		evn_arena_free(decoding->arena);
}

static Decoding *
begin_decoding(void)
{
	Decoding			  *decoding = palloc0(sizeof(Decoding));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	callback->func = end_decoding;
	callback->arg = decoding;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	decoding->decoder = evn_tweet_decoder_create();
	decoding->arena = evn_arena_create(ARENA_BLOCK);
	if (decoding->decoder == NULL || decoding->arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return decoding;
}

static EvnBatchMessage *
decode_all(const EvnStream *stream, ArrayType *array, int *nmessages)
{
	Decoding		   *decoding = begin_decoding();
	const EvnCityIndex *cities = evn_gazetteer_get();
	EvnAccepted			accepted = evn_ingest_accepted(stream);
	EvnBatchMessage	   *messages;
	Datum			   *texts;
	bool			   *nulls;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, nmessages);
	messages =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EvnBatchMessage) * Max(*nmessages, 1));
	memset(messages, 0, sizeof(EvnBatchMessage) * *nmessages);
	for (int i = 0; i < *nmessages; i++)
	{
		EvnBatchMessage *message = &messages[i];
		text			*payload = nulls[i] ? NULL : DatumGetTextPP(texts[i]);

		message->kafka.partition = NO_PARTITION;
		message->kafka.offset = i;
		message->kafka.timestamp_ms = -1;
		message->kafka.payload = payload == NULL ? NULL : VARDATA_ANY(payload);
		message->kafka.len = payload == NULL ? 0 : VARSIZE_ANY_EXHDR(payload);
		evn_batch_decode(message, decoding->decoder, decoding->arena, &accepted);
		if (message->decoded == EVN_OUTCOME_ROW)
			message->city = evn_city_index_resolve(cities, &message->tweet.hints);
	}
	return messages;
}

Datum
evn_store_messages(PG_FUNCTION_ARGS)
{
	EvnIngest		 ingest = {0};
	int64			 counts[EVN_NOUTCOMES] = {0};
	Datum			 values[EVN_NOUTCOMES];
	bool			 nulls[EVN_NOUTCOMES] = {0};
	EvnBatchMessage *messages;
	TupleDesc		 desc;
	int				 n;

	/* an older snapshot would miss posts, notices and aggregates that are there by now */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("messages can be stored in READ COMMITTED transactions only")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	evn_stream_check_owned(PG_GETARG_OID(0));
	ingest.stream = evn_stream_load(PG_GETARG_OID(0));
	ingest.aggregates = evn_aggregates_open(ingest.stream);
	ingest.worker = PG_GETARG_INT32(2);
	if (ingest.worker < 0 || ingest.worker >= EVN_MAX_WORKERS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"worker\" must be between 0 and %d", EVN_MAX_WORKERS - 1)));
	messages = decode_all(ingest.stream, PG_GETARG_ARRAYTYPE_P(1), &n);
	evn_ingest_apply(&ingest, messages, n, false, CurrentMemoryContext);
	for (int i = 0; i < n; i++)
		counts[messages[i].outcome]++;
	for (int i = 0; i < EVN_NOUTCOMES; i++)
		values[i] = Int64GetDatum(counts[i]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
