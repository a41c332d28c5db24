"""The doors of the Postgres protocol and of Flight SQL over TLS, with users and tokens: psycopg, psql, and ADBC's driver.

HTTP's are in test_doors.py; what is sent to break these two is in test_doors_wire.py. Needs no Kafka.
"""

import datetime
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import psycopg
import pytest
from adbc_driver_flightsql import DatabaseOptions

from doors import (
    ADA, BOB, PASSWORDS, AllDoors, Bearer, ends_at_start, environment, identity, make_authority, make_certificate, needs_openssl,
    new_token, replace,
)
from harness import eventually, unique

pytestmark = needs_openssl

ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.value * b.value) % 7 = 1"
WHO_ASKS = "SELECT user_name FROM system.queries WHERE state = 'running' AND sql LIKE '%system.queries%'"


def own_address():
    """Where other machines reach this one."""
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        try:
            # Nothing is sent: the system only says from where it would be.
            asking.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return asking.getsockname()[0]


@pytest.fixture(scope="module")
def doors(binary, tmp_path_factory, users, tokens):
    """All listeners, where other machines reach them: with users and TLS they may be there."""
    directory = tmp_path_factory.mktemp("doors")
    tls, ca = identity(directory / "tls")
    node = AllDoors(binary, directory / "node", tls + users + tokens[1], ca, address="0.0.0.0")
    yield node.start()
    node.kill()


@pytest.fixture(scope="module")
def strange_ca(tmp_path_factory):
    return str(make_authority(tmp_path_factory.mktemp("strange")))


def postgres(node, user, password, **options):
    options = {"host": "localhost", "hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslrootcert": node.ca, **options}
    return psycopg.connect(port=node.postgres_port, dbname="headwater", user=user, password=password, autocommit=True, **options)


def flight(node, ca=None, scheme="grpc+tls", host="localhost", **shown):
    options = {DatabaseOptions.TLS_ROOT_CERTS.value: pathlib.Path(ca or node.ca).read_text(), **shown}
    return flight_sql.connect(f"{scheme}://{host}:{node.flight_port}", db_kwargs=options, autocommit=True)


def basic(user, password):
    return {"username": user, "password": password}


def bearer(token):
    return {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}


