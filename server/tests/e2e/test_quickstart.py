"""The first five minutes: a topic, `table infer`, `table apply`, `sql`, and what the commands say when it goes wrong."""

import csv
import io
import json
import re
import tomllib

import pytest
import yaml

from harness import cli, eventually, free_port, spec_of, unique

CITIES = ["Berlin", "Łódź", "São Paulo", "Zürich"]


def orders(count):
    return [
        {
            "id": number,
            "city": CITIES[number % len(CITIES)],
            "price": number / 4,
            "paid": number % 3 == 0,
            "created_at": f"2026-01-{1 + number % 28:02}T12:00:00.{number % 1000:03}Z",
            "customer": {"name": f"c{number % 7}", "vip": None},
            "tags": ["a", "b"][: number % 3],
        }
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def topic(kafka):
    topic = kafka.create(unique("orders"), partitions=2)
    kafka.produce(topic, orders(300), partition=0)
    kafka.produce(topic, orders(200), partition=1)
    return topic


@pytest.fixture(scope="module")
def table(node, kafka, topic, tmp_path_factory):
    """`infer > spec.yaml`, `apply -f spec.yaml`: nothing in between."""
    inferred = node.cli("table", "infer", "--brokers", kafka.brokers, "--topic", topic, "--table", "orders")
    assert inferred.returncode == 0, inferred.stderr
    spec = tmp_path_factory.mktemp("spec") / "spec.yaml"
    spec.write_text(inferred.stdout)
    applied = node.cli("table", "apply", "-f", spec)
    assert (applied.returncode, applied.stdout) == (0, "table orders: created\n"), applied.stderr
    node.wait_count("orders", 500)
    return spec


def test_inferred_spec_says_what_it_saw(table):
    text = table.read_text()
    columns = {column["name"]: column["type"] for column in yaml.safe_load(text)["columns"]}
    assert "#" in text
    assert columns["id"] == "LONG" and columns["city"] == "STRING" and columns["paid"] == "BOOLEAN"
    assert columns["price"] == "DOUBLE" and columns["created_at"].startswith("TIMESTAMP")
    assert columns["customer_name"] == "STRING" and columns["tags"] == "ARRAY<STRING>"


def test_sql_prints_table_csv_and_json(node, table):
    statement = "SELECT city, count(*) AS n FROM orders GROUP BY city ORDER BY city"
    expected = [["Berlin", 125], ["São Paulo", 125], ["Zürich", 125], ["Łódź", 125]]

    as_csv = node.cli("sql", "-c", statement)
    assert as_csv.returncode == 0, as_csv.stderr
    assert list(csv.reader(io.StringIO(as_csv.stdout))) == [["city", "n"], *([c, str(n)] for c, n in expected)]

    as_json = json.loads(node.cli("sql", "-f", "json", "-c", statement).stdout)
    assert as_json["rows"] == expected and as_json["row_count"] == 4
    assert [column["type"] for column in as_json["columns"]] == ["STRING", "LONG"]

    as_table = node.cli("sql", "-f", "table", "-c", statement).stdout
    assert "│ Zürich    │ 125 │" in as_table and as_table.startswith("┌")


def test_sql_reads_statements_from_standard_input(node, table):
    done = node.cli("sql", stdin="SELECT count(*) AS a FROM orders;\n-- a comment; with a semicolon\nSELECT ';' AS b;\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["a", "500", "b", ";"]


def test_explain_prints_a_plan(node, table):
    plan = node.cli("sql", "-f", "table", "-c", "EXPLAIN SELECT count(*) FROM orders WHERE id > 3").stdout
    assert "logical_plan" in plan and "physical_plan" in plan


def test_list_and_describe(node, kafka, topic, table):
    listed = node.cli("table", "list")
    assert listed.returncode == 0, listed.stderr
    line = next(line for line in listed.stdout.splitlines() if "orders" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[:3] == ["orders", "2", "500"]
    tables = json.loads(node.cli("table", "list", "--output", "json").stdout)["tables"]
    assert [(table["name"], table["offsets"]) for table in tables] == [("orders", 500)]

    described = node.cli("table", "describe", "orders")
    assert described.returncode == 0, described.stderr
    # What describe prints is a spec that applies unchanged; the partitions are a table below it.
    spec_text = described.stdout.split("\n# log version")[0]
    again = node.cli("table", "apply", "-f", "-", stdin=spec_text)
    assert again.stdout == "table orders: unchanged\n", again.stderr
    document = json.loads(node.cli("table", "describe", "orders", "--output", "json").stdout)
    assert document["spec"]["stream"]["topic"] == topic
    assert [partition["visible_offset"] for partition in document["partitions"]] == [300, 200]


def test_pause_resume_seal(node, kafka, topic, table):
    before = node.sql("SELECT count(*) FROM orders").value
    assert node.cli("table", "pause", "orders").stdout == "table orders: paused\n"
    eventually(lambda: {p["state"] for p in node.partitions("orders").values()} == {"paused"}, "paused")
    kafka.produce(topic, orders(10), partition=0)
    assert node.sql("SELECT count(*) FROM orders").value == before
    assert node.cli("table", "resume", "orders").returncode == 0
    node.wait_count("orders", before + 10)

    sealed = node.cli("table", "seal", "orders", "--partition", 0)
    assert sealed.returncode == 0, sealed.stderr
    assert re.match(r"partition 0: offsets 0 to 310, 310 rows, [\d.]+ KiB: data/", sealed.stdout), sealed.stdout
    assert node.cli("table", "seal", "orders", "--partition", 0).stdout == "table orders: nothing was open\n"
    states = node.sql("SELECT partition, state, rows FROM system.segments WHERE table_name = 'orders' AND rows > 0 ORDER BY 1")
    assert states.rows == [[0, "sealed", 310], [1, "open", 200]]
    assert node.sql("SELECT count(*) FROM orders").value == before + 10


def test_apply_changes_a_table(node, kafka, topic, table, tmp_path):
    spec = yaml.safe_load(table.read_text())
    spec["columns"].append({"name": "note", "type": "STRING"})
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(spec))
    applied = node.cli("table", "apply", "-f", changed)
    assert (applied.returncode, applied.stdout) == (0, "table orders: updated\n"), applied.stderr
    before = node.sql("SELECT count(*) FROM orders").value
    kafka.produce(topic, [{"id": 1, "note": "new"}])
    node.wait_count("orders", before + 1)
    assert node.sql("SELECT count(*), count(note) FROM orders").rows == [[before + 1, 1]]


def test_restart_keeps_everything(node, kafka, topic, table):
    question = "SELECT count(*), sum(id), count(DISTINCT city), count(note) FROM orders"
    before = node.sql(question).rows
    assert node.stop() == 0
    node.start()
    kafka.produce(topic, [{"id": 5}], partition=1)
    node.wait_count("orders", before[0][0] + 1)
    after = node.sql(question).rows
    assert after == [[before[0][0] + 1, before[0][1] + 5, *before[0][2:]]]


def test_drop_keeps_the_objects_and_purge_deletes_them(node, kafka, tmp_path_factory):
    topic = kafka.create(unique("dropped"))
    kafka.produce(topic, [{"id": number} for number in range(10)])
    spec = spec_of("dropped", kafka, topic, {"id": "LONG"})
    node.apply(spec)
    node.wait_count("dropped", 10)
    node.seal("dropped")
    objects = node.directory / "store" / "tables" / "dropped"
    assert node.cli("table", "drop", "dropped").returncode == 0
    assert list(objects.rglob("*.parquet"))
    gone = node.cli("sql", "-c", "SELECT * FROM dropped")
    assert gone.returncode == 4 and "there is no table dropped" in gone.stderr

    # Under the same name again, from the beginning of the topic; then with its objects.
    assert node.apply(spec) == "created"
    node.wait_count("dropped", 10)
    assert node.cli("table", "drop", "dropped", "--purge").returncode == 0
    # The log stays: it remembers the epoch, so that a zombie of the dropped table cannot write into its successor.
    assert {path.parent.name for path in objects.rglob("*") if path.is_file()} == {"_delta_log"}


def test_config_prints_what_counts(binary, tmp_path):
    file = tmp_path / "headwater.toml"
    file.write_text("[http]\nlisten = \"127.0.0.1:1234\"\n[query]\nthreads = 3\n")
    environment = {"HEADWATER_QUERY_THREADS": "5", "HEADWATER_QUERY_ROWS_DEFAULT": "77"}
    done = cli(binary, "config", "--config", file, "--set", "query.rows_default=88", env=environment)
    assert done.returncode == 0, done.stderr
    config = tomllib.loads(done.stdout)
    assert config["http"]["listen"] == "127.0.0.1:1234"
    assert config["query"]["threads"] == 5 and config["query"]["rows_default"] == 88
    # What is printed can be read again.
    file.write_text(done.stdout)
    assert cli(binary, "config", "--config", file, env={}).stdout == done.stdout


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["config", "--set", "query.thread=1"], "query.thread"),
        (["config", "--set", "query.threads=many"], "whole number"),
        (["config", "--listen", "0.0.0.0:8099"], "nobody is asked who they are"),
        (["config", "--config", "/nowhere/headwater.toml"], "/nowhere/headwater.toml"),
        (["start", "--listen", "127.0.0.1:0", "--store", "ftp://x/y"], "ftp://x/y"),
        (["start", "--listen", "127.0.0.1:0", "--store", "file:///proc/nowhere"], "/proc/nowhere"),
        (["table", "apply", "-f", "/nowhere/spec.yaml"], "/nowhere/spec.yaml"),
        (["table", "frobnicate"], "frobnicate"),
        (["sql", "--format", "xml", "-c", "SELECT 1"], "xml"),
    ],
)
def test_wrong_usage_is_exit_code_2(binary, arguments, says):
    done = cli(binary, *arguments, env={})
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert says in done.stderr and done.stdout == ""


