"""The doors, as somebody at them sees them: who is let in, sessions, TLS, pages of other sites; see server/src/access/README.md.

Needs no Kafka. What is sent to break HTTP itself is in test_doors_http.py.
"""

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
import time

import pytest
import requests

from doors import (
    ADA, BOB, PASSWORDS, Bearer, Guarded, ends_at_start, environment, make_authority, make_certificate, needs_openssl, openssl, replace,
)
from harness import cli, eventually, free_port, unique

ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.value * b.value) % 7 = 1"


# Who is let in.


def test_nobody_and_wrong_ones_are_refused(guarded, tokens):
    wrong = [
        {},
        {"auth": ("ada", "wrong")},
        {"auth": ("nobody", PASSWORDS["ada"])},
        {"auth": ("", "")},
        {"auth": Bearer("hw_" + "0" * 64)},
        {"auth": Bearer(tokens[0]["past"])},
        {"headers": {"authorization": "Basic %%%"}},
        {"headers": {"authorization": "Negotiate YII="}},
        {"headers": {"cookie": "__Host-headwater=AAAA.AAAA; headwater_session=AAAA.AAAA"}},
    ]
    for shown in wrong:
        answer = guarded.query(**shown)
        assert answer.status_code == 401, (shown, answer.text)
        assert answer.json()["error"]["kind"] == "unauthorized" and "www-authenticate" in answer.headers
        assert guarded.ask("GET", "/tables", **shown).status_code == 401
        assert guarded.ask("GET", "/metrics", **shown).status_code == 401


def test_readers_read_and_administrators_change(guarded, tokens):
    for reader in (BOB, Bearer(tokens[0]["reading"]), ("any", tokens[0]["reading"])):
        assert guarded.query(auth=reader).json()["rows"] == [[1]]
        assert guarded.ask("GET", "/tables", auth=reader).status_code == 200
        assert guarded.ask("GET", "/metrics", auth=reader).status_code == 200
        for method, path in [("PUT", "/tables/x"), ("DELETE", "/tables/x"), ("POST", "/tables/x/pause"), ("POST", "/new")]:
            refused = guarded.ask(method, path, auth=reader)
            assert (refused.status_code, refused.json()["error"]["kind"]) == (403, "forbidden"), (method, path)
    for administrator in (ADA, Bearer(tokens[0]["changing"])):
        assert guarded.ask("POST", "/tables/x/pause", auth=administrator).status_code == 404
        assert guarded.query(auth=administrator).status_code == 200
    assert guarded.ask("GET", "/healthz").text == "ok"
    assert guarded.ask("GET", "/readyz").status_code == 200


def test_pinots_clients_understand_a_refusal(guarded, tokens):
    answer = guarded.ask("POST", "/query/sql", json={"sql": "SELECT 1"})
    assert answer.status_code == 401 and answer.json()["exceptions"][0]["errorCode"] == 180
    answer = guarded.ask("POST", "/query/sql", json={"sql": "SELECT 1"}, auth=BOB)
    assert answer.status_code == 200 and answer.json()["resultTable"]["rows"] == [[1]]


def test_who_asked_is_in_system_queries_and_readers_end_their_own(guarded):
    asked = []

    def ask():
        asked.append(guarded.query(f"{ENDLESS} -- {mark}", auth=ADA).json())

    def running():
        rows = guarded.query("SELECT id, user_name, sql FROM system.queries WHERE state = 'running'", auth=BOB).json()["rows"]
        return [row for row in rows if mark in row[2]]

    mark = unique("mark")
    asking = threading.Thread(target=ask)
    asking.start()
    (query, user, _), = eventually(running, "the query runs")
    assert user == "ada"
    assert guarded.ask("DELETE", f"/queries/{query}", auth=BOB).status_code == 404
    for plan in ("", "?plan=true"):
        assert guarded.ask("GET", f"/queries/{query}{plan}", auth=BOB).status_code == 404
        assert guarded.ask("GET", f"/queries/{query}{plan}", auth=ADA).json()["user"] == "ada"
    assert running()
    assert guarded.ask("DELETE", f"/queries/{query}", auth=ADA).status_code == 204
    asking.join(20)
    assert asked and asked[0]["error"]["kind"] == "cancelled"


