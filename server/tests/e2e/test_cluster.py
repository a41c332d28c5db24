"""One broker and two data nodes: what is asked anywhere is the same answer, and nodes come and go under queries and writes."""

import concurrent.futures
import itertools
import signal
import subprocess
import threading
import time

import pytest
import requests

from harness import Headwater, SqlError, eventually, free_port, free_udp_port, spec_of, unique

PARTITIONS = 4
SECRET = "a secret that all nodes know"
ID = {"id": {"type": "LONG", "nullable": False}}


class Cluster:
    """A broker and two data nodes over one store."""

    def __init__(self, binary, directory):
        self.binary, self.directory = binary, directory
        self.seed = f"127.0.0.1:{free_udp_port()}"
        self.broker = self.node("broker", "broker", gossip=self.seed)
        self.data = [self.node(f"data-{number}", "data") for number in range(2)]

    def node(self, name, role, gossip=None, cluster="pond", secret=SECRET):
        settings = {
            "role": role,
            "name": cluster,
            "node_id": name,
            "listen": f"127.0.0.1:{free_port()}",
            "gossip_listen": gossip or f"127.0.0.1:{free_udp_port()}",
            "seeds": self.seed,
            "secret.env": "HEADWATER_CLUSTER_SECRET",
        }
        return Headwater(
            self.binary,
            self.directory / name,
            store=f"file://{self.directory}/store",
            settings=[f"cluster.{path}={value}" for path, value in settings.items()],
            env={"HEADWATER_CLUSTER_SECRET": secret},
        )

    @property
    def processes(self):
        return [self.broker, *self.data]

    def start(self):
        with concurrent.futures.ThreadPoolExecutor() as starting:
            list(starting.map(Headwater.start, self.processes))
        self.wait_whole()
        return self

    def wait_whole(self):
        """All three run, know each other, and have caught up."""
        for node in self.processes:
            node.wait_ready()

    def partitions(self, table):
        return requests.get(f"{self.broker.url}/tables/{table}", timeout=10).json()["table"]["partitions"]

    def wait_owned(self, table, by):
        """All partitions are served, and by these nodes."""

        def owners():
            entries = self.partitions(table)
            seen[0] = [(entry.get("node"), entry["state"]) for entry in entries]
            return len(entries) == PARTITIONS and all(
                entry["state"] == "live" and entry.get("node") in by for entry in entries
            )

        seen = [None]
        try:
            eventually(owners, "")
        except AssertionError:
            raise AssertionError(f"{table} is not served by {by} but by {seen[0]}") from None

    def wait_consumed_twice(self, table):
        """Both data nodes consume all partitions."""
        lines = [f'consuming table="{table}" partition={partition} ' for partition in range(PARTITIONS)]
        are_both = lambda: all(line in node.log_text() for line in lines for node in self.data)
        eventually(are_both, f"both nodes consume {table}")

    def table(self, kafka, name, rows=0, **rest):
        """A table on a new topic, made at the broker."""
        topic = kafka.create(unique(name), partitions=PARTITIONS)
        self.broker.apply(spec_of(name, kafka, topic, ID, **rest))
        if rows:
            produce(kafka, topic, range(rows))
            self.broker.wait_count(name, rows)
        return topic

    def table_on_both(self, kafka, name, rows):
        """A table that both data nodes consume; returns its name. Who owns a partition is drawn from the table's id, so one
        table in eight is all on one node: then the next one is made."""
        both = {"data-0", "data-1"}
        for attempt in range(10):
            self.table(kafka, f"{name}_{attempt}", rows=rows)
            self.wait_owned(f"{name}_{attempt}", both)
            if {entry.get("node") for entry in self.partitions(f"{name}_{attempt}")} == both:
                return f"{name}_{attempt}"
        raise AssertionError(f"of 10 tables none is on both of {both}")


def produce(kafka, topic, ids, **more):
    producer = kafka.producer()
    for partition, group in itertools.groupby(sorted(ids, key=lambda number: number % PARTITIONS), lambda n: n % PARTITIONS):
        kafka.produce(topic, [{"id": number, **more} for number in group], partition=partition, producer=producer)


class Background:
    """Takes its turn again and again while its block runs; what a turn raises, the end of the block raises."""

    def __init__(self):
        self.stopped, self.error = threading.Event(), None
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stopped.set()
        self.thread.join()
        if self.error and not kind:
            raise self.error

    def _run(self):
        try:
            while not self.stopped.is_set():
                self.turn()
        except Exception as error:
            self.error = error


