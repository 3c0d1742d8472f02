/*
 * parquet_arrow.cpp
 *		Parquet files by Apache Arrow.
 *
 * The only C++ of evilnet.  It never calls PostgreSQL, so no longjmp crosses
 * its frames, and no exception leaves it.  Everything runs in the thread that
 * calls: a backend must have no other.
 */
#include "parquet_arrow.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <arrow/buffer.h>
#include <arrow/c/bridge.h>
#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/result.h>
#include <arrow/status.h>
#include <arrow/type.h>
#include <arrow/util/compression.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/arrow/writer.h>
#include <parquet/exception.h>
#include <parquet/properties.h>
#include <parquet/statistics.h>

using arrow::Result;
using arrow::Status;

namespace {

constexpr int64_t batch_rows = 8192;

/* ---- memory */

/*
 * Counts all that Arrow allocates, and refuses beyond the limit: a backend
 * must not be killed for a file that claims to be large.
 */
class LimitedPool : public arrow::MemoryPool {
  public:
	int64_t limit = INT64_MAX;

	Status Allocate(int64_t size, int64_t alignment, uint8_t **out) override
	{
		void *memory;

		if (size < 0 || size > limit - allocated)
			return Status::OutOfMemory("the limit of ", limit, " bytes is reached");
		if (posix_memalign(&memory, static_cast<size_t>(alignment),
						   size > 0 ? static_cast<size_t>(size) : 1) != 0)
			return Status::OutOfMemory("the system has no ", size, " bytes");
		*out = static_cast<uint8_t *>(memory);
		allocated += size;
		total += size;
		most = std::max(most, allocated);
		count++;
		return Status::OK();
	}

	Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t **ptr) override
	{
		uint8_t *moved;

		ARROW_RETURN_NOT_OK(Allocate(new_size, alignment, &moved));
		memcpy(moved, *ptr, static_cast<size_t>(std::min(old_size, new_size)));
		Free(*ptr, old_size, alignment);
		*ptr = moved;
		return Status::OK();
	}

	void Free(uint8_t *buffer, int64_t size, int64_t) override
	{
		free(buffer);
		allocated -= size;
	}

	int64_t bytes_allocated() const override
	{
		return allocated;
	}

	int64_t max_memory() const override
	{
		return most;
	}

	int64_t total_bytes_allocated() const override
	{
		return total;
	}

	int64_t num_allocations() const override
	{
		return count;
	}

	std::string backend_name() const override
	{
		return "evilnet";
	}

  private:
	int64_t allocated = 0;
	int64_t total = 0;
	int64_t most = 0;
	int64_t count = 0;
};

LimitedPool *
pool()
{
	static LimitedPool the_pool;

	return &the_pool;
}

/* ---- files, by the caller's descriptor */

/* kept apart from the message, which has no place for a number */
thread_local int io_error;

Status
failed_io(const char *what)
{
	io_error = errno;
	return Status::IOError(what);
}

class Sink : public arrow::io::OutputStream {
  public:
	explicit Sink(int fd_) : fd(fd_)
	{
	}

	/* whoever gives up a file wants no more of it written */
	bool abandoned = false;

	Status Write(const void *data, int64_t nbytes) override
	{
		const char *next = static_cast<const char *>(data);

		written += nbytes;
		while (nbytes > 0 && !abandoned)
		{
			ssize_t done = write(fd, next, static_cast<size_t>(nbytes));

			if (done < 0 && errno == EINTR)
				continue;
			if (done == 0)
				errno = ENOSPC;
			if (done <= 0)
				return failed_io("could not write");
			next += done;
			nbytes -= done;
		}
		return Status::OK();
	}

	Result<int64_t> Tell() const override
	{
		return written;
	}

	Status Close() override
	{
		return Status::OK();
	}

	bool closed() const override
	{
		return false;
	}

  private:
	int		fd;
	int64_t written = 0;
};

class Source : public arrow::io::RandomAccessFile {
  public:
	explicit Source(int fd_) : fd(fd_)
	{
	}

	Result<int64_t> GetSize() override
	{
		struct stat status;

		if (fstat(fd, &status) != 0)
			return failed_io("could not stat");
		return static_cast<int64_t>(status.st_size);
	}

