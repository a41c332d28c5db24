"""The table `rides`, with a column of each type, and processes that have it behind one more door: what tests of clients stand on."""

import contextlib

from harness import Headwater, free_port, spec_of, unique

COLUMNS = {
    "id": {"type": "LONG", "nullable": False},
    "small": "INT",
    "city": "STRING",
    "price": "DECIMAL(12,2)",
    "score": "DOUBLE",
    "ratio": "FLOAT",
    "paid": "BOOLEAN",
    "at": "TIMESTAMP(3)",
    "day": "DATE",
    "raw": "BYTES",
    "doc": "JSON",
    "uid": "UUID",
    "tags": "ARRAY<STRING>",
    "nums": "ARRAY<LONG>",
}
UID = "6F9619FF-8B86-D011-B42D-00C04FC964FF"


def columns(*names):
    """Some of the columns."""
    return {name: COLUMNS[name] for name in names}


def ride(number, **other):
    """A row; what `other` names is as it says."""
    return {
        "id": number,
        "small": number % 100,
        "city": ["Berlin", "Rome"][number % 2],
        "price": f"{number}.25",
        "score": number / 2,
        "ratio": 0.5,
        "paid": number % 2 == 0,
        "at": 1_767_225_600_000 + number * 1000 + 250,
        "day": "2026-01-02",
        "raw": "AP8=",
        "doc": {"a": [1, None]},
        "uid": UID,
        "tags": ["x", "y"],
        "nums": [1, 2],
        **other,
    }


def fill(node, kafka, rows, name="rides", columns=COLUMNS):
    """Makes the table on a new topic with these rows; returns the topic."""
    topic = kafka.create(unique(name))
    node.apply(spec_of(name, kafka, topic, columns, time_column="at"))
    kafka.produce(topic, rows)
    node.wait_count(name, len(rows))
    return topic


@contextlib.contextmanager
def with_door(binary, directory, protocol):
    """A process that speaks `protocol` as well, at the port of that name; it ends with the block, however that ends."""
    port = free_port()
    node = Headwater(binary, directory, settings=[f"{protocol}.listen=127.0.0.1:{port}"])
    setattr(node, f"{protocol}_port", port)
    try:
        yield node.start()
    finally:
        node.kill()
