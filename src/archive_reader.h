/*
 * archive_reader.h
 *		The bytes of a file, which may be compressed with gzip, bzip2, xz or zstd.
 *
 * Nothing here raises.
 */
#ifndef EVN_ARCHIVE_READER_H
#define EVN_ARCHIVE_READER_H

#include "c.h"

#define EVN_ARCHIVE_ERROR_LEN 256

typedef struct EvnArchive EvnArchive;

/* NULL with *error filled when it is no regular file or cannot be read; closed with evn_archive_close */
extern EvnArchive *evn_archive_open(const char *path, char error[EVN_ARCHIVE_ERROR_LEN]);
extern void evn_archive_close(EvnArchive *archive);

/* The next bytes, valid until the next call; none at the end.  False with *error filled. */
extern bool evn_archive_read(EvnArchive *archive, const char **data, size_t *len,
							 char error[EVN_ARCHIVE_ERROR_LEN]);

#endif /* EVN_ARCHIVE_READER_H */
