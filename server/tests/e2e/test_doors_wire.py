"""The doors of the Postgres protocol and of Flight SQL, against what is sent to break them: garbage, sizes, floods, slow clients;
see server/src/access/README.md. HTTP's are in test_doors_http.py.

Needs no Kafka.
"""

import contextlib
import pathlib
import socket
import ssl
import struct
import threading
import time

import psycopg
import pyarrow as pa
import pyarrow.flight
import pytest

from doors import ADA, GET_ROOT, PREFACE, SSL_REQUEST, AllDoors, closed_after, frame, identity, talk

MIB = 1 << 20


@pytest.fixture(scope="module")
def doors(binary, tmp_path_factory, users):
    directory = tmp_path_factory.mktemp("wire")
    tls, ca = identity(directory / "tls")
    node = AllDoors(binary, directory / "node", tls + users, ca)
    yield node.start()
    node.kill()


def is_well(node):
    """It answers on all doors, and nothing has made it panic."""
    assert node.query(auth=ADA).json()["rows"] == [[1]]
    with postgres(node) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    client, options = flight(node)
    assert list(client.list_actions(options))
    assert "panicked" not in node.log_text()


def postgres(node):
    user, password = ADA
    return psycopg.connect(host="127.0.0.1", port=node.postgres_port, user=user, password=password, dbname="headwater")


def flight(node):
    if node.scheme == "http":
        client = pa.flight.connect(f"grpc://127.0.0.1:{node.flight_port}")
    else:
        roots = pathlib.Path(node.ca).read_text()
        client = pa.flight.connect(f"grpc+tls://127.0.0.1:{node.flight_port}", tls_root_certs=roots)
    return client, pa.flight.FlightCallOptions(headers=[client.authenticate_basic_token(*ADA)])


def startup(**parameters):
    body = struct.pack(">I", 3 << 16) + b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
    return struct.pack(">I", len(body) + 4) + body


def message(kind, body=b"", length=None):
    return kind + struct.pack(">I", len(body) + 4 if length is None else length) + body


STARTUP = startup(user="ada", database="headwater")


# The Postgres protocol.


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">I", 0), struct.pack(">I", 7), struct.pack(">I", 10_001) + b"x" * 10_000, b"\xff" * 5000,
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 100,
        struct.pack(">II", 8, 2 << 16), struct.pack(">II", 8, 3 << 16), STARTUP[:-1] + b"x", SSL_REQUEST * 4,
        # What comes in clear before the handshake counts for nothing after it.
        SSL_REQUEST + STARTUP,
    ],
    ids=["no-length", "short", "long", "large", "http", "tls", "version", "nobody", "no-end", "again-and-again", "injected"],
)
def test_postgres_ends_what_does_not_begin_right(doors, sent):
    with socket.create_connection(("127.0.0.1", doors.postgres_port), timeout=30) as connection:
        came, is_over = talk(connection, sent, within=8)
    # Long before the time for letting somebody in is over; and nothing that looks like an answer to somebody who was.
    assert is_over and len(came) < 500 and b"R\0\0\0\x08\0\0\0\0" not in came, came
    is_well(doors)


@pytest.mark.parametrize(
    "sent",
    [
        message(b"p", b"\0"), message(b"p", b"wrong\0"), message(b"p", b"x" * 10_001 + b"\0"), message(b"p", length=1 << 30),
        message(b"p", b"no end"), message(b"p", b"\xff\0"), message(b"Q", b"SELECT 42\0"), message(b"?"), message(b"p", length=3),
    ],
    ids=["empty", "wrong", "long", "large", "no-end", "no-text", "query", "unknown", "short"],
)
def test_postgres_lets_nobody_in_without_a_password(doors, sent):
    with doors.connect_postgres() as connection:
        connection.sendall(STARTUP)
        assert connection.recv(100) == message(b"R", struct.pack(">I", 3))
        came, is_over = talk(connection, sent + message(b"Q", b"SELECT 42\0"), within=8)
    assert is_over and came[:1] == b"E" and b"FATAL" in came and b"42\0" not in came, came
    is_well(doors)


def test_postgres_ends_what_it_cannot_read_on_from(doors):
    for sent in (message(b"Q", length=9 * MIB), message(b"Q", length=(1 << 32) - 1), message(b"?"), message(b"Q", length=3)):
        with doors.connect_postgres() as connection:
            connection.sendall(STARTUP + message(b"p", ADA[1].encode() + b"\0"))
            until(connection, message(b"Z", b"I"))
            came, is_over = talk(connection, sent, within=8)
        # The length is enough: the bytes are not waited for.
        assert is_over and came[:1] == b"E" and b"FATAL" in came, (sent, came)
    # What has a bound of its own is an error, and the connection goes on.
    with postgres(doors) as connection:
        with pytest.raises(psycopg.Error, match="at most 1048576 are allowed"):
            connection.execute("SELECT '" + "x" * (2 * MIB) + "'")
        connection.rollback()
        assert connection.execute("SELECT 2").fetchone() == (2,)
    is_well(doors)


def until(connection, end):
    came = b""
    while not came.endswith(end):
        chunk = connection.recv(1 << 16)
        assert chunk, came
        came += chunk


