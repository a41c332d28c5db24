"""Clients of PostgreSQL against the running binary: psql, psycopg, SQLAlchemy and pgjdbc. Answers are those of POST /sql."""

import contextlib
import datetime
import decimal
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

import adbc_driver_postgresql.dbapi
import psycopg
import pytest
import sqlalchemy as sa

from harness import eventually
from rides import COLUMNS, fill, ride, with_door
from rides import UID as UID_TEXT

UTC = datetime.timezone.utc
UID = uuid.UUID(UID_TEXT)
# One row in seven is found: of a join that finds few, a thread works on one batch for so long that nobody else is answered.
ENDLESS = """SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b
             WHERE (a.value * 31 + b.value * 17) % 7919 = 3"""


def expected(number):
    at = datetime.datetime(2026, 1, 1, tzinfo=UTC) + datetime.timedelta(seconds=number, milliseconds=250)
    return (
        number, number % 100, ["Berlin", "Rome"][number % 2], decimal.Decimal(f"{number}.25"), number / 2, 0.5,
        number % 2 == 0, at, datetime.date(2026, 1, 2), b"\x00\xff", {"a": [1, None]}, UID, ["x", "y z"], [1, 2],
    )


@pytest.fixture(scope="module")
def server(binary, kafka, tmp_path_factory):
    with with_door(binary, tmp_path_factory.mktemp("postgres"), "postgres") as started:
        fill(started, kafka, [ride(number, tags=["x", "y z"]) for number in range(100)] + [{"id": 100}])
        yield started


def conninfo(server):
    return f"host=127.0.0.1 port={server.postgres_port} user=alice dbname=headwater"


@pytest.fixture
def connection(server):
    with psycopg.connect(conninfo(server)) as made:
        yield made


@pytest.mark.parametrize("binary_format", [False, True])
def test_psycopg_reads_every_type(connection, binary_format):
    cursor = connection.cursor(binary=binary_format)
    cursor.execute("SELECT * FROM rides WHERE id = %s", [7])
    row = cursor.fetchone()
    assert row == expected(7)
    assert [column.name for column in cursor.description] == list(COLUMNS)
    cursor.execute("SELECT * FROM rides WHERE id = 100")
    assert cursor.fetchone() == (100,) + (None,) * 13


def test_psycopg_parameters_of_every_type(connection):
    row = dict(zip(COLUMNS, expected(8)))
    for name in ["id", "small", "city", "price", "score", "ratio", "paid", "at", "day", "raw"]:
        for placeholder in ["%s", "%b", "%t"]:
            if placeholder == "%b" and name == "price":
                continue
            cursor = connection.execute(f"SELECT count(*) FROM rides WHERE id = 8 AND {name} = {placeholder}", [row[name]])
            assert cursor.fetchone() == (1,), (name, placeholder)
    count = "SELECT count(*) FROM rides WHERE "
    assert connection.execute(count + "id = ANY(%s)", [[1, 2, 2000]]).fetchone() == (2,)
    assert connection.execute(count + "uid = %s", [str(UID)]).fetchone() == (100,)
    assert connection.execute(count + "city = %s", ["it's; DROP TABLE rides"]).fetchone() == (0,)
    assert connection.execute(count + "price IS NULL OR price = %s", [None]).fetchone() == (1,)
    cities = ["Berlin", "New York", 'a "b", {c}\\d']
    for placeholder in ["%s", "%s::text[]", "%b", "%t"]:
        assert connection.execute(f"{count}city = ANY({placeholder})", [cities]).fetchone() == (50,), placeholder
    day = count + "at >= %(day)s AND at < %(day)s + INTERVAL '1 day'"
    assert connection.execute(day, {"day": "2026-01-01 00:01"}).fetchone() == (40,)
    assert connection.execute(count + "city = %(city)s OR upper(city) = %(city)s", {"city": "ROME"}).fetchone() == (50,)
    # As Java's driver sends a date.
    assert connection.execute(count + "day = %s", ["2026-01-02 +00"]).fetchone() == (100,)
    found = connection.execute("SELECT id FROM rides ORDER BY id LIMIT %s OFFSET %s", [2, 5]).fetchall()
    assert found == [(5,), (6,)]
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        connection.execute(count + "id = %s", ["seven"])