	Result<int64_t> ReadAt(int64_t position, int64_t nbytes, void *out) override
	{
		char   *next = static_cast<char *>(out);
		int64_t have = 0;

		while (have < nbytes)
		{
			ssize_t done = pread(fd, next + have, static_cast<size_t>(nbytes - have),
								 static_cast<off_t>(position + have));

			if (done < 0 && errno == EINTR)
				continue;
			if (done < 0)
				return failed_io("could not read");
			if (done == 0)
				break;
			have += done;
		}
		return have;
	}

	Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes) override
	{
		ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(nbytes, pool()));
		ARROW_ASSIGN_OR_RAISE(int64_t have, ReadAt(position, nbytes, buffer->mutable_data()));
		ARROW_RETURN_NOT_OK(buffer->Resize(have));
		return std::shared_ptr<arrow::Buffer>(std::move(buffer));
	}

	Result<int64_t> Read(int64_t nbytes, void *out) override
	{
		ARROW_ASSIGN_OR_RAISE(int64_t have, ReadAt(place, nbytes, out));
		place += have;
		return have;
	}

	Result<std::shared_ptr<arrow::Buffer>> Read(int64_t nbytes) override
	{
		ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(place, nbytes));
		place += buffer->size();
		return buffer;
	}

	Result<int64_t> Tell() const override
	{
		return place;
	}

	Status Seek(int64_t position) override
	{
		place = position;
		return Status::OK();
	}

	Status Close() override
	{
		return Status::OK();
	}

	bool closed() const override
	{
		return false;
	}

  private:
	int		fd;
	int64_t place = 0;
};

/* ---- errors */

void
tell(EvnParquetError *error, EvnParquetFailure failure, const char *message)
{
	error->failure = failure;
	error->os_error = 0;
	snprintf(error->message, sizeof(error->message), "%.*s",
			 static_cast<int>(strcspn(message, "\n")), message);
}

void
tell(EvnParquetError *error, const Status &status, EvnParquetFailure otherwise)
{
	if (status.IsOutOfMemory() || status.IsCapacityError())
		otherwise = EVN_PARQUET_NO_MEMORY;
	else if (status.IsIOError() && io_error != 0)
		otherwise = EVN_PARQUET_IO;
	tell(error, otherwise, status.message().c_str());
	error->os_error = io_error;
}

/* Run it, and let nothing out but the error. */
template <typename Work>
bool
guarded(EvnParquetError *error, EvnParquetFailure otherwise, Work work) noexcept
{
	io_error = 0;
	try
	{
		Status status = work();

		if (status.ok())
			return true;
		tell(error, status, otherwise);
	} catch (const parquet::ParquetStatusException &exception)
	{
		tell(error, exception.status(), otherwise);
	} catch (const std::bad_alloc &)
	{
		tell(error, EVN_PARQUET_NO_MEMORY, "the system has none");
	} catch (const std::exception &exception)
	{
		tell(error, otherwise, exception.what());
	} catch (...)
	{
		tell(error, otherwise, "unknown exception");
	}
	return false;
}

/* ---- writing */

arrow::Compression::type
codec(const char *name)
{
	const std::string wanted(name);

	if (wanted == "zstd")
		return arrow::Compression::ZSTD;
	if (wanted == "snappy")
		return arrow::Compression::SNAPPY;
	if (wanted == "gzip")
		return arrow::Compression::GZIP;
	if (wanted == "lz4")
		return arrow::Compression::LZ4;
	return arrow::Compression::UNCOMPRESSED;
}

std::shared_ptr<parquet::WriterProperties>
writer_properties(const EvnParquetFormat *format)
{
	parquet::WriterProperties::Builder builder;

	/* our own memory, and a checksum for each page: a disk that lies is noticed */
	builder.memory_pool(pool())
		->compression(codec(format->compression))
		->enable_page_checksum()
		/* C decides when a row group ends */
		->max_row_group_length(INT64_MAX);
	if (format->has_level)
		builder.compression_level(format->level);
	return builder.build();
}

} /* namespace */

struct EvnParquetWriter
{
	std::shared_ptr<Sink>						sink;
	std::shared_ptr<arrow::Schema>				schema;
	std::unique_ptr<parquet::arrow::FileWriter> file;
};

struct EvnParquetReader
{
	std::unique_ptr<parquet::arrow::FileReader> file;
	std::unique_ptr<arrow::RecordBatchReader>	rows;
	std::string									low; /* of the bounds asked for last */
	std::string									high;
};

