/*
 * evilnet.c
 *		Module entry: settings, shared memory, the launcher.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "database_hook.h"
#include "guc.h"
#include "launcher.h"
#include "shmem.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	evn_guc_init();

	/* without preloading, functions that need no worker still work */
	if (!process_shared_preload_libraries_in_progress)
		return;
	evn_shmem_init();
	evn_database_hook_init();
	evn_launcher_register();
}
