"""What the tests of the doors stand on: certificates, users and tokens, a guarded process, bytes and HTTP/2 frames as they are.

conftest.py makes the fixtures known. Certificates are made with openssl, as an operator would.
"""

import contextlib
import os
import shutil
import socket
import ssl
import struct
import subprocess
import time

import pytest
import requests

from harness import Headwater, cli, free_port

PASSWORDS = {"ada": "correct horse battery", "bob": "staple"}
ADA = ("ada", PASSWORDS["ada"])
BOB = ("bob", PASSWORDS["bob"])

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, check=True, capture_output=True)


def make_authority(directory):
    directory.mkdir(parents=True, exist_ok=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2, "-keyout", "ca.key",
            "-out", "ca.pem", "-subj", "/CN=test authority", "-addext", "basicConstraints=critical,CA:TRUE", cwd=directory)
    return directory / "ca.pem"


def make_certificate(directory, name, days=2):
    """`name`.pem and `name`.key for loopback, signed by the authority in `directory`."""
    (directory / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key", "-out",
            f"{name}.csr", "-subj", f"/CN={name}", cwd=directory)
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-out",
            f"{name}.pem", "-extfile", "san", cwd=directory)
    return directory / f"{name}.pem", directory / f"{name}.key"


def identity(directory):
    """[tls] of a configuration, and its authority; nothing where there is no openssl."""
    if not shutil.which("openssl"):
        return "", None
    ca = make_authority(directory)
    cert, key = make_certificate(directory, "server")
    return f'[tls]\ncert = "{cert}"\nkey = "{key}"\n', ca


