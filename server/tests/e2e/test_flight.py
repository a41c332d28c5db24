"""Arrow Flight SQL as its clients use it: ADBC's driver, and pyarrow's plain Flight for what ADBC hides.

Answers are compared with those of POST /sql.
"""

import threading

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight
import pytest

import rides
from doors import ends_at_start
from harness import eventually, free_port

COLUMNS = {name: kind for name, kind in rides.COLUMNS.items() if name != "nums"}
ROWS = 1000
# One row in seven is found: of a join that finds few, a thread works on one batch for so long that nobody else is answered.
ENDLESS = (
    "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b "
    "WHERE (a.value * 31 + b.value * 17) % 7919 = 3"
)


def rows(first, last):
    return [
        rides.ride(number, city=["Berlin", "Rome", None][number % 3], tags=["x", f"y{number % 5}"]) for number in range(first, last)
    ]


@pytest.fixture(scope="module")
def flight(binary, kafka, tmp_path_factory):
    with rides.with_door(binary, tmp_path_factory.mktemp("flight"), "flight") as node:
        topic = rides.fill(node, kafka, rows(0, ROWS // 2), columns=COLUMNS)
        node.seal("rides")
        kafka.produce(topic, rows(ROWS // 2, ROWS))
        node.wait_count("rides", ROWS)
        yield node


@pytest.fixture
def connection(flight):
    with flight_sql.connect(f"grpc://127.0.0.1:{flight.flight_port}", autocommit=True) as connected:
        yield connected


@pytest.fixture
def cursor(connection):
    with connection.cursor() as opened:
        yield opened


def table_of(cursor, statement, parameters=None):
    cursor.execute(statement, parameters)
    return cursor.fetch_arrow_table()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id, small, city, score, ratio, paid, tags FROM rides ORDER BY id",
        "SELECT city, count(*) AS n, sum(id), avg(score), max(small) FROM rides GROUP BY city ORDER BY city",
        "SELECT a.id, b.city FROM rides a JOIN rides b ON a.id = b.id + 1 WHERE a.small < 3 ORDER BY a.id",
        "SELECT id, row_number() OVER (PARTITION BY city ORDER BY id DESC) AS place FROM rides ORDER BY id LIMIT 20",
        "SELECT id FROM rides WHERE id < 0",
        "SELECT $partition, max($offset) FROM rides GROUP BY $partition",
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_name = 'rides' ORDER BY 1, 2",
        "SELECT table_schema, table_name FROM information_schema.tables ORDER BY 1, 2",
    ],
)
def test_answers_are_those_of_http(flight, cursor, statement):
    expected = flight.sql(statement)
    table = table_of(cursor, statement)
    assert table.column_names == expected.columns
    assert [list(row.values()) for row in table.to_pylist()] == expected.rows


def test_types(cursor):
    table = table_of(cursor, "SELECT * FROM rides WHERE id = 8")
    types = {field.name: field.type for field in table.schema}
    assert types["id"] == pa.int64() and types["small"] == pa.int32() and types["city"] == pa.string()
    assert types["price"] == pa.decimal128(12, 2) and types["at"] == pa.timestamp("us", "UTC")
    assert types["day"] == pa.date32() and types["raw"] == pa.binary() and types["tags"] == pa.list_(pa.string())
    assert types["uid"] == pa.string() and types["doc"] == pa.string()
    names = {field.name: field.metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"].decode() for field in table.schema}
    assert (names["price"], names["uid"], names["doc"]) == ("DECIMAL(12,2)", "UUID", "JSON")
    row = table.to_pylist()[0]
    assert row["at"].isoformat() == "2026-01-01T00:00:08.250000+00:00" and row["raw"] == b"\x00\xff"
    assert row["uid"] == "6f9619ff-8b86-d011-b42d-00c04fc964ff" and row["tags"] == ["x", "y3"]


def test_parameters(cursor):
    asked = "SELECT id FROM rides WHERE city = ? AND id < ? ORDER BY id"
    assert table_of(cursor, asked, ("Rome", 8)).column("id").to_pylist() == [1, 4, 7]
    assert table_of(cursor, asked, ("it's; DROP TABLE rides", 8)).num_rows == 0
    cursor.adbc_prepare("SELECT count(*) FROM rides WHERE id BETWEEN $1 AND $2")
    for low, high in [(0, 9), (10, 10), (5, 4)]:
        cursor.execute("SELECT count(*) FROM rides WHERE id BETWEEN $1 AND $2", (low, high))
        assert cursor.fetchone() == (max(high - low + 1, 0),)
    for kind, value in [("price = ?", "8.25"), ("at = ?", "2026-01-01T00:00:08.250Z"), ("paid = ? AND id = 8", True)]:
        assert table_of(cursor, f"SELECT id FROM rides WHERE {kind}", (value,)).column("id").to_pylist() == [8]
    types = [field.type for field in table_of(cursor, "SELECT ? AS a, ? AS b, ? AS c", (7, True, "x")).schema]
    assert types == [pa.int64(), pa.bool_(), pa.string()]
    with pytest.raises(adbc_driver_manager.Error, match="parameter"):
        cursor.execute("SELECT count(*) FROM rides WHERE id = $1 AND small = $2", (1,))
        cursor.fetchall()


def test_prepared_schema(cursor):
    wanted = cursor.adbc_prepare("SELECT city FROM rides WHERE id = $1 AND score > $2")
    assert [field.type for field in wanted] == [pa.int64(), pa.float64()]
    wanted = cursor.adbc_prepare("SELECT city FROM rides WHERE at >= $1 AND at < $1 + INTERVAL '1 day' LIMIT $2")
    assert [field.type for field in wanted] == [pa.timestamp("us", "UTC"), pa.int64()]
    assert cursor.adbc_execute_schema("SELECT city, id + 1 AS next FROM rides").names == ["city", "next"]


def test_metadata(connection):
    objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    assert [found["catalog_name"] for found in objects] == ["headwater"]
    schemas = {found["db_schema_name"]: found["db_schema_tables"] for found in objects[0]["catalog_db_schemas"]}
    assert {"public", "system", "information_schema"} <= set(schemas)
    (table,) = schemas["public"]
    assert (table["table_name"], table["table_type"]) == ("rides", "TABLE")
    assert [column["column_name"] for column in table["table_columns"]] == list(COLUMNS)
    assert "segments" in {found["table_name"] for found in schemas["system"]}
    filtered = connection.adbc_get_objects(depth="tables", db_schema_filter="pub%", table_name_filter="ri_es")
    assert [schema["db_schema_name"] for schema in filtered.read_all().to_pylist()[0]["catalog_db_schemas"]] == ["public"]
    schema = connection.adbc_get_table_schema("rides")
    assert schema.names == list(COLUMNS) and schema.field("at").type == pa.timestamp("us", "UTC")
    assert connection.adbc_get_table_types() == ["SYSTEM TABLE", "TABLE"]
    assert connection.adbc_get_info()["vendor_name"] == "Headwater"


@pytest.mark.parametrize(
    "statement, message, error",
    [
        ("SELEC 1", "line 1", adbc_driver_manager.ProgrammingError),
        ("SELECT * FROM nowhere", "no table nowhere", adbc_driver_manager.ProgrammingError),
        ("SELECT citty FROM rides", "did you mean city", adbc_driver_manager.ProgrammingError),
        ("DELETE FROM rides", "only SELECT", adbc_driver_manager.NotSupportedError),
        ("SELECT id / (id - 999) FROM rides", "(?i)divi", adbc_driver_manager.Error),
    ],
)
def test_errors(cursor, statement, message, error):
    with pytest.raises(error, match=message):
        cursor.execute(statement)
        cursor.fetchall()


def test_nothing_is_written(flight, connection, cursor):
    with pytest.raises(adbc_driver_manager.Error):
        cursor.adbc_ingest("rides", pa.table({"id": [1]}), mode="append")
    with pytest.raises(adbc_driver_manager.Error):
        connection.adbc_connection.set_autocommit(False)
    assert flight.sql("SELECT count(*) FROM rides").value == ROWS


def running(node):
    listed = node.sql("SELECT count(*) FROM system.queries WHERE state = 'running' AND sql LIKE '%b.value * 17%'")
    return listed.value


def test_cancel(flight, cursor):
    failed = []

    def ask():
        try:
            cursor.execute(ENDLESS)
            cursor.fetchall()
        except adbc_driver_manager.Error as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    # The statement that asks for it names the product, too.
    eventually(lambda: running(flight) > 1, "the query runs")
    cursor.adbc_cancel()
    asking.join(20)
    assert not asking.is_alive() and failed
    eventually(lambda: running(flight) == 1, "the query has ended", within=10)


def test_deadline_of_the_client(flight):
    options = {"adbc.flight.sql.rpc.timeout_seconds.fetch": "0.3", "adbc.flight.sql.rpc.timeout_seconds.query": "0.3"}
    with flight_sql.connect(f"grpc://127.0.0.1:{flight.flight_port}", autocommit=True, conn_kwargs=options) as connected:
        with connected.cursor() as cursor, pytest.raises(adbc_driver_manager.Error):
            cursor.execute(ENDLESS)
            cursor.fetchall()
    eventually(lambda: running(flight) == 1, "the query has ended", within=10)


def resident_bytes(node):
    with open(f"/proc/{node.process.pid}/status") as status:
        (line,) = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def test_a_large_answer_takes_bounded_memory(flight, cursor):
    rows = 900_000
    cursor.execute(f"SELECT value, repeat('x', 500) AS text FROM generate_series(1, {rows})")
    before = resident_bytes(flight)
    reader = cursor.fetch_record_batch()
    peak, seen, total = before, 0, 0
    for batch in reader:
        seen += batch.num_rows
        total += batch.nbytes
        if seen % 10 == 0:
            peak = max(peak, resident_bytes(flight))
    peak = max(peak, resident_bytes(flight))
    assert seen == rows and total > 450_000_000
    assert peak - before < 150_000_000, (before, peak)


def test_plain_flight(flight):
    """What ADBC hides: the cut of the answer, and a bearer token from a handshake."""
    client = pa.flight.connect(f"grpc://127.0.0.1:{flight.flight_port}")
    header, token = client.authenticate_basic_token("anybody", "anything")
    assert header == b"authorization" and token.startswith(b"Bearer ")
    options = pa.flight.FlightCallOptions(headers=[(header, token)])
    # CommandStatementQuery in its Any, by hand: two strings each.
    field = lambda number, value: bytes([number << 3 | 2, len(value)]) + value
    statement = b"SELECT max(id) AS newest FROM rides"
    url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    command = field(1, url) + field(2, field(1, statement))
    info = client.get_flight_info(pa.flight.FlightDescriptor.for_command(command), options)
    assert info.schema.names == ["newest"]
    reader = client.do_get(info.endpoints[0].ticket, options)
    assert reader.read_all().to_pylist() == [{"newest": ROWS - 1}]
    # A ticket is good for another time: it holds the statement.
    chunks = client.do_get(info.endpoints[0].ticket, options)
    assert chunks.read_all().num_rows == 1
    for ticket in [b"", b"junk", info.endpoints[0].ticket.ticket[:-3]]:
        with pytest.raises(pa.ArrowException):
            client.do_get(pa.flight.Ticket(ticket), options).read_all()


def test_off_unless_told(node, flight, binary, tmp_path):
    """Without `flight.listen` nothing listens; with a public address and nobody who is asked the node does not start."""
    assert "Flight" in flight.log_text() and "Flight" not in node.log_text()
    public = ("--set", f"flight.listen=0.0.0.0:{free_port()}")
    told = ends_at_start(binary, tmp_path, "", *public)
    assert "flight.listen" in told and "access.anonymous" in told, told
    told = ends_at_start(binary, tmp_path, '[access]\nfile = "access.toml"\n', *public)
    assert "tls.cert" in told and "flight.plaintext_public" in told, told