namespace {

EvnParquetWriter *
write_open(int fd, struct ArrowSchema *schema, const EvnParquetFormat *format,
		   EvnParquetError *error) noexcept
{
	std::unique_ptr<EvnParquetWriter> writer;
	const bool						  ok = guarded(error, EVN_PARQUET_INTERNAL, [&]() -> Status {
		   writer = std::make_unique<EvnParquetWriter>();
		   writer->sink = std::make_shared<Sink>(fd);
		   ARROW_ASSIGN_OR_RAISE(writer->schema, arrow::ImportSchema(schema));
		   ARROW_ASSIGN_OR_RAISE(
			   writer->file, parquet::arrow::FileWriter::Open(*writer->schema, pool(), writer->sink,
																				  writer_properties(format)));
		   return Status::OK();
	   });

	return ok ? writer.release() : nullptr;
}

bool
write_rows(EvnParquetWriter *writer, struct ArrowArray *rows, bool new_group,
		   EvnParquetError *error) noexcept
{
	return guarded(error, EVN_PARQUET_INTERNAL, [&]() -> Status {
		ARROW_ASSIGN_OR_RAISE(auto batch, arrow::ImportRecordBatch(rows, writer->schema));
		if (new_group)
			ARROW_RETURN_NOT_OK(writer->file->NewBufferedRowGroup());
		return writer->file->WriteRecordBatch(*batch);
	});
}

bool
write_finish(EvnParquetWriter *writer, EvnParquetError *error) noexcept
{
	return guarded(error, EVN_PARQUET_INTERNAL, [&] { return writer->file->Close(); });
}

/* Arrow finishes a file when it is forgotten; the sink lets that pass unwritten. */
void
write_free(EvnParquetWriter *writer) noexcept
{
	EvnParquetError ignored;

	writer->sink->abandoned = true;
	guarded(&ignored, EVN_PARQUET_INTERNAL, [&] {
		delete writer;
		return Status::OK();
	});
}

/* ---- reading */

/* The library gives them the type of those that say that they are none. */
Status
mark_int96(const EvnParquetReader &reader, std::shared_ptr<arrow::Schema> *schema)
{
	const auto &columns = *reader.file->parquet_reader()->metadata()->schema();
	const auto &fields = reader.file->manifest().schema_fields;

	for (int i = 0; i < (*schema)->num_fields(); i++)
	{
		const auto &field = fields.at(static_cast<size_t>(i));

		if (!field.is_leaf() ||
			columns.Column(field.column_index)->physical_type() != parquet::Type::INT96)
			continue;
		ARROW_ASSIGN_OR_RAISE(
			*schema, (*schema)->SetField(i, (*schema)->field(i)->WithType(arrow::timestamp(
												arrow::TimeUnit::MICRO, EVN_PARQUET_INT96))));
	}
	return Status::OK();
}

EvnParquetReader *
read_open(int fd, struct ArrowSchema *schema, EvnParquetError *error) noexcept
{
	std::unique_ptr<EvnParquetReader> reader;
	const bool						  ok = guarded(error, EVN_PARQUET_BAD_FILE, [&]() -> Status {
		   parquet::ReaderProperties		 file_properties(pool());
		   parquet::ArrowReaderProperties	 arrow_properties(false);
		   parquet::arrow::FileReaderBuilder builder;
		   std::shared_ptr<arrow::Schema>	 found;

		   file_properties.set_page_checksum_verification(true);
		   arrow_properties.set_pre_buffer(false);
		   /* so that what is a UUID says so */
		   arrow_properties.set_arrow_extensions_enabled(true);
		   /* they reach further than nanoseconds of 64 bits */
		   arrow_properties.set_coerce_int96_timestamp_unit(arrow::TimeUnit::MICRO);
		   arrow_properties.set_batch_size(batch_rows);
		   reader = std::make_unique<EvnParquetReader>();
		   ARROW_RETURN_NOT_OK(builder.Open(std::make_shared<Source>(fd), file_properties));
		   ARROW_RETURN_NOT_OK(
			   builder.memory_pool(pool())->properties(arrow_properties)->Build(&reader->file));
		   ARROW_RETURN_NOT_OK(reader->file->GetSchema(&found));
		   ARROW_RETURN_NOT_OK(mark_int96(*reader, &found));
		   return arrow::ExportSchema(*found, schema);
	   });

	return ok ? reader.release() : nullptr;
}

int
read_group_count(const EvnParquetReader *reader) noexcept
{
	return reader->file->num_row_groups();
}

const parquet::arrow::SchemaField &
field_at(const EvnParquetReader &reader, int column)
{
	return reader.file->manifest().schema_fields.at(static_cast<size_t>(column));
}

void
add_leaves(const parquet::arrow::SchemaField &field, std::vector<int> *leaves)
{
	if (field.is_leaf())
		leaves->push_back(field.column_index);
	for (const auto &child : field.children)
		add_leaves(child, leaves);
}

bool
read_columns(EvnParquetReader *reader, const int *groups, int ngroups, const int *columns,
			 int ncolumns, EvnParquetError *error) noexcept
{
	return guarded(error, EVN_PARQUET_BAD_FILE, [&]() -> Status {
		std::vector<int> leaves;

		for (int i = 0; i < ncolumns; i++)
			add_leaves(field_at(*reader, columns[i]), &leaves);
		ARROW_ASSIGN_OR_RAISE(
			reader->rows,
			reader->file->GetRecordBatchReader(std::vector<int>(groups, groups + ngroups), leaves));
		return Status::OK();
	});
}

int64_t
read_group_rows(const EvnParquetReader *reader, int group) noexcept
{
	EvnParquetError ignored;
	int64_t			rows = 0;

	guarded(&ignored, EVN_PARQUET_BAD_FILE, [&] {
		rows = reader->file->parquet_reader()->metadata()->RowGroup(group)->num_rows();
		return Status::OK();
	});
	return rows;
}

int64_t
read_group_bytes(const EvnParquetReader *reader, int group, int column) noexcept
{
	EvnParquetError ignored;
	int64_t			bytes = 0;

	guarded(&ignored, EVN_PARQUET_BAD_FILE, [&] {
		std::vector<int> leaves;
		auto			 row_group = reader->file->parquet_reader()->metadata()->RowGroup(group);

		add_leaves(field_at(*reader, column), &leaves);
		for (int leaf : leaves)
			bytes += row_group->ColumnChunk(leaf)->total_compressed_size();
		return Status::OK();
	});
	return bytes;
}

template <typename Statistics>
void
set_numbers(const parquet::Statistics &statistics, EvnParquetBounds *bounds)
{
	const auto &typed = static_cast<const Statistics &>(statistics);

	bounds->kind = EVN_BOUNDS_NUMBER;
	bounds->low = typed.min();
	bounds->high = typed.max();
}

/* Statistics of an order that is not ours, such as unsigned, are not told of. */
bool
set_bounds(EvnParquetReader *reader, const parquet::Statistics &statistics,
		   EvnParquetBounds *bounds)
{
	if (!statistics.HasMinMax())
		return false;
	const auto order = statistics.descr()->sort_order();

	if (statistics.physical_type() == parquet::Type::INT32 && order == parquet::SortOrder::SIGNED)
		set_numbers<parquet::Int32Statistics>(statistics, bounds);
	else if (statistics.physical_type() == parquet::Type::INT64 &&
			 order == parquet::SortOrder::SIGNED)
		set_numbers<parquet::Int64Statistics>(statistics, bounds);
	else if (statistics.physical_type() == parquet::Type::BYTE_ARRAY &&
			 order == parquet::SortOrder::UNSIGNED)
	{
		bounds->kind = EVN_BOUNDS_BYTES;
		reader->low = statistics.EncodeMin();
		reader->high = statistics.EncodeMax();
		bounds->low_bytes = reader->low.data();
		bounds->low_len = reader->low.size();
		bounds->high_bytes = reader->high.data();
		bounds->high_len = reader->high.size();
	}
	else
		return false;
	return true;
}

bool
read_bounds(EvnParquetReader *reader, int group, int column, EvnParquetBounds *bounds) noexcept
{
	EvnParquetError ignored;
	bool			known = false;

	guarded(&ignored, EVN_PARQUET_BAD_FILE, [&] {
		const auto &field = field_at(*reader, column);

		if (!field.is_leaf())
			return Status::OK();
		auto chunk = reader->file->parquet_reader()->metadata()->RowGroup(group)->ColumnChunk(
			field.column_index);

		if (!chunk->is_stats_set())
			return Status::OK();
		const auto statistics = chunk->statistics();

		known = set_bounds(reader, *statistics, bounds);
		if (!known && statistics->HasNullCount() && statistics->null_count() == chunk->num_values())
		{
			bounds->kind = EVN_BOUNDS_NULLS;
			known = true;
		}
		return Status::OK();
	});
	return known;
}

bool
read_rows(EvnParquetReader *reader, struct ArrowArray *rows, EvnParquetError *error) noexcept
{
	return guarded(error, EVN_PARQUET_BAD_FILE, [&]() -> Status {
		std::shared_ptr<arrow::RecordBatch> batch;

		rows->release = nullptr;
		ARROW_RETURN_NOT_OK(reader->rows->ReadNext(&batch));
		if (batch == nullptr)
			return Status::OK();
		ARROW_RETURN_NOT_OK(batch->Validate());
		return arrow::ExportRecordBatch(*batch, rows);
	});
}

void
read_free(EvnParquetReader *reader) noexcept
{
	EvnParquetError ignored;

	guarded(&ignored, EVN_PARQUET_INTERNAL, [&] {
		delete reader;
		return Status::OK();
	});
}

void
limit_memory(int64_t bytes) noexcept
{
	pool()->limit = bytes;
}

constexpr EvnParquetArrow table = {
	EVN_PARQUET_ARROW_VERSION,
	limit_memory,
	write_open,
	write_rows,
	write_finish,
	write_free,
	read_open,
	read_group_count,
	read_group_rows,
	read_group_bytes,
	read_bounds,
	read_columns,
	read_rows,
	read_free,
};

} /* namespace */

extern "C" const EvnParquetArrow *
evn_parquet_arrow(void)
{
	return &table;
}
