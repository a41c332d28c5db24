"""What goes wrong outside of the process, or with it: gaps, an outage of Kafka, signals, a full disk."""

import json
import os
import random
import subprocess
import threading
import time

import pytest

from harness import eventually, spec_of, unique

ID = {"id": {"type": "LONG", "nullable": False}}
# A process looks at its topics every 2 s; one that is busy somewhat later.
TWO_LOOKS_S = 5


def ids(first, last):
    return [{"id": number} for number in range(first, last)]


def committed_offsets(partitions):
    return {number: partition["committed_offset"] for number, partition in partitions.items()}


def check_tiling(node, table):
    """Invariant 1: sealed ranges and recorded gaps tile every partition from its first to its committed offset."""
    # Segments are sealed meanwhile: both are read again until nothing was committed in between.
    for _ in range(100):
        partitions = node.partitions(table)
        ranges = node.sql(
            "SELECT partition, from_offset, to_offset FROM system.segments WHERE table_name = $1 AND state = 'sealed' "
            "UNION ALL SELECT partition, from_offset, to_offset FROM system.gaps WHERE table_name = $1 ORDER BY 1, 2",
            parameters=[table],
        ).rows
        if committed_offsets(partitions) == committed_offsets(node.partitions(table)):
            break
    else:
        raise AssertionError(f"{table} commits all the time")
    for number, partition in partitions.items():
        at = partition["first_offset"]
        for start, end in [row[1:] for row in ranges if row[0] == number]:
            assert start == at, f"partition {number}: {ranges}"
            at = end
        assert at == partition["committed_offset"], f"partition {number}: {ranges}"


def with_gap(own_node, kafka, on_gap):
    """A table that was down while Kafka's retention passed it: offsets 100 to 120 are gone for ever."""
    topic = kafka.create(unique("gappy"))
    kafka.produce(topic, ids(0, 100))
    node = own_node()
    spec = spec_of("gappy", kafka, topic, ID, stream={"on_gap": on_gap})
    node.apply(spec)
    node.wait_count("gappy", 100)
    assert node.stop() == 0
    kafka.produce(topic, ids(100, 150))
    kafka.delete_records(topic, 0, 120)
    node.start()
    return node, spec, topic


def test_a_gap_is_recorded_and_skipped(own_node, kafka):
    node, _, _ = with_gap(own_node, kafka, "skip")
    node.wait_count("gappy", 130)
    gaps = node.sql("SELECT partition, from_offset, to_offset, reason FROM system.gaps").rows
    assert gaps == [[0, 100, 120, "retention"]]
    assert node.sql("SELECT count(*) FROM gappy WHERE id BETWEEN 100 AND 119").value == 0
    node.seal("gappy")
    check_tiling(node, "gappy")


def test_a_gap_stops_the_partition_until_somebody_decides(own_node, kafka):
    node, spec, _ = with_gap(own_node, kafka, "fail")
    partition = eventually(lambda: (p := node.partitions("gappy").get(0)) and p["state"] == "failed" and p, "failed")
    assert "100" in partition["last_error"] and "120" in partition["last_error"] and "on_gap" in partition["last_error"]
    assert "failed" in node.ready().text and node.ready().status_code == 503
    assert node.sql("SELECT count(*) FROM gappy").value == 100
    assert node.sql("SELECT count(*) FROM system.gaps").value == 0
    spec["stream"]["on_gap"] = "skip"
    node.apply(spec)
    node.post("/tables/gappy/resume")
    node.wait_count("gappy", 130)
    eventually(lambda: node.ready().status_code == 200, "ready again")
    assert node.sql("SELECT from_offset, to_offset FROM system.gaps").rows == [[100, 120]]


@pytest.mark.parametrize("is_sealed", [True, False], ids=["sealed", "open"])
@pytest.mark.parametrize("on_gap", ["skip", "fail"])
def test_a_topic_deleted_and_created_again(own_node, kafka, on_gap, is_sealed):
    """librdkafka goes on at its old position in the new topic, which has more messages: none of them may be sealed as
    one of the old topic, and what was open of the old topic is in Kafka no more, so it may not be lost."""
    topic = kafka.create(unique("reborn"), partitions=2)
    kafka.produce(topic, ids(0, 30), partition=0)
    kafka.produce(topic, ids(30, 50), partition=1)
    node = own_node()
    spec = spec_of("reborn", kafka, topic, ID, stream={"on_gap": on_gap})
    node.apply(spec)
    node.wait_count("reborn", 50)
    if is_sealed:
        node.seal("reborn")
    else:
        # Until the next look at the topic nobody can tell of which topic the open rows are.
        time.sleep(TWO_LOOKS_S)
    kafka.delete(topic)
    assert node.sql("SELECT count(*) FROM reborn").value == 50
    kafka.create(topic, partitions=2)
    kafka.produce(topic, ids(100, 200), partition=0)
    if on_gap == "fail":
        eventually(lambda: {p["state"] for p in node.partitions("reborn").values()} == {"failed"}, "failed")
        assert "created again" in node.partitions("reborn")[0]["last_error"]
        assert node.sql("SELECT count(*) FROM reborn", sealed_only=True).value == 50
        spec["stream"]["on_gap"] = "skip"
        node.apply(spec)
        node.post("/tables/reborn/resume")
    node.wait_count("reborn", 150)
    assert node.sql("SELECT count(DISTINCT id), max(id) FROM reborn").rows == [[150, 199]]
    assert {row[0] for row in node.sql("SELECT reason FROM system.gaps").rows} == {"topic_recreated"}
    node.kill()
    node.start()
    node.wait_count("reborn", 150)