def test_guessing_is_slowed_down(binary, tmp_path, users):
    node = Guarded(binary, tmp_path / "node", users).start()
    try:
        answers = [node.query(auth=("ada", f"guess {number}")) for number in range(5)]
        # Each further one doubles the wait: after two of them it is longer than what is asked below takes on a slow machine.
        for wait_s in (1, 2):
            time.sleep(wait_s)
            answers.append(node.query(auth=("ada", f"guess after {wait_s}")))
        assert [answer.status_code for answer in answers] == [401] * 7
        answers.append(node.query(auth=("ada", "guess again")))
        assert answers[-1].status_code == 429 and int(answers[-1].headers["retry-after"]) >= 1
        assert node.query(auth=ADA).status_code == 429
        assert node.query(auth=BOB).status_code == 200
        log = node.log_text()
        assert "a wrong password" in log and not any(secret in log for secret in ("guess", *PASSWORDS.values()))
    finally:
        node.kill()


def test_many_names_make_nobody_else_wait(binary, tmp_path, users):
    node = Guarded(binary, tmp_path / "node", users).start()

    def asks(source):
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30, source_address=(source, 0))
        with contextlib.closing(connection):
            shown = base64.b64encode(":".join(ADA).encode()).decode()
            connection.request("GET", "/tables", headers={"authorization": f"Basic {shown}"})
            return connection.getresponse().status

    try:
        answers = [node.query(auth=(f"name {number}", "guess")).status_code for number in range(70)]
        assert answers == [401] * 64 + [429] * 6
        assert (asks("127.0.0.1"), asks("127.0.0.2")) == (429, 200)
    finally:
        node.kill()


def test_passwords_that_could_never_sign_in_are_not_hashed(binary):
    for password in ("hw_secret", "x" * 1025):
        done = cli(binary, "access", "hash-password", stdin=f"{password}\n", env=environment())
        assert done.returncode == 2 and "choose" in done.stderr and "secret" not in done.stderr, done


def test_a_client_with_a_password_does_not_pay_for_it_each_time(guarded):
    guarded.query(auth=BOB)
    with requests.Session() as session:
        # Without what the environment says of authorities.
        session.trust_env, session.verify, session.auth = False, guarded.ca, BOB
        ask = lambda: session.post(f"{guarded.url}/sql", json={"sql": "SELECT 1"}, timeout=10)
        ask()
        started = time.monotonic()
        assert all(ask().status_code == 200 for _ in range(50))
        assert time.monotonic() - started < 5


# Sessions.


@contextlib.contextmanager
def signed_in(node, user):
    session = requests.Session()
    # Without what the environment says of authorities.
    session.trust_env, session.verify = False, node.ca
    answer = session.post(f"{node.url}/session", json={"user": user, "password": PASSWORDS[user]}, timeout=30)
    assert answer.status_code == 200, answer.text
    with session:
        yield session, answer


