"""The HTTP interface, as a client sees it."""

import gzip
import io
import json
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from examples import EXAMPLES
from harness import SqlError, eventually, spec_of, unique

CITIES = ["Berlin", "Paris", "Rome", "Zürich"]
COLUMNS = {
    "id": {"type": "LONG", "nullable": False},
    "city": "STRING",
    "price": "DECIMAL(12,2)",
    "at": "TIMESTAMP(3)",
    "day": "DATE",
    "tags": "ARRAY<STRING>",
    "raw": "BYTES",
    "score": "DOUBLE",
}
# Runs for minutes, unless somebody stops it.
ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.value * b.value) % 7 = 1"


def order(number):
    return {
        "id": number,
        "city": CITIES[number % 4],
        "price": f"{number}.25",
        "at": 1_767_225_600_000 + number,
        "day": "2026-01-01",
        "tags": ["x", None],
        "raw": "AP8=",
        "score": number / 2,
    }


@pytest.fixture(scope="module")
def topic(kafka):
    return kafka.create(unique("orders"), partitions=2)


@pytest.fixture(scope="module")
def table(node, kafka, topic):
    node.apply(spec_of("orders", kafka, topic, COLUMNS, time_column="at"))
    kafka.produce(topic, [order(number) for number in range(0, 1000, 2)], partition=0)
    kafka.produce(topic, [order(number) for number in range(1, 1000, 2)], partition=1)
    node.wait_count("orders", 1000)
    node.wait_ready()
    return "orders"


@pytest.mark.parametrize("example", EXAMPLES, ids=[command.split("127.0.0.1:8099", 1)[1][:60] for command, _ in EXAMPLES])
def test_what_people_type_with_curl(node, table, example):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command, expected = example
    command = command.replace("http://127.0.0.1:8099", node.url)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert expected in done.stdout, done


def test_answer_names_its_cut(node, table):
    answer = node.sql("SELECT count(*) FROM orders")
    cut = answer.cut["orders"]
    assert cut["offsets"] == {"0": 500, "1": 500}
    assert cut["log_version"] >= 0 and cut["freshness_ms"] >= 0
    assert answer.document["stats"]["rows_total"] == 1000


def test_every_type_in_json(node, table):
    answer = node.sql("SELECT * FROM orders WHERE id = 7")
    assert dict(zip(answer.columns, answer.types)) == {
        "id": "LONG",
        "city": "STRING",
        "price": "DECIMAL(12,2)",
        "at": "TIMESTAMP(3)",
        "day": "DATE",
        "tags": "ARRAY<STRING>",
        "raw": "BYTES",
        "score": "DOUBLE",
    }
    row = answer.dicts()[0]
    assert float(row.pop("price")) == 7.25
    assert row.pop("at").startswith("2026-01-01T00:00:00.007")
    expected = {"id": 7, "city": "Zürich", "day": "2026-01-01", "tags": ["x", None], "raw": "AP8=", "score": 3.5}
    assert row == expected


def test_formats(node, table):
    statement = "SELECT id, city, tags FROM orders WHERE id < 3 ORDER BY id"

    def ask(**options):
        return requests.post(f"{node.url}/sql", json={"sql": statement, **options}, timeout=10)

    ndjson = ask(format="ndjson")
    assert [json.loads(line)["id"] for line in ndjson.text.splitlines()] == [0, 1, 2]
    assert json.loads(ndjson.headers["headwater-cut"])["orders"]["offsets"] == {"0": 500, "1": 500}
    assert ask(format="csv").content.decode() == 'id,city,tags\r\n0,Berlin,"[""x"",null]"\r\n1,Paris,"[""x"",null]"\r\n2,Rome,"[""x"",null]"\r\n'
    arrow = pa.ipc.open_stream(ask(format="arrow").content).read_all()
    assert arrow.to_pydict() == {"id": [0, 1, 2], "city": CITIES[:3], "tags": [["x", None]] * 3}
    by_header = requests.post(
        f"{node.url}/sql",
        data=statement.encode(),
        headers={"content-type": "text/plain", "accept": "application/vnd.apache.arrow.stream"},
        timeout=10,
    )
    assert pa.ipc.open_stream(by_header.content).read_all() == arrow
    assert ask(format="xml").status_code == 400