def value_of(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        ((value,),) = cursor.fetchall()
        return value


# The Postgres protocol.


def test_postgres_lets_in_who_is_known(doors, tokens):
    shown = [(*ADA, "ada"), (*BOB, "bob"), ("anybody", tokens[0]["reading"], "reading"), ("ada", tokens[0]["changing"], "changing")]
    for user, password, known_as in shown:
        with postgres(doors, user, password) as connection:
            assert connection.pgconn.ssl_in_use
            assert value_of(connection, WHO_ASKS) == value_of(connection, "SELECT current_user") == known_as


def test_postgres_refuses_all_others_alike(doors, tokens, hashes):
    wrong = [
        ("ada", "wrong"), ("nobody", PASSWORDS["ada"]), ("ada", PASSWORDS["bob"]), ("ada", hashes["ada"]),
        ("anybody", tokens[0]["past"]), ("anybody", "hw_" + "0" * 64),
    ]
    told = set()
    for user, password in wrong:
        with pytest.raises(psycopg.OperationalError) as refused:
            postgres(doors, user, password)
        told.add(str(refused.value).rsplit("FATAL:", 1)[1].strip())
    assert len(told) == 1 and "wrong" in told.pop(), told
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        postgres(doors, "ada", None, passfile="/dev/null")
    # The last right one makes up for wrong ones.
    postgres(doors, *ADA).close()


def test_postgres_shows_a_certificate_that_clients_can_check(doors, strange_ca):
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        postgres(doors, *ADA, sslrootcert=strange_ca)
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        postgres(doors, *ADA, host="wrong.example")


def test_postgres_takes_passwords_in_clear_on_this_machine_only(doors):
    with postgres(doors, *BOB, sslmode="disable") as connection:
        assert not connection.pgconn.ssl_in_use and value_of(connection, "SELECT current_user") == "bob"
    elsewhere = own_address()
    with pytest.raises(psycopg.OperationalError, match="over TLS only(?s:.)*sslmode=require"):
        postgres(doors, *BOB, host=elsewhere, hostaddr=elsewhere, sslmode="disable")
    with postgres(doors, *BOB, host=elsewhere, hostaddr=elsewhere, sslmode="prefer") as connection:
        assert connection.pgconn.ssl_in_use


def test_a_public_postgres_without_tls_does_not_start(binary, tmp_path, users):
    told = ends_at_start(binary, tmp_path, users, "--set", "postgres.listen=0.0.0.0:5432")
    # No setting that there is not is named as the way out.
    assert "postgres.listen" in told and "tls.cert" in told and "plaintext_public" not in told, told


def test_psql_over_tls(doors, strange_ca):
    if not shutil.which("psql"):
        pytest.skip("psql is not installed: apt-get install postgresql-client")

    def psql(user, password, command, ca=doors.ca):
        conninfo = f"host=localhost port={doors.postgres_port} user={user} dbname=headwater sslmode=verify-full sslrootcert={ca}"
        env = {**environment(), "PGPASSWORD": password}
        return subprocess.run(["psql", "-X", "-w", "-At", conninfo, "-c", command], env=env, capture_output=True, text=True, timeout=60)

    asked = psql(*BOB, "SELECT current_user, 6 * 7")
    assert (asked.returncode, asked.stdout) == (0, "bob|42\n"), asked
    assert "TLSv1.3" in psql(*BOB, "\\conninfo").stdout
    refused = psql("bob", "wrong", "SELECT 1")
    assert refused.returncode == 2 and "FATAL" in refused.stderr and refused.stdout == "", refused
    untrusted = psql(*BOB, "SELECT 1", ca=strange_ca)
    assert untrusted.returncode == 2 and "certificate verify failed" in untrusted.stderr, untrusted


# Flight SQL.


def test_flight_lets_in_who_is_known(doors, tokens):
    shown = [
        (basic(*ADA), "ada"), (basic(*BOB), "bob"), (bearer(tokens[0]["reading"]), "reading"),
        (basic("anybody", tokens[0]["changing"]), "changing"),
    ]
    for credentials, known_as in shown:
        with flight(doors, **credentials) as connection:
            assert value_of(connection, WHO_ASKS) == known_as


def test_flight_refuses_all_others(doors, tokens, hashes):
    wrong = [
        {}, basic("ada", "wrong"), basic("nobody", PASSWORDS["ada"]), basic("ada", ""), basic("ada", hashes["ada"]),
        bearer(tokens[0]["past"]), bearer("hw_" + "0" * 64), bearer("flight-session-AAAA.AAAA"), bearer("flight-session-open"),
        {DatabaseOptions.AUTHORIZATION_HEADER.value: "Negotiate YII="},
    ]
    for credentials in wrong:
        with pytest.raises(adbc_driver_manager.Error) as refused, flight(doors, **credentials) as connection:
            value_of(connection, "SELECT 1")
        assert refused.value.status_code == adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED, (credentials, refused.value)
    flight(doors, **basic(*ADA)).close()


def test_flight_shows_a_certificate_that_clients_can_check(doors, strange_ca):
    def fails(match=None, **options):
        with pytest.raises(adbc_driver_manager.Error, match=match), flight(doors, **basic(*ADA), **options) as connection:
            value_of(connection, "SELECT 1")

    fails("unknown authority", ca=strange_ca)
    fails("certificate is valid for", **{DatabaseOptions.TLS_OVERRIDE_HOSTNAME.value: "wrong.example"})
    # In clear nobody is answered.
    fails(scheme="grpc")


# Whoever came in.


@pytest.mark.parametrize("door", ["postgres", "flight"])
def test_readers_end_their_own_queries_only(doors, door):
    def ask(user):
        opened = postgres(doors, *user) if door == "postgres" else flight(doors, **basic(*user))
        with opened as connection, connection.cursor() as cursor:
            try:
                cursor.execute(f"{ENDLESS} -- {mark}")
                cursor.fetchall()
            except (psycopg.Error, adbc_driver_manager.Error) as error:
                failed.append(str(error))

    def running():
        answer = doors.query("SELECT id, user_name, sql FROM system.queries WHERE state = 'running'", auth=BOB)
        assert answer.status_code == 200, answer.text
        return [row[:2] for row in answer.json()["rows"] if mark in row[2]]

    # Whose the query is, who ends it, and what they are told.
    for owner, other, allowed in ((ADA, BOB, False), (BOB, BOB, True), (BOB, ADA, True)):
        mark, failed = unique("mark"), []
        asking = threading.Thread(target=ask, args=(owner,))
        asking.start()
        ((query, user),) = eventually(running, "the query runs")
        assert user == owner[0]
        ended = doors.ask("DELETE", f"/queries/{query}", auth=other).status_code
        assert ended == (204 if allowed else 404)
        if not allowed:
            assert running()
            assert doors.ask("DELETE", f"/queries/{query}", auth=ADA).status_code == 204
        asking.join(20)
        assert not asking.is_alive() and failed, (owner, other)


@pytest.mark.parametrize("user", [ADA, BOB], ids=["administrator", "reader"])
def test_nobody_writes_through_these_doors(doors, user):
    for statement in ("CREATE TABLE x (a INT)", "DELETE FROM x", "DROP TABLE x", "COPY (SELECT 1) TO '/tmp/x'", "COPY x FROM PROGRAM 'id'"):
        with postgres(doors, *user) as connection, pytest.raises(psycopg.Error):
            connection.execute(statement)
        with flight(doors, **basic(*user)) as connection, pytest.raises(adbc_driver_manager.Error):
            value_of(connection, statement)


# What operators are told before it is late.


def metric(node, sample, user):
    lines = node.ask("GET", "/metrics", auth=user).text.splitlines()
    (value,) = [line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{sample} ")]
    return float(value)


CERTIFICATE_EXPIRY = 'headwater_certificate_expiry_time_seconds{listeners="clients"}'
TOKEN_EXPIRY = "headwater_token_expiry_time_seconds"


def test_operators_are_told_when_certificates_and_tokens_end(doors):
    # Certificates of the tests are good for two days.
    assert 1 < (metric(doors, CERTIFICATE_EXPIRY, BOB) - time.time()) / 86_400 <= 2
    ended = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    assert metric(doors, TOKEN_EXPIRY, BOB) == ended.timestamp()
    told = doors.ask("GET", "/metrics", auth=BOB).text
    assert not any(name in told for name in ("reading", "changing"))


# Files that change.


# Of a token: until then a slow machine must have noticed its files, shown the new certificate, and let the token in.
LIFE_S = 20


def subject(connection):
    with connection:
        return dict(pair for part in connection.getpeercert()["subject"] for pair in part)["commonName"]


def test_what_let_somebody_in_and_the_certificate_count_anew_when_files_change(binary, tmp_path, hashes):
    ca = make_authority(tmp_path / "tls")
    cert, key = make_certificate(tmp_path / "tls", "first")
    people = tmp_path / "access.toml"
    bob = f'[[users]]\nname = "bob"\npassword_hash = "{hashes["bob"]}"\nrole = "reader"\n'
    people.write_text(bob)
    config = f'[tls]\ncert = "{cert}"\nkey = "{key}"\n[access]\nfile = "{people}"\n'
    node = AllDoors(binary, tmp_path / "node", config, ca).start()

    def over(door, connection):
        """Whether somebody who was let in is so no more."""
        try:
            value_of(connection, "SELECT 1")
        except psycopg.Error as error:
            assert (door, error.sqlstate) == ("postgres", "28000")
            return True
        except adbc_driver_manager.Error as error:
            assert (door, error.status_code) == ("flight", adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED)
            return True

    try:
        with postgres(node, *BOB) as by_postgres, flight(node, **basic(*BOB)) as by_flight:
            assert value_of(by_postgres, "SELECT 1") == value_of(by_flight, "SELECT 1") == 1
            before = metric(node, CERTIFICATE_EXPIRY, BOB)
            assert metric(node, TOKEN_EXPIRY, BOB) == 0
            token, entry = new_token(binary, "brief", "reader", "1d")
            expires = next(line for line in entry.splitlines() if line.startswith("expires"))
            end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=LIFE_S)
            entry = entry.replace(expires, f'expires = "{end.isoformat()}"').replace("access.tokens", "tokens")
            replace(people, entry)
            other, other_key = make_certificate(tmp_path / "tls", "second", days=4)
            os.replace(other_key, key)
            os.replace(other, cert)
            for connect in (node.connect, node.connect_postgres, node.connect_flight):
                eventually(lambda: subject(connect()) == "second", "the new certificate is shown")
            eventually(lambda: over("postgres", by_postgres), "bob is out of Postgres")
            eventually(lambda: over("flight", by_flight), "bob is out of Flight")
        # A token ends while it is in use.
        with postgres(node, "x", token) as by_postgres, flight(node, **bearer(token)) as by_flight:
            assert value_of(by_postgres, "SELECT current_user") == "brief" and value_of(by_flight, "SELECT 1") == 1
            assert metric(node, TOKEN_EXPIRY, Bearer(token)) == int(end.timestamp())
            assert metric(node, CERTIFICATE_EXPIRY, Bearer(token)) > before + 86_400
            eventually(lambda: over("postgres", by_postgres), "the token is out of Postgres")
            eventually(lambda: over("flight", by_flight), "the token is out of Flight", within=3)
        assert datetime.datetime.now(datetime.timezone.utc) >= end
        assert node.query(auth=Bearer(token)).status_code == 401
        assert token not in node.log_text() and hashes["bob"] not in node.log_text()
    finally:
        node.kill()
