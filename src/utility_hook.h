/*
 * utility_hook.h
 *		Commands of others that concern workers: databases that must be empty,
 *		servers and extensions that change under a stream.
 */
#ifndef EVN_UTILITY_HOOK_H
#define EVN_UTILITY_HOOK_H

/* called from _PG_init while shared_preload_libraries are loaded */
extern void evn_utility_hook_init(void);

#endif /* EVN_UTILITY_HOOK_H */
