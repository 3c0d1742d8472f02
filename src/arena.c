/*
 * arena.c
 *		Bump allocation in blocks, freed all at once.
 */
#include "c.h"

#include "arena.h"

typedef struct Block
{
	struct Block *next; /* the block before this one */
	size_t		  size; /* usable bytes */
} Block;

/* where a block's usable bytes begin */
#define BLOCK_HEADER MAXALIGN(sizeof(Block))

struct EvnArena
{
	Block *first;	/* kept by reset */
	Block *current; /* the newest: the only one still filled */
	size_t used;	/* of the current block */
	size_t block_size;
};

static Block *
block_create(size_t size)
{
	Block *block = malloc(BLOCK_HEADER + size);

	if (block != NULL)
	{
		block->next = NULL;
		block->size = size;
	}
	return block;
}

EvnArena *
evn_arena_create(size_t block_size)
{
	EvnArena *arena = malloc(sizeof(EvnArena));

	if (arena == NULL)
		return NULL;
	arena->block_size = block_size;
	arena->used = 0;
	arena->first = arena->current = block_create(block_size);
	if (arena->first == NULL)
	{
		free(arena);
		return NULL;
	}
	return arena;
}

void
evn_arena_reset(EvnArena *arena)
{
	while (arena->current != arena->first)
	{
		Block *block = arena->current;

		arena->current = block->next;
		free(block);
	}
	arena->used = 0;
}

void
evn_arena_free(EvnArena *arena)
{
	if (arena == NULL)
		return;
	evn_arena_reset(arena);
	free(arena->first);
	free(arena);
}

/* Start a new block that holds at least size bytes. */
static bool
add_block(EvnArena *arena, size_t size)
{
	Block *block = block_create(Max(size, arena->block_size));

	if (block == NULL)
		return false;
	block->next = arena->current;
	arena->current = block;
	arena->used = 0;
	return true;
}

void *
evn_arena_alloc(EvnArena *arena, size_t size)
{
	char *start;

	/* rounding up below must not wrap around */
	if (size > SIZE_MAX / 2)
		return NULL;
	size = MAXALIGN(size);
	if (size > arena->current->size - arena->used && !add_block(arena, size))
		return NULL;
	start = (char *) arena->current + BLOCK_HEADER + arena->used;
	arena->used += size;
	return start;
}