def test_an_empty_answer_in_every_format(node, table):
    for form in ("json", "ndjson", "csv", "arrow", "parquet"):
        answer = requests.post(
            f"{node.url}/sql", json={"sql": "SELECT id, city FROM orders WHERE id < 0", "format": form}, timeout=10
        )
        assert answer.status_code == 200
        if form == "arrow":
            assert pa.ipc.open_stream(answer.content).read_all().num_rows == 0
        if form == "parquet":
            assert pq.read_table(io.BytesIO(answer.content)).column_names == ["id", "city"]
        if form == "csv":
            assert answer.text == "id,city\r\n"


def test_parameters(node, table):
    count = "SELECT count(*) FROM orders WHERE "
    cases = [
        ("id = $1", [5], 1),
        ("city = $1 OR city = $2", ["Rome", "it's"], 250),
        ("at >= CAST($1 AS TIMESTAMP)", ["2026-01-01T00:00:00.990Z"], 10),
        ("price = $1", [7.25], 1),
        ("score > $1 AND $2", [499.0, True], 1),
        ("$1 IS NULL", [None], 1000),
    ]
    for condition, parameters, expected in cases:
        assert node.sql(count + condition, parameters=parameters).value == expected, condition
    with pytest.raises(SqlError) as failed:
        node.sql(count + "id = $2", parameters=[1])
    assert failed.value.status == 400


def test_reads_its_own_writes(node, kafka, table, topic):
    """As soon as Kafka has acknowledged, a request with the delivered offsets sees the rows: every time."""
    producer = kafka.producer(linger_ms=0)
    base = node.sql("SELECT count(*) FROM orders").value
    for turn in range(20):
        offsets = kafka.produce(topic, [order(10_000 + turn)], partition=turn % 2, producer=producer)
        answer = node.sql("SELECT count(*) FROM orders", min_offsets={"orders": offsets})
        assert answer.value == base + turn + 1
        for partition, offset in offsets.items():
            assert answer.cut["orders"]["offsets"][str(partition)] >= offset


def test_offsets_that_do_not_come_end_at_the_deadline(node, table):
    started = time.monotonic()
    with pytest.raises(SqlError) as failed:
        node.sql("SELECT count(*) FROM orders", min_offsets={"orders": {"0": 10**9}}, deadline_ms=300)
    assert (failed.value.status, failed.value.kind) == (504, "deadline")
    assert 0.25 < time.monotonic() - started < 2


def test_a_deadline_ends_a_long_query(node):
    started = time.monotonic()
    with pytest.raises(SqlError) as failed:
        node.sql(ENDLESS, deadline_ms=400)
    assert failed.value.kind == "deadline" and time.monotonic() - started < 3


def test_a_row_cap_is_an_error(node, table):
    assert len(node.sql("SELECT id FROM orders LIMIT 10", rows_max=10).rows) == 10
    # Before the first rows are sent it is the status; later it stands at the end of the document.
    with pytest.raises(SqlError) as failed:
        node.sql("SELECT id FROM orders", rows_max=10)
    assert failed.value.kind == "rows_exceeded"
    with pytest.raises(SqlError) as failed:
        node.sql("SELECT id FROM orders ORDER BY id", rows_max=10)
    assert (failed.value.status, failed.value.kind) == (422, "rows_exceeded")
    assert "10" in failed.value.error["message"]


def test_memory_budget_is_named(node):
    with pytest.raises(SqlError) as failed:
        node.sql(
            "SELECT count(DISTINCT value || 'a long suffix to take memory'), array_agg(value) FROM range(30000000)",
            memory_bytes_max=4 << 20,
        )
    assert failed.value.kind == "memory_exceeded", failed.value
    assert "4194304" in failed.value.error["message"]
    assert node.sql("SELECT 1").value == 1


def test_explain(node, table):
    plan = "\n".join(str(row) for row in node.sql("EXPLAIN SELECT count(*) FROM orders WHERE city = 'Rome'").rows)
    assert "physical_plan" in plan
    analyzed = node.sql("EXPLAIN ANALYZE SELECT count(*) FROM orders WHERE city = 'Rome'").rows
    assert "output_rows" in str(analyzed)


