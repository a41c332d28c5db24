"""Pinot's own clients against the running binary: pinotdb's DB-API and its SQLAlchemy dialect, and the raw answers."""

import datetime
import json
import pathlib

import pinotdb
import pytest
import requests
import sqlalchemy as sa
import yaml

from harness import unique
from rides import COLUMNS, fill, ride


@pytest.fixture(scope="module")
def table(node, kafka):
    fill(node, kafka, [ride(number) for number in range(100)] + [{"id": 100}])
    return "rides"


@pytest.fixture(scope="module")
def connection(node, table):
    return pinotdb.connect(host="127.0.0.1", port=node.port, path="/query/sql", scheme="http")


@pytest.fixture(scope="module")
def engine(node, table):
    address = f"127.0.0.1:{node.port}"
    made = sa.create_engine(f"pinot://{address}/query/sql?controller=http://{address}/")
    yield made
    made.dispose()


def ask(node, sql, headers=None, **body):
    return requests.post(f"{node.url}/query/sql", json={"sql": sql, **body}, headers=headers, timeout=20)


def test_db_api(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT city, count(*) AS n FROM rides WHERE id < 100 GROUP BY city ORDER BY city")
    assert cursor.fetchall() == [["Berlin", 50], ["Rome", 50]]
    assert [column[0] for column in cursor.description] == ["city", "n"]


def test_db_api_parameters(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM rides WHERE city = %(city)s AND id < %(top)s ORDER BY id", {"city": "Rome", "top": 4})
    assert cursor.fetchall() == [[1], [3]]
    cursor.execute("SELECT count(*) FROM rides WHERE city = %(city)s", {"city": "it's; DROP TABLE rides"})
    assert cursor.fetchone() == [0]


def test_db_api_types(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT id, small, city, price, score, ratio, paid, at, doc, uid, tags, nums FROM rides WHERE id = 8")
    row = dict(zip([column[0] for column in cursor.description], cursor.fetchone()))
    at = row.pop("at")
    assert at == datetime.datetime(2026, 1, 1, 0, 0, 8, 250_000, at.tzinfo)
    doc = row.pop("doc")
    assert doc in ('{"a": [1, null]}', {"a": [1, None]})
    assert row == {
        "id": 8,
        "small": 8,
        "city": "Berlin",
        "price": 8.25,
        "score": 4.0,
        "ratio": 0.5,
        "paid": True,
        "uid": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "tags": ["x", "y"],
        "nums": [1, 2],
    }
    cursor.execute("SELECT city, price, at, day FROM rides WHERE id = 100")
    assert cursor.fetchone() == [None, None, None, None]
    # Decimals are numbers, a column's as well as computed ones; a date is the instant at which it begins.
    cursor.execute("SELECT sum(price), avg(price), min(price), max(day), 1 FROM rides WHERE id < 4")
    assert [column[0] for column in cursor.description] == ["sum(price)", "avg(price)", "min(price)", "max(day)", "1"]
    total, average, least, day, one = cursor.fetchone()
    assert (total, average, least, one) == (7.0, 1.75, 0.25, 1)
    assert day == datetime.datetime(2026, 1, 2, tzinfo=day.tzinfo)


def test_db_api_errors(connection):
    cursor = connection.cursor()
    with pytest.raises(pinotdb.exceptions.DatabaseError, match="no table nowhere"):
        cursor.execute("SELECT * FROM nowhere")
    with pytest.raises(pinotdb.exceptions.DatabaseError, match="citty"):
        cursor.execute("SELECT citty FROM rides")


def test_dialect_lists_tables_and_columns(engine):
    inspector = sa.inspect(engine)
    assert "rides" in inspector.get_table_names()
    assert inspector.has_table("rides") and not inspector.has_table("nowhere")
    columns = {column["name"]: column["type"] for column in inspector.get_columns("rides")}
    assert set(columns) == set(COLUMNS)
    assert isinstance(columns["id"], sa.BigInteger) and isinstance(columns["city"], sa.String)
    assert isinstance(columns["at"], sa.TIMESTAMP) and isinstance(columns["day"], sa.TIMESTAMP)


def test_dialect_queries(engine, table):
    rides = sa.Table("rides", sa.MetaData(), autoload_with=engine)
    statement = (
        sa.select(rides.c.city, sa.func.count().label("n"))
        .where(rides.c.id.between(10, 19))
        .group_by(rides.c.city)
        .order_by(rides.c.city)
        .limit(10)
    )
    with engine.connect() as connected:
        assert [tuple(row) for row in connected.execute(statement)] == [("Berlin", 5), ("Rome", 5)]
        # What Superset sends for a chart over time.
        chart = sa.text(
            "SELECT DATETRUNC('minute', at) AS __timestamp, count(*) AS \"COUNT(*)\" FROM rides WHERE id < 100 "
            "GROUP BY 1 ORDER BY 1 LIMIT 50000"
        )
        assert [row[1] for row in connected.execute(chart)] == [60, 40]
        counted = connected.execute(sa.text("SELECT count(*) FROM rides WHERE city = :city"), {"city": "Rome"})
        assert counted.scalar() == 50


def test_raw_answer(node, table):
    answer = ask(node, "SELECT id, price, at, raw, doc, day, uid, tags, paid FROM rides WHERE id = 3;")
    assert answer.status_code == 200 and answer.headers["x-pinot-error-code"] == "-1"
    document = answer.json()
    result = document["resultTable"]
    types = dict(zip(result["dataSchema"]["columnNames"], result["dataSchema"]["columnDataTypes"]))
    assert types == {
        "id": "LONG",
        "price": "DOUBLE",
        "at": "TIMESTAMP",
        "raw": "BYTES",
        "doc": "JSON",
        "day": "TIMESTAMP",
        "uid": "STRING",
        "tags": "STRING_ARRAY",
        "paid": "BOOLEAN",
    }
    row = dict(zip(result["dataSchema"]["columnNames"], result["rows"][0]))
    assert row["price"] == 3.25 and row["day"] == "2026-01-02 00:00:00.0" and row["at"] == "2026-01-01 00:00:03.25" and row["raw"] == "00ff"
    assert row["doc"] == '{"a": [1, null]}' and row["tags"] == ["x", "y"] and row["paid"] is False
    assert document["exceptions"] == []
    for field in ("numServersQueried", "numServersResponded"):
        assert document[field] == 1
    assert document["totalDocs"] == 101 and document["numConsumingSegmentsQueried"] == 1
    assert isinstance(document["requestId"], str) and document["numGroupsLimitReached"] is False


@pytest.mark.parametrize(
    "statement",
    [
        "SET timeoutMs=5000; SELECT count(*) FROM rides",
        "SELECT count(*) FROM rides;\nSET useMultistageEngine=true;\nSET timeoutMs=5000;",
        "SELECT count(*) AS 'n' FROM rides LIMIT 10;",
        "SELECT DISTINCT count(*) FROM rides",
        'SELECT COUNT("*") FROM rides',
        'SELECT count(*) FROM "default".rides',
        "SELECT count(default.rides.id) FROM default.rides",
        "SELECT count(*) FROM rides_REALTIME",
        'SELECT count(*) FROM "rides_OFFLINE" LIMIT 10 OPTION(timeoutMs=5000, preserveType=\'true\')',
    ],
)
def test_statements_as_clients_send_them(node, table, statement):
    document = ask(node, statement, queryOptions="groupByMode=sql;responseFormat=sql", trace=False).json()
    assert document["exceptions"] == [] and document["resultTable"]["rows"] == [[101]]


def test_explain_and_names_as_written(node, table):
    plan = ask(node, "EXPLAIN PLAN FOR SELECT city FROM rides").json()
    assert plan["exceptions"] == [] and plan["resultTable"]["rows"]
    for statement, name in [
        ("SELECT avg(score) FROM rides", "avg(score)"),
        ("SELECT max(r.score) - 1 FROM rides AS r", "max(score) - 1"),
        ("SELECT avg(score) AS 'avg(rides.score)' FROM rides", "avg(rides.score)"),
        ("SELECT 'x' FROM rides LIMIT 1", "'x'"),
    ]:
        assert ask(node, statement).json()["resultTable"]["dataSchema"]["columnNames"] == [name]
    # The position is the one in the client's text.
    failed = ask(node, 'SELECT 1\nFROM "default".nowhere OPTION(timeoutMs=5000)').json()["exceptions"][0]
    assert failed["errorCode"] == 190 and "(line 2, column 16)" in failed["message"]


GRAFANA_OPTIONS = "\nSET timeoutMs=30000;\nSET useMultistageEngine=false;"
# The range of a panel, as the plugin's $__timeFilter writes it: milliseconds, whatever the column's type.
GRAFANA_RANGE = '"at" >= 1767225600000 AND "at" < 1767225700000'


def grafana(node, statement):
    """A request with the plugin's body and headers; returns the rows as dictionaries."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    document = ask(node, statement + GRAFANA_OPTIONS, headers=headers, queryOptions="", trace=False).json()
    assert document["exceptions"] == [], document["exceptions"]
    result = document["resultTable"]
    return [dict(zip(result["dataSchema"]["columnNames"], row)) for row in result["rows"]]


@pytest.mark.parametrize(
    "bucket",
    [
        "DATETIMECONVERT(\"at\", '1:MILLISECONDS:TIMESTAMP', '1:MILLISECONDS:EPOCH', '1:MINUTES')",
        "DATETIMECONVERT(\"at\", '1:MILLISECONDS:EPOCH', '1:MILLISECONDS:EPOCH', '1:MINUTES')",
        "DATETRUNC('MINUTE', \"at\", 'MILLISECONDS')",
        "DATETRUNC('MINUTE', \"at\", 'MILLISECONDS', 'UTC', 'MILLISECONDS')",
    ],
)
def test_grafana_time_series(node, table, bucket):
    rows = grafana(
        node,
        f"SELECT\n    \"city\",\n    {bucket} AS 'time',\n    SUM(\"score\") AS 'metric'\nFROM\n    \"rides\"\n"
        f"WHERE\n    {GRAFANA_RANGE}\nGROUP BY\n    \"city\",\n    {bucket}\nORDER BY\n    'time' DESC\nLIMIT 100000;",
    )
    expected = {}
    for ride_made in map(ride, range(100)):
        key = (ride_made["city"], ride_made["at"] // 60_000 * 60_000)
        expected[key] = expected.get(key, 0) + ride_made["score"]
    assert {(row["city"], row["time"]): row["metric"] for row in rows} == expected


@pytest.mark.parametrize(
    "aggregate, value",
    [
        ("COUNT(*)", 100),
        ('COUNT("*")', 100),
        ("SUM(\"price\")", 4975.0),
        ("COUNT(\"id\")", 100),
        ("AVG(\"small\")", 49.5),
        ("MIN(\"id\")", 0),
        ("DISTINCTCOUNT(\"city\")", 2),
        ("DISTINCTCOUNTBITMAP(\"small\")", 100),
        ("DISTINCTCOUNTHLL(\"city\")", 2),
        ("PERCENTILE(\"id\", 50)", 49.5),
        ("PERCENTILETDIGEST95(\"id\")", pytest.approx(94.5, abs=1)),
        ("MINMAXRANGE(\"id\")", 99),
        ("SUM(\"paid\")", 50),
        ("AVG(\"paid\")", 0.5),
        ("SUMPRECISION(\"price\")", 4975.0),
        ("LASTWITHTIME(\"city\", \"at\", 'STRING')", "Rome"),
    ],
)
def test_grafana_aggregates(node, table, aggregate, value):
    rows = grafana(node, f"SELECT {aggregate} AS 'metric' FROM \"rides\" WHERE {GRAFANA_RANGE} LIMIT 1;")
    assert rows == [{"metric": value}]


def test_grafana_variables_and_tables(node, table):
    assert grafana(node, "SELECT DISTINCT \"city\" FROM \"rides\" WHERE \"city\" IS NOT NULL ORDER BY \"city\" ASC LIMIT 100;") == [
        {"city": "Berlin"},
        {"city": "Rome"},
    ]
    rows = grafana(
        node,
        f"SELECT \"at\", \"city\", JSONEXTRACTSCALAR(\"doc\", '$.a[0]', 'LONG') AS 'first' FROM \"rides\" "
        f"WHERE {GRAFANA_RANGE} AND \"city\" = 'Rome' ORDER BY \"at\" DESC LIMIT 1;",
    )
    assert rows == [{"at": "2026-01-01 00:01:39.25", "city": "Rome", "first": 1}]
    assert grafana(node, "SELECT COUNT(*) AS 'n' FROM \"rides\" WHERE \"at\" > AGO('P3650D') LIMIT 1;") == [{"n": 100}]


@pytest.mark.parametrize(
    "condition, count",
    [
        # BYTES are hex, in a filter of the builder as in the answer that its value was taken from.
        ("(\"raw\" = '00ff')", 100),
        ("(\"raw\" = '00' OR \"raw\" = '00ff')", 100),
        ("(\"raw\" != '00ff')", 0),
        ("\"raw\" IN ('00', '00ff')", 100),
        # Of an array any element, or none where one is excluded.
        ("(\"tags\" = 'x')", 100),
        ("(\"tags\" = 'z')", 0),
        ("(\"tags\" != 'x')", 0),
        ("(\"tags\" != 'z')", 100),
        ("(\"tags\" like 'y%')", 100),
        ("(not \"tags\" like 'y%')", 0),
        ("\"tags\" IN ('y', 'z')", 100),
        ("\"tags\" NOT IN ('y', 'z')", 0),
        ("(\"nums\" >= 2)", 100),
        ("(\"nums\" > 2)", 0),
        ("(\"doc\"['a'] = '[1, null]')", 100),
        ("JSON_MATCH(\"doc\", '\"$.a[0]\" = 1')", 100),
        ("TEXT_MATCH(\"city\", 'rome OR paris')", 50),
    ],
)
def test_grafana_filters(node, table, condition, count):
    statement = f"SELECT COUNT(*) AS 'n' FROM \"rides\" WHERE {GRAFANA_RANGE} AND {condition} LIMIT 1;"
    assert grafana(node, statement) == [{"n": count}]
    assert grafana(node, statement) == [{"n": count}]


def test_a_statement_means_what_its_door_says(node, table):
    """The plan of a statement is kept, and must not be taken for what it means at another door."""
    statement = "SELECT count(*) FROM rides WHERE raw = '00ff'"
    for _ in range(2):
        assert ask(node, statement).json()["resultTable"]["rows"] == [[100]]
        plain = requests.post(f"{node.url}/sql", json={"sql": statement}, timeout=20).json()
        assert plain["rows"] == [[0]]
    refused = ask(node, "SELECT count(*) FROM rides WHERE raw = 'berlin'").json()["exceptions"][0]
    assert "hex" in refused["message"] and "'00ff'" in refused["message"]


def test_grafana_logs(node, table):
    """The logs builder: a line, columns beside it, a key of a document, and a value taken from that key."""
    rows = grafana(
        node,
        "SELECT\n    \"city\" AS 'message',\n    \"doc\"['a'] AS 'doc[a]',\n"
        "    JSONEXTRACTSCALAR(\"doc\"['a'], '$[0]', 'LONG', 0) AS 'first',\n"
        "    REGEXPEXTRACT(\"city\", '^(.)', 1, '') AS 'letter',\n    \"at\"\n"
        f"FROM \"rides\"\nWHERE \"city\" IS NOT NULL\n    AND {GRAFANA_RANGE}\n    AND (\"doc\"['a'] like '[1%')\n"
        "ORDER BY\n    \"at\" ASC,\n    \"message\" ASC\nLIMIT 1;",
    )
    assert rows == [{"message": "Berlin", "doc[a]": "[1, null]", "first": 1, "letter": "B", "at": "2026-01-01 00:00:00.25"}]


def test_grafana_long_as_time(node, table):
    """Macros over a LONG: milliseconds, or the unit that the statement says."""
    for bucket, expected in [
        ("DATETIMECONVERT(\"id\", '1:MILLISECONDS:EPOCH', '1:MILLISECONDS:EPOCH', '10:MILLISECONDS')", 10),
        ("DATETIMECONVERT(\"id\", '1:MICROSECONDS:EPOCH', '1:MILLISECONDS:EPOCH', '1:NANOSECONDS')", 0),
        ("DATE_TRUNC('MILLISECOND', \"id\")", 19),
        ("DATETRUNC('DAY', \"id\", 'MICROSECONDS')", 0),
    ]:
        rows = grafana(
            node,
            f"SELECT {bucket} AS \"time\", COUNT(\"*\") AS \"metric\" FROM \"rides\" WHERE \"id\" >= 0 AND \"id\" < 20 "
            f"GROUP BY {bucket} ORDER BY \"time\" DESC LIMIT 1000;",
        )
        assert rows[0]["time"] == expected and sum(row["metric"] for row in rows) == 20


def test_grafana_dashboard_of_deploy(node, kafka):
    """Every query of deploy/grafana over the table and the rows of deploy/example, with the plugin's macros expanded."""
    deploy = pathlib.Path(__file__).parents[3] / "deploy"
    spec = yaml.safe_load((deploy / "example/orders.yaml").read_text())
    topic = kafka.create(unique("orders"))
    node.apply({**spec, "stream": {"brokers": [kafka.brokers], "topic": topic}})
    rows = [json.loads(line) for line in (deploy / "example/orders.ndjson").read_text().splitlines()]
    kafka.produce(topic, rows)
    node.wait_count("orders", len(rows))
    bucket = "DATETIMECONVERT(\"at\", '1:MILLISECONDS:TIMESTAMP', '1:MILLISECONDS:EPOCH', '1:SECONDS')"
    macros = {
        '$__timeGroup("at")': bucket,
        "$__timeAlias()": "'time'",
        "$__metricAlias()": "'metric'",
        "$__table()": '"orders"',
        '$__timeFilter("at")': '"at" >= 1700000000000 AND "at" < 1900000000000',
    }
    panels = json.loads((deploy / "grafana/dashboards/orders.json").read_text())["panels"]
    assert len(panels) == 5
    for panel in panels:
        statement = panel["targets"][0]["pinotQlCode"]
        for macro, expanded in macros.items():
            statement = statement.replace(macro, expanded)
        assert "$" not in statement
        answered = grafana(node, statement + ";")
        assert answered, panel["title"]
        if panel["title"] == "Orders":
            assert sum(row["metric"] for row in answered) == len(rows)


# Superset's expressions for its time grains, for a column whose type is TIMESTAMP.
SUPERSET_GRAINS = {
    "second": "CAST(DATE_TRUNC('second', CAST(at AS TIMESTAMP)) AS TIMESTAMP)",
    "minute": "CAST(DATE_TRUNC('minute', CAST(at AS TIMESTAMP)) AS TIMESTAMP)",
    "5 minutes": "CAST(ROUND(DATE_TRUNC('minute', CAST(at AS TIMESTAMP)), 300000) AS TIMESTAMP)",
    "hour": "CAST(DATE_TRUNC('hour', CAST(at AS TIMESTAMP)) AS TIMESTAMP)",
    "day": "CAST(DATE_TRUNC('day', CAST(at AS TIMESTAMP)) AS TIMESTAMP)",
    "week": "CAST(DATE_TRUNC('week', CAST(at AS TIMESTAMP)) AS TIMESTAMP)",
    "month": "CAST(DATE_TRUNC('month', CAST(at AS TIMESTAMP)) AS TIMESTAMP)",
}


@pytest.mark.parametrize("grain, groups", list(zip(SUPERSET_GRAINS, [100, 2, 1, 1, 1, 1, 1])))
def test_superset_chart(engine, table, grain, groups):
    time = sa.literal_column(SUPERSET_GRAINS[grain], sa.TIMESTAMP)
    virtual = sa.text("SELECT * FROM rides WHERE id < 1000").columns().alias("virtual_table")
    statement = (
        sa.select(time.label("__timestamp"), sa.column("city").label("city"), sa.literal_column("COUNT(*)").label("count"))
        .select_from(virtual)
        .where(sa.text("at >= CAST('2026-01-01 00:00:00' AS TIMESTAMP) AND at < CAST('2026-01-02 00:00:00' AS TIMESTAMP)"))
        .group_by(time, sa.column("city"))
        .order_by(sa.literal_column("COUNT(*)").desc())
        .limit(10000)
    )
    with engine.connect() as connected:
        rows = connected.execute(statement).all()
    assert sum(row[2] for row in rows) == 100
    assert len({row[0] for row in rows}) == groups


def test_superset_probes(engine, connection, table):
    """What its SQL Lab and its dataset editor send: a virtual table with a limit of its own, and columns without rows."""
    cursor = connection.cursor()
    cursor.execute("SELECT * FROM (SELECT city, count(*) AS n FROM rides GROUP BY city) AS virtual_table LIMIT 1001")
    assert [column[0] for column in cursor.description] == ["city", "n"] and len(cursor.fetchall()) == 3
    cursor.execute("SELECT id, at, score FROM rides LIMIT 1")
    assert [column[0] for column in cursor.description] == ["id", "at", "score"]
    cursor.execute("SELECT * FROM (SELECT id FROM rides) AS virtual_table WHERE id < 0 LIMIT 1")
    assert cursor.fetchall() == []
    with engine.connect() as connected:
        found = connected.execute(sa.text("SELECT min(at), max(at) FROM rides WHERE city IN ('Rome', 'Berlin')")).one()
        assert str(found[1]).startswith("2026-01-01 00:01:39.25")


@pytest.mark.parametrize(
    "statement, code",
    [("SELEC 1", 150), ("SELECT * FROM nowhere", 190), ("SELECT citty FROM rides", 710), ("SELECT 1/0", 200)],
)
def test_a_failing_query_is_http_200_unless_asked(node, table, statement, code):
    answer = ask(node, statement)
    assert answer.status_code == 200 and answer.headers["x-pinot-error-code"] == str(code)
    document = answer.json()
    assert document["exceptions"][0]["errorCode"] == code and "resultTable" not in document
    strict = ask(node, statement, headers={"Pinot-Use-Http-Status-For-Errors": "true"})
    assert strict.status_code in (400, 422)


def test_bad_requests_and_get(node, table):
    assert requests.post(f"{node.url}/query/sql", data="{", timeout=5).status_code == 400
    refused = requests.post(f"{node.url}/query/sql", json={"query": "SELECT 1"}, timeout=5)
    assert refused.status_code == 400 and refused.json()["exceptions"][0]["errorCode"] == 700
    assert (refused.json()["numServersQueried"], refused.json()["numServersResponded"]) == (0, 0)
    got = requests.get(f"{node.url}/query/sql", params={"sql": "SELECT count(*) FROM rides"}, timeout=5)
    assert got.json()["resultTable"]["rows"] == [[101]]


def test_metadata_reads(node, table):
    get = lambda path: requests.get(f"{node.url}{path}", timeout=5)
    assert get("/health").text == "OK"
    assert "rides" in get("/tables").json()["tables"]
    for name in ("rides", "rides_REALTIME", "rides_OFFLINE"):
        document = get(f"/tables/{name}").json()
        assert document["REALTIME"]["tableType"] == "REALTIME" and document["table"]["name"] == "rides"
        # Grafana reads a map to objects.
        assert all(isinstance(value, dict) for value in document.values())
        assert get(f"/tables/{name}/metadata").json()["numRows"] == 101
    schema = get("/tables/rides/schema").json()
    fields = {field["name"]: field for kind in ("dimensionFieldSpecs", "metricFieldSpecs") for field in schema[kind]}
    assert fields["city"]["dataType"] == "STRING" and fields["price"]["dataType"] == "DOUBLE"
    times = {field["name"]: (field["dataType"], field["format"], field["granularity"]) for field in schema["dateTimeFieldSpecs"]}
    assert times == {"at": ("TIMESTAMP", "TIMESTAMP", "1:MILLISECONDS"), "day": ("TIMESTAMP", "TIMESTAMP", "1:DAYS")}
    for brokers in (get("/v2/brokers/tables").json()["rides"], get("/v2/brokers/tenants/DefaultTenant").json()):
        assert [(broker["host"], broker["port"]) for broker in brokers] == [("127.0.0.1", node.port)]
        assert brokers[0]["instanceName"]
    assert get("/tables/nowhere/schema").status_code == 404