def test_psycopg_prepared_statements(connection):
    for number in range(10):
        sql = "SELECT id, city FROM rides WHERE id > %s ORDER BY id LIMIT 2"
        found = connection.execute(sql, [number], prepare=True).fetchall()
        assert found == [(number + 1, expected(number + 1)[2]), (number + 2, expected(number + 2)[2])]


def test_psycopg_server_cursor_fetches_in_pieces(connection):
    with connection.cursor(name="pieces") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT id FROM rides WHERE id >= %s ORDER BY id", [1])
        assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
        assert [row[0] for row in cursor] == list(range(4, 101))
    connection.commit()


def test_psycopg_held_cursors_outlive_their_transaction(server, connection):
    with psycopg.connect(conninfo(server), autocommit=True) as alone:
        with alone.cursor(name="plain") as cursor, pytest.raises(psycopg.errors.NoActiveSqlTransaction):
            cursor.execute("SELECT id FROM rides")
        with alone.cursor(name="held", withhold=True) as cursor:
            cursor.execute("SELECT id FROM rides ORDER BY id")
            assert cursor.fetchmany(2) == [(0,), (1,)] and cursor.fetchone() == (2,)
    with connection.cursor(name="longer", withhold=True) as cursor:
        cursor.execute("SELECT id FROM rides ORDER BY id")
        assert cursor.fetchone() == (0,)
        connection.commit()
        assert cursor.fetchone() == (1,)


def test_psycopg_settings_go_back(connection):
    connection.execute("SET LOCAL statement_timeout = '5s'")
    assert connection.execute("SHOW statement_timeout").fetchone() == ("5000",)
    connection.commit()
    connection.execute("SET application_name = 'once'")
    assert connection.info.parameter_status("application_name") == "once"
    connection.rollback()
    assert not connection.info.parameter_status("application_name")
    assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_psycopg_transactions_and_errors(connection):
    with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
        connection.execute("SELECT citi FROM rides")
    assert caught.value.diag.statement_position == "8"
    assert "city" in caught.value.diag.message_hint
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.rollback()
    with connection.transaction():
        with pytest.raises(psycopg.errors.UndefinedTable):
            with connection.transaction():
                connection.execute("SELECT * FROM ridez")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("DELETE FROM rides")
    connection.rollback()
    assert connection.info.server_version == 160009
    assert connection.info.encoding == "utf-8"


def test_answers_are_those_of_http(server, connection):
    for sql in [
        "SELECT city, count(*), sum(score), min(price), max(small) FROM rides GROUP BY city ORDER BY city",
        "SELECT id, row_number() OVER (PARTITION BY city ORDER BY id DESC) FROM rides ORDER BY id LIMIT 20",
        "SELECT paid, avg(ratio), count(DISTINCT city) FROM rides GROUP BY 1 ORDER BY 1",
        "SELECT a.id, b.id FROM rides a JOIN rides b ON a.id = b.id + 50 WHERE a.id < 60 ORDER BY 1",
    ]:
        rows = [[float(v) if isinstance(v, decimal.Decimal) else v for v in row] for row in connection.execute(sql)]
        assert rows == server.sql(sql).rows, sql


def copied(connection, statement):
    with connection.cursor().copy(statement) as copy:
        return b"".join(bytes(block) for block in copy)


