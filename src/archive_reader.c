/*
 * archive_reader.c
 *		The bytes of a file, through libarchive.
 */
#include "c.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <sys/stat.h>

#include "archive_reader.h"

#define BLOCK (256 * 1024)

struct EvnArchive
{
	struct archive *handle;
	bool			empty; /* there is nothing to read, not even for the library */
};

static void
describe(EvnArchive *archive, char error[EVN_ARCHIVE_ERROR_LEN])
{
	const char *text = archive_error_string(archive->handle);

	snprintf(error, EVN_ARCHIVE_ERROR_LEN, "%s", text == NULL ? "unknown error" : text);
}

/* Only what the library does by itself: for other kinds it would start a program. */
static bool
support_filters(struct archive *handle)
{
	return archive_read_support_filter_gzip(handle) == ARCHIVE_OK &&
		   archive_read_support_filter_bzip2(handle) == ARCHIVE_OK &&
		   archive_read_support_filter_xz(handle) == ARCHIVE_OK &&
		   archive_read_support_filter_zstd(handle) == ARCHIVE_OK &&
		   archive_read_support_format_raw(handle) == ARCHIVE_OK &&
		   archive_read_support_format_empty(handle) == ARCHIVE_OK;
}

static bool
open_file(EvnArchive *archive, const char *path, char error[EVN_ARCHIVE_ERROR_LEN])
{
	struct archive_entry *entry;
	struct stat			  st;
	int					  result;

	if (stat(path, &st) != 0)
	{
		snprintf(error, EVN_ARCHIVE_ERROR_LEN, "%s", strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode))
	{
		snprintf(error, EVN_ARCHIVE_ERROR_LEN, "not a regular file");
		return false;
	}
	if (!support_filters(archive->handle) ||
		archive_read_open_filename(archive->handle, path, BLOCK) != ARCHIVE_OK)
	{
		describe(archive, error);
		return false;
	}
	result = archive_read_next_header(archive->handle, &entry);
	archive->empty = result == ARCHIVE_EOF;
	if (result != ARCHIVE_OK && result != ARCHIVE_EOF)
		describe(archive, error);
	return result == ARCHIVE_OK || result == ARCHIVE_EOF;
}

EvnArchive *
evn_archive_open(const char *path, char error[EVN_ARCHIVE_ERROR_LEN])
{
	EvnArchive *archive = calloc(1, sizeof(EvnArchive));

	if (archive != NULL)
		archive->handle = archive_read_new();
	if (archive == NULL || archive->handle == NULL)
		snprintf(error, EVN_ARCHIVE_ERROR_LEN, "out of memory");
	else if (open_file(archive, path, error))
		return archive;
	if (archive != NULL)
		evn_archive_close(archive);
	return NULL;
}

void
evn_archive_close(EvnArchive *archive)
{
	if (archive->handle != NULL)
		archive_read_free(archive->handle);
	free(archive);
}

bool
evn_archive_read(EvnArchive *archive, const char **data, size_t *len,
				 char error[EVN_ARCHIVE_ERROR_LEN])
{
	const void *block = NULL;
	la_int64_t	offset;
	int			result = ARCHIVE_EOF;

	if (!archive->empty)
		result = archive_read_data_block(archive->handle, &block, len, &offset);
	*data = block;
	if (result == ARCHIVE_EOF)
		*len = 0;
	else if (result != ARCHIVE_OK)
		describe(archive, error);
	return result == ARCHIVE_EOF || result == ARCHIVE_OK;
}
