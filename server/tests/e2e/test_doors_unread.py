"""Clients that ask for much, stay connected, and read nothing of it: by HTTP/1, by HTTP/2 without opening its window, by the Postgres
protocol and by Flight SQL. They have 60 seconds; all wait at the same time, and so does one that sends its second request slowly.

Needs no Kafka.
"""

import base64
import contextlib
import pathlib
import threading
import time
import urllib.parse

import psycopg
import pyarrow as pa
import pyarrow.flight
import pytest

from doors import ADA, PREFACE, AllDoors, closed_after, frame, identity, talk
from harness import eventually, unique

# What the server waits for, and how much later it may notice on a busy machine.
UNREAD_S, LATE_S = 60, 30
IDLE_S = 75
MUCH = "SELECT value, repeat('x', 100) AS text FROM range(1000000000)"


@pytest.fixture(scope="module")
def doors(binary, tmp_path_factory, users):
    """No deadline and no cap on rows ends these queries."""
    directory = tmp_path_factory.mktemp("unread")
    tls, ca = identity(directory / "tls")
    settings = ["query.deadline_default_ms=600000", "query.rows_default=1000000000"]
    node = AllDoors(binary, directory / "node", tls + users, ca, settings=settings)
    yield node.start()
    node.kill()


@pytest.fixture(scope="module", autouse=True)
def second_head(doors):
    """A client that has its first answer and sends a byte of the next request each second, while the tests run: how long it may."""
    took = []

    def drip():
        with doors.connect() as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            came = b""
            while not came.endswith(b"ok"):
                chunk = connection.recv(1000)
                assert chunk, came
                came += chunk
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ")
            took.append(closed_after(connection, IDLE_S + 30))

    dripping = threading.Thread(target=drip)
    dripping.start()
    yield dripping, took
    dripping.join(1)


def authorization():
    return "Basic " + base64.b64encode(":".join(ADA).encode()).decode()


def path_of(sql):
    return "/sql?q=" + urllib.parse.quote(sql)


@contextlib.contextmanager
def by_http1(node, sql):
    with node.connect() as connection:
        connection.sendall(f"GET {path_of(sql)} HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization()}\r\n\r\n".encode())

        def cut_off():
            came, is_over = talk(connection, b"", within=20)
            # A chunk of no bytes would say that this was all.
            return is_over and came.startswith(b"HTTP/1.1 200") and not came.endswith(b"\r\n0\r\n\r\n")

        yield cut_off


@contextlib.contextmanager
def by_http2(node, sql):
    """Answers pings, so that it counts as alive, and opens no window beyond the first 64 KiB until its query has ended."""

    def literal(text):
        size, length = len(text), b"\x7f"
        rest = size - 127
        while rest > 127:
            length, rest = length + bytes([rest & 127 | 128]), rest >> 7
        return (bytes([size]) if size < 127 else length + bytes([rest])) + text.encode()

    def take(came):
        """Looks at the whole frames; returns the rest."""
        while len(came) >= 9 and len(came) >= (end := 9 + int.from_bytes(came[:3], "big")):
            kind, is_flagged = came[3], bool(came[4] & 1)
            if kind == 6 and not is_flagged:
                connection.sendall(frame(6, flags=1, payload=came[9:end]))
            if kind == 3 or (kind == 0 and is_flagged):
                ends.append("reset" if kind == 3 else "whole")
            came = came[end:]
        return came

    def serve():
        """All that is read and written passes here: two threads must not be in one TLS connection."""
        came, is_open = b"", False
        with contextlib.suppress(OSError), connection:
            while not leave.is_set():
                if open_window.is_set() and not is_open:
                    wide, is_open = (1 << 30).to_bytes(4, "big"), True
                    connection.sendall(frame(8, payload=wide) + frame(8, stream=1, payload=wide))
                try:
                    chunk = connection.recv(1 << 16)
                except TimeoutError:
                    continue
                if not chunk:
                    break
                came = take(came + chunk)

    def cut_off():
        open_window.set()
        return eventually(lambda: ends, "the stream ends", within=10) == ["reset"]

    ends, open_window, leave = [], threading.Event(), threading.Event()
    scheme = b"\x87" if node.scheme == "https" else b"\x86"
    head = b"\x82" + scheme + b"\x04" + literal(path_of(sql)) + b"\x41\x09localhost" + b"\x0f\x08" + literal(authorization())
    connection = node.connect(protocols=["h2"])
    connection.settimeout(0.2)
    connection.sendall(PREFACE + frame(4) + frame(1, flags=5, stream=1, payload=head))
    serving = threading.Thread(target=serve)
    serving.start()
    try:
        yield cut_off
    finally:
        leave.set()
        serving.join(10)