class Watch(Background):
    """Counts a table without a pause. Every offset is a row, so each count is the sum of its cut, and no cut goes back."""

    def __init__(self, node, table):
        super().__init__()
        self.node, self.table = node, table
        self.answers, self.failures, self.slowest_s, self.last = 0, [], 0.0, {}

    def turn(self):
        begun = time.monotonic()
        try:
            self._ask()
        except Exception as error:
            self.failures.append(f"after {self.answers} answers: {error!r}")
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
        time.sleep(0.005)

    def _ask(self):
        answer = self.node.sql(f"SELECT count(*), count(DISTINCT id) FROM {self.table}", deadline_ms=20_000)
        offsets = answer.cut[self.table]["offsets"]
        assert answer.rows == [[sum(offsets.values())] * 2], f"{answer.rows} at {offsets}"
        back = {p: (self.last[p], offsets.get(p)) for p in self.last if offsets.get(p, -1) < self.last[p]}
        assert not back, f"the cut went back: {back}"
        self.last = offsets
        self.answers += 1

    def check(self, at_least):
        assert not self.failures, f"{len(self.failures)} failed, {self.answers} did not: {self.failures[:3]}"
        assert self.answers >= at_least, f"{self.answers} answers, the slowest took {self.slowest_s:.1f} s"


class Load(Background):
    """Produces rows all the time, with ids from 0 on."""

    def __init__(self, kafka, topic, first=0, **more):
        super().__init__()
        self.kafka, self.topic, self.next, self.more = kafka, topic, first, more

    def turn(self):
        produce(self.kafka, self.topic, range(self.next, self.next + 100), **self.more)
        self.next += 100
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cluster(binary, kafka, tmp_path_factory):
    started = Cluster(binary, tmp_path_factory.mktemp("cluster"))
    try:
        yield started.start()
    finally:
        [node.kill() for node in started.processes]


@pytest.fixture
def whole(cluster):
    """The cluster with all of its nodes, before and after."""
    yield cluster
    broken = {node.directory.name: node.process.poll() for node in cluster.processes if node.process}
    for node in cluster.processes:
        if node.process is None or broken[node.directory.name] is not None:
            node.kill()
            node.start()
    cluster.wait_whole()
    # Said only now, so that the next test has all of them.
    assert not any(code is not None for code in broken.values()), f"processes have ended by themselves: {broken}"


def test_the_broker_and_the_data_nodes_answer_alike(whole, kafka):
    name = whole.table_on_both(kafka, "alike", rows=1000)
    statement = f"SELECT count(*), sum(id), min(id), max(id) FROM {name}"
    expected = [[1000, sum(range(1000)), 0, 999]]
    assert whole.broker.sql(statement).rows == expected
    for node in whole.data:
        eventually(lambda: has_table(node, name), "the table is known")
        answer = node.sql(statement)
        assert answer.rows == expected
        assert answer.cut[name]["offsets"] == {str(partition): 250 for partition in range(PARTITIONS)}
    # Ids are of one partition each, so what groups by them crosses nodes.
    grouped = f"SELECT id % 7, count(*), sum(id) FROM {name} GROUP BY 1 ORDER BY 1"
    assert whole.broker.sql(grouped).rows == whole.data[0].sql(grouped).rows


def has_table(node, table):
    try:
        return node.sql(f"SELECT count(*) FROM {table}") is not None
    except SqlError as error:
        assert error.kind == "unknown_table", error
        return False


def test_seal_pause_and_resume_are_for_all_nodes(whole, kafka):
    topic = whole.table(kafka, "halted", rows=400)
    for node in whole.data:
        eventually(lambda: has_table(node, "halted"), "the table is known")
    sealed = whole.broker.seal("halted")
    assert sum(segment["rows"] for segment in sealed) == 400
    assert sorted(segment["partition"] for segment in sealed) == list(range(PARTITIONS))
    # Each node shows the seals of all.
    seals = "SELECT sum(done), sum(total) FROM system.tasks WHERE table_name = 'halted' AND kind = 'seal' AND state = 'done' AND node LIKE 'data-_'"
    for node in whole.processes:
        assert node.sql(seals).rows == [[400, 400]]
    sealed_only = "SELECT count(*) FROM halted"
    eventually(lambda: whole.broker.sql(sealed_only, sealed_only=True).value == 400, "the broker knows what is sealed")
    whole.broker.post("/tables/halted/pause")
    eventually(lambda: {entry["state"] for entry in whole.partitions("halted")} == {"paused"}, "paused")
    produce(kafka, topic, range(400, 800))
    time.sleep(0.5)
    assert whole.broker.sql("SELECT count(*) FROM halted").value == 400
    # A data node takes the command as well.
    whole.data[1].post("/tables/halted/resume")
    whole.broker.wait_count("halted", 800)
    assert whole.broker.sql("SELECT count(DISTINCT id) FROM halted").value == 800