def test_whole_sql(node, table):
    """Joins, windows, CTEs, set operations and subqueries over the open rows."""
    cases = [
        ("WITH c AS (SELECT city, count(*) n FROM orders WHERE id < 1000 GROUP BY city) SELECT sum(n) FROM c", [[1000]]),
        ("SELECT count(*) FROM orders a JOIN orders b ON a.id = b.id + 1 WHERE a.id < 1000", [[999]]),
        (
            "SELECT city FROM orders WHERE id < 1000 GROUP BY city EXCEPT SELECT 'Rome' ORDER BY city",
            [["Berlin"], ["Paris"], ["Zürich"]],
        ),
        (
            "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY city ORDER BY id DESC) r FROM orders WHERE id < 1000) "
            "WHERE r = 1 ORDER BY id",
            [[996], [997], [998], [999]],
        ),
        ("SELECT id FROM orders WHERE id = (SELECT max(id) FROM orders WHERE id < 1000)", [[999]]),
    ]
    for statement, expected in cases:
        assert node.sql(statement).rows == expected, statement


def test_errors_name_kind_place_and_nearest_name(node, table):
    with pytest.raises(SqlError) as failed:
        node.sql("SELECT id,\n       citty\nFROM orders")
    assert failed.value.status == 400 and failed.value.kind == "plan"
    assert failed.value.error["position"] == {"line": 2, "column": 8}
    assert failed.value.error["suggestion"] == "city"
    for statement, kind in [
        ("SELECT", "parse"),
        ("", "bad_request"),
        ("SELECT 1; SELECT 2", "bad_request"),
        ("SELECT * FROM nowhere", "unknown_table"),
        ("DROP TABLE orders", "not_read_only"),
        ("COPY orders TO '/tmp/x'", "not_read_only"),
        ("SELECT 1/0", "execution"),
        ("SELECT CAST('x' AS INT)", "execution"),
    ]:
        with pytest.raises(SqlError) as failed:
            node.sql(statement)
        assert failed.value.kind == kind, statement


@pytest.mark.parametrize(
    "request_of, status",
    [
        (lambda url: requests.post(f"{url}/sql", data="{", timeout=10), 400),
        (lambda url: requests.post(f"{url}/sql", json={"sql": "SELECT 1", "limit": 5}, timeout=10), 400),
        (lambda url: requests.post(f"{url}/sql", json={"sql": 5}, timeout=10), 400),
        (lambda url: requests.post(f"{url}/sql", json={"sql": "SELECT 1", "parameters": [{}]}, timeout=10), 400),
        (lambda url: requests.post(f"{url}/sql", data=b'{"sql": "\xff"}', timeout=10), 400),
        (lambda url: requests.get(f"{url}/sql", timeout=10), 400),
        (lambda url: requests.get(f"{url}/nowhere", timeout=10), 404),
        (lambda url: requests.get(f"{url}/tables/nowhere", timeout=10), 404),
        (lambda url: requests.post(f"{url}/tables/nowhere/seal", timeout=10), 404),
        (lambda url: requests.delete(f"{url}/tables/nowhere", timeout=10), 404),
        (lambda url: requests.delete(f"{url}/queries/nowhere", timeout=10), 404),
        (lambda url: requests.post(f"{url}/tables/orders/seal?partition=x", timeout=10), 400),
        (lambda url: requests.post(f"{url}/tables/orders/seal?partition=99", timeout=10), 404),
        (lambda url: requests.put(f"{url}/sql", timeout=10), 405),
        (lambda url: requests.post(f"{url}/sql", data="<x/>", headers={"content-type": "text/xml"}, timeout=10), 415),
        (lambda url: requests.post(f"{url}/sql", data=b"x" * (3 << 20), timeout=10), 413),
        (lambda url: requests.put(f"{url}/tables/big", data=b"x" * (3 << 20), timeout=10), 413),
        (lambda url: requests.post(f"{url}/sql", json={"sql": "SELECT " + "(" * 5000}, timeout=10), 400),
        (lambda url: requests.post(f"{url}/sql", json={"sql": "SELECT " + "+1" * 100_000}, timeout=10), 400),
    ],
)
def test_bad_requests(node, table, request_of, status):
    answer = request_of(node.url)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_health_readiness_metrics_page(node, table):
    assert requests.get(f"{node.url}/healthz", timeout=5).text == "ok"
    eventually(lambda: node.ready().status_code == 200, "ready")
    no_lag = 'headwater_partition_lag{table="orders",partition="1"} 0'
    # Of rows that have just come it is known a moment later that there are no more of them.
    metrics = eventually(lambda: no_lag in (seen := requests.get(f"{node.url}/metrics", timeout=5).text) and seen, "no lag")
    for name in (
        'headwater_partition_visible_offset{table="orders",partition="0"}',
        "headwater_ingest_memory_bytes",
        'headwater_queries_total{client="http",outcome="ok"}',
    ):
        assert name in metrics, name
    page = requests.get(f"{node.url}/", timeout=5)
    assert page.status_code == 200 and "text/html" in page.headers["content-type"]
    assert "http://" not in page.text.replace("http://www.w3.org", "").replace("http://127.0.0.1", "")


