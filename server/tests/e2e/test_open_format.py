"""The sealed part of a table, read by readers that are not ours, equals Headwater's answer at the same log version.

Unfiltered on purpose: `deltalake` 1.x drops files whose statistics have no bounds for a filtered column.
"""

import base64
import datetime
import decimal
import math
import random

import duckdb
import pyarrow as pa
import pytest
import requests
from deltalake import DeltaTable

from harness import Headwater, eventually, spec_of, unique

COLUMNS = {
    "id": {"type": "LONG", "nullable": False},
    "flag": "BOOLEAN",
    "small": "INT",
    "ratio": "FLOAT",
    "score": "DOUBLE",
    "price": "DECIMAL(38,10)",
    "ms": "TIMESTAMP(3)",
    "us": "TIMESTAMP(6)",
    "day": "DATE",
    "text": "STRING",
    "raw": "BYTES",
    "doc": "JSON",
    "uid": "UUID",
    "tags": "ARRAY<STRING>",
    "nums": "ARRAY<DOUBLE>",
    "flags": "ARRAY<BOOLEAN>",
    "days": "ARRAY<DATE>",
    "prices": "ARRAY<DECIMAL(10,2)>",
}
STREAM_COLUMNS = ["$partition", "$offset", "$timestamp", "$key", "$headers"]