def test_a_session_from_beginning_to_end(guarded):
    assert guarded.ask("GET", "/session").status_code == 401
    wrong = guarded.ask("POST", "/session", json={"user": "ada", "password": "no"})
    assert wrong.status_code == 401 and "set-cookie" not in wrong.headers
    with signed_in(guarded, "ada") as (session, answer):
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
        if guarded.scheme == "https":
            assert cookie.startswith("__Host-headwater=") and "; Secure" in cookie
        told = session.get(f"{guarded.url}/session", timeout=10).json()
        assert told == answer.json()
        assert (told["user"], told["role"], told["open"]) == ("ada", "administrator", False)
        csrf = {"x-headwater-csrf": told["csrf"]}
        # CSRF: the cookie alone changes nothing and asks nothing.
        for headers, status in [({}, 403), ({"x-headwater-csrf": "0" * 64}, 403), (csrf, 404)]:
            assert session.post(f"{guarded.url}/tables/x/pause", headers=headers, timeout=10).status_code == status
        assert session.post(f"{guarded.url}/sql", json={"sql": "SELECT 1"}, timeout=10).status_code == 403
        assert session.post(f"{guarded.url}/sql", json={"sql": "SELECT 1"}, headers=csrf, timeout=10).status_code == 200
        for site in ("cross-site", "same-site"):
            forged = {**csrf, "sec-fetch-site": site, "origin": "https://evil.example"}
            assert session.post(f"{guarded.url}/tables/x/pause", headers=forged, timeout=10).status_code == 403
        forged = {**csrf, "origin": "https://evil.example"}
        assert session.post(f"{guarded.url}/tables/x/pause", headers=forged, timeout=10).status_code == 403
        # Signing out makes copies of the cookie worthless.
        copy = dict(session.cookies)
        assert session.delete(f"{guarded.url}/session", timeout=10).status_code == 403
        assert session.delete(f"{guarded.url}/session", headers=csrf, timeout=10).status_code == 204
        assert guarded.ask("GET", "/session", cookies=copy).status_code == 401
    with signed_in(guarded, "bob") as (session, answer):
        csrf = {"x-headwater-csrf": answer.json()["csrf"]}
        assert session.post(f"{guarded.url}/tables/x/pause", headers=csrf, timeout=10).status_code == 403


def test_a_person_without_a_session_sees_the_console_and_nothing_else(guarded):
    person = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/", "/tables", "/sql?q=SELECT%20123456789"):
        answer = guarded.ask("GET", path, headers=person)
        assert answer.status_code == 200 and "text/html" in answer.headers["content-type"], path
        assert "123456789" not in answer.text
    assert guarded.ask("GET", "/tables", headers={"accept": "application/json"}).status_code == 401


# Where to listen, and TLS.


def test_a_public_listener_without_users_or_without_tls_does_not_start(binary, tmp_path, users):
    public = ("--listen", f"0.0.0.0:{free_port()}")
    assert "access.anonymous" in ends_at_start(binary, tmp_path, "", *public)
    assert "http.plaintext_public" in ends_at_start(binary, tmp_path, users, *public)
    assert "word by word" in ends_at_start(binary, tmp_path, '[access]\nanonymous = "true"\n')
    assert "gone.toml" in ends_at_start(binary, tmp_path, '[access]\nfile = "gone.toml"\n')
    assert "gone.pem" in ends_at_start(binary, tmp_path, '[tls]\ncert = "gone.pem"\nkey = "gone.key"\n')


@needs_openssl
def test_tls_versions_and_protocols(guarded):
    def handshake(version, protocols=("h2", "http/1.1")):
        context = ssl.create_default_context(cafile=guarded.ca)
        context.minimum_version = context.maximum_version = version
        # Older versions as well, as far as the client goes.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.set_alpn_protocols(list(protocols))
        with socket.create_connection(("127.0.0.1", guarded.port), timeout=10) as connection:
            with context.wrap_socket(connection, server_hostname="localhost") as wrapped:
                return wrapped.version(), wrapped.selected_alpn_protocol()

    assert handshake(ssl.TLSVersion.TLSv1_3) == ("TLSv1.3", "h2")
    assert handshake(ssl.TLSVersion.TLSv1_2, ["http/1.1"]) == ("TLSv1.2", "http/1.1")
    with pytest.warns(DeprecationWarning), pytest.raises((ssl.SSLError, OSError)):
        handshake(ssl.TLSVersion.TLSv1_1)
    # Somebody who speaks HTTP in clear, or nothing that makes sense, gets nothing.
    for sent in (b"GET /tables HTTP/1.1\r\nhost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\0" * 5000):
        with socket.create_connection(("127.0.0.1", guarded.port), timeout=30) as connection:
            connection.sendall(sent)
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in connection.recv(1000)
    assert guarded.ask("GET", "/healthz").text == "ok"