def test_information_schema(node, table):
    tables = node.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    assert ["orders"] in tables.rows
    columns = node.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'orders' ORDER BY ordinal_position")
    assert [row[0] for row in columns.rows][: len(COLUMNS)] == list(COLUMNS)
    system = node.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'system'").rows
    assert {"partitions", "segments", "queries", "gaps", "dead_letters"} <= {row[0] for row in system}


def find_query(node, text, state):
    listed = node.sql("SELECT id, sql, state FROM system.queries").dicts()
    return [query for query in listed if text in query["sql"] and query["state"] == state]


def test_a_client_that_goes_away_cancels_its_query(node):
    mark = unique("mark")
    body = json.dumps({"sql": f"{ENDLESS} -- {mark}"}).encode()
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        head = f"POST /sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        eventually(lambda: find_query(node, mark, "running"), "the query runs")
        left = time.monotonic()
    eventually(lambda: find_query(node, mark, "cancelled"), "the query is cancelled", within=2, every=0.01)
    assert time.monotonic() - left < 0.5


def test_a_client_that_stops_reading_in_the_middle_cancels_its_query(node):
    mark = unique("mark")
    query = urllib.parse.quote(f"SELECT value FROM range(100000000) -- {mark}")
    with requests.get(f"{node.url}/sql?q={query}&format=csv&rows_max=100000000", stream=True, timeout=10) as answer:
        chunks = answer.iter_content(1000)
        next(chunks)
        assert find_query(node, mark, "running")
    eventually(lambda: find_query(node, mark, "cancelled"), "the query is cancelled", within=10)


def test_cancel_by_id(node):
    mark = unique("mark")
    failures = []

    def ask():
        try:
            node.sql(f"{ENDLESS} -- {mark}")
        except SqlError as failed:
            failures.append(failed)

    asking = threading.Thread(target=ask)
    asking.start()
    query = eventually(lambda: find_query(node, mark, "running"), "the query runs")[0]
    assert requests.delete(f"{node.url}/queries/{query['id']}", timeout=5).status_code == 204
    asking.join(20)
    assert failures and failures[0].kind == "cancelled"


def test_a_query_is_followed_and_ended_by_the_identity_that_its_client_has_chosen(node, table):
    name = unique("mine")
    url = f"{node.url}/queries/{name}"
    failures = []

    def ask():
        try:
            node.sql(ENDLESS, query_id=name)
        except SqlError as failed:
            failures.append(failed)

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: requests.get(url, timeout=5).status_code == 200, "the query is known")
    eventually(lambda: requests.get(url, timeout=5).json()["state"] == "running", "the query runs")
    assert "plan" not in requests.get(url, timeout=5).json()
    assert "Join" in eventually(lambda: requests.get(f"{url}?plan=true", timeout=5).json().get("plan"), "it has a plan")
    with pytest.raises(SqlError) as second:
        node.sql("SELECT 1", query_id=name)
    assert (second.value.status, second.value.kind) == (409, "conflict")
    assert requests.delete(url, timeout=5).status_code == 204
    asking.join(20)
    assert failures and failures[0].kind == "cancelled" and requests.get(url, timeout=5).json()["state"] == "cancelled"

    node.sql("SELECT count(*) FROM orders", query_id=name)
    done = requests.get(url, timeout=5).json()
    assert done["state"] == "done" and done["segments_done"] == done["segments_total"] >= 2
    assert done["rows_scanned"] <= done["rows_total"] and done["rows_total"] >= 1000 and done["rows_returned"] == 1


