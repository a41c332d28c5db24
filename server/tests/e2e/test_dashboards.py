"""Dashboards: kept in the store, changed by one writer at a time, and watched live."""

import json
import threading
import time

import pytest
import requests

from harness import eventually, spec_of, unique

NEW = {"if-none-match": "*"}


def document(table, **rest):
    return {
        "title": "Orders",
        "refresh_ms": 1000,
        "time": {"last": "1h"},
        "variables": [{"name": "city", "label": "City", "kind": "text", "default": ""}],
        "panels": [
            {
                "id": "count",
                "title": "All",
                "kind": "number",
                "sql": f"SELECT count(*) AS orders FROM {table} WHERE $city = '' OR city = $city",
                "at": {"x": 0, "y": 0, "w": 4, "h": 3},
            },
            {
                "id": "recent",
                "title": "By city",
                "kind": "bar",
                "sql": f"SELECT city, count(*) AS orders FROM {table} WHERE at >= $time_from AND at < $time_to GROUP BY city ORDER BY city",
                "at": {"x": 4, "y": 0, "w": 8, "h": 6},
            },
        ],
        **rest,
    }


def order(number, city=None, at=None):
    at = int(time.time() * 1000) - 60_000 if at is None else at
    return {"id": number, "city": city or ["Berlin", "Ulm"][number % 2], "at": at}


class Viewer:
    """Reads the events of a live dashboard in a thread."""

    watching = []

    def __init__(self, node, dashboard, **parameters):
        self.events = []
        self.ended = threading.Event()
        self.watching.append(self)
        self.answer = requests.get(
            f"{node.url}/dashboards/{dashboard}/live", params=parameters, stream=True, timeout=(10, 60)
        )
        if self.answer.status_code == 200:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        name = None
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line.startswith("event: "):
                    name = line[len("event: "):]
                elif line.startswith("data: "):
                    self.events.append((name, json.loads(line[len("data: "):])))
        except (requests.RequestException, AttributeError):
            pass  # The server or the test has ended the connection.
        finally:
            self.ended.set()

    def panels(self, panel):
        return [data for name, data in list(self.events) if name == "panel" and data["panel"] == panel]

    def newest(self, panel):
        return (self.panels(panel) or [{"rows": None}])[-1]["rows"]

    def wait(self, panel, rows):
        eventually(lambda: self.newest(panel) == rows, f"{panel} shows {rows}, not {self.newest(panel)}", within=15)

    def close(self):
        self.answer.close()


@pytest.fixture(autouse=True)
def viewers_leave():
    """Those of a test that has failed, too: panels run as long as somebody watches them, and the next test counts."""
    yield
    while Viewer.watching:
        Viewer.watching.pop().close()


@pytest.fixture(scope="module")
def topic(kafka):
    return kafka.create(unique("orders"), partitions=2)


@pytest.fixture(scope="module")
def table(node, kafka, topic):
    columns = {"id": {"type": "LONG", "nullable": False}, "city": "STRING", "at": "TIMESTAMP(3)"}
    node.apply(spec_of("orders", kafka, topic, columns, time_column="at"))
    kafka.produce(topic, [order(number) for number in range(10)])
    node.wait_count("orders", 10)
    return "orders"


@pytest.fixture
def dashboard(node, table):
    name = unique("board")
    made = requests.put(f"{node.url}/dashboards/{name}", json=document(table), headers=NEW, timeout=10)
    assert made.status_code == 201, made.text
    yield name
    requests.delete(f"{node.url}/dashboards/{name}", headers={"if-match": "*"}, timeout=10)


def test_versions_and_a_restart(node, table, dashboard):
    url = f"{node.url}/dashboards/{dashboard}"
    read = requests.get(url, timeout=10)
    etag = read.headers["etag"]
    assert etag.startswith('"1-') and read.json() == document(table)
    assert read.headers["headwater-dashboard-version"] == "1"
    changed = {**read.json(), "title": "Changed"}
    written = requests.put(url, json=changed, headers={"if-match": etag}, timeout=10)
    assert written.json()["version"] == 2 and written.headers["etag"] == f'"{written.json()["etag"]}"'
    late = requests.put(url, json=read.json(), headers={"if-match": etag}, timeout=10)
    assert late.status_code == 412 and late.json()["error"]["version"] == 2
    assert requests.put(url, json=read.json(), headers=NEW, timeout=10).status_code == 412
    assert requests.put(url, json=read.json(), timeout=10).status_code == 428
    node.stop()
    node.start()
    url = f"{node.url}/dashboards/{dashboard}"
    assert requests.get(url, timeout=10).json() == changed
    listed = requests.get(f"{node.url}/dashboards", timeout=10).json()["dashboards"]
    assert [(one["title"], one["version"]) for one in listed if one["id"] == dashboard] == [("Changed", 2)]
    node.wait_count("orders", 10)