@contextlib.contextmanager
def by_postgres(node, sql):
    user, password = ADA
    connection = psycopg.connect(host="127.0.0.1", port=node.postgres_port, user=user, password=password, dbname="headwater")
    # libpq reads when it is asked to, and it is not.
    connection.pgconn.send_query(sql.encode())
    assert connection.pgconn.flush() == 0

    def cut_off():
        try:
            while connection.pgconn.is_busy():
                connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        result = connection.pgconn.get_result()
        return result is not None and result.status == psycopg.pq.ExecStatus.FATAL_ERROR

    yield cut_off
    connection.close()


@contextlib.contextmanager
def by_flight(node, sql):
    scheme = "grpc" if node.scheme == "http" else "grpc+tls"
    roots = {} if node.scheme == "http" else {"tls_root_certs": pathlib.Path(node.ca).read_text()}
    client = pa.flight.connect(f"{scheme}://127.0.0.1:{node.flight_port}", **roots)
    options = pa.flight.FlightCallOptions(headers=[client.authenticate_basic_token(*ADA)])
    field = lambda number, value: bytes([number << 3 | 2]) + size_of(value) + value
    size_of = lambda value: bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 127 | 128, len(value) >> 7])
    url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    command = field(1, url) + field(2, field(1, sql.encode()))
    info = client.get_flight_info(pa.flight.FlightDescriptor.for_command(command), options)
    reader = client.do_get(info.endpoints[0].ticket, options)

    def cut_off():
        with pytest.raises((pa.ArrowException, pa.flight.FlightError), match="left unread"):
            for _ in reader:
                pass
        return True

    yield cut_off
    reader.cancel()


def test_a_client_that_does_not_read_does_not_keep_its_query(doors):
    clients = {"http/1": by_http1, "http/2": by_http2, "postgres": by_postgres, "flight": by_flight}
    marks = {name: unique("mark") for name in clients}

    def states(table):
        rows = doors.query(f"SELECT sql, state FROM {table} WHERE sql LIKE '%mark_%'", auth=ADA).json()["rows"]
        return {name: state for name, mark in marks.items() for sql, state in rows if mark in sql and "repeat" in sql}

    def running():
        return {name for name, state in states("system.queries").items() if state == "running"}

    with contextlib.ExitStack() as connected:
        cut_off = {name: connected.enter_context(ask(doors, f"{MUCH} -- {marks[name]}")) for name, ask in clients.items()}
        eventually(lambda: running() == set(clients), "all run")
        began, ended = time.monotonic(), {}

        def all_ended():
            still = running()
            for name in set(clients) - still - set(ended):
                ended[name] = time.monotonic() - began
            return not still

        eventually(all_ended, "they end, though their clients are there", within=UNREAD_S + LATE_S, every=0.5)
        # By nothing that comes earlier, such as a deadline or a connection that broke.
        assert all(took > UNREAD_S - 10 for took in ended.values()), ended
        logged = eventually(lambda: len(seen := states("system.query_log")) == len(clients) and seen, "they are in the log")
        assert set(logged.values()) == {"cancelled"}, logged
        # Nobody takes the part for the whole.
        assert {name: cut_off[name]() for name in clients} == dict.fromkeys(clients, True)


def test_a_further_head_has_its_time(second_head):
    dripping, took = second_head
    dripping.join(IDLE_S + 30)
    assert took and took[0] is not None and IDLE_S - 5 < took[0] < IDLE_S + 15, took
