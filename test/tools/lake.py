#!/usr/bin/env python3
"""Parquet files as others read and write them.

    lake.py read pyarrow|duckdb|spark DIRECTORY     rows as JSON arrays of texts, by the first column
    lake.py rewrite WRITER DIRECTORY FILE           the same rows, written by somebody else

Needs pyarrow and duckdb (test/tools/lake_python), or pyspark for Spark.
"""
import datetime
import decimal
import glob
import json
import math
import shutil
import sys
import tempfile
import uuid

try:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq
except ModuleNotFoundError:
    import pyspark.sql

UTC = datetime.timezone.utc


def text(value):
    """A value as PostgreSQL writes it, in zone UTC; bytes, as which a UUID may come, in hexadecimal."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isinf(value) or math.isnan(value):
            return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[repr(value)]
        return repr(value).removesuffix(".0")
    if isinstance(value, decimal.Decimal):
        # however many zeros there are at its end
        return format(value.normalize(decimal.Context(prec=50)), "f")
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, datetime.datetime):
        zone = "+00" if value.tzinfo is not None else ""
        if zone:
            value = value.astimezone(UTC).replace(tzinfo=None)
        fraction = (".%06d" % value.microsecond).rstrip("0").rstrip(".")
        return value.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0") + fraction + zone
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, list):
        return [text(item) for item in value]
    return str(value)


def spark_session():
    spark = (pyspark.sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
             .config("spark.sql.session.timeZone", "UTC").config("spark.sql.parquet.inferTimestampNTZ.enabled", "true").getOrCreate())
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def rows_of(engine, directory):
    if engine == "spark":
        table = spark_session().read.parquet(directory)
        # Python has no times as far away as Spark, which writes them as we want them, in zone UTC
        texts = {"timestamp": "concat(cast(%s AS string), '+00')", "timestamp_ntz": "cast(%s AS string)"}
        return [list(row) for row in table.selectExpr(
            *(texts.get(field.dataType.typeName(), "%s") % ("`%s`" % field.name) for field in table.schema)).collect()]
    if engine == "pyarrow":
        table = ds.dataset(directory, format="parquet").to_table()
        return [list(row) for row in zip(*(column.to_pylist() for column in table.columns))]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection.execute("SELECT * FROM read_parquet(?, union_by_name = true)", [directory + "/*.parquet"]).fetchall()


def read(engine, directory):
    rows = [[text(value) for value in row] for row in rows_of(engine, directory)]
    for row in sorted(rows, key=lambda row: (row[0] is None, int(row[0] or 0))):
        print(json.dumps(row, ensure_ascii=False, separators=(",", ":")))


def plain(table):
    """Without extension types, which old writers do not know."""
    fields = [pa.field(f.name, f.type.storage_type if isinstance(f.type, pa.BaseExtensionType) else f.type) for f in table.schema]
    return pa.table([column.combine_chunks().storage if isinstance(column.type, pa.BaseExtensionType) else column
                     for column in (c.combine_chunks() for c in table.columns)], schema=pa.schema(fields))


def rewrite_by_spark(directory, file):
    spark = spark_session()
    with tempfile.TemporaryDirectory() as parts:
        spark.read.parquet(directory).coalesce(1).write.mode("overwrite").parquet(parts)
        shutil.copy(glob.glob(parts + "/*.parquet")[0], file)


def rewrite(writer, directory, file):
    if writer == "spark":
        return rewrite_by_spark(directory, file)
    table = ds.dataset(directory, format="parquet").to_table()
    if writer == "duckdb":
        duckdb.connect().execute("COPY (SELECT * FROM read_parquet('%s/*.parquet')) TO '%s' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
                                 % (directory, file))
    elif writer == "pyarrow":
        pq.write_table(table, file, compression="snappy", data_page_version="2.0", row_group_size=100)
    elif writer == "plain":
        pq.write_table(plain(table), file, version="1.0", compression="none", use_dictionary=False, store_schema=False)
    elif writer == "int96":
        pq.write_table(plain(table), file, compression="gzip", use_deprecated_int96_timestamps=True, store_schema=False)
    elif writer == "millis":
        # of timestamps without a zone; row groups that are not sorted
        table = plain(table).set_column(3, "ts", table.column("ts").cast(pa.timestamp("ms")))
        pq.write_table(table.take(pa.array([i * 7 % table.num_rows for i in range(table.num_rows)])), file, row_group_size=50)
    elif writer == "wide":
        # other types of Arrow for the same values
        wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
        table = plain(table)
        fields = [pa.field(f.name, wide.get(f.type, f.type)) for f in table.schema]
        pq.write_table(table.cast(pa.schema(fields)), file, compression="zstd")
    elif writer == "dictionary":
        table = plain(table)
        for i, field in enumerate(table.schema):
            if pa.types.is_string(field.type):
                table = table.set_column(i, field.name, table.column(i).combine_chunks().dictionary_encode())
        pq.write_table(table, file, compression="lz4")
    else:
        raise SystemExit("no such writer: " + writer)


if __name__ == "__main__":
    {"read": read, "rewrite": rewrite}[sys.argv[1]](*sys.argv[2:])