def test_a_taken_port_is_said(binary, node, tmp_path):
    done = cli(binary, "start", "--listen", f"127.0.0.1:{node.port}", "--store", f"file://{tmp_path}/store", env={})
    assert done.returncode == 1 and f"127.0.0.1:{node.port}" in done.stderr and "--listen" in done.stderr


def test_no_server_is_exit_code_3(node):
    nobody = f"http://127.0.0.1:{free_port()}"
    for arguments in (["sql", "-c", "SELECT 1"], ["table", "list"], ["table", "seal", "orders"]):
        done = node.cli(*arguments, url=nobody)
        assert done.returncode == 3, done.stderr
        assert nobody in done.stderr and "headwater start" in done.stderr


def test_every_fault_of_a_spec_is_listed(node, tmp_path):
    spec = tmp_path / "bad.yaml"
    spec.write_text(
        "name: bad name\n"
        "columns:\n"
        "  - {name: a, type: INTT}\n"
        "  - {name: a, type: LONG, nullabel: true}\n"
        "time_column: nowhere\n"
        "stream: {brokers: 'kafka', topic: t, start: sometimes}\n"
        "seal: {rows_max: 0}\n"
    )
    done = node.cli("table", "apply", "-f", spec)
    assert done.returncode == 4
    places = ["name", "columns[0].type", "columns[1].name", "columns[1].nullabel", "time_column"]
    for place in [*places, "stream.brokers", "stream.start", "seal.rows_max"]:
        assert f"  {place}" in done.stderr, (place, done.stderr)

    # The server says the same to whoever asks it directly.
    import requests

    answer = requests.put(f"{node.url}/tables/bad", data=spec.read_text(), timeout=10)
    assert answer.status_code == 400
    assert len(answer.json()["error"]["faults"]) >= 8
    assert "bad" not in requests.get(f"{node.url}/tables", timeout=10).json()["tables"]