def test_of_many_writers_one_wins(node, table, dashboard):
    url = f"{node.url}/dashboards/{dashboard}"
    for version in range(1, 6):
        outcomes = []
        etag = requests.get(url, timeout=10).headers["etag"]

        def write(number):
            body = document(table, title=f"{version} by {number}")
            answer = requests.put(url, json=body, headers={"if-match": etag}, timeout=30)
            outcomes.append((answer.status_code, body["title"]))

        writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        [writer.start() for writer in writers]
        [writer.join() for writer in writers]
        winners = [title for status, title in outcomes if status == 200]
        assert len(winners) == 1 and {status for status, _ in outcomes} == {200, 412}, outcomes
        read = requests.get(url, timeout=10)
        assert (read.headers["headwater-dashboard-version"], read.json()["title"]) == (str(version + 1), winners[0])


def test_every_fault_is_listed(node, table):
    bad = document(table, refresh_ms=10)
    bad["panels"][0]["sql"] = "SELECT $nobody"
    bad["panels"][1]["at"]["w"] = 13
    bad["panels"][1]["colour"] = "red"
    refused = requests.put(f"{node.url}/dashboards/bad", json=bad, headers=NEW, timeout=10)
    assert refused.status_code == 400
    paths = {fault["path"] for fault in refused.json()["error"]["faults"]}
    assert paths == {"refresh_ms", "panels[0].sql", "panels[1].at.w", "panels[1].colour"}
    assert requests.get(f"{node.url}/dashboards/bad", timeout=10).status_code == 404


def test_new_rows_are_pushed_and_values_are_no_sql(node, kafka, topic, table, dashboard):
    before = node.sql("SELECT count(*) FROM orders").value
    everything, ulm = Viewer(node, dashboard), Viewer(node, dashboard, **{"var.city": "Ulm"})
    injected = Viewer(node, dashboard, **{"var.city": "x' OR '1'='1"})
    everything.wait("count", [[before]])
    injected.wait("count", [[0]])
    in_ulm = node.sql("SELECT count(*) FROM orders WHERE city = 'Ulm'").value
    ulm.wait("count", [[in_ulm]])
    first = everything.panels("count")[0]
    assert first["columns"] == [{"name": "orders", "type": "LONG"}] and first["version"] == 1
    assert sum(first["cuts"]["orders"]["offsets"].values()) == before and first["freshness_ms"] >= 0

    produced = time.monotonic()
    kafka.produce(topic, [order(number) for number in range(20, 24)])
    everything.wait("count", [[before + 4]])
    assert time.monotonic() - produced < 5
    ulm.wait("count", [[in_ulm + 2]])
    everything.wait("recent", node.sql("SELECT city, count(*) FROM orders GROUP BY city ORDER BY city").rows)
    assert len(injected.panels("count")) == 1, "what has not changed is not sent"
    for viewer in (everything, ulm, injected):
        viewer.close()


def test_many_viewers_cost_one_query(node, kafka, topic, table, dashboard):
    def runs():
        lines = requests.get(f"{node.url}/metrics", timeout=10).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("headwater_dashboard_panel_runs_total"))

    def runners():
        lines = requests.get(f"{node.url}/metrics", timeout=10).text.splitlines()
        # It is not there before the first one.
        return [line for line in lines if line.startswith("headwater_dashboard_runners ") and not line.endswith(" 0")]

    # Panels of other tests go on for a moment after their last viewer.
    eventually(lambda: not runners(), "no panel runs")
    before = runs()
    total = node.sql("SELECT count(*) FROM orders").value
    viewers = [Viewer(node, dashboard) for _ in range(40)]
    for viewer in viewers:
        viewer.wait("count", [[total]])
    kafka.produce(topic, [order(1)])
    for viewer in viewers:
        viewer.wait("count", [[total + 1]])
    # Two panels, run at first and for the new row; the log may have changed, too.
    eventually(lambda: runs() - before >= 4, "both panels ran again")
    assert runs() - before <= 10
    for viewer in viewers:
        viewer.close()
    eventually(lambda: "headwater_dashboard_viewers 0" in requests.get(f"{node.url}/metrics", timeout=10).text, "all have left")


