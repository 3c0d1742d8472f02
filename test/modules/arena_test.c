/*
 * arena_test.c
 *		Unit tests of arena.c; the sanitizers watch the bytes.
 */
#include "c.h"

#include "arena.h"
#include "tap.h"

#define BLOCK 256

/* Fill n allocations of a size with their number; true when each kept its own. */
static bool
fill(EvnArena *arena, int n, size_t size)
{
	unsigned char **chunks = malloc(n * sizeof(unsigned char *));
	bool			same = true;
	int				i;

	for (i = 0; i < n; i++)
	{
		chunks[i] = evn_arena_alloc(arena, size);
		memset(chunks[i], i & 0xff, size);
	}
	for (i = 0; i < n; i++)
		same = same && chunks[i][0] == (i & 0xff) && chunks[i][size - 1] == (i & 0xff);
	free(chunks);
	return same;
}

int
main(void)
{
	EvnArena *arena = evn_arena_create(BLOCK);
	char	 *first;
	char	 *second;

	ok(arena != NULL, "created");
	first = evn_arena_alloc(arena, 1);
	second = evn_arena_alloc(arena, 1);
	ok(first == (char *) TYPEALIGN(MAXIMUM_ALIGNOF, (uintptr_t) first), "aligned");
	ok(second - first == MAXIMUM_ALIGNOF, "the next one begins at the next aligned byte");
	ok(evn_arena_alloc(arena, 0) != NULL, "nothing is not out of memory");
	ok(fill(arena, 1000, 24), "many blocks");
	ok(fill(arena, 3, 10 * BLOCK), "larger than a block");
	ok(fill(arena, 3, BLOCK), "exactly a block");
	ok(evn_arena_alloc(arena, SIZE_MAX) == NULL, "more than there is");
	ok(evn_arena_alloc(arena, SIZE_MAX / 2 + 1) == NULL, "more than can be rounded up");
	ok(fill(arena, 10, 8), "still usable after that");

	evn_arena_reset(arena);
	ok(evn_arena_alloc(arena, 1) == first, "reset begins at the first block again");
	ok(fill(arena, 1000, 24), "used again");
	evn_arena_reset(arena);
	evn_arena_reset(arena);
	ok(evn_arena_alloc(arena, 1) == first, "reset twice");
	evn_arena_free(arena);

	arena = evn_arena_create(0);
	ok(arena != NULL && fill(arena, 10, 40), "no first block to speak of");
	evn_arena_free(arena);
	evn_arena_free(NULL);
	return tap_done();
}