def test_kafka_stops_and_comes_back(own_node, kafka):
    if not kafka.owned:
        pytest.skip("this Kafka is not the test run's own, so it is not stopped")
    topic = kafka.create(unique("outage"), partitions=2)
    node = own_node()
    node.apply(spec_of("outage", kafka, topic, ID))
    kafka.produce(topic, ids(0, 1000), partition=0)
    kafka.produce(topic, ids(1000, 2000), partition=1)
    node.wait_count("outage", 2000)
    eventually(lambda: node.ready().status_code == 200, "ready")
    # After the next look at the topic it is known that the rows are the topic's, and sealing needs no Kafka.
    time.sleep(TWO_LOOKS_S)
    kafka.down()
    try:
        eventually(lambda: node.ready().status_code == 503, "readiness says so")
        assert "outage" in node.ready().text
        for _ in range(10):
            assert node.sql("SELECT count(*), sum(id) FROM outage").rows == [[2000, sum(range(2000))]]
        # Sealing needs no Kafka.
        assert sum(segment["rows"] for segment in node.seal("outage")) == 2000
        # A process that starts while Kafka is down serves what is sealed.
        node.kill()
        node.start()
        assert node.sql("SELECT count(*) FROM outage").value == 2000
        assert node.ready().status_code == 503
    finally:
        kafka.up()
    kafka.produce(topic, ids(2000, 2500), partition=0)
    node.wait_count("outage", 2500, within=40)
    eventually(lambda: node.ready().status_code == 200, "ready again")
    assert node.sql("SELECT count(DISTINCT id), sum(id) FROM outage").rows == [[2500, sum(range(2500))]]


def test_sigterm_seals_what_is_open(own_node, kafka):
    topic = kafka.create(unique("drain"), partitions=3)
    node = own_node()
    node.apply(spec_of("drain", kafka, topic, ID))
    for partition in range(3):
        kafka.produce(topic, ids(0, 500), partition=partition)
    node.wait_count("drain", 1500)
    assert node.sql("SELECT count(*) FROM drain", sealed_only=True).value == 0
    assert node.stop() == 0
    node.start()
    # Everything is sealed; nothing was read again.
    assert node.sql("SELECT count(*) FROM drain", sealed_only=True).value == 1500
    assert {p["committed_offset"] for p in node.partitions("drain").values()} == {500}
    check_tiling(node, "drain")


def test_sigterm_lets_a_query_finish(own_node, kafka):
    node = own_node()
    slow = "SELECT count(*) FROM range(1500000) a, range(100) b WHERE (a.value * b.value) % 7 = 1"
    answers = []
    asking = threading.Thread(target=lambda: answers.append(node.sql(slow).value))
    asking.start()
    eventually(lambda: node.sql("SELECT count(*) FROM system.queries WHERE state = 'running'").value == 2, "it runs", every=0.01)
    assert node.stop() == 0
    asking.join(20)
    assert answers and answers[0] > 0


def test_sigterm_without_sealing(own_node, kafka):
    topic = kafka.create(unique("leave"))
    node = own_node(settings=["ingest.seal_on_shutdown=false"])
    node.apply(spec_of("leave", kafka, topic, ID))
    kafka.produce(topic, ids(0, 100))
    node.wait_count("leave", 100)
    assert node.stop() == 0
    node.start()
    node.wait_count("leave", 100)
    assert node.sql("SELECT count(*) FROM leave", sealed_only=True).value == 0