@pytest.mark.parametrize(
    "statement, code, says",
    [
        ("SELECT count(*) FROM ordrs", 4, ["there is no table ordrs", "line 1, column 22", "did you mean orders?"]),
        ("SELECT\n  citty FROM orders", 4, ["citty", "line 2, column 3", "did you mean city?"]),
        ("SELECT coutn(id) FROM orders", 4, ["there is no function coutn", "did you mean count?"]),
        ("SELEC 1", 4, ["line 1"]),
        ("DELETE FROM orders", 4, ["only SELECT"]),
        ("SELECT 1/0", 1, ["ivide by zero"]),
    ],
)
def test_a_bad_statement_has_its_exit_code(node, table, statement, code, says):
    done = node.cli("sql", "-c", statement)
    assert done.returncode == code and done.stdout == ""
    for part in says:
        assert part in done.stderr, done.stderr


def test_infer_says_why_it_cannot(node, kafka):
    empty = kafka.create(unique("empty"))
    done = node.cli("table", "infer", "--brokers", kafka.brokers, "--topic", empty)
    assert done.returncode == 1 and "no messages" in done.stderr
    done = node.cli("table", "infer", "--brokers", kafka.brokers, "--topic", "nowhere_at_all")
    assert done.returncode == 4 and "nowhere_at_all" in done.stderr and "does not exist" in done.stderr