def test_a_dropped_table_is_gone_everywhere(whole, kafka):
    whole.table(kafka, "brief", rows=100)
    for node in whole.data:
        eventually(lambda: has_table(node, "brief"), "the table is known")
    assert requests.delete(f"{whole.broker.url}/tables/brief", timeout=30).status_code == 200
    for node in whole.processes:
        eventually(lambda: not has_table(node, "brief"), "the table is gone")


def test_a_column_is_added_under_load(whole, kafka):
    name = "widened"
    topic = whole.table(kafka, name, replication=2, seal={"rows_max": 2000})
    spec = spec_of(name, kafka, topic, {**ID, "more": "STRING"}, replication=2, seal={"rows_max": 2000})
    with Watch(whole.broker, name) as watch, Load(kafka, topic, more="yes") as load:
        time.sleep(1)
        assert whole.broker.apply(spec) == "updated"
        time.sleep(2)
    for node in whole.processes:
        # Of two replicas one is a moment behind the other, and each node asks those that it chooses.
        node.wait_count(name, load.next)
        found = node.sql(f"SELECT count(*), count(DISTINCT id), min(id), max(id) FROM {name}").rows
        assert found == [[load.next, load.next, 0, load.next - 1]]
    with_it = whole.broker.sql(f"SELECT count(more), min(more), max(more) FROM {name}").rows[0]
    assert 0 < with_it[0] <= load.next and with_it[1:] == ["yes", "yes"]
    watch.check(at_least=20)


def test_kill_9_of_a_replica_fails_no_query(whole, kafka):
    name = "doubled"
    topic = whole.table(kafka, name, replication=2, seal={"rows_max": 3000})
    with Watch(whole.broker, name) as watch, Load(kafka, topic) as load:
        whole.wait_owned(name, {"data-0", "data-1"})
        time.sleep(1)
        whole.data[0].kill()
        # The others have noticed by now.
        time.sleep(4)
        whole.data[0].start()
        whole.data[0].wait_ready()
        whole.data[1].kill()
        time.sleep(2)
    whole.broker.wait_count(name, load.next)
    assert whole.broker.sql(f"SELECT count(DISTINCT id), sum(id) FROM {name}").rows == [[load.next, sum(range(load.next))]]
    watch.check(at_least=50)
    assert watch.slowest_s < 10


def test_a_node_that_comes_loads_what_queries_use(whole, kafka):
    name = whole.table_on_both(kafka, "warmed", rows=400)
    whole.data[1].kill()
    whole.wait_owned(name, {"data-0"})
    # Whoever is not known to be gone is told to seal as well.
    known = "SELECT count(*) FROM system.nodes WHERE node = 'data-1'"
    eventually(lambda: whole.broker.sql(known).value == 0, "the broker knows that data-1 is gone")
    assert sum(segment["rows"] for segment in whole.broker.seal(name)) == 400
    statement = f"SELECT sum(id) FROM {name}"
    eventually(lambda: whole.broker.sql(statement, sealed_only=True).value == sum(range(400)), "what is sealed is asked for")
    whole.data[1].start()
    whole.data[1].wait_ready()
    tasks = f"SELECT sum(done), sum(total) FROM system.tasks WHERE table_name = '{name}' AND kind = 'cache_warming' AND state = 'done' AND node = 'data-1'"

    def is_loaded():
        done, total = whole.broker.sql(tasks).rows[0]
        return done is not None and done == total > 0

    eventually(is_loaded, "data-1 has loaded the column of its segments", within=40)
    state = "SELECT state FROM system.nodes WHERE node = 'data-1'"
    eventually(lambda: whole.broker.sql(state).value == "serving", "data-1 is asked again")
    assert whole.broker.sql(statement, sealed_only=True).value == sum(range(400))


