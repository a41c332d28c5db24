"""Fixtures: the binary, Kafka, S3, and one headwater process per test module.

`.ci/e2e` brings Kafka and S3 up and names them in the environment. What is missing is skipped, with the reason.
"""

import os
import pathlib

import pytest
import requests

from document import WATCH
from doors import guarded, hashes, tokens, unguarded, users  # Fixtures: pytest finds them here.
from harness import Headwater, Kafka


@pytest.fixture(scope="session")
def binary():
    path = pathlib.Path(os.environ.get("HEADWATER_BINARY", ""))
    assert path.is_file(), "HEADWATER_BINARY must name a built headwater binary; .ci/e2e sets it"
    return path


@pytest.fixture(scope="session", autouse=True)
def document(binary, tmp_path_factory):
    """The description that every answer is held against from here on."""
    node = Headwater(binary, tmp_path_factory.mktemp("document"), store="memory://").start()
    WATCH.start(requests.get(f"{node.url}/openapi.json", timeout=10).json())
    node.kill()
    return WATCH.document


@pytest.fixture(autouse=True)
def answers_are_those_of_the_document(document):
    yield
    faults = WATCH.taken()
    assert not faults, "answers that openapi.json does not have:\n" + "\n".join(faults[:10])


@pytest.fixture(scope="session")
def kafka():
    brokers = os.environ.get("HEADWATER_E2E_KAFKA")
    if not brokers:
        pytest.skip(os.environ.get("HEADWATER_E2E_KAFKA_MISSING", "HEADWATER_E2E_KAFKA names no Kafka"))
    # The script is named if the Kafka is this run's own.
    return Kafka(brokers, os.environ.get("HEADWATER_E2E_KAFKA_SCRIPT"))


@pytest.fixture(scope="session")
def s3():
    """Endpoint of an S3 server with the bucket `headwater` and the credentials test / testtest."""
    endpoint = os.environ.get("HEADWATER_E2E_S3")
    if not endpoint:
        pytest.skip(os.environ.get("HEADWATER_E2E_S3_MISSING", "HEADWATER_E2E_S3 names no S3 endpoint"))
    return endpoint


@pytest.fixture(scope="module")
def node(binary, kafka, tmp_path_factory, request):
    """This module's own process, port and store."""
    started = Headwater(binary, tmp_path_factory.mktemp(request.module.__name__)).start()
    yield started
    started.kill()


@pytest.fixture(autouse=True)
def node_is_up(request):
    """A test that fails between stop and start, or whose process breaks down, takes no later one of its module with it."""
    if "node" not in request.fixturenames:
        return
    node = request.getfixturevalue("node")
    ended = node.process and node.process.poll()
    if node.process is None or ended is not None:
        node.kill()
        node.start()
    assert ended is None, f"after the test before this one headwater had ended with {ended}:\n{node.log_text()[-3000:]}"


@pytest.fixture
def own_node(binary, kafka, tmp_path):
    """Makes processes of the test's own; all are killed at its end."""
    made = []

    def make(name="node", **options):
        made.append(Headwater(binary, tmp_path / name, **options))
        return made[-1].start()

    yield make
    for process in made:
        process.kill()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of the log of every process that the test used."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        shown = set()
        for value in getattr(item, "funcargs", {}).values():
            processes = {value} if isinstance(value, Headwater) else set(getattr(value, "processes", []))
            for process in processes - shown:
                shown.add(process)
                report.sections.append((f"log of {process.directory.name}", process.log_text()[-6000:]))