def test_psycopg_copies_to_the_client(connection):
    wanted = "(SELECT id, city, price, raw, tags FROM rides WHERE id IN (7, 100) ORDER BY id)"
    text = b'7\tRome\t7.25\t\\\\x00ff\t{x,"y z"}\n100\t\\N\t\\N\t\\N\t\\N\n'
    assert copied(connection, f"COPY {wanted} TO STDOUT") == text
    csv = b'id,city,price,raw,tags\n7,Rome,7.25,\\x00ff,"{x,""y z""}"\n100,,,,\n'
    assert copied(connection, f"COPY {wanted} TO STDOUT WITH (FORMAT csv, HEADER)") == csv
    types = ["int8", "int4", "text", "numeric", "float8", "float4", "bool", "timestamptz", "date", "bytea", "json", "uuid"]
    with connection.cursor().copy("COPY rides TO STDOUT (FORMAT binary)") as copy:
        copy.set_types([*types, "text[]", "int8[]"])
        rows = {row[0]: row for row in copy.rows()}
    assert len(rows) == 101 and rows[7] == expected(7) and rows[100] == (100,) + (None,) * 13
    names = "COPY (SELECT oid, typname FROM pg_catalog.pg_type WHERE typname = 'uuid') TO STDOUT"
    assert copied(connection, names) == b"2950\tuuid\n"
    many = "COPY (SELECT n, repeat('x', 100) FROM generate_series(1, 300000) AS n) TO STDOUT"
    connection.execute("SET headwater.rows_max = 1000000")
    assert copied(connection, many).count(b"\n") == 300_000


def test_psycopg_copies_that_fail_end(connection):
    for statement, error in [
        ("COPY (SELECT citi FROM rides) TO STDOUT", psycopg.errors.UndefinedColumn),
        ("COPY ridez TO STDOUT", psycopg.errors.UndefinedTable),
        ("COPY rides TO '/tmp/rides'", psycopg.errors.FeatureNotSupported),
        ("COPY (SELECT 1 / (id - 50) FROM rides) TO STDOUT", psycopg.errors.DivisionByZero),
    ]:
        with pytest.raises(error):
            copied(connection, statement)
        connection.rollback()
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        with connection.cursor().copy("COPY rides FROM STDIN") as copy:
            copy.write_row([1])
    connection.rollback()
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_adbc_reads_arrow(server):
    url = f"postgresql://alice@127.0.0.1:{server.postgres_port}/headwater?sslmode=disable"
    with adbc_driver_postgresql.dbapi.connect(url) as client, client.cursor() as cursor:
        cursor.execute("SELECT id, city, score, paid, at, day, raw, tags, price FROM rides WHERE id IN (7, 100) ORDER BY id")
        row, none = cursor.fetch_arrow_table().to_pylist()
        number, at = expected(7), expected(7)[7]
        assert (row["id"], row["city"], row["score"], row["paid"]) == (7, "Rome", 3.5, False)
        assert (row["at"], row["day"], row["raw"], row["tags"]) == (at, number[8], number[9], ["x", "y z"])
        assert decimal.Decimal(row["price"]) == number[3]
        assert set(none.values()) == {100, None}
        cursor.execute("SELECT id FROM rides WHERE id < $1 ORDER BY id", parameters=(3,))
        assert cursor.fetchall() == [(0,), (1,), (2,)]
        assert "rides" in [table["table_name"] for table in tables_of(client)]
        schema = client.adbc_get_table_schema("rides")
        assert schema.names == list(COLUMNS)


def tables_of(client):
    """What the driver tells of the tables of `public`, with their columns and keys."""
    objects = client.adbc_get_objects(depth="all").read_all().to_pylist()
    schemas = [schema for catalog in objects for schema in catalog["catalog_db_schemas"] or []]
    return [table for schema in schemas if schema["db_schema_name"] == "public" for table in schema["db_schema_tables"]]


def test_uuids_are_found_in_any_spelling(connection):
    count = "SELECT count(*) FROM rides WHERE "
    assert str(UID) != str(UID).upper()
    for condition in ["uid = '{}'", "uid IN ('{}')", "uid = '{}'::uuid", "uid = CAST('{}' AS uuid)", "uid::uuid = '{}'"]:
        assert connection.execute(count + condition.format(str(UID).upper())).fetchone() == (100,), condition
    for placeholder in ["%s", "%b", "%t"]:
        for value in [UID, str(UID).upper()]:
            if placeholder != "%b" or value is UID:
                found = connection.execute(f"{count}uid = {placeholder}", [value])
                assert found.fetchone() == (100,), (placeholder, value)
    assert connection.execute("SELECT %s::uuid", [str(UID)]).fetchone() == (UID,)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        connection.execute("SELECT 'x'::uuid")