@needs_openssl
def test_files_count_when_they_change(binary, tmp_path, hashes):
    ca = make_authority(tmp_path / "tls")
    cert, key = make_certificate(tmp_path / "tls", "first")
    people = tmp_path / "access.toml"
    entry = '[[users]]\nname = "{}"\npassword_hash = "{}"\nrole = "reader"\n'
    people.write_text(entry.format("ada", hashes["ada"]))
    config = f'[tls]\ncert = "{cert}"\nkey = "{key}"\n[access]\nfile = "{people}"\n'
    node = Guarded(binary, tmp_path / "node", config, ca).start()

    def subject():
        with node.connect() as connection:
            return dict(pair for part in connection.getpeercert()["subject"] for pair in part)["commonName"]

    try:
        assert subject() == "first" and node.query(auth=ADA).status_code == 200
        other, other_key = make_certificate(tmp_path / "tls", "second")
        # Half of a change, then a fault: what was read before stays.
        os.replace(other_key, key)
        replace(people, "[[users]\n")
        eventually(lambda: node.log_text().count("what was read before stays") >= 2, "both faults are said")
        assert subject() == "first" and node.query(auth=ADA).status_code == 200
        os.replace(other, cert)
        replace(people, entry.format("bob", hashes["bob"]))
        eventually(lambda: subject() == "second", "the new certificate is shown")
        eventually(lambda: node.query(auth=BOB).status_code == 200, "bob is let in")
        assert node.query(auth=ADA).status_code == 401
        log = node.log_text()
        assert str(people) in log and hashes["bob"] not in log
    finally:
        node.kill()


@needs_openssl
def test_the_command_line_over_tls(guarded, tokens, tmp_path):
    ask = ("sql", "--ca", guarded.ca, "-c", "SELECT 1 AS one")
    secret = tmp_path / "password"
    secret.write_text(PASSWORDS["bob"] + "\n")

    def run(*more, **env):
        return cli(guarded.binary, *ask, *more, env={**environment(), "HEADWATER_URL": guarded.url, **env})

    for done in (
        run("--user", "bob", "--password-file", secret),
        run(HEADWATER_TOKEN=tokens[0]["reading"]),
        run("--token", tokens[0]["reading"]),
    ):
        assert (done.returncode, done.stdout) == (0, "one\n1\n"), done
    refused = run()
    assert refused.returncode == 6 and "user and a password" in refused.stderr, refused
    assert run(HEADWATER_TOKEN=tokens[0]["past"]).returncode == 6
    untrusted = cli(guarded.binary, "sql", "-c", "SELECT 1", env={**environment(), "HEADWATER_URL": guarded.url})
    assert untrusted.returncode == 3 and "certificate" in untrusted.stderr.lower(), untrusted
    # Where nodes find variables of clients, they are no settings.
    settings = {"HEADWATER_TOKEN": "x", "HEADWATER_USER": "x", "HEADWATER_CA": "x"}
    assert cli(guarded.binary, "config", env={**environment(), **settings}).returncode == 0


def test_the_configuration_is_printed_without_hashes(guarded, hashes, tokens):
    done = cli(guarded.binary, "config", "--config", guarded.config, env=environment())
    assert done.returncode == 0 and 'name = "ada"' in done.stdout
    assert not any(secret in done.stdout for secret in hashes.values())


def test_no_secret_is_printed_with_the_configuration(binary, tmp_path):
    options = ("--set", "store.options.aws_secret_access_key=hunter2", "--set", "store.options.aws_region=eu-1")
    for output in ("text", "json"):
        done = cli(binary, "config", "--output", output, *options, env=environment())
        assert done.returncode == 0 and "eu-1" in done.stdout and "hunter2" not in done.stdout + done.stderr, done
    for config in ('[store.options]\naws_secret_access_key = "hunter2\n', '[query]\nthreads = "hunter2"\n'):
        told = ends_at_start(binary, tmp_path, config)
        assert "headwater.toml: line 2, column " in told and "hunter2" not in told, told


# What specs may name of the server.