def test_kill_9_at_any_instant_counts_every_event_once(own_node, kafka):
    partitions, each = 4, 12_000
    topic = kafka.create(unique("killed"), partitions=partitions)
    node = own_node()
    # Seals all the time, so that kills fall into them.
    node.apply(spec_of("killed", kafka, topic, {"id": "LONG", "part": "INT"}, seal={"rows_max": 700, "age_max": "1s"}))
    failures = []

    def produce():
        try:
            producer = kafka.producer()
            for start in range(0, each, 200):
                for partition in range(partitions):
                    values = [{"id": number, "part": partition} for number in range(start, start + 200)]
                    kafka.produce(topic, values, partition=partition, producer=producer)
                time.sleep(0.03)
        except Exception as error:
            failures.append(error)

    producing = threading.Thread(target=produce)
    producing.start()
    draw = random.Random(7)
    committed = {}
    for _ in range(6):
        time.sleep(0.2 + draw.random() * 0.8)
        node.kill()
        node.start()
        # What was committed before the kill is there at once.
        for number, partition in node.partitions("killed").items():
            assert partition["committed_offset"] >= committed.get(number, 0)
            committed[number] = partition["committed_offset"]
        check_tiling(node, "killed")
    producing.join()
    assert not failures, failures
    node.wait_count("killed", partitions * each)
    per_partition = node.sql(
        "SELECT $partition, count(*), count(DISTINCT id), count(DISTINCT $offset), min(part), max(part), sum(id) "
        "FROM killed GROUP BY 1 ORDER BY 1"
    ).rows
    assert per_partition == [[p, each, each, each, p, p, sum(range(each))] for p in range(partitions)]
    assert node.stop() == 0
    node.start()
    assert node.sql("SELECT count(*), count(DISTINCT part * 1000000 + id) FROM killed", sealed_only=True).rows == [[partitions * each] * 2]
    check_tiling(node, "killed")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_loses_nothing(own_node, kafka, small_disk):
    topic = kafka.create(unique("brimful"), partitions=2)
    node = own_node(store=f"file://{small_disk}/store")
    node.apply(spec_of("brimful", kafka, topic, {"id": "LONG", "text": "STRING"}, seal={"rows_max": 500, "age_max": "2s"}))
    draw = random.Random(3)

    def rows(first, last):
        return [{"id": number, "text": draw.randbytes(500).hex()} for number in range(first, last)]

    kafka.produce(topic, rows(0, 1000), partition=0)
    node.wait_count("brimful", 1000)
    eventually(lambda: node.partitions("brimful")[0]["committed_offset"] == 1000, "sealed")

    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    kafka.produce(topic, rows(1000, 3000), partition=0)
    kafka.produce(topic, rows(3000, 5000), partition=1)
    # Consumption and queries go on; the seals are tried again and say so.
    node.wait_count("brimful", 5000)
    partition = eventually(lambda: (p := node.partitions("brimful")[0]) and p["last_error"] and p, "the error shows")
    assert "seal" in partition["last_error"] and partition["committed_offset"] == 1000
    assert node.sql("SELECT count(DISTINCT id) FROM brimful").value == 5000
    check_tiling(node, "brimful")

    filler.unlink()
    eventually(lambda: {p["committed_offset"] for p in node.partitions("brimful").values()} == {3000, 2000}, "all is sealed")
    node.seal("brimful")
    assert node.sql("SELECT count(*), count(DISTINCT id) FROM brimful", sealed_only=True).rows == [[5000, 5000]]
    eventually(lambda: node.partitions("brimful")[0]["last_error"] is None, "the error is over")
    node.kill()
    node.start()
    node.wait_count("brimful", 5000)
    assert node.sql("SELECT count(DISTINCT id) FROM brimful").value == 5000
    check_tiling(node, "brimful")


def test_a_corrupt_segment_is_named_and_not_served(own_node, kafka):
    topic = kafka.create(unique("corrupt"))
    node = own_node()
    node.apply(spec_of("corrupt", kafka, topic, {"id": "LONG", "text": "STRING"}))
    kafka.produce(topic, [{"id": number, "text": f"text {number}"} for number in range(2000)])
    node.wait_count("corrupt", 2000)
    path = node.seal("corrupt")[0]["path"]
    assert node.stop() == 0
    file = node.directory / "store" / "tables" / "corrupt" / path
    whole = file.read_bytes()
    for damage in (whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], whole[: len(whole) // 2], None):
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        node.start()
        answered = node.cli("sql", "-c", "SELECT count(*), sum(id), max(text) FROM corrupt")
        assert answered.returncode == 1, answered.stdout
        assert file.name in answered.stderr, answered.stderr
        assert node.sql("SELECT 1").value == 1
        node.stop()
    file.write_bytes(whole)
    node.start()
    assert node.sql("SELECT count(*), sum(id) FROM corrupt").rows == [[2000, sum(range(2000))]]


def test_the_log_is_json_if_asked(own_node):
    node = own_node(settings=["log.format=json"])
    node.stop()
    lines = [json.loads(line) for line in node.log_text().splitlines()]
    assert any("headwater is up" in str(line) for line in lines)
