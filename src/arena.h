/*
 * arena.h
 *		Memory for what a batch of messages decodes to: bump allocation, freed
 *		all at once.
 *
 * Pure C over malloc, because the decoder must not raise: every function that
 * allocates returns NULL when memory is out.  Reset keeps the first block, so
 * a steady stream of batches does not allocate at all.
 */
#ifndef EVN_ARENA_H
#define EVN_ARENA_H

#include "c.h"

typedef struct EvnArena EvnArena;

/* NULL when out of memory; freed with evn_arena_free */
extern EvnArena *evn_arena_create(size_t block_size);
extern void evn_arena_free(EvnArena *arena);

/* forget everything allocated since create or the last reset */
extern void evn_arena_reset(EvnArena *arena);

/* size bytes aligned to MAXALIGN, owned by the arena; NULL when out of memory */
extern void *evn_arena_alloc(EvnArena *arena, size_t size);

#endif /* EVN_ARENA_H */