def test_postgres_sessions_have_a_bound_and_come_free_again(binary, tmp_path, users):
    node = AllDoors(binary, tmp_path / "node", users, settings=["postgres.connections_max=3"]).start()
    try:
        with contextlib.ExitStack() as held:
            first = held.enter_context(postgres(node))
            for _ in range(2):
                held.enter_context(postgres(node))
            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                postgres(node)
            first.close()
            # Its place is free as soon as the server has seen it go.
            give_up = time.monotonic() + 10
            while True:
                with contextlib.suppress(psycopg.OperationalError), postgres(node) as connection:
                    assert connection.execute("SELECT 1").fetchone() == (1,)
                    break
                assert time.monotonic() < give_up
    finally:
        node.kill()


# Flight SQL.


def test_flight_ends_what_is_no_grpc(doors):
    in_clear = [b"\0" * 5000, b"GET /tables HTTP/1.1\r\nhost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 100]
    for sent in in_clear:
        with socket.create_connection(("127.0.0.1", doors.flight_port), timeout=30) as connection:
            came, is_over = talk(connection, sent, within=20)
        assert is_over and b"tables" not in came, (sent[:40], came)
    inside = [b"\0" * 5000, b"\xff" * 5000, b"POST /sql HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n"]
    for sent in inside:
        with doors.connect_flight() as connection:
            came, is_over = talk(connection, sent, within=20)
        assert is_over, (sent[:40], came)
    # Whoever asks as a page of a browser does is told what to speak, and nothing else.
    with doors.connect(doors.flight_port) as connection:
        came, _ = talk(connection, b"GET /tables HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", within=20)
    assert b"HTTP/2%20only" in came and b'"tables"' not in came, came
    is_well(doors)


@pytest.mark.parametrize(
    "sent",
    [
        frame(0, stream=1, length=(1 << 24) - 1) + b"x" * 100_000,
        frame(1, flags=4, stream=1, payload=b"\xff" * 10_000),
        frame(1, stream=1, payload=GET_ROOT) + b"".join(frame(9, stream=1, payload=b"\x40\x01x\x7f\x80\x7e" + b"y" * 16_000) for _ in range(200)),
        b"".join(frame(1, flags=5, stream=2 * n + 1, payload=GET_ROOT) + frame(3, stream=2 * n + 1, payload=struct.pack(">I", 8)) for n in range(20_000)),
        b"".join(frame(4) for _ in range(200_000)),
        b"".join(frame(6, payload=b"12345678") for _ in range(200_000)),
    ],
    ids=["oversized", "bad-hpack", "continuation-flood", "rapid-reset", "settings-flood", "ping-flood"],
)
def test_broken_and_flooding_http2_ends_that_connection_of_flight_only(doors, sent):
    with doors.connect_flight() as connection:
        came, is_over = talk(connection, PREFACE + frame(4) + sent, within=25)
    assert is_over, came[-200:]
    is_well(doors)


def test_flight_refuses_what_is_too_large(doors):
    client, options = flight(doors)
    # Messages of 4 MiB at most, statements of 1 MiB, and an action that there is not.
    for action, body in [("CreatePreparedStatement", b"x" * (5 * MIB)), ("CancelFlightInfo", b"\xff" * 1000), ("Nothing", b"")]:
        with pytest.raises((pa.ArrowException, pa.flight.FlightError)):
            list(client.do_action((action, body), options))
    any_url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    statement = b"SELECT '" + b"x" * (2 * MIB) + b"'"
    command = field(1, any_url) + field(2, field(1, statement))
    with pytest.raises((pa.ArrowException, pa.flight.FlightError), match="more than the 1048576 allowed"):
        client.get_flight_info(pa.flight.FlightDescriptor.for_command(command), options)
    is_well(doors)


def field(number, value):
    """A field of bytes in a message of protobuf."""
    length, size = b"", len(value)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


# Slow ones.


def test_slow_clients_of_all_protocols_are_let_go(doors):
    """A byte a second, and nothing at all, wherever somebody who was not let in can wait."""

    def silent(port, begin=b""):
        with socket.create_connection(("127.0.0.1", port), timeout=40) as connection:
            connection.sendall(begin)
            return closed_after(connection, 40, sends=b"")

    def slow(connect, begin):
        with connect() as connection:
            connection.sendall(begin)
            return closed_after(connection, 40)

    def in_clear(port):
        return lambda: socket.create_connection(("127.0.0.1", port), timeout=10)

    cases = {
        "postgres, nothing": lambda: silent(doors.postgres_port),
        "postgres, no handshake": lambda: silent(doors.postgres_port, SSL_REQUEST),
        "postgres, startup": lambda: slow(in_clear(doors.postgres_port), struct.pack(">I", 5000)),
        "postgres, password": lambda: slow(doors.connect_postgres, STARTUP + b"p" + struct.pack(">I", 5000)),
        "flight, nothing": lambda: silent(doors.flight_port),
        "flight, handshake": lambda: slow(in_clear(doors.flight_port), b"\x16\x03\x01\x10\0"),
        "flight, preface": lambda: slow(doors.connect_flight, PREFACE[:8]),
        "flight, no request": lambda: slow(doors.connect_flight, PREFACE + frame(4) + frame(1, stream=1, payload=GET_ROOT)[:5]),
    }
    took = {}

    def wait(name, case):
        took[name] = case()

    waiting = [threading.Thread(target=wait, args=case) for case in cases.items()]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(60)
    assert all(took.get(name) is not None and took[name] < 30 for name in cases), took
    is_well(doors)
