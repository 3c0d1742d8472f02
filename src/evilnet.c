/*
 * evilnet.c
 *		Module entry: settings, shared memory, the launcher.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "guc.h"
#include "launcher.h"
#include "shmem.h"
#include "utility_hook.h"

PG_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	evn_guc_init();

	/* without preloading, functions that need no worker still work */
	if (!process_shared_preload_libraries_in_progress)
		return;
	evn_shmem_init();
	evn_utility_hook_init();
	evn_launcher_register();
}
