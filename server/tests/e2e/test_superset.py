"""What Apache Superset 6.1 sends through both doors. It brings SQLAlchemy 1.4, which cannot stand beside the 2.1 of the other
tests: the statements of its inspector are sent as they are."""

import datetime
import decimal
import threading

import pinotdb
import psycopg
import pytest

from harness import eventually
from rides import columns, fill, with_door

COLUMNS = {**columns("id", "city", "score", "paid", "at", "day", "raw", "uid", "tags"), "ats": "ARRAY<TIMESTAMP(3)>"}
UID = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
DAY_MS = 86_400_000
# 2024-01-01, a Monday.
BEGIN_MS = 1_704_067_200_000
ENDLESS = "SELECT sum(value) FROM generate_series(1, 100000000000)"

# SQLAlchemy 1.4.54, sqlalchemy/dialects/postgresql/base.py, with the number of the table in place of its parameter.
TABLE_OID = """
            SELECT c.oid
            FROM pg_catalog.pg_class c
            LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE (n.nspname = 'public')
            AND c.relname = 'rides' AND c.relkind in
            ('r', 'v', 'm', 'f', 'p')
"""
INDEXES = """
              SELECT
                  i.relname as relname,
                  ix.indisunique, ix.indexprs,
                  a.attname, a.attnum, c.conrelid, ix.indkey::varchar,
                  ix.indoption::varchar, i.reloptions, am.amname,
                  pg_get_expr(ix.indpred, ix.indrelid),
                  ix.indnkeyatts as indnkeyatts
              FROM
                  pg_class t
                        join pg_index ix on t.oid = ix.indrelid
                        join pg_class i on i.oid = ix.indexrelid
                        left outer join
                            pg_attribute a
                            on t.oid = a.attrelid and a.attnum = ANY(ix.indkey)
                        left outer join
                            pg_constraint c
                            on (ix.indrelid = c.conrelid and
                                ix.indexrelid = c.conindid and
                                c.contype in ('p', 'u', 'x'))
                        left outer join
                            pg_am am
                            on i.relam = am.oid
              WHERE
                  t.relkind IN ('r', 'v', 'f', 'm', 'p')
                  and t.oid = {oid}
                  and ix.indisprimary = 'f'
              ORDER BY
                  t.relname,
                  i.relname
"""
NOTHING_THERE = {
    "indexes": INDEXES,
    "primary key": """
                SELECT a.attname
                FROM pg_attribute a JOIN (
                    SELECT unnest(ix.indkey) attnum,
                           generate_subscripts(ix.indkey, 1) ord
                    FROM pg_index ix
                    WHERE ix.indrelid = {oid} AND ix.indisprimary
                    ) k ON a.attnum=k.attnum
                WHERE a.attrelid = {oid}
                ORDER BY k.ord""",
    "foreign keys": """
          SELECT r.conname,
                pg_catalog.pg_get_constraintdef(r.oid, true) as condef,
                n.nspname as conschema
          FROM  pg_catalog.pg_constraint r,
                pg_namespace n,
                pg_class c

          WHERE r.conrelid = {oid} AND
                r.contype = 'f' AND
                c.oid = confrelid AND
                n.oid = c.relnamespace
          ORDER BY 1""",
    "unique constraints": """
            SELECT
                cons.conname as name,
                cons.conkey as key,
                a.attnum as col_num,
                a.attname as col_name
            FROM
                pg_catalog.pg_constraint cons
                join pg_attribute a
                  on cons.conrelid = a.attrelid AND
                    a.attnum = ANY(cons.conkey)
            WHERE
                cons.conrelid = {oid} AND
                cons.contype = 'u'""",
    "check constraints": """
            SELECT
                cons.conname as name,
                pg_get_constraintdef(cons.oid) as src
            FROM
                pg_catalog.pg_constraint cons
            WHERE
                cons.conrelid = {oid} AND
                cons.contype = 'c'""",
    "comment": """
            SELECT
                pgd.description as table_comment
            FROM
                pg_catalog.pg_description pgd
            WHERE
                pgd.objsubid = 0 AND
                pgd.objoid = {oid}""",
}


def ride(number):
    return {
        "id": number,
        "city": ["Berlin", "Rome"][number % 2],
        "score": 44.0,
        "paid": number % 2 == 0,
        "at": BEGIN_MS + number * DAY_MS,
        "day": f"2024-01-{number + 1:02}",
        "raw": "AP8=" if number % 2 == 0 else "Af8=",
        "uid": UID,
        "tags": ["p"],
        "ats": [BEGIN_MS],
    }


@pytest.fixture(scope="module")
def server(binary, kafka, tmp_path_factory):
    with with_door(binary, tmp_path_factory.mktemp("superset"), "postgres") as started:
        fill(started, kafka, [ride(number) for number in range(10)], columns=COLUMNS)
        yield started


def connect(server, user="alice"):
    return psycopg.connect(f"host=127.0.0.1 port={server.postgres_port} user={user} dbname=headwater", autocommit=True)


@pytest.fixture
def connection(server):
    with connect(server) as made:
        yield made


@pytest.fixture
def pinot(server):
    return pinotdb.connect(host="127.0.0.1", port=server.port, path="/query/sql", scheme="http").cursor()


