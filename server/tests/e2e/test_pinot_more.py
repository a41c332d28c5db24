"""What else Pinot's clients send: the path of its other engine, NULL for clients that know none, names of casts, instants as numbers."""

import pinotdb
import pytest
import requests

from rides import columns, fill

COLUMNS = {**columns("id", "city", "score", "paid", "at"), "exact": "TIMESTAMP(6)", **columns("tags", "doc")}
START_MS = 1_767_226_200_000


def ride(number):
    return {
        "id": number,
        "city": ["Berlin", "Rome"][number % 2],
        "score": number / 4,
        "paid": number % 2 == 0,
        "at": START_MS + number,
        # One microsecond into the millisecond.
        "exact": f"2026-01-01T00:10:00.{number:03}001Z",
        "tags": ["x"],
        "doc": {"deep": {"a": [number, None, "7"]}, "flag": number, "items": [{"n": 1}, {"n": 2}]},
    }


@pytest.fixture(scope="module")
def table(node, kafka):
    fill(node, kafka, [ride(number) for number in range(200)] + [{"id": 200}], "more", COLUMNS)
    return "more"


def ask(node, sql, path="/query/sql"):
    document = requests.post(f"{node.url}{path}", json={"sql": sql}, timeout=20).json()
    assert document["exceptions"] == [], document["exceptions"]
    return document["resultTable"]


def rows(node, sql):
    return ask(node, sql)["rows"]


def test_the_path_of_the_multi_stage_engine(node, table):
    statement = "SET useMultistageEngine=true;\nselect count(*) from more"
    assert ask(node, statement, path="/query")["rows"] == [[201]]
    got = requests.get(f"{node.url}/query", params={"sql": statement}, timeout=5)
    assert got.json()["resultTable"]["rows"] == [[201]]
    connection = pinotdb.connect(host="127.0.0.1", port=node.port, path="/query", scheme="http", use_multistage_engine=True)
    cursor = connection.cursor()
    cursor.execute("SELECT city, count(*) FROM more WHERE city IS NOT NULL GROUP BY city ORDER BY city")
    assert cursor.fetchall() == [["Berlin", 100], ["Rome", 100]]
    failed = requests.post(f"{node.url}/query", json={"sql": "SELECT citty FROM more"}, timeout=5)
    assert failed.status_code == 200 and failed.headers["x-pinot-error-code"] == "710"


def test_databases_and_sizes(node, table):
    assert requests.get(f"{node.url}/databases", timeout=5).json() == ["default"]
    assert requests.get(f"{node.url}/tables/more/metadata", timeout=5).json()["tableName"] == "more_REALTIME"


def test_null_for_clients_that_know_none(node, table):
    statement = "SELECT city, score, paid, at, tags, doc, id FROM more WHERE id = 200"
    assert rows(node, statement) == [[None, None, None, None, None, None, 200]]
    assert rows(node, "SET enableNullHandling=true; " + statement) == [[None, None, None, None, None, None, 200]]
    # As Grafana's plugin writes the query options of a panel.
    placeholders = [["null", 0, False, "1970-01-01 00:00:00.0", [], "null", 200]]
    assert rows(node, statement + ";\nSET timeoutMs=30000;\nSET enableNullHandling=false;") == placeholders
    counts = "SELECT city, sum(score), count(*) FROM more GROUP BY city ORDER BY city;\nSET enableNullHandling=false;"
    assert rows(node, counts)[-1] == ["null", 0, 1]
    # What is asked is asked of the values that there are.
    assert rows(node, "SELECT count(*) FROM more WHERE city IS NULL; SET enableNullHandling=false") == [[1]]


def test_casts_leave_columns_their_names(node, table):
    statement = "SELECT CAST(at AS LONG), at, CAST(more.id AS STRING) FROM more WHERE id = 3"
    result = ask(node, statement)
    assert result["dataSchema"]["columnNames"] == ["CAST(at AS LONG)", "at", "CAST(id AS STRING)"]
    assert result["rows"] == [[START_MS + 3, "2026-01-01 00:10:00.003", "3"]]
    plain = node.sql("SELECT CAST(at AS BIGINT), at, at FROM more WHERE id = 3")
    assert plain.columns == ["CAST(at AS BIGINT)", "at", "at_2"]


def test_numbers_are_milliseconds(node, table):
    for condition, count in [
        (f"exact = {START_MS + 124}", 1),
        (f"exact != {START_MS + 124}", 199),
        (f"exact IN ({START_MS + 1}, {START_MS + 2}, 7)", 2),
        (f"exact > {START_MS + 198}", 1),
        (f"exact <= {START_MS}", 1),
        (f"exact BETWEEN {START_MS + 10} AND {START_MS + 19}", 10),
        ("CAST(exact AS LONG) = CAST(at AS LONG)", 200),
        ("exact = CAST(at AS LONG)", 200),
        (f"at = {START_MS + 124}", 1),
    ]:
        assert rows(node, f"SELECT count(*) FROM more WHERE {condition}") == [[count]], condition


def test_round_is_to_multiples(node, table):
    buckets = rows(node, "SELECT ROUND(CAST(at AS LONG), 100) AS t, count(*) FROM more WHERE id < 200 GROUP BY t ORDER BY t")
    assert buckets == [[START_MS, 100], [START_MS + 100, 100]]
    assert rows(node, "SELECT ROUND(id, 50), ROUND(score, 1) FROM more WHERE id = 199") == [[150, 49.8]]
    assert node.sql("SELECT ROUND(id, 50) FROM more WHERE id = 199").rows == [[199]]


def test_distinct_floats(node, table):
    (count,), = rows(node, "SELECT DISTINCTCOUNTHLL(score) FROM more")
    assert 190 <= count <= 210


def test_values_of_documents(node, table):
    statement = (
        "SELECT JSONEXTRACTSCALAR(doc, '$.deep.a[*]', 'STRING_ARRAY', 'none'), JSONEXTRACTSCALAR(doc, '$.items[*].n', 'INT_ARRAY'), "
        "JSONEXTRACTSCALAR(doc, '$.flag', 'BOOLEAN'), JSONEXTRACTSCALAR(doc, '$.deep', 'LONG', -1) FROM more WHERE id = 5"
    )
    result = ask(node, statement)
    assert result["dataSchema"]["columnDataTypes"] == ["STRING_ARRAY", "INT_ARRAY", "BOOLEAN", "LONG"]
    assert result["rows"] == [[["5", "none", "7"], [1, 2], True, -1]]