def test_a_stopped_replica_is_left_before_it_counts_as_dead(whole, kafka):
    name = "stopped"
    topic = whole.table(kafka, name, replication=2, seal={"rows_max": 3000})
    with Watch(whole.broker, name) as watch, Load(kafka, topic):
        # What only the stopped one has nobody else can answer.
        whole.wait_consumed_twice(name)
        eventually(lambda: watch.answers >= 50, "the usual time is known")
        # It takes connections and requests, and answers nothing.
        whole.data[0].process.send_signal(signal.SIGSTOP)
        try:
            before = watch.answers
            time.sleep(2)
            meanwhile = watch.answers - before
        finally:
            whole.data[0].process.send_signal(signal.SIGCONT)
    # To wait half a second for it each time would leave four.
    assert meanwhile >= 10, f"{meanwhile} answers in 2 s, the slowest took {watch.slowest_s:.1f} s"
    watch.check(at_least=50)


def test_sigterm_hands_over(whole, kafka):
    name = "handed"
    topic = whole.table(kafka, name, replication=1)
    with Watch(whole.broker, name) as watch, Load(kafka, topic) as load:
        whole.wait_owned(name, {"data-0", "data-1"})
        time.sleep(1)
        assert whole.data[1].stop() == 0
        whole.wait_owned(name, {"data-0"})
    whole.broker.wait_count(name, load.next)
    assert whole.broker.sql(f"SELECT count(DISTINCT id), sum(id) FROM {name}").rows == [[load.next, sum(range(load.next))]]
    watch.check(at_least=20)
    assert "not everything was handed over" not in whole.data[1].log_text()


def test_strangers_are_not_let_in(whole):
    strangers = [
        whole.node("wrong-secret", "broker", secret="another secret, as long"),
        whole.node("wrong-name", "broker", cluster="puddle"),
    ]
    try:
        for stranger in strangers:
            stranger.start()
        refused = "refused gossip of another cluster, or with another secret"
        for stranger in strangers:
            assert stranger.ready().status_code == 503
            assert "no data node" in stranger.ready().text
            # Whoever asks is told nothing; those who are asked say why.
            assert f"node={stranger.directory.name}" not in whole.broker.log_text()
        eventually(lambda: refused in whole.broker.log_text(), "the broker says why")
        assert "cluster.secret" in whole.broker.log_text()
        assert whole.broker.ready().status_code == 200
    finally:
        [stranger.kill() for stranger in strangers]


def run(binary, *arguments):
    return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=30, env={})


def test_what_the_command_line_says(binary):
    wrong = run(binary, "start", "--role", "king")
    assert wrong.returncode != 0
    assert "king" in wrong.stderr and "broker" in wrong.stderr and "data" in wrong.stderr, wrong.stderr
    lone = run(binary, "start", "--role", "broker")
    assert lone.returncode != 0 and "cluster.listen" in lone.stderr, lone.stderr
    printed = run(
        binary, "config", "--role", "data", "--set", "cluster.listen=127.0.0.1:7101",
        "--set", "cluster.gossip_listen=127.0.0.1:7102", "--set", "cluster.seeds=a:1,b:2",
    )  # fmt: skip
    assert printed.returncode == 0, printed.stderr
    section = printed.stdout.split("[cluster]")[1]
    for line in ('role = "data"', 'listen = "127.0.0.1:7101"', 'gossip_listen = "127.0.0.1:7102"', 'name = "headwater"'):
        assert line in section, section


def test_a_query_is_ended_from_any_node(cluster):
    broker, (data, _) = cluster.broker, cluster.data
    name = unique("far")
    failures = []

    def ask():
        try:
            data.sql("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.value * b.value) % 7 = 1", query_id=name)
        except SqlError as failed:
            failures.append(failed)

    asking = threading.Thread(target=ask)
    asking.start()
    url = f"{broker.url}/queries/{name}"
    eventually(lambda: requests.get(url, timeout=5).status_code == 200, "the query is seen from the broker")
    assert requests.get(url, timeout=5).json()["state"] == "running"
    assert requests.delete(url, timeout=5).status_code == 204
    asking.join(20)
    assert failures and failures[0].kind == "cancelled"
    assert requests.get(url, timeout=5).json()["state"] == "cancelled"
    assert requests.delete(url, timeout=5).status_code == 404