def message(draw, number):
    """A row with nulls, missing fields, extremes and text of every kind."""
    values = {
        "flag": draw.choice([True, False]),
        "small": draw.choice([0, -(2**31), 2**31 - 1, draw.randrange(1000)]),
        "ratio": draw.choice([0.5, -0.0, "NaN", "Infinity", 3.4e38]),
        "score": draw.choice([draw.random(), "NaN", "-Infinity", 1.7e308, 5e-324, -0.0]),
        "price": draw.choice(["0", "-9999999999999999999999999999.0123456789", "1.5", str(draw.randrange(10**6))]),
        "ms": draw.choice([0, -1, 1_767_225_600_123, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"]),
        "us": draw.choice([0, 1_767_225_600_123_456, "2026-01-01T00:00:00.000001+02:00"]),
        "day": draw.choice(["1970-01-01", "0001-01-01", "9999-12-31", "2026-02-28"]),
        "text": draw.choice(["", "a", "ß→😀", "x" * 5000, "same", "\u0000nul", str(number)]),
        "raw": base64.b64encode(draw.randbytes(draw.randrange(40))).decode(),
        "doc": draw.choice([{"a": [1, {"b": None}]}, [], "text", 12, True]),
        "uid": f"{number:032x}",
        "tags": draw.choice([[], ["a"], [None], ["", "ü", None]]),
        "nums": draw.choice([[], [1.5, None, "NaN"], [0.0]]),
        "flags": draw.choice([[], [True, None, False]]),
        "days": draw.choice([[], ["2026-01-01", None]]),
        "prices": draw.choice([[], ["1.25", None, "-3"]]),
    }
    row = {"id": number}
    for name, value in values.items():
        kept = draw.random()
        if kept > 0.3:
            row[name] = value
        elif kept > 0.15:
            row[name] = None
    return row


def plain(value):
    """A value that compares: NaN equals NaN, and the sign of a zero counts."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else repr(value)
    if isinstance(value, (list, tuple)):
        return tuple(plain(element) for element in value)
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, decimal.Decimal):
        return format(value.normalize(), "f")
    return value


def rows_of(table):
    """The rows as a sorted list; the columns in the order of the names given."""
    names = [*COLUMNS, *STREAM_COLUMNS]
    columns = [table.column(name).to_pylist() for name in names]
    rows = [tuple(plain(value) for value in row) for row in zip(*columns)]
    at = len(COLUMNS)
    return sorted(rows, key=lambda row: (row[at], row[at + 1]))


def sealed_answer(node, table):
    """Headwater's answer for the sealed part, and the log version that it answers for."""
    quoted = ", ".join(f'"{name}"' for name in [*COLUMNS, *STREAM_COLUMNS])
    answer = requests.post(
        f"{node.url}/sql",
        json={"sql": f"SELECT {quoted} FROM {table}", "sealed_only": True, "format": "arrow"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    version = node.sql(f"SELECT count(*) FROM {table}", sealed_only=True).cut[table]["log_version"]
    return pa.ipc.open_stream(answer.content).read_all(), version


def fill_and_compare(node, kafka, delta_of, parquet_of):
    topic = kafka.create(unique("open"), partitions=3)
    node.apply(spec_of("open_rows", kafka, topic, COLUMNS, time_column="ms", sort_key=["text", "ms"]))
    draw = random.Random(20260101)
    sent = 0
    versions = {}
    for _ in range(3):
        for partition in range(3):
            values = [message(draw, sent + number) for number in range(150)]
            sent += len(values)
            # One undecodable message per round: its offset is in the range of the segment, and no row.
            headers = [("h", b"v"), ("trace", b"\xff\x00")]
            kafka.produce(topic, [*values, b"{"], partition=partition, key=f"k{partition}".encode(), headers=headers)
        node.wait_count("open_rows", sent)
        assert len(node.seal("open_rows")) == 3
        answer, version = sealed_answer(node, "open_rows")
        assert answer.num_rows == sent
        versions[version] = answer
    # Open rows are not part of what others can read.
    kafka.produce(topic, [{"id": -1}])
    node.wait_count("open_rows", sent + 1)

    for version, answer in versions.items():
        delta = delta_of("open_rows", version)
        assert delta.version() == version
        theirs = rows_of(delta.to_pyarrow_table())
        ours = rows_of(answer)
        assert len(theirs) == len(ours)
        for index, (their, our) in enumerate(zip(theirs, ours)):
            assert their == our, f"row {index} at version {version}"
    delta = delta_of("open_rows", None)
    assert {field.name for field in delta.schema().fields} == {*COLUMNS, *STREAM_COLUMNS}
    offsets = delta.to_pyarrow_table(columns=["$partition", "$offset"]).to_pylist()
    assert len({(row["$partition"], row["$offset"]) for row in offsets}) == sent

    # DuckDB reads the objects by themselves.
    files = parquet_of("open_rows", delta)
    if files:
        found = duckdb.sql(
            f"SELECT count(*), count(DISTINCT id), sum(id), count(text), sum(len(tags)), max(\"$offset\") FROM read_parquet({files})"
        ).fetchall()
        same = "SELECT count(*), count(DISTINCT id), sum(id), count(text), sum(array_length(tags)), max($offset) FROM open_rows"
        assert [list(found[0])] == node.sql(same, sealed_only=True).rows


def test_file_store(node, kafka):
    root = node.directory / "store" / "tables"

    def delta_of(table, version):
        return DeltaTable(str(root / table), version=version)

    def parquet_of(table, delta):
        return [path.removeprefix("file://") for path in delta.file_uris()]

    fill_and_compare(node, kafka, delta_of, parquet_of)


def test_s3_store(binary, kafka, s3, tmp_path):
    prefix = unique("e2e")
    node = s3_node(binary, tmp_path, s3, prefix).start()
    try:

        def delta_of(table, version):
            options = {
                "aws_endpoint": s3,
                "aws_allow_http": "true",
                "aws_region": "us-east-1",
                "aws_access_key_id": "test",
                "aws_secret_access_key": "testtest",
            }
            return DeltaTable(f"s3://headwater/{prefix}/tables/{table}", version=version, storage_options=options)

        fill_and_compare(node, kafka, delta_of, lambda table, delta: None)

        # The same process again, with nothing of its own on disk: everything is in the bucket.
        before = node.sql("SELECT count(*), sum(id), sum($offset) FROM open_rows").rows
        node.kill()
        node.start()
        eventually(lambda: node.sql("SELECT count(*), sum(id), sum($offset) FROM open_rows").rows == before, "all rows again")
    finally:
        node.kill()


def s3_node(binary, directory, endpoint, prefix):
    settings = [
        f"store.options.aws_endpoint={endpoint}",
        "store.options.aws_allow_http=true",
        "store.options.aws_region=us-east-1",
    ]
    env = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testtest"}
    return Headwater(binary, directory, store=f"s3://headwater/{prefix}", settings=settings, env=env)


@pytest.mark.parametrize("fault", ["credentials", "endpoint"])
def test_an_s3_store_that_does_not_work_is_refused_at_start(binary, s3, tmp_path, fault):
    node = s3_node(binary, tmp_path, s3, unique("e2e"))
    if fault == "credentials":
        node.env["AWS_SECRET_ACCESS_KEY"] = "wrong"
    else:
        node.settings[0] = "store.options.aws_endpoint=http://127.0.0.1:1"
    try:
        with pytest.raises(AssertionError, match="headwater ended with 2"):
            node.start()
    finally:
        node.kill()
    assert "store" in node.log_text().lower() or "s3" in node.log_text().lower()
