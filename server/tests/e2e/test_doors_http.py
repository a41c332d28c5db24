"""The doors, against what is sent to break them: paths, sizes, broken HTTP, floods, slow clients; see server/src/access/README.md.

Needs no Kafka. Who is let in is in test_doors.py.
"""

import contextlib
import gzip
import json
import socket
import struct
import threading
import time

import pytest
import requests

from doors import GET_ROOT, PREFACE, Guarded, closed_after, frame, raw, status_of, talk, went_away
from harness import eventually, unique


# Paths and names.


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/assets/../../../etc/passwd", "/assets/..%2f..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
        "/tables/..%2f..%2fetc%2fpasswd", "/tables/%2e%2e", "/..;/healthz", "//etc/passwd", "/assets/%00", "/tables/a%00b",
        "/tables/%ff%fe", "/queries/..%2f..%2ftables", "/C:%5cwindows", "/tables/x/../../healthz/../tables",
    ],
)
def test_paths_lead_nowhere_else(unguarded, guarded, path):
    for node in (unguarded, guarded):
        sent = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        came = raw(node, sent)
        # An address with two slashes at its beginning may be read as one without a path.
        assert status_of(came) in (400, 401, 403, 404, 405), came[:200]
        assert b"root:" not in came
    assert status_of(raw(guarded, b"PUT /healthz/../tables/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")) == 401


def test_names_are_names_and_no_sql_or_path(unguarded):
    bad = ["a/b", "../x", "a b", "a;b", 'a"b', "a'b", "a\nb", "", "x" * 300, "$offset", "a\0b", "système.x", "..", "."]
    for name in bad:
        spec = {"name": name, "columns": [{"name": "a", "type": "LONG"}], "stream": {"brokers": ["127.0.0.1:1"], "topic": "t"}}
        path = requests.utils.quote(name, safe="") or "%20"
        answer = unguarded.ask("PUT", f"/tables/{path}", data=json.dumps(spec))
        assert answer.status_code in (400, 404, 405), (name, answer.text)
    columns = ['a", (SELECT 1) "b', "a'); DROP TABLE t; --", "SELECT", "$x", "a\0"]
    spec = {"name": "odd", "columns": [{"name": column, "type": "LONG"} for column in columns],
            "stream": {"brokers": ["127.0.0.1:1"], "topic": "t"}}
    answer = unguarded.ask("PUT", "/tables/odd", data=json.dumps(spec))
    assert answer.status_code in (200, 201, 400, 503), answer.text
    # Values are values wherever they stand.
    for value in ["' OR '1'='1", "'; DROP TABLE t; --", "$1", "\\", "\0"]:
        answer = unguarded.ask("POST", "/sql", json={"sql": "SELECT $1 AS v, $1 = 'x' AS same", "parameters": [value]})
        assert answer.json()["rows"] == [[value, False]], answer.text
    for statement in ["SELECT 1; DROP TABLE t", "DROP TABLE t", "COPY (SELECT 1) TO '/tmp/x'", "SELECT * FROM '/etc/passwd'",
                      "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "SET datafusion.execution.batch_size = 1"]:
        assert unguarded.query(statement).status_code == 400, statement


# Sizes and shapes.


NESTED = [
    "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
    "SELECT " + "(" * 100_000,
    "SELECT CAST(1 AS " + "Nullable(" * 50_000 + "INT" + ")" * 50_000 + ")",
    "SELECT " + "abs(" * 50_000 + "1" + ")" * 50_000,
    "SELECT " + "CASE WHEN TRUE THEN " * 20_000 + "1" + " END" * 20_000,
    "SELECT TRUE" + " OR TRUE" * 100_000,
    "SELECT " + "NOT " * 100_000 + "TRUE",
    "SELECT " + "INTERVAL " * 50_000 + "'1 day'",
    "SELECT 1" + "::INT" * 100_000,
    "SELECT 1" + " UNION ALL SELECT 1" * 40_000,
    "EXPLAIN " * 50_000 + "SELECT 1",
    "SELECT " + "[" * 100_000 + "1" + "]" * 100_000,
    "SELECT * FROM " + "(SELECT * FROM " * 20_000 + "t" + ") a" * 20_000,
]


@pytest.mark.parametrize("statement", NESTED, ids=[statement[:40] for statement in NESTED])
def test_deep_statements_are_refused(unguarded, statement):
    for path in ("/sql", "/query/sql"):
        answer = unguarded.ask("POST", path, json={"sql": statement})
        if path == "/sql":
            assert answer.status_code == 400 and answer.json()["error"]["message"], answer.text[:300]
        else:
            assert answer.json()["exceptions"], answer.text[:300]
    assert unguarded.ask("GET", "/healthz").text == "ok"


def test_statements_as_deep_as_allowed_are_answered(unguarded):
    assert unguarded.query("SELECT " + "(" * 40 + "1" + ")" * 40).json()["rows"] == [[1]]
    assert unguarded.query("SELECT 1" + " + 1" * 500).json()["rows"] == [[501]]
    either = " OR ".join(f"value = {number}" for number in range(200))
    assert unguarded.query(f"SELECT count(*) FROM range(1000) WHERE {either}").json()["rows"] == [[200]]


def test_deep_documents_are_refused(unguarded):
    deep = "[" * 100_000 + "]" * 100_000
    answer = unguarded.ask("POST", "/sql", data='{"sql": "SELECT $1", "parameters": ' + deep + "}")
    assert answer.status_code == 400
    assert unguarded.ask("POST", "/sql", data='{"a":' * 100_000).status_code == 400
    aliases = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + level)}: &{chr(98 + level)} [{','.join(['*' + chr(97 + level)] * 9)}]\n" for level in range(12)
    )
    for spec in ("{a: " * 5_000, "- " * 5_000, aliases):
        started = time.monotonic()
        assert unguarded.ask("PUT", "/tables/x", data=spec).status_code == 400
        assert time.monotonic() - started < 10
    assert unguarded.ask("GET", "/healthz").text == "ok"


