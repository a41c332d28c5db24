"""What a real Kafka can hold, and what of it becomes a row: keys, headers, transactions, compaction, bad messages."""

import base64
import json
import time

import pytest
import requests
from confluent_kafka import Consumer, KafkaError, TopicPartition

from harness import WAIT_S, eventually, spec_of, unique


def read_topic(kafka, topic, partition=0, isolation="read_committed"):
    """Every message that a plain consumer sees now, as (offset, key, value, headers)."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.brokers,
            "group.id": unique("reader"),
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0)])
    messages = []
    give_up = time.monotonic() + WAIT_S
    try:
        while time.monotonic() < give_up:
            message = consumer.poll(1)
            if message is None:
                continue
            if not message.error():
                messages.append((message.offset(), message.key(), message.value(), message.headers()))
            # Any other error, such as a connection that breaks off, is none of the topic's end.
            elif message.error().code() == KafkaError._PARTITION_EOF:
                return messages
    finally:
        consumer.close()
    raise AssertionError(f"not within {WAIT_S} s: the end of {topic}, after {len(messages)} messages")


def test_key_headers_and_timestamp_are_columns(node, kafka):
    topic = kafka.create(unique("envelope"), partitions=2)
    columns = {
        "id": "LONG",
        "user": {"type": "STRING", "path": "$key"},
        "trace": {"type": "STRING", "path": "$headers.trace"},
        "whole": {"type": "JSON", "path": "$"},
    }
    node.apply(spec_of("envelope", kafka, topic, columns))
    sent_at = 1_767_225_600_123
    kafka.produce(
        topic, [{"id": 1}], partition=1, key=b"k1", timestamp=sent_at, headers=[("trace", b"a"), ("trace", b"b"), ("n", None)]
    )
    kafka.produce(topic, [{"id": 2}], partition=0, timestamp=sent_at)
    # A key that is no text does not fit a STRING column.
    kafka.produce(topic, [{"id": 3}], partition=0, key=b"\xff\x00", timestamp=sent_at)
    node.wait_count("envelope", 2)
    rows = node.sql("SELECT id, user, trace, whole, $partition, $offset, $timestamp, $key, $headers FROM envelope ORDER BY id").rows
    at = rows[0][6]
    assert at.startswith("2026-01-01T00:00:00.123")
    assert rows[0][:6] == [1, "k1", "b", '{"id": 1}', 1, 0] and rows[0][7] == "k1"
    assert json.loads(rows[0][8]) == {"trace": "b", "n": None}
    assert rows[1] == [2, None, None, '{"id": 2}', 0, 0, at, None, None]
    letters = "SELECT \"offset\", reason FROM system.dead_letters WHERE table_name = 'envelope'"
    letter = eventually(lambda: node.sql(letters).rows, "a dead letter")[0]
    assert letter[0] == 1 and "$key" in letter[1]
    starred = node.sql("SELECT * FROM envelope LIMIT 0")
    assert starred.columns == list(columns)


def test_a_key_that_is_not_text(node, kafka):
    topic = kafka.create(unique("keys"))
    node.apply(spec_of("binary_keys", kafka, topic, {"id": "LONG", "raw": {"type": "BYTES", "path": "$key"}}))
    kafka.produce(topic, [{"id": 1}], key=b"\xff\x00")
    node.wait_count("binary_keys", 1)
    assert node.sql("SELECT raw, $key FROM binary_keys").rows == [[base64.b64encode(b"\xff\x00").decode(), "\\xff00"]]


def test_only_committed_transactions_are_rows(node, kafka):
    topic = kafka.create(unique("transactions"))
    node.apply(spec_of("transactions", kafka, topic, {"id": "LONG"}))
    producer = kafka.producer(transactional_id=unique("writer"))
    producer.init_transactions(30)

    def transaction(values):
        producer.begin_transaction()
        kafka.produce(topic, [{"id": value} for value in values], producer=producer)

    transaction(range(10))
    producer.commit_transaction()
    transaction(range(1000, 1010))
    producer.abort_transaction()
    node.wait_count("transactions", 10)
    # Written and not committed: invisible, however long it takes.
    transaction(range(10, 20))
    time.sleep(1)
    assert node.sql("SELECT count(*) FROM transactions").value == 10
    producer.commit_transaction()
    node.wait_count("transactions", 20)
    transaction(range(2000, 2010))
    producer.abort_transaction()
    assert node.sql("SELECT min(id), max(id), count(DISTINCT id) FROM transactions").rows == [[0, 19, 20]]
    # The markers at the end are offsets that no reader ever sees: that is no lag.
    partition = eventually(
        lambda: (p := node.partitions("transactions")[0]) and p["lag"] == 0 and p["state"] == "live" and p, "no lag"
    )
    assert partition["last_error"] is None
    node.seal("transactions")
    transaction(range(20, 25))
    producer.commit_transaction()
    node.wait_count("transactions", 25)
    assert node.sql("SELECT sum(id) FROM transactions").value == sum(range(25))


def test_tombstones_are_counted_and_are_no_rows(node, kafka):
    topic = kafka.create(unique("tombstones"))
    node.apply(spec_of("tombstones", kafka, topic, {"id": "LONG"}))
    kafka.produce(topic, [{"id": 1}, None, {"id": 2}, None, None], key=b"k")
    node.wait_count("tombstones", 2)
    partition = eventually(lambda: (p := node.partitions("tombstones")[0]) and p["visible_offset"] == 5 and p, "all is read")
    assert (partition["tombstones"], partition["dead_letters"]) == (3, 0)
    assert node.sql("SELECT count(*) FROM tombstones", min_offsets={"tombstones": {"0": 5}}).value == 2
    # A range of nothing but tombstones is committed as well.
    node.seal("tombstones")
    kafka.produce(topic, [None, None], key=b"k")
    eventually(lambda: node.partitions("tombstones")[0]["visible_offset"] == 7, "visible")
    assert node.seal("tombstones") == []
    assert node.partitions("tombstones")[0]["committed_offset"] == 7


def test_a_compacted_topic_with_holes(node, kafka):
    topic = kafka.create(
        unique("compacted"), cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio=0.01, delete_retention_ms=100
    )
    producer = kafka.producer()
    for number in range(300):
        producer.produce(topic, json.dumps({"id": number}).encode(), key=str(number % 7).encode())
    producer.flush()
    time.sleep(0.3)
    # A new segment lets the old one be compacted.
    kafka.produce(topic, [{"id": 300}], key=b"last")
    give_up = time.monotonic() + 30
    # As long as a key is there twice, Kafka may take one of them away while the table is read.
    while len(kept := read_topic(kafka, topic)) > len({key for _, key, _, _ in kept}):
        if time.monotonic() > give_up:
            pytest.skip("Kafka did not compact the topic within 30 s")
        time.sleep(0.5)
    node.apply(spec_of("compacted", kafka, topic, {"id": "LONG"}))
    node.wait_count("compacted", len(kept))
    found = node.sql("SELECT $offset, id FROM compacted ORDER BY $offset").rows
    assert found == [[offset, json.loads(value)["id"]] for offset, _, value, _ in kept]
    sealed = node.seal("compacted")
    assert (sealed[0]["from"], sealed[0]["to"], sealed[0]["rows"]) == (0, 301, len(kept))


def test_partitions_added_while_running_are_read_from_earliest(node, kafka):
    topic = kafka.create(unique("growing"), partitions=1)
    kafka.produce(topic, [{"id": number} for number in range(5)])
    node.apply(spec_of("growing", kafka, topic, {"id": "LONG"}, stream={"start": "latest"}))
    eventually(lambda: node.partitions("growing").get(0, {}).get("state") == "live", "live")
    kafka.add_partitions(topic, 3)
    # Whatever is written before the new partitions are noticed counts, too.
    eventually(lambda: kafka._partitions(topic) == 3, "three partitions")
    kafka.produce(topic, [{"id": 10}], partition=1)
    kafka.produce(topic, [{"id": 20}, {"id": 21}], partition=2)
    node.wait_count("growing", 3)
    assert node.sql("SELECT id FROM growing ORDER BY id").rows == [[10], [20], [21]]


def test_start_latest_and_at_a_time(node, kafka):
    topic = kafka.create(unique("starts"), partitions=2)
    noon = 1_767_268_800_000
    kafka.produce(topic, [{"id": 1}], timestamp=noon - 1000)
    kafka.produce(topic, [{"id": 2}], timestamp=noon)
    kafka.produce(topic, [{"id": 3}], timestamp=noon + 1000)
    node.apply(spec_of("start_latest", kafka, topic, {"id": "LONG"}, stream={"start": "latest"}))
    at_noon = {"start": {"timestamp": "2026-01-01T12:00:00Z"}}
    node.apply(spec_of("start_at_noon", kafka, topic, {"id": "LONG"}, stream=at_noon))
    node.wait_count("start_at_noon", 2)
    eventually(lambda: len(node.partitions("start_latest")) == 2, "partitions")
    eventually(lambda: {p["state"] for p in node.partitions("start_latest").values()} == {"live"}, "live")
    assert node.sql("SELECT count(*) FROM start_latest").value == 0
    kafka.produce(topic, [{"id": 4}])
    node.wait_count("start_latest", 1)
    node.wait_count("start_at_noon", 3)
    assert node.sql("SELECT id FROM start_at_noon ORDER BY id").rows == [[2], [3], [4]]


GOOD = {"id": 1, "name": "x"}
MALFORMED = [
    b"",
    b" ",
    b"{",
    b"}",
    b"[1]",
    b"null",
    b"1",
    b'"text"',
    b'{"id": 1',
    b'{"id": 1,}',
    b'{"id": 1} {"id": 2}',
    b'{"id": 1} trailing',
    b"{'id': 1}",
    b"{id: 1}",
    b'{"id" 1}',
    b'{"id": 01}',
    b'{"id": 1.}',
    b'{"id": +1}',
    b'{"id": .5}',
    b'{"id": NaN}',
    b'{"id": 1, "other": [1, 2}',
    b'{"id": 1, "other": tru}',
    b'{"id": 1, "name": "unterminated',
    b'{"id": 1, "name": "bad \\q escape"}',
    b'{"id": 1, "name": "lone \\ud800"}',
    b'{"id": 1, "name": "raw \n newline"}',
    b'{"id": 1, "name": "\xff"}',
    b"\xef\xbb\xbf" + b'{"id": 1}',
    json.dumps(GOOD).encode("utf-16"),
    b'{"id": 1, "deep": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"\x00" * 100,
]
MISFITS = [
    {"id": "five"},
    {"id": 1.5},
    {"id": 2**63},
    {"id": [1]},
    {"id": {"a": 1}},
    {"id": True},
    {"id": 1, "at": "yesterday"},
    {"id": 1, "price": "1.234"},
    {"id": 1, "uid": "x"},
    {"id": 1, "tags": "a"},
    {"id": 1, "tags": ["a", {}]},
    {"id": None},
    {},
]
STRICT = {
    "id": {"type": "LONG", "nullable": False},
    "name": "STRING",
    "at": "TIMESTAMP(3)",
    "price": "DECIMAL(5,2)",
    "uid": "UUID",
    "tags": "ARRAY<STRING>",
}


def test_bad_messages_become_dead_letters_and_nothing_stops(node, kafka):
    topic = kafka.create(unique("dirty"), max_message_bytes=20971520)
    node.apply(spec_of("dirty", kafka, topic, STRICT))
    bad = MALFORMED + [json.dumps(misfit).encode() for misfit in MISFITS]
    mixed = [message for payload in bad for message in (payload, GOOD)]
    kafka.produce(topic, mixed, key=b"key")
    node.wait_count("dirty", len(bad))

    def letters():
        statement = "SELECT * FROM system.dead_letters WHERE table_name = 'dirty' ORDER BY \"offset\""
        return node.sql(statement).dicts()

    def check():
        found = letters()
        assert [letter["offset"] for letter in found] == list(range(0, 2 * len(bad), 2))
        for letter, payload in zip(found, bad):
            assert letter["reason"] and len(letter["reason"]) < 400, letter["reason"]
            kept = base64.b64decode(letter["payload"])
            assert kept == payload[: len(kept)] and (len(kept) == len(payload) or letter["truncated"])
            assert base64.b64decode(letter["key"]) == b"key" and letter["partition"] == 0

    check()
    assert node.partitions("dirty")[0]["dead_letters"] == len(bad)
    node.seal("dirty")
    check()
    # A range of nothing but bad messages.
    kafka.produce(topic, [b"{", b"}"])
    eventually(lambda: len(letters()) == len(bad) + 2, "two more")
    node.seal("dirty")
    assert len(letters()) == len(bad) + 2
    assert node.sql("SELECT count(*) FROM dirty").value == len(bad)


def test_dead_letters_to_a_topic(node, kafka):
    topic = kafka.create(unique("dirty"))
    letters = kafka.create(unique("letters"))
    node.apply(spec_of("to_topic", kafka, topic, {"id": "LONG"}, dead_letters={"topic": letters}))
    kafka.produce(topic, [{"id": 1}, b"{broken", {"id": "x"}, {"id": 2}], key=b"k")
    node.wait_count("to_topic", 2)
    node.seal("to_topic")
    found = read_topic(kafka, letters)
    assert [value for _, _, value, _ in found] == [b"{broken", b'{"id": "x"}']
    headers = dict(found[1][3])
    assert headers["headwater.topic"] == topic.encode() and headers["headwater.offset"] == b"2"
    assert headers["headwater.partition"] == b"0" and b"id" in headers["headwater.reason"]
    assert found[0][1] == b"k"


def test_on_error_null(node, kafka):
    topic = kafka.create(unique("lenient"))
    columns = {"id": "LONG", "n": {"type": "INT", "on_error": "null"}, "d": {"type": "DATE", "on_error": "null"}}
    node.apply(spec_of("lenient", kafka, topic, columns))
    kafka.produce(topic, [{"id": 1, "n": "x", "d": 5.5}, {"id": 2, "n": 7, "d": "2026-01-01"}, {"id": 3, "n": 2**40}])
    node.wait_count("lenient", 3)
    rows = node.sql("SELECT * FROM lenient ORDER BY id").rows
    assert rows == [[1, None, None], [2, 7, "2026-01-01"], [3, None, None]]
    assert node.partitions("lenient")[0]["dead_letters"] == 0


def test_paths_into_the_message(node, kafka):
    topic = kafka.create(unique("paths"))
    columns = {
        "user": {"type": "STRING", "path": "user.name"},
        "first": {"type": "LONG", "path": "items[0].n"},
        "odd": {"type": "STRING", "path": '["odd name.x"]'},
    }
    node.apply(spec_of("paths", kafka, topic, columns))
    kafka.produce(topic, [{"user": {"name": "a"}, "items": [{"n": 5}], "odd name.x": "o"}, {"user": 1, "items": []}])
    node.wait_count("paths", 2)
    assert node.sql("SELECT user, first, odd FROM paths ORDER BY $offset").rows == [["a", 5, "o"], [None, None, None]]


def test_messages_of_10_megabytes(node, kafka):
    topic = kafka.create(unique("large"), max_message_bytes=20971520)
    node.apply(spec_of("large", kafka, topic, {"id": "LONG", "text": "STRING"}))
    megabytes = 10_000_000
    kafka.produce(topic, [{"id": number, "text": "ä" * (megabytes // 2)} for number in range(3)])
    kafka.produce(topic, [{"id": 3, "text": "small"}, b"{" + b"x" * megabytes, {"id": 4}])
    node.wait_count("large", 5)
    lengths = "SELECT id, octet_length(text) FROM large ORDER BY id"
    expected = [[0, megabytes], [1, megabytes], [2, megabytes], [3, 5], [4, None]]
    assert node.sql(lengths).rows == expected
    letter = node.sql("SELECT truncated, length(encode(payload, 'hex')) / 2 FROM system.dead_letters WHERE table_name = 'large'").rows
    assert letter == [[True, 65536]]
    node.seal("large")
    assert node.sql(lengths).rows == expected
    whole = requests.get(f"{node.url}/sql", params={"q": "SELECT text FROM large WHERE id = 1", "format": "csv"}, timeout=30)
    assert len(whole.content) > megabytes


def test_many_partitions(node, kafka):
    topic = kafka.create(unique("wide"), partitions=24)
    node.apply(spec_of("wide", kafka, topic, {"id": "LONG"}))
    producer = kafka.producer()
    for partition in range(24):
        kafka.produce(topic, [{"id": number} for number in range(100)], partition=partition, producer=producer)
    node.wait_count("wide", 2400)
    assert len(node.seal("wide")) == 24
    assert node.sql("SELECT count(DISTINCT $partition), min(n), max(n) FROM (SELECT $partition, count(*) n FROM wide GROUP BY 1)").rows == [
        [24, 100, 100]
    ]


def test_a_topic_that_does_not_exist_yet(node, kafka):
    topic = unique("later")
    node.apply(spec_of("later", kafka, topic, {"id": "LONG"}))
    try:
        eventually(lambda: topic in node.ready().text, "readiness names the topic")
        assert node.sql("SELECT count(*) FROM later").value == 0
        assert "later" in node.cli("table", "list").stdout
        kafka.create(topic)
        kafka.produce(topic, [{"id": 1}])
        node.wait_count("later", 1)
    finally:
        requests.delete(f"{node.url}/tables/later?purge=true", timeout=10)


def test_wrong_stream_properties_are_refused(node, kafka):
    topic = kafka.create(unique("props"))
    spec = spec_of("props", kafka, topic, {"id": "LONG"}, stream={"properties": {"fetch.wait.max.mss": "5"}})
    answer = requests.put(f"{node.url}/tables/props", data=json.dumps(spec), timeout=10)
    assert answer.status_code == 400 and "fetch.wait.max.mss" in answer.text
    assert "props" not in requests.get(f"{node.url}/tables", timeout=5).json()["tables"]
