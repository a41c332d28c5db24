"""From a topic to a table over HTTP: infer, preview, dry run, apply; and what each says when it goes wrong."""

import json
import time
import urllib.error
import urllib.request

import pytest
import yaml

from harness import free_port, unique


def call(node, method, path, body):
    """Status and JSON of a request; `body` is JSON unless it is text."""
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(node.url + path, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def topic(kafka):
    topic = kafka.create(unique("orders"), partitions=2)
    kafka.produce(topic, [{"id": n, "city": "Ulm", "at": f"2026-01-01T00:00:{n % 60:02}Z"} for n in range(200)], partition=0)
    kafka.produce(topic, [{"id": 1000, "city": "Bonn", "at": "2026-01-02T00:00:00Z"}, b"{broken", None], partition=1)
    return topic


def test_from_topic_to_table(node, kafka, topic):
    status, found = call(node, "POST", "/infer", {"brokers": [kafka.brokers], "topic": topic, "messages_max": 100})
    assert status == 200, found
    columns = {column["name"]: column["type"] for column in found["columns"]}
    assert columns["id"] == "LONG" and columns["city"] == "STRING" and columns["at"].startswith("TIMESTAMP")
    assert 50 <= found["messages_read"] <= 100 and found["undecodable"] == 1

    status, rows = call(node, "POST", "/preview", {"spec": found["spec"], "rows_max": 40})
    assert status == 200, rows
    names = [column["name"] for column in rows["columns"]]
    seen = [dict(zip(names, row)) for row in rows["rows"]]
    # The newest messages of each partition.
    assert [row["id"] for row in seen] == [*range(180, 200), 1000]
    [letter] = rows["dead_letters"]
    assert (letter["partition"], letter["offset"]) == (1, 1) and "JSON" in letter["reason"]

    spec = yaml.safe_load(found["spec"])
    name = spec["name"] = unique("wizard").replace("-", "_")
    path = f"/tables/{name}"
    status, dry = call(node, "PUT", f"{path}?dry_run=true", spec)
    assert (status, dry["applied"], dry["changes"]) == (200, "created", [])
    assert call(node, "PUT", f"{path}?dry_run=maybe", spec)[0] == 400
    assert node.sql(f"SELECT count(*) FROM information_schema.tables WHERE table_name = '{name}'").value == 0

    assert call(node, "PUT", path, spec)[1]["applied"] == "created"
    node.wait_count(name, 201)
    assert call(node, "PUT", f"{path}?dry_run=true", spec)[1]["applied"] == "unchanged"
    spec["retention"] = "7d"
    status, dry = call(node, "PUT", f"{path}?dry_run=true", spec)
    assert (status, dry["applied"]) == (200, "updated") and any("retention" in change for change in dry["changes"])
    with urllib.request.urlopen(node.url + path) as answer:
        assert "retention" not in json.load(answer)["table"]["spec"]
    spec["columns"][0]["type"] = "NUMBER"
    status, refused = call(node, "PUT", f"{path}?dry_run=true", spec)
    assert status == 400 and refused["error"]["faults"][0]["path"] == "columns[0].type"


def test_says_what_is_wrong_with_the_topic(node, kafka, topic):
    status, answer = call(node, "POST", "/infer", {"brokers": [kafka.brokers], "topic": topic[:-1] + "x"})
    assert (status, answer["error"]["kind"]) == (404, "unknown_topic"), answer
    assert topic in answer["error"]["message"], answer

    empty = kafka.create(unique("empty"))
    status, answer = call(node, "POST", "/infer", {"brokers": [kafka.brokers], "topic": empty})
    assert (status, answer["error"]["kind"]) == (409, "empty_topic"), answer

    text = kafka.create(unique("text"))
    kafka.produce(text, [b"a,b,c"] * 5)
    status, answer = call(node, "POST", "/infer", {"brokers": [kafka.brokers], "topic": text})
    assert (status, answer["error"]["kind"]) == (409, "undecodable"), answer

    began = time.monotonic()
    status, answer = call(node, "POST", "/infer", {"brokers": [f"127.0.0.1:{free_port()}"], "topic": "t"})
    assert (status, answer["error"]["kind"]) == (503, "kafka_unreachable"), answer
    assert time.monotonic() - began < 12

    status, answer = call(node, "POST", "/infer", {"brokers": [], "topic": "t"})
    assert status == 400 and answer["error"]["faults"][0]["path"].startswith("stream.brokers"), answer
    status, answer = call(node, "POST", "/preview", {"spec": "name: t\n"})
    assert status == 400 and {fault["path"] for fault in answer["error"]["faults"]} >= {"columns", "stream"}, answer