def test_seconds_have_their_fraction(connection):
    parts = "extract(second FROM at), date_part('epoch', at), extract(milliseconds FROM at), extract(minute FROM at)"
    at = expected(67)[7]
    row = connection.execute(f"SELECT {parts} FROM rides WHERE id = 67").fetchone()
    assert row == (7.25, at.timestamp(), 7250.0, 1)
    assert connection.execute("SELECT count(*) FROM rides WHERE extract(second FROM at) = 7.25").fetchone() == (2,)


def test_what_means_something_else_here_is_refused(connection):
    for sql in ["SELECT 2 ^ 3", "SELECT * FROM rides TABLESAMPLE SYSTEM (10)", "SELECT to_char(at, 'WW') FROM rides"]:
        with pytest.raises(psycopg.Error):
            connection.execute(sql)
        connection.rollback()


def test_values_that_have_no_number(connection):
    row = connection.execute("SELECT 'NaN'::double, 'inf'::double, '-inf'::float, -0.0::double").fetchone()
    assert str(row) == "(nan, inf, -inf, -0.0)"
    assert connection.execute("SELECT CAST('0001-01-01' AS DATE)").fetchone() == (datetime.date(1, 1, 1),)
    with pytest.raises(psycopg.DataError):
        connection.execute("SELECT CAST('12345-01-01' AS DATE)").fetchone()


def test_a_cancelled_query_ends(server, connection):
    cancelled = []

    def cancel():
        # What comes before the query would cancel nothing; if it never runs, the test does not wait for it either.
        try:
            eventually(lambda: running(server) == 2, "the query runs")
        finally:
            cancelled.append(time.monotonic())
            connection.cancel()

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(ENDLESS)
    assert time.monotonic() - cancelled[0] < 10
    cancelling.join()
    eventually(lambda: running(server) == 1, "only the asking query runs")


def running(server):
    return server.sql("SELECT count(*) FROM system.queries WHERE state = 'running'").value


def test_a_client_that_goes_away_ends_its_query(server):
    client = psycopg.connect(conninfo(server), autocommit=True)
    client.pgconn.send_query(ENDLESS.encode())
    client.pgconn.flush()
    eventually(lambda: running(server) == 2, "the query runs")
    # The connection breaks off, without a word of goodbye. Its number stays taken until libpq closes it, too: it would close
    # what somebody else has opened meanwhile.
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), client.pgconn.socket, inheritable=False)
    eventually(lambda: running(server) == 1, "the query has ended", within=10)


@pytest.fixture(scope="module")
def engine(server):
    made = sa.create_engine(f"postgresql+psycopg://alice@127.0.0.1:{server.postgres_port}/headwater")
    yield made
    made.dispose()


def test_sqlalchemy_lists_and_selects(engine):
    inspector = sa.inspect(engine)
    assert "rides" in inspector.get_table_names()
    assert {"public", "system"} <= set(inspector.get_schema_names())
    columns = {column["name"]: column for column in inspector.get_columns("rides")}
    assert list(columns) == list(COLUMNS)
    assert isinstance(columns["id"]["type"], sa.BIGINT) and not columns["id"]["nullable"]
    assert isinstance(columns["price"]["type"], sa.NUMERIC) and columns["price"]["type"].scale == 2
    assert columns["at"]["type"].timezone
    assert isinstance(columns["tags"]["type"], sa.ARRAY)
    assert inspector.has_table("rides") and not inspector.has_table("nope")
    rides = sa.Table("rides", sa.MetaData(), *[sa.Column(name, column["type"]) for name, column in columns.items()])
    with engine.connect() as client:
        wanted = sa.select(rides.c.city, sa.func.count()).where(rides.c.id < 100).group_by(rides.c.city).order_by("city")
        assert client.execute(wanted).all() == [("Berlin", 50), ("Rome", 50)]


def test_sqlalchemy_reflects(engine):
    rides = sa.Table("rides", sa.MetaData(), autoload_with=engine)
    assert [column.name for column in rides.columns] == list(COLUMNS)
    assert not rides.primary_key and not rides.indexes and not rides.foreign_keys
    with engine.connect() as client:
        wanted = sa.select(rides.c.id, rides.c.price).where(rides.c.city == "Rome", rides.c.id < 4).order_by(rides.c.id)
        assert client.execute(wanted).all() == [(1, decimal.Decimal("1.25")), (3, decimal.Decimal("3.25"))]
    metadata = sa.MetaData()
    metadata.reflect(engine, schema="system", views=True)
    assert "system.queries" in metadata.tables


