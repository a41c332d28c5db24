"""Dashboards on a cluster: the broker runs a panel when the data nodes have new rows, and not otherwise."""

import time

import pytest
import requests

from harness import eventually, spec_of, unique
from test_cluster import ID, Cluster
from test_dashboards import NEW, Viewer

# Without new rows a panel would have run so often if it ran each time that it may.
RUNS = 4


@pytest.fixture(scope="module")
def broker(binary, tmp_path_factory):
    cluster = Cluster(binary, tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster.broker
    finally:
        [node.kill() for node in cluster.processes]


def runs(node):
    """How often the panels of dashboards were run."""
    text = requests.get(f"{node.url}/metrics", timeout=10).text
    lines = [line for line in text.splitlines() if line.startswith("headwater_dashboard_panel_runs_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_a_panel_runs_when_the_data_nodes_have_new_rows(broker, kafka):
    topic = kafka.create(unique("watched"), partitions=4)
    broker.apply(spec_of("watched", kafka, topic, ID))
    kafka.produce(topic, [{"id": number} for number in range(10)])
    broker.wait_count("watched", 10)
    panel = {"id": "count", "kind": "number", "sql": "SELECT count(*) FROM watched", "at": {"x": 0, "y": 0, "w": 4, "h": 3}}
    document = {"title": "Watched", "refresh_ms": 1000, "panels": [panel]}
    assert requests.put(f"{broker.url}/dashboards/watched", json=document, headers=NEW, timeout=10).status_code == 201
    viewers = [Viewer(broker, "watched") for _ in range(3)]
    try:
        [viewer.wait("count", [[10]]) for viewer in viewers]
        # Without new rows it is not run again; that a node sees a newer version of the log may be a reason once.
        before = runs(broker)
        time.sleep(RUNS * document["refresh_ms"] / 1000)
        assert runs(broker) - before <= 1
        for count in (11, 12):
            kafka.produce(topic, [{"id": count}])
            [viewer.wait("count", [[count]]) for viewer in viewers]
        # Viewers are told of a table that is gone.
        assert requests.delete(f"{broker.url}/tables/watched", timeout=30).status_code == 200
        eventually(lambda: "error" in viewers[0].panels("count")[-1], "the panel says that there is no table")
    finally:
        [viewer.close() for viewer in viewers]
