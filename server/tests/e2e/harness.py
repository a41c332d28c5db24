"""What the end-to-end tests stand on: a `headwater start` process, a real Kafka, and waiting with a bound.

Nothing here knows what is being tested. A wait that ends without its condition fails with what was seen last.
"""

import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import uuid

import requests
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from document import WATCH

WAIT_S = 30


# Below the ports that Linux gives to whoever connects: nobody gets one of these by chance before the process that it is for
# has it, nor while that process is down. And below those of the run's own Kafka and S3.
PORTS = range(10_000, 28_000)
given_ports = set()


def free_port(kind=socket.SOCK_STREAM):
    """A port that nobody has, and that is given to nobody else in this run."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        if port not in given_ports:
            given_ports.add(port)
            with contextlib.suppress(OSError), socket.socket(type=kind) as listener:
                listener.bind(("127.0.0.1", port))
                return port


def free_udp_port():
    return free_port(socket.SOCK_DGRAM)


def unique(prefix):
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def eventually(condition, what, within=WAIT_S, every=0.05):
    """Calls `condition` until it answers with something true; that is returned."""
    give_up = time.monotonic() + within
    while True:
        seen = condition()
        if seen:
            return seen
        assert time.monotonic() < give_up, f"not within {within} s: {what}; last seen: {seen!r}"
        time.sleep(every)


class Answer:
    """A JSON answer of POST /sql."""

    def __init__(self, document):
        self.document = document
        self.columns = [column["name"] for column in document["columns"]]
        self.types = [column["type"] for column in document["columns"]]
        self.rows = document["rows"]
        self.cut = document["cut"]

    @property
    def value(self):
        assert len(self.rows) == 1 and len(self.rows[0]) == 1, self.rows
        return self.rows[0][0]

    def dicts(self):
        return [dict(zip(self.columns, row)) for row in self.rows]


class SqlError(AssertionError):
    """An error answer of POST /sql."""

    def __init__(self, status, error):
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error
        self.kind = error.get("kind")


class Headwater:
    """One process on loopback. Port and store stay the same over restarts."""

    def __init__(self, binary, directory, store=None, settings=(), env=None):
        self.binary = str(binary)
        self.directory = pathlib.Path(directory)
        self.store = store or f"file://{self.directory}/store"
        self.settings = list(settings)
        # A variable of the test run, such as HEADWATER_BINARY, is not a setting of the node.
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        self.env = {**clean, **(env or {})}
        self.port = free_port()
        WATCH.ports.add(self.port)
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self):
        return self.directory / "headwater.log"

    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def command(self):
        flags = [flag for setting in self.settings for flag in ("--set", setting)]
        return [self.binary, "start", "--listen", f"127.0.0.1:{self.port}", "--store", self.store, *flags]

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), env=self.env, stdout=log, stderr=log)
        try:
            eventually(self._answers, f"{self.url} is up")
        except BaseException:
            # Whoever has made it does not get it to end it.
            self.kill()
            raise
        return self

    def _answers(self):
        ended = self.process.poll()
        assert ended is None, f"headwater ended with {ended}:\n{self.log_text()[-3000:]}"
        try:
            return requests.get(f"{self.url}/healthz", timeout=2).text == "ok"
        except (requests.ConnectionError, requests.Timeout):
            return False

    def stop(self, within=WAIT_S):
        """SIGTERM; returns the exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"headwater did not end on SIGTERM:\n{self.log_text()[-3000:]}") from None
        self.process = None
        return code

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def sql(self, statement, **options):
        answer = requests.post(f"{self.url}/sql", json={"sql": statement, **options}, timeout=60)
        document = answer.json()
        if answer.status_code != 200 or "error" in document:
            raise SqlError(answer.status_code, document["error"])
        return Answer(document)

    def cli(self, *arguments, stdin=None, url=None):
        """Runs the command line against this process."""
        return cli(self.binary, *arguments, stdin=stdin, env={**self.env, "HEADWATER_URL": url or self.url})

    def apply(self, spec):
        answer = requests.put(f"{self.url}/tables/{spec['name']}", data=json.dumps(spec), timeout=60)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["applied"]

    def post(self, path):
        answer = requests.post(f"{self.url}{path}", timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def seal(self, table):
        return self.post(f"/tables/{table}/seal")["segments"]

    def partitions(self, table):
        found = self.sql("SELECT * FROM system.partitions WHERE table_name = $1 ORDER BY partition", parameters=[table])
        return {row["partition"]: row for row in found.dicts()}

    def wait_count(self, table, count, within=WAIT_S):
        def counted():
            seen[0] = self.sql(f"SELECT count(*) FROM {table}").value
            assert seen[0] <= count, f"{table} has {seen[0]} rows, more than the {count} expected"
            return seen[0] == count

        seen = [None]
        try:
            eventually(counted, "", within)
        except AssertionError:
            partitions = self.partitions(table)
            raise AssertionError(f"{table} has {seen[0]} of {count} rows after {within} s; {partitions}") from None

    def ready(self):
        return requests.get(f"{self.url}/readyz", timeout=10)

    def wait_ready(self, within=WAIT_S):
        eventually(lambda: self.ready().status_code == 200 or self.ready().text == "ok", "ready", within)


def cli(binary, *arguments, stdin=None, env=None):
    return subprocess.run(
        [binary, *map(str, arguments)], input=stdin, env=env, capture_output=True, text=True, timeout=60
    )


class Kafka:
    """A real Kafka. `owned` says that this test run brought it up and may stop it."""

    def __init__(self, brokers, script=None):
        self.brokers = brokers
        self.script = script
        self.admin = AdminClient({"bootstrap.servers": brokers})

    @property
    def owned(self):
        return self.script is not None

    def down(self):
        subprocess.run([self.script, "down"], check=True, timeout=60)

    def up(self):
        subprocess.run([self.script, "up"], check=True, timeout=120, stdout=subprocess.DEVNULL)

    def create(self, topic, partitions=1, **config):
        # Messages bear the times that a test gives them: Kafka would delete those of last year within a second.
        config = {name.replace("_", "."): str(value) for name, value in {"retention_ms": -1, **config}.items()}
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
        for future in self.admin.create_topics([new]).values():
            future.result(WAIT_S)
        eventually(lambda: self._partitions(topic) == partitions, f"topic {topic} is there")
        return topic

    def _partitions(self, topic):
        described = self.admin.list_topics(topic, timeout=10).topics.get(topic)
        return 0 if described is None or described.error else len(described.partitions)

    def delete(self, topic):
        for future in self.admin.delete_topics([topic]).values():
            future.result(WAIT_S)
        eventually(lambda: self._partitions(topic) == 0, f"topic {topic} is gone")

    def add_partitions(self, topic, total):
        for future in self.admin.create_partitions([NewPartitions(topic, total)]).values():
            future.result(WAIT_S)

    def delete_records(self, topic, partition, before):
        asked = self.admin.delete_records([TopicPartition(topic, partition, before)])
        for future in asked.values():
            future.result(WAIT_S)

    def producer(self, **config):
        settings = {"bootstrap.servers": self.brokers, "message.max.bytes": 20_000_000, "linger.ms": 5}
        return Producer({**settings, **{name.replace("_", "."): value for name, value in config.items()}})

    def produce(self, topic, values, partition=0, producer=None, **message):
        """Sends each value (bytes and None as they are, anything else as JSON); returns partition -> next offset."""
        producer = producer or self.producer()
        offsets = {}

        def delivered(error, sent):
            assert error is None, error
            offsets[sent.partition()] = max(offsets.get(sent.partition(), 0), sent.offset() + 1)

        for value in values:
            payload = value if value is None or isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
            while True:
                try:
                    producer.produce(topic, payload, partition=partition, on_delivery=delivered, **message)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(WAIT_S) == 0, "not everything was delivered"
        return offsets


def spec_of(name, kafka, topic, columns, **rest):
    """A table spec; `columns` maps names to types or to column settings."""
    listed = [
        {"name": column, **(settings if isinstance(settings, dict) else {"type": settings})}
        for column, settings in columns.items()
    ]
    stream = {"brokers": [kafka.brokers], "topic": topic, **rest.pop("stream", {})}
    return {"name": name, "columns": listed, "stream": stream, **rest}