def test_specs_read_no_secrets_of_the_server(binary, tmp_path):
    node = Guarded(binary, tmp_path / "node", "")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "outside").write_text("hunter2")
    (tmp_path / "secrets" / "link").symlink_to(tmp_path / "outside")
    node.settings = [f"ingest.secret_dirs={tmp_path}/secrets"]
    node.env |= {"AWS_SECRET_ACCESS_KEY": "hunter2", "OTHER_SECRET": "hunter2"}
    node.start()

    def told(value):
        stream = {"brokers": ["127.0.0.1:1"], "topic": "t", "properties": {"sasl.password": value}}
        spec = {"name": "t", "columns": [{"name": "id", "type": "LONG"}], "stream": stream}
        answers = [
            node.ask("POST", "/infer", json=stream),
            node.ask("POST", "/preview", json={"spec": json.dumps(spec)}),
            node.ask("PUT", "/tables/t?dry_run=true", data=json.dumps(spec)),
            node.ask("PUT", "/tables/t", data=json.dumps(spec)),
        ]
        assert {answer.status_code for answer in answers} == {400}, [answer.text for answer in answers]
        messages = {answer.json()["error"]["message"] for answer in answers}
        assert all("sasl.password" in message and "hunter2" not in message for message in messages), messages
        return " ".join(messages)

    try:
        assert "the server's own" in told({"env": "AWS_SECRET_ACCESS_KEY"})
        assert "ingest.secret_env" in told({"env": "OTHER_SECRET"})
        for file in ("/proc/self/environ", f"{tmp_path}/outside", f"{tmp_path}/secrets/link", "/etc/hostname"):
            assert "ingest.secret_dirs" in told({"file": file}), file
        # What they may name, and what is not there.
        assert "is not set" in told({"env": "KAFKA_OF_NOBODY"})
        assert "No such file" in told({"file": f"{tmp_path}/secrets/password"})
        assert "hunter2" not in node.log_text()
    finally:
        node.kill()


# Pages of other sites.


class Public(Guarded):
    """Listens on all addresses."""

    def command(self):
        return [f"0.0.0.0:{self.port}" if flag == f"127.0.0.1:{self.port}" else flag for flag in super().command()]


def test_an_open_server_on_a_network_answers_no_page_of_another_site(binary, tmp_path):
    node = Public(binary, tmp_path / "node", '[access]\nanonymous = "may read and change everything"\n').start()
    try:
        for host in ("evil.example", f"evil.example:{node.port}", "10.0.0.1.evil.example"):
            for method, path in [("GET", "/"), ("GET", "/tables"), ("POST", "/sql"), ("DELETE", "/tables/x")]:
                answer = node.ask(method, path, json={"sql": "SELECT 1"}, headers={"host": host})
                assert (answer.status_code, "http.hosts" in answer.text) == (403, True), (host, method, path)
            # Load balancers name hosts as they like, and are told no reasons.
            assert node.ask("GET", "/readyz", headers={"host": host}).status_code == 200
        for host in ("localhost", f"10.0.0.1:{node.port}", "broker:8099", "headwater.olap.svc", "a.b.svc.cluster.local", "olap.internal"):
            assert node.query(headers={"host": host}).status_code == 200, host
    finally:
        node.kill()


def test_an_open_server_answers_no_page_of_another_site(unguarded):
    body = {"sql": "SELECT 1"}
    for host in ("evil.example", f"evil.example:{unguarded.port}", "localhost.evil.example", "10.0.0.1"):
        for method, path in [("GET", "/"), ("GET", "/tables"), ("GET", "/sql?q=SELECT%201"), ("POST", "/sql"), ("DELETE", "/tables/x")]:
            answer = unguarded.ask(method, path, json=body, headers={"host": host})
            assert answer.status_code == 403, (host, method, path)
    for host in ("localhost", f"localhost:{unguarded.port}", f"127.0.0.1:{unguarded.port}", "[::1]:80"):
        assert unguarded.query(headers={"host": host}).status_code == 200, host
    for headers in [
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "origin": "http://localhost:3000"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
    ]:
        assert unguarded.query(headers=headers).status_code == 403, headers
    # No answer may be read across origins, and no request is allowed beforehand.
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for answer in (
        unguarded.ask("OPTIONS", "/sql", headers=preflight),
        unguarded.ask("GET", "/tables", headers={"origin": "https://evil.example"}),
    ):
        assert not any(name.startswith("access-control-") for name in answer.headers)


