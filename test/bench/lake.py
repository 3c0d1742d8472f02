"""The files of `lake` written again, and read, by pyarrow and DuckDB: lines of case, rows, milliseconds."""
import glob
import sys
import tempfile
import time

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

lake = sys.argv[1]
pa.set_cpu_count(1)


def measure(case, rows, work):
    start = time.monotonic()
    work()
    print("%s\t%d\t%.3f" % (case, rows, (time.monotonic() - start) * 1000), flush=True)


with tempfile.TemporaryDirectory(dir=lake) as directory:
    for name, case in ("narrow", "write narrow rows"), ("raw", "write with raw JSON"):
        table = pq.read_table(lake + "/" + name, use_threads=False)
        measure("pyarrow: " + case, table.num_rows,
                lambda: pq.write_table(table, directory + "/a.parquet", compression="zstd", compression_level=3,
                                       row_group_size=100000, write_page_checksum=True))
        duck = duckdb.connect(config={"threads": 1})
        duck.execute("CREATE TABLE t AS SELECT * FROM read_parquet('%s/%s/*.parquet')" % (lake, name))
        measure("DuckDB: " + case, table.num_rows,
                lambda: duck.execute("COPY t TO '%s/d.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, ROW_GROUP_SIZE 100000)" % directory))
    rows = pq.read_table(lake + "/narrow", columns=["id"]).num_rows
    measure("pyarrow: read 9 of 9 columns", rows, lambda: pq.read_table(lake + "/narrow", use_threads=False))
    measure("pyarrow: read 2 of 9 columns", rows, lambda: pq.read_table(lake + "/narrow", columns=["city_id", "created_at"], use_threads=False))
    duck = duckdb.connect(config={"threads": 1})
    files = "read_parquet('%s/narrow/*.parquet')" % lake
    measure("DuckDB: read 9 of 9 columns", rows, lambda: duck.execute("SELECT %s FROM %s" % (
        ", ".join("sum(hash(%s))" % name for name in pq.read_schema(glob.glob(lake + "/narrow/*.parquet")[0]).names), files)).fetchall())
    measure("DuckDB: read 2 of 9 columns", rows, lambda: duck.execute("SELECT sum(hash(city_id)), sum(hash(created_at)) FROM " + files).fetchall())