def count(cursor, condition):
    cursor.execute(f"SELECT count(*) FROM rides WHERE {condition}")
    return cursor.fetchone()[0]


@pytest.mark.parametrize("what", NOTHING_THERE)
def test_a_data_set_is_added(connection, what):
    (oid,) = connection.execute(TABLE_OID).fetchone()
    assert connection.execute(NOTHING_THERE[what].format(oid=oid)).fetchall() == []


def test_the_tables_are_listed(connection):
    tables = """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'public' AND c.relkind in ('r', 'p')"""
    assert connection.execute(tables).fetchall() == [("rides",)]
    listed = connection.execute("SELECT table_schema, table_name, table_type FROM information_schema.tables").fetchall()
    assert ("public", "rides", "BASE TABLE") in listed


@pytest.mark.parametrize("by", ["pg_terminate_backend", "pg_cancel_backend"])
def test_stop_ends_the_query(server, connection, by):
    sqlstates = []
    with connect(server, "bob") as other:
        pid = other.info.backend_pid
        assert other.execute("SELECT pg_backend_pid()").fetchone() == (pid,)

        def run():
            try:
                other.execute(ENDLESS)
            except psycopg.Error as error:
                sqlstates.append(error.sqlstate)

        running = threading.Thread(target=run)
        running.start()
        try:
            active = f"SELECT state, query_start IS NOT NULL FROM pg_stat_activity WHERE pid = {pid} AND query = '{ENDLESS}'"
            eventually(lambda: connection.execute(active).fetchall() == [("active", True)], "the query runs")
            # Superset writes the number as a text.
            assert connection.execute(f"SELECT {by}(pid) FROM pg_stat_activity WHERE pid='{pid}'").fetchall() == [(True,)]
            running.join(20)
        finally:
            # The connection is not closed before its query has ended, and that would not be soon.
            if running.is_alive():
                other.cancel()
        assert sqlstates == ["57014"]
    gone = f"SELECT count(*) FROM pg_stat_activity WHERE pid={pid}"
    eventually(lambda: connection.execute(gone).fetchone() == (0,), "the session is gone")
    assert connection.execute(f"SELECT {by}({pid})").fetchone() == (False,)


def test_a_filter_takes_what_the_drop_down_shows(connection, pinot):
    cursor = connection.cursor()
    for shown in ["Mon, 01 Jan 2024 00:00:00 GMT", "Jan 1, 2024", "2024-01-01 00:00:00 GMT"]:
        for column in ["day", "at"]:
            for door in [cursor, pinot]:
                assert count(door, f"{column} IN ('{shown}')") == 1, (shown, column)
    assert count(cursor, "raw IN ('\\x00ff', '\\x01ff')") == 10
    assert count(cursor, "paid IN ('t', 'false')") == 10
    assert count(cursor, f"uid IN ('{UID.upper()}')") == 10
    assert count(pinot, f"at IN ({BEGIN_MS}) AND at NOT IN ({BEGIN_MS + 1})") == 1
    assert count(pinot, f"day IN ({BEGIN_MS + DAY_MS}) AND paid IN (1, 0)") == 1


def test_a_date_at_the_door_of_pinot_is_a_midnight(connection, pinot):
    until_midnight = "day >= '2024-01-01 23:59:59.500000' AND day < '2024-01-02 00:00:00.000000'"
    assert count(pinot, until_midnight) == 0
    assert count(pinot, "day = '2024-01-02 07:00:00'") == 0
    assert count(pinot, "day = '2024-01-02 00:00:00'") == 1
    # PostgreSQL cuts the clock off.
    assert count(connection.cursor(), "day = '2024-01-02 07:00:00'") == 1


def test_a_cast_to_text_is_that_of_postgres(connection):
    columns = "raw, at, tags, score, paid, day"
    cast = ", ".join(f"CAST({column} AS VARCHAR)" for column in columns.split(", "))
    row = connection.execute(f"SELECT {cast} FROM rides WHERE id = 0").fetchone()
    assert row == ("\\x00ff", "2024-01-01 00:00:00+00", "{p}", "44", "true", "2024-01-01")


def test_numbers_of_rows_are_whole(connection):
    row = connection.execute(
        "SELECT row_number() OVER (ORDER BY id), rank() OVER (ORDER BY id), dense_rank() OVER (ORDER BY id) FROM rides"
    )
    assert [column.type_code for column in row.description] == [20, 20, 20]
    assert row.fetchone() == (1, 1, 1)
    assert connection.execute("SELECT 18446744073709551615").fetchone() == (decimal.Decimal(2**64 - 1),)


def test_what_is_missing_is_named_as_superset_looks_for_it(connection):
    for sql, message in [
        ("SELECT nope FROM rides", 'column "nope" does not exist'),
        ("SELECT 1 FROM nope", 'relation "nope" does not exist'),
    ]:
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(sql)
        assert str(raised.value).startswith(message)
        assert "LINE 1" in str(raised.value)


def test_pinotdb_reads_every_column(pinot):
    pinot.execute("SELECT * FROM rides WHERE id = 0")
    row = dict(zip([column[0] for column in pinot.description], pinot.fetchone()))
    assert row["ats"] == ["2024-01-01 00:00:00.0"]
    assert row["day"].replace(tzinfo=None) == datetime.datetime(2024, 1, 1)