def replace(file, text):
    """All of it at once: half of a file may well be a configuration, too."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def hash_of(binary, password):
    done = cli(binary, "access", "hash-password", stdin=f"{password}\n", env=environment())
    assert done.returncode == 0 and done.stdout.startswith("$argon2id$"), done
    return done.stdout.strip()


def new_token(binary, name, role, expires="1d"):
    """The token, and its entry for the configuration."""
    done = cli(binary, "access", "new-token", "--name", name, "--role", role, "--expires", expires, env=environment())
    assert done.returncode == 0, done
    token, _, entry = done.stdout.partition("\n")
    return token.strip(), entry


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}


def ends_at_start(binary, tmp_path, config, *flags):
    """What a process says that does not start with this configuration."""
    file = tmp_path / "headwater.toml"
    file.write_text(config)
    command = [binary, "start", "--store", "memory://", "--config", file, *flags]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2, done
    return done.stderr


class Guarded(Headwater):
    """A process with a configuration file, over TLS if there is an authority."""

    def __init__(self, binary, directory, config, ca=None, settings=()):
        super().__init__(binary, directory, store="memory://", settings=settings)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config = self.directory / "headwater.toml"
        self.config.write_text(config)
        self.ca = str(ca) if ca else True
        self.scheme = "https" if ca else "http"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def command(self):
        return [*super().command(), "--config", str(self.config)]

    def _answers(self):
        ended = self.process.poll()
        assert ended is None, f"headwater ended with {ended}:\n{self.log_text()[-3000:]}"
        try:
            return requests.get(f"{self.url}/healthz", timeout=2, verify=self.ca).text == "ok"
        except (requests.ConnectionError, requests.Timeout):
            return False

    def ask(self, method, path, **options):
        return requests.request(method, f"{self.url}{path}", timeout=30, verify=self.ca, **options)

    def query(self, statement="SELECT 1", **options):
        return self.ask("POST", "/sql", json={"sql": statement}, **options)

    def connect(self, port=None, protocols=()):
        """A plain connection; over TLS if that is spoken."""
        connection = socket.create_connection(("127.0.0.1", port or self.port), timeout=30)
        return connection if self.scheme == "http" else self.wrapped(connection, protocols)

    def wrapped(self, connection, protocols=()):
        context = ssl.create_default_context(cafile=self.ca)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context.wrap_socket(connection, server_hostname="127.0.0.1")


SSL_REQUEST = struct.pack(">II", 8, 80877103)


class AllDoors(Guarded):
    """HTTP, the Postgres protocol and Flight SQL, with the same users; over TLS if there is an authority."""

    def __init__(self, binary, directory, config, ca=None, address="127.0.0.1", settings=()):
        self.postgres_port, self.flight_port = free_port(), free_port()
        listeners = [f"postgres.listen={address}:{self.postgres_port}", f"flight.listen={address}:{self.flight_port}"]
        super().__init__(binary, directory, config, ca, [*listeners, *settings])

    def connect_flight(self):
        return self.connect(self.flight_port, ["h2"])

    def connect_postgres(self):
        """As a client does it that wants TLS, if there is any."""
        connection = socket.create_connection(("127.0.0.1", self.postgres_port), timeout=30)
        if self.scheme == "http":
            return connection
        connection.sendall(SSL_REQUEST)
        assert connection.recv(1) == b"S"
        return self.wrapped(connection)


class Bearer(requests.auth.AuthBase):
    def __init__(self, token):
        self.token = token

    def __call__(self, request):
        request.headers["authorization"] = f"Bearer {self.token}"
        return request


# Fixtures, for each test module its own.


@pytest.fixture(scope="module")
def hashes(binary):
    return {name: hash_of(binary, password) for name, password in PASSWORDS.items()}


@pytest.fixture(scope="module")
def users(hashes):
    return "".join(
        f'[[access.users]]\nname = "{name}"\npassword_hash = "{hashes[name]}"\nrole = "{role}"\n'
        for name, role in (("ada", "administrator"), ("bob", "reader"))
    )


@pytest.fixture(scope="module")
def tokens(binary):
    """Name -> token; and the entries of all."""
    made = {
        "reading": new_token(binary, "reading", "reader"),
        "changing": new_token(binary, "changing", "administrator", "never"),
    }
    past, entry = new_token(binary, "past", "administrator")
    expires = next(line for line in entry.splitlines() if line.startswith("expires"))
    made["past"] = past, entry.replace(expires, 'expires = "2026-01-01"')
    return {name: token for name, (token, _) in made.items()}, "".join(entry for _, entry in made.values())


@pytest.fixture(scope="module")
def guarded(binary, tmp_path_factory, users, tokens):
    """Users and tokens on loopback, over TLS where there is openssl."""
    directory = tmp_path_factory.mktemp("guarded")
    tls, ca = identity(directory / "tls")
    node = Guarded(binary, directory / "node", tls + users + tokens[1], ca)
    yield node.start()
    node.kill()


@pytest.fixture(scope="module")
def unguarded(binary, tmp_path_factory):
    """No users: loopback, open, as without any configuration."""
    node = Guarded(binary, tmp_path_factory.mktemp("open"), "")
    yield node.start()
    node.kill()


# Bytes, sent and received as they are.


def talk(connection, sent, within=30):
    """What comes back for these bytes, until the server closes or the time is over; and whether it has closed."""
    came, give_up = b"", time.monotonic() + within
    try:
        connection.settimeout(within)
        connection.sendall(sent)
        while (left := give_up - time.monotonic()) > 0:
            connection.settimeout(left)
            if not (chunk := connection.recv(1 << 16)):
                return came, True
            came += chunk
    except TimeoutError:
        pass
    except OSError:
        return came, True
    return came, False


def raw(node, sent, wait=30):
    """What comes back for these bytes, until the server closes or `wait` is over."""
    with node.connect() as connection:
        return talk(connection, sent, wait)[0]


def status_of(came):
    return int(came.split(b" ", 2)[1]) if came.startswith(b"HTTP/") else None


def closed_after(connection, at_most, sends=b"x"):
    """Seconds until the server closes, while `sends` is sent each second; None if it does not."""
    started = time.monotonic()
    connection.settimeout(1)
    while time.monotonic() - started < at_most:
        try:
            if connection.recv(1000) == b"":
                return time.monotonic() - started
        except TimeoutError:
            pass
        except OSError:
            return time.monotonic() - started
        with contextlib.suppress(OSError):
            connection.sendall(sends)
    return None


# HTTP/2, frame by frame.


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET_ROOT = b"\x82\x84\x86\x41\x09localhost"


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def frames_of(came):
    while len(came) >= 9:
        length = int.from_bytes(came[:3], "big")
        yield came[3], came[9 : 9 + length]
        came = came[9 + length :]


def went_away(came):
    return any(kind == 7 for kind, _ in frames_of(came))
