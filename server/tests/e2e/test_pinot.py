"""Pinot's own clients against the running binary: pinotdb's DB-API and its SQLAlchemy dialect, and the raw answers."""

import datetime
import decimal

import pinotdb
import pytest
import requests
import sqlalchemy as sa

from harness import spec_of, unique

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


def ride(number):
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
        "uid": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
        "tags": ["x", "y"],
        "nums": [1, 2],
    }


@pytest.fixture(scope="module")
def table(node, kafka):
    topic = kafka.create(unique("rides"))
    node.apply(spec_of("rides", kafka, topic, COLUMNS, time_column="at"))
    kafka.produce(topic, [ride(number) for number in range(100)] + [{"id": 100}])
    node.wait_count("rides", 101)
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
    # The client's way with a BIG_DECIMAL: the JSON text of the string that Pinot sends.
    assert decimal.Decimal(row.pop("price").strip('"')) == decimal.Decimal("8.25")
    at = row.pop("at")
    assert at == datetime.datetime(2026, 1, 1, 0, 0, 8, 250_000, at.tzinfo)
    doc = row.pop("doc")
    assert doc in ('{"a": [1, null]}', {"a": [1, None]})
    assert row == {
        "id": 8,
        "small": 8,
        "city": "Berlin",
        "score": 4.0,
        "ratio": 0.5,
        "paid": True,
        "uid": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "tags": ["x", "y"],
        "nums": [1, 2],
    }
    cursor.execute("SELECT city, price, at FROM rides WHERE id = 100")
    assert cursor.fetchone() == [None, None, None]


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
    assert isinstance(columns["at"], sa.TIMESTAMP)


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
    assert types | {"day": None} == {
        "id": "LONG",
        "price": "BIG_DECIMAL",
        "at": "TIMESTAMP",
        "raw": "BYTES",
        "doc": "JSON",
        "day": None,
        "uid": "STRING",
        "tags": "STRING_ARRAY",
        "paid": "BOOLEAN",
    }
    row = dict(zip(result["dataSchema"]["columnNames"], result["rows"][0]))
    assert row["price"] == "3.25" and row["at"] == "2026-01-01 00:00:03.25" and row["raw"] == "00ff"
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
    ],
)
def test_statements_as_clients_send_them(node, table, statement):
    document = ask(node, statement, queryOptions="groupByMode=sql;responseFormat=sql", trace=False).json()
    assert document["exceptions"] == [] and document["resultTable"]["rows"] == [[101]]


def test_grafana_groups_by_time(node, table):
    statement = (
        "SELECT DATETIMECONVERT(\"at\", '1:MILLISECONDS:TIMESTAMP', '1:MILLISECONDS:EPOCH', '1:MINUTES') AS 'time', "
        "count(*) AS 'metric' FROM rides WHERE id < 100 GROUP BY 1 ORDER BY 1 DESC LIMIT 10;\nSET timeoutMs=1000;"
    )
    document = ask(node, statement).json()
    if document["exceptions"]:
        pytest.skip(f"DATETIMECONVERT is not there yet: {document['exceptions'][0]['message']}")
    assert [row[1] for row in document["resultTable"]["rows"]] == [40, 60]


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
    assert requests.post(f"{node.url}/query/sql", json={"query": "SELECT 1"}, timeout=5).status_code == 400
    got = requests.get(f"{node.url}/query/sql", params={"sql": "SELECT count(*) FROM rides"}, timeout=5)
    assert got.json()["resultTable"]["rows"] == [[101]]


def test_metadata_reads(node, table):
    get = lambda path: requests.get(f"{node.url}{path}", timeout=5)
    assert get("/health").text == "OK"
    assert get("/tables").json() == {"tables": ["rides"]}
    assert get("/tables/rides").json()["REALTIME"]["tableType"] == "REALTIME"
    assert get("/tables/rides/metadata").json()["numRows"] == 101
    schema = get("/tables/rides/schema").json()
    fields = {field["name"]: field for kind in ("dimensionFieldSpecs", "metricFieldSpecs") for field in schema[kind]}
    assert fields["city"]["dataType"] == "STRING" and fields["price"]["dataType"] == "BIG_DECIMAL"
    assert schema["dateTimeFieldSpecs"][0]["name"] == "at" and schema["dateTimeFieldSpecs"][0]["format"]
    brokers = get("/v2/brokers/tables").json()["rides"]
    assert (brokers[0]["host"], brokers[0]["port"]) == ("127.0.0.1", node.port)
    assert get("/tables/nowhere/schema").status_code == 404