def test_the_log_of_queries_and_of_slow_ones(own_node):
    # Nothing else takes so long, on a slow machine either.
    node = own_node(settings=["query.slow_ms=1000"])
    with pytest.raises(SqlError):
        node.sql(ENDLESS, deadline_ms=1500)
    node.sql("SELECT 1 AS quick")
    log = "SELECT * FROM system.query_log ORDER BY started_at"
    logged = eventually(lambda: len(seen := node.sql(log).dicts()) >= 2 and seen, "both are in the log")
    slow, quick = logged[0], logged[1]
    assert slow["state"] == "failed" and slow["duration_ms"] >= 1500 and "Join" in slow["plan"]
    assert quick["state"] == "done" and quick["plan"] is None and quick["rows_returned"] == 1
    assert {entry["user_name"] for entry in logged} == {"anonymous"} and {entry["client"] for entry in logged} == {"http"}
    assert node.log_text().count("slow query") == 1


# Uncompressed, the answer is larger than what the process may grow by.
MANY = 5_000_000
MANY_ROWS = f"""SELECT value AS id, 'order number ' || value || ', with a note that is not so short' AS note,
    value * 1.5 AS price FROM range({MANY})"""
GROWTH_BYTES_MAX = 256 << 20


@pytest.mark.parametrize("form", ["json", "ndjson", "csv", "csv+gzip", "arrow", "parquet"])
def test_an_answer_of_any_size_is_streamed_in_bounded_memory(own_node, tmp_path, form):
    node = own_node()
    process = pathlib.Path(f"/proc/{node.process.pid}")
    before = memory_bytes(process, "VmRSS")
    body = {"sql": MANY_ROWS, "format": form.split("+")[0], "rows_max": MANY, "deadline_ms": 600_000}
    headers = {"accept-encoding": "gzip" if form.endswith("gzip") else "identity"}
    answer = requests.post(f"{node.url}/sql", json=body, headers=headers, stream=True, timeout=600)
    path = tmp_path / "answer"
    with open(path, "wb") as file:
        while chunk := answer.raw.read(1 << 20):
            file.write(chunk)
    grown = memory_bytes(process, "VmHWM") - before
    assert grown < GROWTH_BYTES_MAX, f"{grown >> 20} MiB for an answer of {path.stat().st_size >> 20} MiB"
    if form in ("json", "ndjson", "csv", "arrow"):
        assert path.stat().st_size > GROWTH_BYTES_MAX
    assert rows_in(path, form) == MANY
    path.unlink()


def memory_bytes(process, name):
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


def rows_in(path, form):
    if form == "parquet":
        return pq.read_metadata(path).num_rows
    if form == "arrow":
        with pa.ipc.open_stream(path) as reader:
            return sum(batch.num_rows for batch in reader)
    if form == "json":
        with open(path, "rb") as file:
            file.seek(-2000, io.SEEK_END)
            return int(file.read().split(b'"row_count":')[1].split(b",")[0])
    opened = gzip.open(path) if form == "csv+gzip" else open(path, "rb")
    with opened as file:
        return sum(1 for _ in file) - form.startswith("csv")


def test_every_metric_is_documented(node, table):
    documented = (pathlib.Path(__file__).parents[3] / "deploy/prometheus/README.md").read_text()
    exposed = requests.get(f"{node.url}/metrics", timeout=5).text
    names = {line.split()[2] for line in exposed.splitlines() if line.startswith("# TYPE ")}
    assert len(names) > 25
    assert [name for name in sorted(names) if f"| `{name}` |" not in documented] == []
    assert exposed.count("# HELP ") == len(names)


def test_overload_is_429_and_health_still_answers(own_node):
    node = own_node(settings=["query.concurrent_max=1", "query.queue_max=1", "query.threads=1"])
    answers = []
    body = {"sql": ENDLESS, "deadline_ms": 3000}

    def ask():
        answers.append(requests.post(f"{node.url}/sql", json=body, timeout=20))

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    refused = eventually(lambda: [answer for answer in answers if answer.status_code == 429], "429", within=3)
    assert refused[0].headers["retry-after"] and refused[0].json()["error"]["kind"] == "overloaded"
    started = time.monotonic()
    assert requests.get(f"{node.url}/healthz", timeout=2).status_code == 200
    assert time.monotonic() - started < 0.5
    for thread in asking:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [429, 429, 504, 504]


def test_pages_of_other_sites_may_not_write(node, table):
    headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    answer = requests.post(f"{node.url}/tables/orders/pause", headers=headers, timeout=5)
    assert answer.status_code == 403
