/*
 * database_hook.h
 *		Keeps workers out of a database while it is dropped, renamed or copied.
 */
#ifndef EVN_DATABASE_HOOK_H
#define EVN_DATABASE_HOOK_H

/* called from _PG_init while shared_preload_libraries are loaded */
extern void evn_database_hook_init(void);

#endif							/* EVN_DATABASE_HOOK_H */
