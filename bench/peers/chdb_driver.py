"""ClickHouse, embedded (chdb): a MergeTree sorted by the table's key, merged into as few parts as it makes of it."""

import json
import os
import time

import chdb
from chdb import session

import protocol

FORMAT = "JSONCompactEachRow"


class Driver:
    version = chdb.engine_version if isinstance(chdb.engine_version, str) else chdb.chdb_version

    def __init__(self, setup):
        self.table, self.files, self.threads = setup["table"], setup["files"], setup["threads"]
        self.path = os.path.join(setup["directory"], "data")
        self.session = None

    def open(self):
        if self.session is None:
            self.session = session.Session(self.path)
            self.session.query("CREATE DATABASE IF NOT EXISTS bench")
            self.session.query("USE bench")
            self.session.query(f"SET max_threads = {self.threads}, max_insert_threads = {self.threads}")

    def load(self):
        self.open()
        name, columns = self.table["name"], self.table["columns"]
        declared = ", ".join(f"{column['name']} {column['clickhouse']}" for column in columns)
        key = ", ".join(self.table["sort_key"])
        self.session.query(f"CREATE TABLE {name} ({declared}) ENGINE = MergeTree ORDER BY ({key})")
        names = ", ".join(column["name"] for column in columns)
        for file in self.files:
            self.session.query(f"INSERT INTO {name} SELECT {names} FROM file('{file}', Parquet)")
        self.session.query(f"OPTIMIZE TABLE {name} FINAL")
        rows = self.number(f"SELECT count() FROM {name}")
        size = self.number(f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = '{name}'")
        return rows, size

    def number(self, sql):
        return int(str(self.session.query(sql, "CSV")))

    def query(self, sql):
        began = time.perf_counter()
        answer = self.session.query(sql, FORMAT)
        seconds = time.perf_counter() - began
        return seconds, [json.loads(line) for line in str(answer).splitlines()]

    def client(self):
        return lambda sql: self.session.query(sql, FORMAT)

    def close(self):
        if self.session is not None:
            self.session.close()


protocol.serve(Driver)
