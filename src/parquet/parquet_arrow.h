/*
 * parquet_arrow.h
 *		Parquet files by Apache Arrow, as a table of C functions.  The only
 *		file behind it is C++; it knows nothing of PostgreSQL, and what uses
 *		it knows nothing of Arrow but the C Data Interface below.
 *
 * No function raises or throws: those that can fail return false and fill the
 * error.  None of them keeps what it was given beyond its return, except the
 * file descriptor, which stays the caller's and has to be open as long as the
 * reader, or until the writer was finished.  Needs no transaction.
 */
#ifndef EVN_PARQUET_ARROW_H
#define EVN_PARQUET_ARROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* https://arrow.apache.org/docs/format/CDataInterface.html, with the guard it asks for */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_NULLABLE 2

struct ArrowSchema
{
	const char			*format;
	const char			*name;
	const char			*metadata;
	int64_t				 flags;
	int64_t				 n_children;
	struct ArrowSchema **children;
	struct ArrowSchema	*dictionary;
	void (*release)(struct ArrowSchema *);
	void *private_data;
};

struct ArrowArray
{
	int64_t				length;
	int64_t				null_count;
	int64_t				offset;
	int64_t				n_buffers;
	int64_t				n_children;
	const void		  **buffers;
	struct ArrowArray **children;
	struct ArrowArray  *dictionary;
	void (*release)(struct ArrowArray *);
	void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

/* of the table and the structs in this file */
#define EVN_PARQUET_ARROW_VERSION 2

#define EVN_PARQUET_INT96 "int96"

typedef enum EvnParquetFailure
{
	EVN_PARQUET_BAD_FILE,
	EVN_PARQUET_NO_MEMORY, /* the limit is reached, or the system has none */
	EVN_PARQUET_IO,		   /* os_error says what */
	EVN_PARQUET_INTERNAL,
} EvnParquetFailure;

typedef struct EvnParquetError
{
	EvnParquetFailure failure;
	int				  os_error; /* an errno, of EVN_PARQUET_IO */
	char			  message[400];
} EvnParquetError;

typedef struct EvnParquetFormat
{
	const char *compression; /* zstd, snappy, gzip, lz4 or none */
	int			level;
	bool		has_level; /* else the codec's own */
} EvnParquetFormat;

typedef enum EvnParquetBoundsKind
{
	EVN_BOUNDS_NULLS,  /* there are no values */
	EVN_BOUNDS_NUMBER, /* of 32 or 64 bits, signed, in the unit of the file */
	EVN_BOUNDS_BYTES,  /* of strings, by unsigned bytes */
} EvnParquetBoundsKind;

/* No value of a column in a row group is below or above these. */
typedef struct EvnParquetBounds
{
	EvnParquetBoundsKind kind;
	int64_t				 low;
	int64_t				 high;
	const char			*low_bytes; /* valid until the next call */
	const char			*high_bytes;
	size_t				 low_len;
	size_t				 high_len;
} EvnParquetBounds;

typedef struct EvnParquetWriter EvnParquetWriter;
typedef struct EvnParquetReader EvnParquetReader;

typedef struct EvnParquetArrow
{
	int version; /* EVN_PARQUET_ARROW_VERSION of the other side */

	/* bytes that all readers and writers of the process may hold together */
	void (*limit_memory)(int64_t bytes);

	/* Begin a file; the schema is a struct, and is released. */
	EvnParquetWriter *(*write_open)(int fd, struct ArrowSchema *schema,
									const EvnParquetFormat *format, EvnParquetError *error);
	/* Add rows, a struct array that is released, to the row group or to a new one. */
	bool (*write_rows)(EvnParquetWriter *writer, struct ArrowArray *rows, bool new_group,
					   EvnParquetError *error);
	/* The rest of the file; only write_free may follow. */
	bool (*write_finish)(EvnParquetWriter *writer, EvnParquetError *error);
	/* also of a file that is given up; touches no file */
	void (*write_free)(EvnParquetWriter *writer);

	/*
	 * Read the footer; the schema is the caller's to release.  Timestamps of the
	 * old kind, which do not say whether they are instants, are of zone EVN_PARQUET_INT96.
	 */
	EvnParquetReader *(*read_open)(int fd, struct ArrowSchema *schema, EvnParquetError *error);
	int (*read_group_count)(const EvnParquetReader *reader);
	int64_t (*read_group_rows)(const EvnParquetReader *reader, int group);
	/* Compressed bytes of a column in a row group. */
	int64_t (*read_group_bytes)(const EvnParquetReader *reader, int group, int column);
	/* False when the file does not tell. */
	bool (*read_bounds)(EvnParquetReader *reader, int group, int column, EvnParquetBounds *bounds);
	/* Choose row groups, and columns, at least one, as places in the schema, ascending. */
	bool (*read_columns)(EvnParquetReader *reader, const int *groups, int ngroups,
						 const int *columns, int ncolumns, EvnParquetError *error);
	/* The next rows, a struct array of the chosen columns; its release is null after the last. */
	bool (*read_rows)(EvnParquetReader *reader, struct ArrowArray *rows, EvnParquetError *error);
	void (*read_free)(EvnParquetReader *reader);
} EvnParquetArrow;

/* The table; lives for ever. */
extern const EvnParquetArrow *evn_parquet_arrow(void);

#ifdef __cplusplus
}
#endif

#endif /* EVN_PARQUET_ARROW_H */