def test_compressed_bodies_are_refused(unguarded):
    bomb = gzip.compress(b'{"sql": "SELECT 1' + b" " * (64 << 20) + b'"}')
    answer = unguarded.ask("POST", "/sql", data=bomb, headers={"content-encoding": "gzip", "content-type": "application/json"})
    assert answer.status_code == 415 and "content-encoding" in answer.json()["error"]["message"]
    assert unguarded.query(headers={"content-encoding": "identity"}).status_code == 200


def test_heads_have_a_bound(unguarded, guarded):
    for node in (unguarded, guarded):
        request = "GET /healthz{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n"
        cases = {
            "long line": ("?" + "x" * 200_000, ""),
            "one long header": ("", f"x: {'y' * 200_000}\r\n"),
            "many headers": ("", "".join(f"x{number}: y\r\n" for number in range(2000))),
            "many cookies": ("", "".join(f"cookie: a{number}={'b' * 4000}\r\n" for number in range(50))),
        }
        for name, parts in cases.items():
            came = raw(node, request.format(*parts).encode())
            assert status_of(came) in (None, 414, 431), (name, came[:200])
        assert status_of(raw(node, request.format("?" + "x" * 20_000, "").encode())) == 200
        # A header without an end.
        with node.connect() as connection:
            connection.settimeout(30)
            with pytest.raises(OSError), contextlib.suppress(TimeoutError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nx: ")
                for _ in range(1000):
                    connection.sendall(b"y" * 10_000)
        assert node.ask("GET", "/healthz").text == "ok"


@pytest.mark.parametrize(
    "sent",
    [
        b"\0" * 1000,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx y: z\r\n\r\n",
        b"POST /sql HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /sql HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /sql HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /sql HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
        b"POST /sql HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /sql HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(unguarded, sent):
    assert status_of(raw(unguarded, sent, wait=20)) in (None, 400, 413, 415, 501)
    assert unguarded.ask("GET", "/healthz").text == "ok"


def test_a_request_with_two_lengths_is_one_request(unguarded):
    """What could be smuggled behind a proxy is not taken for a second request."""
    inner = b"GET /tables HTTP/1.1\r\nhost: localhost\r\n\r\n"
    sent = (b"POST /sql HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + inner)
    came = raw(unguarded, sent, wait=5)
    assert b'"tables"' not in came or status_of(came) == 400, came


# HTTP/2, frame by frame.


@pytest.mark.parametrize(
    "sent",
    [
        frame(0, stream=1, length=(1 << 24) - 1) + b"x" * 100_000,
        frame(1, flags=4, stream=1, payload=b"\xff" * 10_000),
        frame(4, payload=b"\0" * 5),
        frame(8, payload=struct.pack(">I", 0)),
        frame(1, stream=1, payload=GET_ROOT) + b"".join(frame(9, stream=1, payload=b"\x40\x01x\x7f\x80\x7e" + b"y" * 16_000) for _ in range(200)),
        b"".join(frame(1, flags=5, stream=2 * n + 1, payload=GET_ROOT) + frame(3, stream=2 * n + 1, payload=struct.pack(">I", 8)) for n in range(20_000)),
        b"".join(frame(4) for _ in range(200_000)),
        b"".join(frame(6, payload=b"12345678") for _ in range(200_000)),
    ],
    ids=["oversized", "bad-hpack", "bad-settings", "bad-window", "continuation-flood", "rapid-reset", "settings-flood", "ping-flood"],
)
def test_broken_and_flooding_http2_ends_that_connection_only(unguarded, sent):
    with unguarded.connect() as connection:
        came, is_over = talk(connection, PREFACE + frame(4) + sent, within=25)
    # What is broken is told so, if it listens; settings and pings are no requests, and without one the connection ends.
    assert is_over, came[-200:]
    floods = sent.startswith(frame(4)[:9]) or sent.startswith(frame(6, payload=b"12345678")[:9])
    assert floods or went_away(came) or came == b"", came[-200:]
    assert unguarded.ask("GET", "/healthz").text == "ok"
    assert unguarded.process.poll() is None


# Slow ones.


def test_slow_clients_are_let_go(unguarded, guarded):
    """A byte a second: as a head, as the beginning of HTTP/2, as TLS, as a body; and nothing at all."""
    beginnings = {
        "nothing": (unguarded, None),
        "head": (unguarded, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: "),
        "preface": (unguarded, b"PRI * HT"),
        "tls": (guarded, None),
        "body": (unguarded, b"POST /sql HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{"),
    }
    took = {}

    def wait(name, node, beginning):
        with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
            if beginning:
                connection.sendall(beginning)
            took[name] = closed_after(connection, 40) if beginning or name == "tls" else silent(connection)

    def silent(connection):
        started = time.monotonic()
        connection.settimeout(40)
        return time.monotonic() - started if connection.recv(1) == b"" else None

    waiting = [threading.Thread(target=wait, args=(name, *rest)) for name, rest in beginnings.items()]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(60)
    assert all(took.get(name) is not None and took[name] < 30 for name in beginnings), took
    assert unguarded.ask("GET", "/healthz").text == "ok"


def test_connections_have_a_bound_and_come_free_again(binary, tmp_path):
    node = Guarded(binary, tmp_path / "node", "", settings=["http.connections_max=20"]).start()
    try:
        holding = [socket.create_connection(("127.0.0.1", node.port), timeout=5) for _ in range(20)]
        with pytest.raises(requests.Timeout):
            requests.get(f"{node.url}/healthz", timeout=2)
        # Those that say nothing are let go, and others come in.
        eventually(lambda: node._answers(), "somebody gets in", within=30)
        for connection in holding:
            connection.close()
    finally:
        node.kill()


def test_a_client_that_goes_away_does_not_keep_its_query(unguarded):
    mark = unique("mark")
    body = json.dumps({"sql": f"SELECT value FROM range(1000000000) -- {mark}", "format": "csv", "rows_max": 1000000000}).encode()
    running = lambda: [row for row in unguarded.query(
        "SELECT sql FROM system.queries WHERE state = 'running'").json()["rows"] if mark in row[0]]
    with unguarded.connect() as connection:
        connection.sendall(b"POST /sql HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        eventually(running, "it runs")
    eventually(lambda: not running(), "it is cancelled", within=10)
