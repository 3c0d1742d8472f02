/*
 * frame_fuzz.c
 *		Any bytes, cut anywhere, into the framer.
 *
 * The first byte chooses the kind of stream and the longest message, the
 * second how it is cut.  What comes out must be what the reference says,
 * however it is cut.
 */
#include "c.h"

#include "frame_reference.h"

extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	static const size_t max_lens[] = {1, 7, 64, 2000};
	const char		   *stream = (const char *) data + 2;
	Log					expected = {0};
	Log					cut = {0};
	EvnFraming			framing;
	size_t				max_len;

	if (size < 2)
		return 0;
	framing = (EvnFraming) (data[0] % 3);
	max_len = max_lens[data[0] / 3 % lengthof(max_lens)];
	reference_frames(framing, &expected, stream, size - 2, max_len);
	if (!run_frames(framing, &cut, log_frame, stream, size - 2, max_len, data[1]) ||
		!same_log(&cut, &expected))
		abort();
	log_free(&expected);
	log_free(&cut);
	return 0;
}
