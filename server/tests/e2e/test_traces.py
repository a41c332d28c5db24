"""Traces, as a collector receives them: from the HTTP request over the broker to the segments on data nodes."""

import concurrent.futures

import grpc
import pytest
import requests
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from harness import eventually, spec_of, unique
from test_cluster import ID, Cluster

# Where a partition lies is drawn with the identity of its table: of so many, both nodes have some.
PARTITIONS = 24

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent."""

    def __init__(self):
        self.spans = []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def Export(self, request, context):
        for resource in request.resource_spans:
            attributes = {found.key: found.value.string_value for found in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(attributes["service.instance.id"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace):
        return [(node, span) for node, span in self.spans if span.trace_id.hex() == trace]


@pytest.fixture(scope="module")
def collector():
    started = Collector()
    yield started
    started.server.stop(None)


def settings_of(collector, ratio):
    return [f"telemetry.otlp_endpoint=http://127.0.0.1:{collector.port}", f"telemetry.sample_ratio={ratio}"]


def test_a_trace_goes_from_the_request_to_the_segments(binary, kafka, collector, tmp_path):
    cluster = Cluster(binary, tmp_path)
    for node in cluster.processes:
        # Nothing but what asks for it itself.
        node.settings += settings_of(collector, 0)
    try:
        cluster.start()
        topic = kafka.create(unique("traced"), partitions=PARTITIONS)
        cluster.broker.apply(spec_of("traced", kafka, topic, ID))
        for partition in range(PARTITIONS):
            kafka.produce(topic, [{"id": number} for number in range(100)], partition=partition)
        cluster.broker.wait_count("traced", 100 * PARTITIONS)
        # Whoever was there first has them all for a moment.
        both = {node.directory.name for node in cluster.data}
        eventually(lambda: {found.get("node") for found in cluster.partitions("traced")} == both, "two owners")
        answer = requests.post(
            f"{cluster.broker.url}/sql",
            json={"sql": "SELECT count(*), sum(id) FROM traced"},
            headers={"traceparent": f"00-{TRACE}-{CALLER}-01"},
            timeout=10,
        )
        version, trace, request, flags = answer.headers["traceparent"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "01") and request != CALLER
        wanted = {"POST /sql", "query", "admission", "plan", "cut", "execute", "fragment", "segment"}

        def whole():
            """All spans have come: each of the three processes sends its own in its own time."""
            found = collector.of(TRACE)
            known = {CALLER, *(span.span_id.hex() for _, span in found)}
            hanging = {span.name for _, span in found if span.parent_span_id.hex() not in known}
            lacking = wanted - {span.name for _, span in found}
            state[0] = f"of {len({node for node, _ in found})} processes; without {lacking}; {hanging} hang in the air"
            return len({node for node, _ in found}) == len(cluster.processes) and not lacking and not hanging

        state = [None]
        try:
            eventually(whole, "", within=30)
        except AssertionError:
            raise AssertionError(f"the trace is not whole: spans {state[0]}") from None
        spans = {span.span_id.hex(): (node, span) for node, span in collector.of(TRACE)}
        assert spans[request][1].parent_span_id.hex() == CALLER
        assert {node for node, span in spans.values() if span.name == "query"} == {spans[request][0]}
        fragments = {node for node, span in spans.values() if span.name == "fragment"}
        assert len(fragments) == 2 and spans[request][0] not in fragments
        for node, span in spans.values():
            if span.name == "segment":
                parent = span.parent_span_id.hex()
                assert spans[parent][1].name == "fragment" and spans[parent][0] == node
        # What asks for nothing is not sampled.
        assert {span.trace_id.hex() for _, span in collector.spans} == {TRACE}
    finally:
        [node.kill() for node in cluster.processes]


def test_commits_are_traces_of_their_own(own_node, kafka, collector):
    node = own_node(settings=settings_of(collector, 1))
    topic = kafka.create(unique("sealed"))
    node.apply(spec_of("sealed", kafka, topic, ID))
    kafka.produce(topic, [{"id": number} for number in range(100)])
    node.wait_count("sealed", 100)
    assert len(node.seal("sealed")) == 1
    # What is not sent yet is sent at the end.
    assert node.stop() == 0
    seals = [span for _, span in collector.spans if span.name == "seal"]
    assert len(seals) == 1 and not seals[0].parent_span_id
    attributes = {found.key: found.value for found in seals[0].attributes}
    assert attributes["table"].string_value == "sealed" and attributes["to"].int_value == 100


def test_without_an_endpoint_no_trace_is_named(node):
    answer = requests.get(f"{node.url}/sql?q=SELECT 1", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"}, timeout=10)
    assert answer.status_code == 200 and "traceparent" not in answer.headers
