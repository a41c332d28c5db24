"""The README is true: what it says to type into a shell is typed, block by block, and has the answer that one expects.

Commands are taken from the README as they stand there. What differs here is put in their place (ports, brokers, directories); what
cannot run in a test is listed with the reason. A command that is in neither list fails, so a new one cannot be forgotten.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import requests

from harness import free_port

ROOT = pathlib.Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
MARK = "\x1e"

# What a command contains -> what must be in its output, as a regular expression.
EXPECTED = {
    # From a topic to a table.
    "headwater start --store": "",
    "headwater table infer": "",
    "headwater table apply": "^table orders: created$",
    "headwater sql -c 'SELECT count(*) FROM orders'": r"count\(\*\)\W+\d+",
    # Asking.
    '"parameters": [20]': r'"columns":\[\{"name":"city","type":"STRING"\},\{"name":"n","type":"LONG"\}\],"rows":\[\["Bonn",500\],\["Ulm",499\]\],.*"cut":\{"rides"',
    '"format": "csv"': "^order_id,event_time,city,.*\n",
    "--data-urlencode": "^city,n\nUlm,600\nBonn,600\n",
    '"min_offsets"': r'"rows":\[\[1200\]\]',
    # Doctor; Kafka is there, and the topic in it.
    "headwater doctor": "orders",
    # Dashboards.
    "-o rides.json": "^$",
    "If-Match: $etag": '"version":2',
    "If-None-Match: *": '"id":"copy","version":1',
    "values/country": '"values":\\["DE"\\]',
    "/live?": "event: panel\ndata: ",
    # Several nodes.
    "--role data": 'role = "data"',
    # Doors.
    "headwater access hash-password": r"^\$argon2id\$",
    "headwater access new-token": r'^hw_(.|\n)*name = "grafana"',
}

# What a command contains -> why it does not run here.
NOT_HERE = {
    "cargo run --release -- demo": ".ci/demo runs it",
    "cargo test --workspace": ".ci/run runs it",
    "cargo build --release --workspace": ".ci/run runs it",
    "export PATH=$PWD/target/release": "it is for the benchmarks, which take hours",
    "export KAFKA=": "it is for the benchmarks, which take hours",
    "headwater-bench chaos": ".ci/exactly-once runs it, with other numbers",
    "psql ": "it would wait for somebody to type; test_postgres.py runs psql where it is installed",
}

# What stands in the README -> what stands for it here.
ELSEWHERE = {
    "headwater start --role data": "headwater config --role data",
    "s3://bucket/prefix": "file://$PWD/other",
    "localhost:9092": "$BROKERS",
    "localhost:8099": "127.0.0.1:$PORT",
    # It would go on. Until then a slow machine has sent the first event.
    "curl -sN ": "curl -sN --max-time 6 ",
    "headwater access hash-password": "echo secret | headwater access hash-password",
}


def commands_of(block):
    """The commands of a block, without what is said about them."""
    joined = block.replace("\\\n", " ")
    lines = [re.sub(r"\s+#\s.*$", "", line).strip() for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def key_of(command, table):
    return next((key for key in table if key in command), None)


BLOCKS = [commands_of(block) for block in re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)]
RUNNING = [(index, commands) for index, commands in enumerate(BLOCKS) if any(not key_of(one, NOT_HERE) for one in commands)]


def test_each_command_runs_or_has_a_reason():
    commands = [command for block in BLOCKS for command in block]
    assert len(commands) > 15
    for command in commands:
        assert (key_of(command, EXPECTED) is None) != (key_of(command, NOT_HERE) is None), command
    for key in (*EXPECTED, *NOT_HERE, *ELSEWHERE):
        assert any(key in command for command in commands), f"nothing in the README is like {key}"


@pytest.fixture(scope="module")
def rides(node, kafka):
    """The table and the dashboard of `headwater demo`."""
    topic = kafka.create("rides", partitions=1)
    kafka.produce(topic, [ride(number) for number in range(1200)])
    demo = ROOT / "server/src/demo"
    spec = (demo / "rides.yaml").read_text().replace("${BROKERS}", f'["{kafka.brokers}"]').replace("${TOPIC}", topic)
    assert requests.put(f"{node.url}/tables/rides", data=spec.encode(), timeout=30).status_code == 201
    board = (demo / "dashboard.json").read_bytes()
    made = requests.put(f"{node.url}/dashboards/rides", data=board, headers={"if-none-match": "*"}, timeout=10)
    assert made.status_code == 201, made.text
    node.wait_count("rides", 1200)
    node.wait_ready()
    yield node
    kafka.delete(topic)


def ride(number):
    return {
        "order_id": f"00000000-0000-0000-0000-{number:012}",
        "event_time": f"2026-01-01T00:00:00.{number % 1000:03}Z",
        "city": ["Ulm", "Bonn"][number % 2],
        "country": "DE",
        "vehicle": "bike",
        "status": "completed",
        "fare": f"{number / 10:.2f}",
    }


@pytest.fixture
def orders(kafka):
    topic = kafka.create("orders")
    kafka.produce(topic, [{"id": number, "city": "Ulm"} for number in range(50)])
    yield topic
    kafka.delete(topic)


@pytest.mark.parametrize("commands", [commands for _, commands in RUNNING], ids=[BLOCKS[index][0][:40] for index, _ in RUNNING])
def test_what_the_readme_says_to_type(rides, orders, binary, kafka, tmp_path, commands):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    commands = [command for command in commands if not key_of(command, NOT_HERE)]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/headwater").symlink_to(binary)
    # A block that starts a server asks that one.
    port = free_port() if any(command.endswith("&") for command in commands) else rides.port
    env = {
        **rides.env,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PORT": str(port),
        "BROKERS": kafka.brokers,
        "HEADWATER_HTTP_LISTEN": f"127.0.0.1:{port}",
        "HEADWATER_URL": f"http://127.0.0.1:{port}",
    }
    done = subprocess.run(["bash", "-c", script_of(commands)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=90)
    outputs = done.stdout.split(MARK)[1:]
    assert len(outputs) == len(commands), (done.stdout, done.stderr)
    for command, output in zip(commands, outputs):
        expected = EXPECTED[key_of(command, EXPECTED)]
        assert re.search(expected, output, re.M), (command, output, done.stderr)


def script_of(commands):
    """One shell for a block: what one command leaves, the next one finds. What it starts ends with it."""
    lines = ["trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    for command in commands:
        for there, here in ELSEWHERE.items():
            # In double quotes, so that the shell puts variables in, also where the README has single ones around.
            command = command.replace(there, here)
        command = re.sub(r"'([^']*\$PORT[^']*)'", r'"\1"', command)
        lines += [f"printf '{MARK}'", command]
        if command.endswith("&"):
            lines[-1] = command.replace("&", ">server.log 2>&1 &")
            lines.append('until curl -s "127.0.0.1:$PORT/healthz" >/dev/null; do sleep 0.1; done')
    return "\n".join(lines)