def test_the_values_of_a_list_cost_one_query(node, table, dashboard):
    listed = document(table)
    listed["variables"].append({"name": "cities", "label": "Cities", "kind": "list", "sql": f"SELECT DISTINCT city FROM {table} ORDER BY city", "default": ""})
    url = f"{node.url}/dashboards/{dashboard}"
    assert requests.put(url, json=listed, headers={"if-match": "*"}, timeout=10).status_code == 200
    ran = f"SELECT count(*) FROM system.query_log WHERE sql LIKE 'SELECT DISTINCT city FROM {table}%'"
    before = node.sql(ran).value
    for _ in range(20):
        assert requests.get(f"{url}/values/cities", timeout=10).json() == {"values": ["Berlin", "Ulm"], "more": False}
    eventually(lambda: node.sql(ran).value == before + 1, "one query")
    assert requests.get(f"{url}/values/city", timeout=10).status_code == 404


def test_a_change_and_the_end_reach_who_watches(node, table, dashboard):
    url = f"{node.url}/dashboards/{dashboard}"
    viewer = Viewer(node, dashboard)
    eventually(lambda: viewer.panels("count"), "an answer")
    etag = requests.get(url, timeout=10).headers["etag"]
    written = requests.put(url, json=document(table, title="New"), headers={"if-match": etag}, timeout=10).json()
    assert viewer.ended.wait(10)
    assert viewer.events[-1] == ("dashboard", {"version": 2, "etag": written["etag"]})
    viewer = Viewer(node, dashboard)
    eventually(lambda: viewer.panels("count"), "an answer")
    assert requests.delete(url, headers={"if-match": etag}, timeout=10).status_code == 412
    assert requests.delete(url, headers={"if-match": written["etag"]}, timeout=10).status_code == 204
    assert viewer.ended.wait(10)
    assert viewer.events[-1] == ("dashboard", {"version": None, "etag": None})
    assert Viewer(node, dashboard).answer.status_code == 404


def test_what_cannot_run_is_said_and_the_others_go_on(node, table, dashboard):
    broken = document(table)
    broken["panels"][0]["sql"] = "SELECT id / 0 FROM orders"
    broken["panels"].append({**broken["panels"][0], "id": "missing", "sql": "SELECT nobody FROM orders"})
    broken["panels"].append({**broken["panels"][0], "id": "wide", "sql": "SELECT a.value FROM range(20000) a"})
    answer = requests.put(f"{node.url}/dashboards/{dashboard}", json=broken, headers={"if-match": "*"}, timeout=10)
    assert answer.status_code == 200, answer.text
    viewer = Viewer(node, dashboard)
    eventually(lambda: all(viewer.panels(panel) for panel in ("count", "missing", "wide", "recent")), "all panels")
    kinds = {panel: viewer.panels(panel)[-1].get("error", {}).get("kind") for panel in ("count", "missing", "wide", "recent")}
    assert kinds == {"count": "execution", "missing": "plan", "wide": "rows_exceeded", "recent": None}
    viewer.close()
    preview = requests.post(
        f"{node.url}/dashboards/-/preview", json={"sql": "SELECT\n nobody FROM orders", "values": {}, "last": "1h"}, timeout=10
    )
    assert preview.status_code == 400 and preview.json()["error"]["position"] == {"line": 2, "column": 2}


def test_a_server_that_ends_lets_its_viewers_go(node, table, dashboard):
    viewer = Viewer(node, dashboard)
    eventually(lambda: viewer.panels("count"), "an answer")
    rows = node.sql("SELECT count(*) FROM orders").value
    began = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - began < 15 and viewer.ended.wait(5)
    node.start()
    node.wait_count("orders", rows)
