"""The OpenAPI document is true. The harness holds each answer that any test gets against it (document.py); here every operation has a
good answer, and every refusal of a guarded node its turn, and Schemathesis makes requests of the document, good and bad ones.
"""

import json
import pathlib
import subprocess
import sys
import threading

import pytest
import requests

from doors import BOB
from harness import SqlError, eventually, spec_of, unique

HERE = pathlib.Path(__file__).parent
COLUMNS = {"id": {"type": "LONG", "nullable": False}, "city": "STRING", "at": "TIMESTAMP(3)"}
ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.value * b.value) % 7 = 1"
BOARD = {
    "title": "Orders",
    "variables": [{"name": "city", "kind": "list", "sql": "SELECT DISTINCT city FROM orders ORDER BY city", "default": ""}],
    "panels": [
        {
            "id": "count",
            "title": "All",
            "kind": "number",
            "sql": "SELECT count(*) AS orders FROM orders WHERE $city = '' OR city = $city",
            "at": {"x": 0, "y": 0, "w": 4, "h": 3},
        }
    ],
}


@pytest.fixture
def topic(kafka):
    topic = kafka.create(unique("orders"), partitions=2)
    rows = [{"id": number, "city": ["Berlin", "Ulm"][number % 2], "at": 1_767_225_600_000 + number} for number in range(100)]
    kafka.produce(topic, [*rows, b"{broken"], partition=0)
    return topic


@pytest.fixture
def filled(own_node, kafka, topic):
    """A node with a table, some of whose rows are sealed, and a dashboard."""
    node = own_node()
    node.apply(spec_of("orders", kafka, topic, COLUMNS, time_column="at"))
    node.wait_count("orders", 100)
    node.seal("orders")
    kafka.produce(topic, [{"id": number} for number in range(100, 110)], partition=1)
    node.wait_count("orders", 110)
    node.wait_ready()
    made = requests.put(f"{node.url}/dashboards/board", json=BOARD, headers={"if-none-match": "*"}, timeout=10)
    assert made.status_code == 201, made.text
    return node


def check(node, tmp_path, *arguments):
    """Has Schemathesis make requests; it is still there afterwards, and nothing that was sent has made it panic."""
    program = pathlib.Path(sys.executable).with_name("st")
    config = ["--config-file", HERE / "schemathesis.toml"]
    command = [program, *config, "run", f"{node.url}/openapi.json", "--checks", "all", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    assert requests.get(f"{node.url}/healthz", timeout=5).text == "ok"
    assert "panicked" not in node.log_text()


def test_made_up_requests_have_the_answers_of_the_document(filled, tmp_path):
    check(filled, tmp_path)
    # They were about something that was there.
    assert filled.sql("SELECT count(*) FROM orders").value == 110


def test_every_operation_has_a_good_answer(filled, document, kafka, topic):
    node, seen = filled, set(document.seen)
    document.seen.clear()

    def ask(method, path, expected=200, **options):
        answer = requests.request(method, f"{node.url}{path}", timeout=30, **options)
        assert answer.status_code == expected, (method, path, answer.status_code, answer.text)
        return answer

    for path in ("/healthz", "/health", "/readyz", "/metrics", "/openapi.json", "/session", "/tables", "/dashboards"):
        ask("GET", path)
    ask("POST", "/session", json={"user": "ada", "password": "anything"})
    ask("DELETE", "/session", 204)

    for form in ("json", "ndjson", "csv", "arrow", "parquet"):
        ask("POST", "/sql", json={"sql": "SELECT * FROM orders", "format": form, "query_id": f"asked-{form}"})
        ask("GET", "/sql", params={"q": "SELECT *, $partition, $offset FROM orders", "format": form})
    late = ask("POST", "/sql", json={"sql": "SELECT 1 / (value - 90000) FROM range(100000)"}).json()
    assert late["error"]["kind"] == "execution" and late["rows"], "an error behind the first rows has its place, too"
    ask("GET", "/queries/asked-json?plan=true")
    asking = threading.Thread(target=lambda: pytest.raises(SqlError, node.sql, ENDLESS, query_id="endless"))
    asking.start()
    running = f"{node.url}/queries/endless"
    eventually(lambda: requests.get(running, timeout=5).status_code == 200, "it runs")
    ask("GET", "/queries/endless?plan=true")
    ask("DELETE", "/queries/endless", 204)
    asking.join(20)
    assert not asking.is_alive()

    for path in ("/query", "/query/sql"):
        ask("POST", path, json={"sql": "SELECT * FROM orders LIMIT 5"})
        ask("POST", path, json={"sql": "SELECT nothing FROM orders"})
        ask("GET", path, params={"sql": "SELECT city, count(*) FROM orders GROUP BY city"})
    ask("GET", "/databases")
    for path in ("schema", "metadata"):
        ask("GET", f"/tables/orders/{path}")
    ask("GET", "/v2/brokers/tables")
    ask("GET", "/v2/brokers/tenants/DefaultTenant")

    spec = {**spec_of("orders", kafka, topic, COLUMNS, time_column="at"), "retention": "7d"}
    ask("PUT", "/tables/orders?dry_run=true", data=json.dumps(spec))
    ask("PUT", "/tables/orders", data=json.dumps(spec))
    ask("PUT", "/tables/others", 201, data=json.dumps({**spec, "name": "others"}))
    for change in ("pause", "resume", "seal", "seal?partition=0"):
        ask("POST", f"/tables/orders/{change}")
    ask("GET", "/tables/orders")
    ask("DELETE", "/tables/others?purge=true")
    found = ask("POST", "/infer", json={"brokers": [kafka.brokers], "topic": topic, "messages_max": 100}).json()
    shown = ask("POST", "/preview", json={"spec": found["spec"], "rows_max": 50}).json()
    assert shown["rows"] and shown["dead_letters"]

    ask("PUT", "/dashboards/copy", 201, json=BOARD, headers={"if-none-match": "*"})
    ask("PUT", "/dashboards/copy", json={**BOARD, "title": "Copy"}, headers={"if-match": "*"})
    ask("GET", "/dashboards/copy")
    ask("GET", "/dashboards/copy/values/city")
    ask("POST", "/dashboards/-/preview", json={"sql": "SELECT count(*) FROM orders", "values": {}, "last": "1h"})
    ask("GET", "/dashboards/copy/live", stream=True).close()
    ask("DELETE", "/dashboards/copy", 204, headers={"if-match": "*"})

    good = {(method, path) for method, path, status in document.seen if status < 300}
    document.seen |= seen
    assert good == document.operations, document.operations - good


def test_refusals_are_those_of_the_document(guarded, document):
    """Without a password, with a wrong one, as a reader, and for a page of another site: each operation refuses as it says."""
    document.seen.clear()
    ways = [
        {},
        {"auth": ("bob", "wrong")},
        {"auth": BOB},
        {"auth": BOB, "headers": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}},
        {"auth": BOB, "headers": {"content-encoding": "gzip"}},
    ]
    for method, path in sorted(document.operations):
        concrete = path.format_map({"table": "orders", "id": "q-1", "name": "city", "tenant": "t"})
        for way in ways:
            # A wrong attempt too many is answered with 429, which the document has as well.
            guarded.ask(method, concrete, **way)
    refused = {status: {(method, path) for method, path, seen in document.seen if seen == status} for status in (401, 403)}
    open_to_all = {"/healthz", "/health", "/readyz", "/session", "/openapi.json"}
    for method, path in document.operations:
        if path not in open_to_all:
            assert (method, path) in refused[401], (method, path)
        if method != "GET" and path not in open_to_all:
            assert (method, path) in refused[403], (method, path)