def test_sqlalchemy_finds_no_keys_and_indexes(engine):
    inspector = sa.inspect(engine)
    assert inspector.get_pk_constraint("rides") == {"name": None, "constrained_columns": []}
    for kind in ["indexes", "foreign_keys", "unique_constraints", "check_constraints"]:
        assert getattr(inspector, f"get_{kind}")("rides") == [], kind
        assert getattr(inspector, f"get_multi_{kind}")()[(None, "rides")] == [], kind
    assert inspector.get_table_comment("rides") == {"text": None}
    assert inspector.get_table_options("rides") == {}
    assert "queries" in inspector.get_view_names(schema="system")
    assert [column["name"] for column in inspector.get_columns("queries", schema="system")][0] == "id"
    for kind in ["view_names", "materialized_view_names", "temp_table_names", "sequence_names", "enums", "domains"]:
        assert getattr(inspector, f"get_{kind}")() == [], kind


@pytest.fixture(scope="module")
def psql(server):
    if not shutil.which("psql"):
        pytest.skip("psql is not installed: apt-get install postgresql-client")

    def run(*commands, ok=True, typed=None):
        flags = [flag for command in commands for flag in ("-c", command)]
        ran = subprocess.run(["psql", "-X", conninfo(server), *flags], input=typed, capture_output=True, text=True, timeout=60)
        assert not ok or (ran.returncode == 0 and not ran.stderr), ran.stderr
        return ran.stdout + ran.stderr

    return run


def test_psql_describes(psql):
    listed = psql("\\dt")
    assert "rides" in listed and "table" in listed
    described = psql("\\d rides")
    for column, kind in [
        ("id", "bigint"), ("price", "numeric(12,2)"), ("at", "timestamp with time zone"), ("tags", "text[]"),
        ("uid", "uuid"), ("doc", "json"), ("raw", "bytea"),
    ]:
        assert any(line.split("|")[0].strip() == column and kind in line for line in described.splitlines()), column
    assert "not null" in described
    assert "queries" in psql("\\dv system.*")
    assert "headwater" in psql("\\l")
    assert "public" in psql("\\dn")
    assert "headwater" in psql("\\l+")
    assert "alice" in psql("\\du")
    assert "SELECT" not in psql("\\dp rides")
    for command in [
        "d", "d+ rides", "d+ system.queries", "dt+", "di", "ds", "dm", "dn+", "df", "dT", "dT+ numeric", "dx", "dg", "db+",
        "dD", "dd", "dL", "da", "do", "dC", "sf now", "sv system.queries", "ddp", "drds", "dew", "des", "dRp", "dRs", "dX", "dP", "dO", "conninfo",
    ]:
        # What finds nothing says so, on the stream of errors.
        assert "ERROR" not in psql(f"\\{command}", ok=False), command


def test_psql_queries(psql):
    assert "Berlin |    50" in psql("SELECT city, count(*) FROM rides WHERE id < 100 GROUP BY 1 ORDER BY 1")
    timed = psql("\\timing on", "SELECT 1 AS one")
    assert "one" in timed and "Time:" in timed
    described = psql(typed="SELECT at, price FROM rides \\gdesc\n")
    assert "timestamp with time zone" in described and "numeric(12,2)" in described
    failed = psql("SELECT citi FROM rides", ok=False)
    assert "LINE 1: SELECT citi FROM rides" in failed and "HINT:" in failed


def test_psql_copies(psql, tmp_path):
    copied = tmp_path / "rides.csv"
    done = psql(f"\\copy (SELECT id, city FROM rides WHERE id < 3 ORDER BY id) TO '{copied}' CSV HEADER")
    assert done == "COPY 3\n" and copied.read_text() == "id,city\n0,Berlin\n1,Rome\n2,Berlin\n"
    assert psql("COPY (SELECT 1, NULL) TO STDOUT") == "1\t\\N\n"


