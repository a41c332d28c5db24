"""Loads newline-delimited JSON into a new ClickHouse MergeTree (chdb) and prints what it cost, as JSON.

Usage: chdb_ingest.py EVENTS.ndjson DIRECTORY. The directory is removed before and after.
"""

import json
import os
import resource
import shutil
import sys
import time

from chdb import session

COLUMNS = """
    order_id UUID, event_time DateTime64(3, 'UTC'), city {text}, vehicle {text}, status {text},
    distance_km Float64, fare Decimal(12, 2), currency {text}, rider_id Int64, driver_id Int64
"""


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


source, directory = os.path.abspath(sys.argv[1]), sys.argv[2]
shutil.rmtree(directory, ignore_errors=True)
clickhouse = session.Session(directory)
table = COLUMNS.format(text="LowCardinality(String)")
clickhouse.query("CREATE DATABASE bench")
clickhouse.query(f"CREATE TABLE bench.events ({table}) ENGINE = MergeTree ORDER BY (city, event_time)")

structure = " ".join(COLUMNS.format(text="String").split()).replace("'", "\\'")
cpu_before, began = cpu_seconds(), time.monotonic()
clickhouse.query(
    f"INSERT INTO bench.events SELECT * FROM file('{source}', 'JSONEachRow', '{structure}') "
    "SETTINGS date_time_input_format = 'best_effort'"
)
seconds, cpu = time.monotonic() - began, cpu_seconds() - cpu_before
rows = int(str(clickhouse.query("SELECT count() FROM bench.events", "CSV")))
clickhouse.close()
shutil.rmtree(directory, ignore_errors=True)
peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": cpu, "peak_memory_bytes": peak_memory_bytes}))