def test_what_browsers_are_told(guarded, unguarded):
    for node in (guarded, unguarded):
        for path in ("/", "/healthz", "/tables", "/nowhere", "/session"):
            answer = node.ask("GET", path)
            told = answer.headers
            assert told["x-content-type-options"] == "nosniff" and told["x-frame-options"] == "DENY", path
            assert told["referrer-policy"] == "no-referrer" and told["cross-origin-opener-policy"] == "same-origin"
            policy = told["content-security-policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe-eval" not in policy
            # The console is asked for again each time; answers are kept nowhere.
            assert told["cache-control"] == ("no-cache" if path == "/" else "no-store"), path
    told = guarded.ask("GET", "/healthz", headers={"host": "olap.example"}).headers
    assert ("strict-transport-security" in told) == (guarded.scheme == "https")
    assert "strict-transport-security" not in guarded.ask("GET", "/healthz").headers


# Between nodes.


class Member(Guarded):
    """A node of a cluster on loopback, with one store for all."""

    def __init__(self, binary, directory, store, seeds, tls):
        self.rpc, self.gossip = free_port(), free_port()
        cluster = {"listen": f"127.0.0.1:{self.rpc}", "gossip_listen": f"127.0.0.1:{self.gossip}", "node_id": directory.name,
                   "seeds": ",".join(seeds), **{f"tls.{name}": path for name, path in tls.items()}}
        env_secret = ["cluster.secret.env=HEADWATER_CLUSTER_SECRET"]
        super().__init__(binary, directory, "", settings=[f"cluster.{key}={value}" for key, value in cluster.items()] + env_secret)
        self.store = store
        self.env["HEADWATER_CLUSTER_SECRET"] = "sixteen bytes or more"


@needs_openssl
def test_nodes_speak_tls_to_each_other_and_to_nobody_else(binary, tmp_path):
    def authority(name):
        ca = make_authority(tmp_path / name)
        (tmp_path / name / "san").unlink(missing_ok=True)
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "node.key", "-out", "node.csr",
                "-subj", "/CN=node", cwd=ca.parent)
        (ca.parent / "san").write_text("subjectAltName=DNS:headwater\n")
        openssl("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2, "-out",
                "node.pem", "-extfile", "san", cwd=ca.parent)
        return {"cert": ca.parent / "node.pem", "key": ca.parent / "node.key", "ca": ca}

    tls, strange = authority("ours"), authority("theirs")
    store = f"file://{tmp_path}/store"
    nodes = [Member(binary, tmp_path / "one", store, [], tls).start()]
    seeds = [f"127.0.0.1:{nodes[0].gossip}"]
    try:
        nodes.append(Member(binary, tmp_path / "two", store, seeds, tls).start())
        # Their certificate is good for themselves only.
        nodes.append(Member(binary, tmp_path / "three", store, seeds, strange).start())
        # And one that speaks no TLS at all.
        nodes.append(Member(binary, tmp_path / "four", store, seeds, {}).start())

        def errors():
            rows = nodes[0].query("SELECT node, error FROM system.nodes").json()["rows"]
            return dict(rows) if len(rows) == 4 else None

        def settled():
            found = errors()
            return found if found and found["three"] and found["four"] else None

        found = eventually(settled, "all are members, and strangers do not answer")
        assert found["one"] is None and found["two"] is None, found

        def told(shown):
            context = ssl.create_default_context(cafile=tls["ca"])
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if shown:
                context.load_cert_chain(*shown)
            with socket.create_connection(("127.0.0.1", nodes[0].rpc), timeout=20) as connection:
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_hostname="headwater") as wrapped:
                    wrapped.sendall(b"POST /node/system/queries HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
                    return wrapped.recv(100)
            return b""

        # Somebody without a certificate, and somebody whom the authority knows by another name.
        assert told(None) == b""
        assert told(make_certificate(tls["ca"].parent, "somebody")) == b""
        assert told((tls["cert"], tls["key"])).startswith(b"HTTP/1.1 4")
    finally:
        for node in nodes:
            node.kill()