def test_psql_control_c_cancels(server, psql):
    client = subprocess.Popen(
        ["psql", "-X", conninfo(server), "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        eventually(lambda: running(server) == 2, "the query runs")
        client.send_signal(signal.SIGINT)
        _, errors = client.communicate(timeout=20)
    finally:
        client.kill()
    assert "canceling statement due to user request" in errors
    eventually(lambda: running(server) == 1, "the query has ended", within=10)


def test_oversized_and_foreign_bytes_are_refused(server):
    for sent in [b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100]:
        with socket.create_connection(("127.0.0.1", server.postgres_port), timeout=20) as client:
            client.sendall(sent)
            with contextlib.suppress(ConnectionResetError):
                assert len(client.recv(1000)) < 1000
    with psycopg.connect(conninfo(server)) as client:
        with pytest.raises(psycopg.Error):
            client.execute("SELECT '" + "x" * (9 << 20) + "'")
    with psycopg.connect(conninfo(server)) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)


PGJDBC = "42.7.8"


@pytest.fixture(scope="module")
def jdbc(server):
    """What the program of Java's driver was answered, by the names of its questions."""
    missing = [program for program in ["javac", "mvn"] if not shutil.which(program)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed: apt-get install openjdk-17-jdk-headless maven")
    libraries = pathlib.Path.home() / ".cache/headwater" / f"pgjdbc-{PGJDBC}"
    jar = libraries / f"postgresql-{PGJDBC}.jar"
    if not jar.exists():
        artifact = ["-Dartifact=org.postgresql:postgresql:" + PGJDBC, f"-DoutputDirectory={libraries}"]
        subprocess.run(["mvn", "-q", "-B", "dependency:copy", *artifact], check=True, timeout=300)
    url = f"jdbc:postgresql://127.0.0.1:{server.postgres_port}/headwater"
    program = pathlib.Path(__file__).parent / "jdbc" / "Client.java"
    ran = subprocess.run(["java", "-cp", jar, program, url], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split("\t", 1) for line in ran.stdout.splitlines())


def test_pgjdbc_lists(jdbc):
    types = ["int8", "int4", "text", "numeric", "float8", "float4", "bool", "timestamptz", "date", "bytea", "json", "uuid"]
    assert jdbc["schemas"] == "[information_schema, pg_catalog, public, system]"
    assert jdbc["catalogs"] == "[headwater]"
    assert (jdbc["tables"], jdbc["views"], jdbc["everything"]) == ("[rides]", "[queries]", "[TABLE]")
    assert jdbc["columns"] == f"[{', '.join(COLUMNS)}]"
    assert jdbc["column types"] == f"[{', '.join([*types, '_text', '_int8'])}]"
    assert jdbc["nullable"] == "[NO, YES, YES]"
    for none in ["primary keys", "best row", "indexes", "imported keys", "exported keys", "cross reference", "procedures"]:
        assert jdbc[none] == "0", none
    assert jdbc["functions"] == "[age, age, age, age, age]"
    assert jdbc["function columns"] == "[void, float8]"
    assert (jdbc["types"], jdbc["keywords"], jdbc["valid"]) == ("true", "true", "true")
    for listing in ["table types", "user types", "table privileges", "column privileges"]:
        assert jdbc[listing].isdigit(), listing


def test_pgjdbc_queries(jdbc):
    parameters = {name: found for name, found in jdbc.items() if name.startswith("parameter ")}
    assert len(parameters) == 16
    assert parameters.pop("parameter array") == "2"
    assert parameters.pop("parameter types") == "timestamptz text"
    assert {name: found for name, found in parameters.items() if found != "10"} == {}
    at = "2026-01-01T00:00:07.250Z"
    assert jdbc["values"] == f"{at} {at} 2026-01-02 7.25 2 {UID} y z"
    assert jdbc["column labels"] == "id:int8:false price:numeric:false at:timestamptz:false tags:_text:false n:int8:false"
    assert (jdbc["cursor"], jdbc["rows at most"], jdbc["read only"]) == ("101", "5", "1")
    assert jdbc["timeout"].startswith("SQLSTATE 57014") and jdbc["cancel"].startswith("SQLSTATE 57014")
    assert jdbc["write"].startswith("SQLSTATE 25006")
