"""The command line as programs and people use it: JSON everywhere, exit codes, completion, Ctrl-C, and `doctor`."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import pty
import re
import resource
import signal
import struct
import subprocess
import termios
import time

import pytest

from harness import cli, eventually, free_port, spec_of, unique

EXIT_CODES = [0, 1, 2, 3, 4, 5, 6, 130]
SLOW = "SELECT count(*) FROM generate_series(1, 30000) AS a CROSS JOIN generate_series(1, 3000000) AS b"


@pytest.fixture(scope="module")
def table(node, kafka):
    topic = kafka.create(unique("cli"), partitions=2)
    kafka.produce(topic, [{"id": number} for number in range(1500)])
    node.apply(spec_of("orders", kafka, topic, {"id": "LONG"}))
    node.wait_count("orders", 1500)
    return topic


def as_json(done, code=0):
    """The one document on standard output; nothing but errors in JSON is on standard error."""
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def error_of(done, code):
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    error = json.loads(done.stderr)["error"]
    assert error["exit_code"] == code and error["message"], error
    return error


def test_help_ends_with_the_exit_codes(binary):
    done = cli(binary, "--help", env={})
    assert done.returncode == 0
    listed = done.stdout.split("Exit codes:\n")[1].strip().splitlines()
    assert [int(line.split()[0]) for line in listed] == EXIT_CODES


def test_without_arguments_the_commands_are_shown(binary):
    done = cli(binary, env={})
    assert done.returncode == 2 and "doctor" in done.stderr and "<COMMAND>" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "elvish", "powershell"])
def test_completion_knows_the_commands(binary, shell):
    script = cli(binary, "completion", shell, env={})
    assert script.returncode == 0 and script.stderr == ""
    assert "doctor" in script.stdout and "output" in script.stdout and "purge" in script.stdout


def test_bash_completes(binary, tmp_path):
    script = tmp_path / "completion"
    script.write_text(cli(binary, "completion", "bash", env={}).stdout)
    ask = f"source {script}; COMP_WORDS=(headwater ta); COMP_CWORD=1; _headwater headwater ta headwater; echo ${{COMPREPLY[@]}}"
    assert subprocess.run(["bash", "-c", ask], capture_output=True, text=True).stdout.strip() == "table"


def test_every_command_answers_in_json(node, kafka, table, tmp_path):
    def ask(*arguments, stdin=None):
        done = node.cli(*arguments, "--output", "json", stdin=stdin)
        assert done.stderr == "", done.stderr
        return as_json(done)

    (listed,) = ask("table", "list")["tables"]
    assert listed["name"] == "orders" and listed["partitions"] == 2 and listed["offsets"] == 1500
    assert set(listed) == {"name", "partitions", "failed", "offsets", "lag", "rows_per_second", "freshness_ms"}
    described = ask("table", "describe", "orders")
    assert described["spec"]["name"] == "orders" and len(described["partitions"]) == 2
    assert ask("table", "pause", "orders") == {"table": "orders", "partition": None, "paused": True}
    assert ask("table", "resume", "orders")["paused"] is False
    (sealed,) = ask("table", "seal", "orders")["segments"]
    assert sealed["rows"] == 1500 and sealed["path"].startswith("data/")
    segment = node.directory / "store" / "tables" / "orders" / sealed["path"]
    assert ask("segment", "inspect", segment)["rows"] == 1500
    inferred = ask("table", "infer", "--brokers", kafka.brokers, "--topic", table)
    # Half of the 1,000 that are looked at are for the other partition, which is empty.
    assert inferred["messages"] == 500 and "columns:" in inferred["spec"]
    spec = json.dumps(described["spec"])
    assert ask("table", "apply", "-f", "-", stdin=spec) == {"table": "orders", "applied": "unchanged"}
    answer = ask("sql", "-c", "SELECT count(*) AS n FROM orders")
    assert answer["rows"] == [[1500]] and answer["columns"][0]["name"] == "n"
    assert ask("config", "--set", "query.threads=3")["query"]["threads"] == 3
    assert ask("access", "hash-password", stdin="correct horse\n")["hash"].startswith("$argon2id$")
    made = ask("access", "new-token", "--name", "grafana", "--role", "reader", "--expires", "never")
    assert made["token"].startswith("hw_") and hashlib.sha256(made["token"].encode()).hexdigest() == made["hash"]
    assert (made["name"], made["role"], made["expires"]) == ("grafana", "reader", None)
    node.apply(spec_of("gone", kafka, table, {"id": "LONG"}))
    assert ask("table", "drop", "gone", "--purge") == {"table": "gone", "dropped": True, "purged": True}


def test_text_is_for_people(node, table):
    listed = node.cli("table", "list").stdout
    assert "│  1,500 │" in listed or "│   1,500 │" in listed, listed
    assert "\x1b" not in listed and "\x1b" not in node.cli("table", "describe", "orders").stdout


def test_start_says_in_json_when_it_is_up(binary, tmp_path):
    command = [str(binary), "start", "--listen", "127.0.0.1:0", "--store", f"file://{tmp_path}/store", "--output", "json"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            document, depth = "", 0
            while not document or depth > 0:
                line = process.stdout.readline()
                assert line, (tmp_path / "log").read_text()
                document += line
                depth += line.count("{") - line.count("}")
            ready = json.loads(document)
            assert ready["state"] == "up"
            assert cli(binary, "sql", "-c", "SELECT 1", "--url", ready["url"], env={}).stdout.split()[-1] == "1"
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=30)[0] == "" and process.returncode == 0
        finally:
            process.kill()


def test_errors_are_json_with_their_codes(node, table, tmp_path):
    def ask(*arguments, **options):
        done = node.cli(*arguments, "--output", "json", **options)
        assert done.stdout == ""
        return done

    wrong = error_of(ask("sql", "-c", "SELECT count(*) FROM ordrs"), 4)
    assert wrong["kind"] == "unknown_table" and wrong["suggestion"] == "orders"
    assert wrong["position"] == {"line": 1, "column": 22}
    assert error_of(ask("sql", "-c", "SELECT 1/0"), 1)["kind"] == "execution"
    assert error_of(ask("sql", "-c", SLOW, "--deadline-ms", 300), 5)["kind"] == "deadline"
    assert error_of(ask("table", "list", url=f"http://127.0.0.1:{free_port()}"), 3)["kind"] == "unreachable"
    assert error_of(ask("table", "list", url="localhost:8099"), 2)["kind"] == "usage"
    assert "--frob" in error_of(ask("table", "list", "--frob"), 2)["message"]
    missing = error_of(ask("table", "describe", "ordres"), 4)
    assert missing["kind"] == "not_found" and missing["suggestion"] == "orders"
    spec = tmp_path / "bad.yaml"
    spec.write_text("name: bad name\ncolumns: [{name: a, type: INTT}]\nstream: {brokers: [h:1], topic: t}\nseal: {rows_max: 0}\n")
    faults = error_of(ask("table", "apply", "-f", spec), 4)["faults"]
    assert {fault["path"] for fault in faults} >= {"name", "columns[0].type", "seal.rows_max"}


def test_kafka_that_is_away_is_exit_code_3(binary):
    done = cli(binary, "table", "infer", "--brokers", f"127.0.0.1:{free_port()}", "--topic", "x", env={})
    assert done.returncode == 3 and "does Kafka listen on 127.0.0.1" in done.stderr, done.stderr


def test_nearest_table_is_named(node, table):
    for command in (["describe"], ["seal"], ["pause"], ["drop"]):
        done = node.cli("table", *command, "ordres")
        assert done.returncode == 4 and "did you mean orders?" in done.stderr, done.stderr


def test_ctrl_c_ends_a_query_here_and_there(node, table):
    running = f"SELECT count(*) FROM system.queries WHERE sql = '{SLOW}' AND state = 'running'"
    # The same statement of another test would be taken for it.
    eventually(lambda: node.sql(running).value == 0, "nobody asks it")
    asking = subprocess.Popen(
        [node.binary, "sql", "-c", SLOW, "--url", node.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        eventually(lambda: node.sql(running).value == 1, "it runs")
        asking.send_signal(signal.SIGINT)
        out, err = asking.communicate(timeout=20)
    finally:
        asking.kill()
    assert (asking.returncode, out) == (130, "") and "interrupted" in err
    eventually(lambda: node.sql(running).value == 0, "it is cancelled", within=10)


def test_the_shell_goes_on_after_ctrl_c(node, table, tmp_path):
    """In a real terminal: Ctrl-C while a statement runs ends it, and the next one is answered."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(HOME=str(tmp_path), TERM="dumb")
        os.execv(node.binary, [node.binary, "sql", "--url", node.url])
    shown = b""

    def read_until(text, within=20):
        nonlocal shown
        give_up = time.monotonic() + within
        os.set_blocking(terminal, False)
        while text not in shown:
            assert time.monotonic() < give_up, shown.decode(errors="replace")
            try:
                shown += os.read(terminal, 65536)
            except BlockingIOError:
                time.sleep(0.05)
        shown = shown.split(text, 1)[1]

    try:
        read_until(b"headwater> ")
        os.write(terminal, f"{SLOW};\r".encode())
        running = f"SELECT count(*) FROM system.queries WHERE sql = '{SLOW}' AND state = 'running'"
        eventually(lambda: node.sql(running).value == 1, "it runs")
        os.write(terminal, b"\x03")
        read_until(b"interrupted")
        os.write(terminal, b"SELECT 6 * 7 AS answer;\r")
        read_until(b"42")
        os.write(terminal, b"\\q\r")
        assert os.waitpid(child, 0)[1] == 0
    finally:
        os.close(terminal)


LONG = "SELECT count(*) FROM orders AS o CROSS JOIN generate_series(1, 30000000) AS b WHERE (o.id * b.value) % 7919 = 3"


def test_a_terminal_shows_a_bar_that_moves_and_leaves_nothing_behind(node, table):
    node.seal("orders")
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    command = [node.binary, "sql", "--url", node.url, "-c", LONG, "--deadline-ms", "4000"]
    asking = subprocess.Popen(command, env={**node.env, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=other_end)
    os.close(other_end)
    shown = b""
    # Reading from a terminal whose other end is closed is an error, on Linux.
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65536):
            shown += chunk
    os.close(terminal)
    assert asking.communicate(timeout=20)[0] == b"" and asking.returncode == 5, shown
    drawn = re.findall(r"running: (\d+) of (\d+) segments, (\d+) s ([=> ]{30}) +(\d+) %", shown.decode())
    # Over itself, some times a second, and wiped away before the error is said.
    assert len(drawn) > 5 and {seconds for *_, seconds, _, _ in drawn} >= {"0", "1", "2"}, shown
    done, total, _, bar, percent = drawn[-1]
    assert int(percent) == 100 * int(done) // int(total) and bar.count("=") == 30 * int(done) // int(total), drawn
    # From the beginning it is this bar and no other.
    assert re.match(r"\S running: ", shown.decode()), shown
    assert shown.count(b"\r") >= len(drawn)
    assert b"segments" not in shown.rsplit(b"\r\x1b[2K", 1)[1] and b"deadline" in shown.rsplit(b"\r\x1b[2K", 1)[1], shown


def test_no_bar_is_drawn_where_there_is_no_terminal(node, table):
    done = node.cli("sql", "-c", LONG, "--deadline-ms", 2500)
    assert done.returncode == 5 and done.stdout == ""
    assert "segments" not in done.stderr and not set("\r\x1b") & set(done.stderr) and done.stderr.count("\n") == 1, done.stderr


def doctor(binary, *arguments, env=None, code=0, **options):
    command = [str(binary), "doctor", *map(str, arguments), "--output", "json"]
    clean = {"PATH": os.environ["PATH"], **(env or {})}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60, **options)
    document = as_json(done, code)
    assert document["healthy"] == (code == 0)
    return document


def check_of(document, check):
    order = ["skipped", "ok", "warning", "failure"]
    found = [entry for entry in document["checks"] if entry["check"] == check]
    assert found, (check, document)
    return max(found, key=lambda entry: order.index(entry["verdict"]))


def test_doctor_finds_nothing_wrong_and_changes_nothing(binary, kafka, table, tmp_path):
    listen = f"127.0.0.1:{free_port()}"
    store = tmp_path / "store"
    store.mkdir()
    document = doctor(
        binary, "--listen", listen, "--store", f"file://{store}", "--brokers", kafka.brokers, "--topic", table
    )
    assert document["failures"] == 0
    areas = {entry["area"] for entry in document["checks"]}
    assert areas == {"configuration", "store", "clock", "kafka", "machine", "listeners", "cluster"}
    for check in ["settings", "create_if_absent", "speed", "list", "reach", "topic", "versions", "http", "memory"]:
        assert check_of(document, check)["verdict"] in ("ok", "warning"), check_of(document, check)
    assert {"path": "http.listen", "value": listen, "from": "flag, http.listen"} in document["settings"]
    assert list(store.iterdir()) == []
    # What is not there is not made.
    doctor(binary, "--listen", listen, "--store", f"file://{tmp_path}/missing")
    assert not (tmp_path / "missing").exists()


def test_doctor_looks_at_the_kafka_of_each_table(node, table):
    document = doctor(node.binary, "--listen", f"127.0.0.1:{node.port}", "--store", node.store)
    assert check_of(document, "http")["seen"] == "a running headwater has it"
    assert "orders" in check_of(document, "tables")["seen"]
    assert check_of(document, "topic")["subject"] == f"table orders, {table}"
    assert "2 partitions" in check_of(document, "topic")["seen"]
    assert check_of(document, "retention")["verdict"] == "ok"


def test_doctor_finds_what_is_broken(binary, kafka, tmp_path):
    config = tmp_path / "headwater.toml"
    config.write_text("[query]\nthreds = 2\n")
    document = doctor(binary, "--config", config, code=1)
    assert "threds" in check_of(document, "settings")["seen"] and check_of(document, "settings")["fix"]

    nobody = f"127.0.0.1:{free_port()}"
    base = ["--listen", nobody, "--store", f"file://{tmp_path}/store"]
    document = doctor(binary, *base, "--brokers", nobody, "--topic", "x", code=1)
    assert "refused" in check_of(document, "reach")["seen"]

    document = doctor(binary, *base, "--brokers", kafka.brokers, "--topic", "nowhere_at_all", code=1)
    assert check_of(document, "topic")["seen"] == "there is no such topic"

    kafka_port = kafka.brokers.split(",")[0]
    document = doctor(binary, "--listen", kafka_port.replace("localhost", "127.0.0.1"), "--store", "memory://", code=1)
    assert "no headwater" in check_of(document, "http")["seen"]

    document = doctor(binary, "--listen", nobody, "--store", "file:///proc/nowhere", code=1)
    assert check_of(document, "open")["verdict"] == "failure"

    document = doctor(binary, *base, "--set", "resident.dir=/proc/self/nowhere", code=1)
    assert "cannot be written to" in check_of(document, "disk")["seen"]

    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    document = doctor(binary, *base, preexec_fn=few, code=1)
    assert "256" in check_of(document, "open_files")["seen"] and "ulimit" in check_of(document, "open_files")["fix"]


def test_doctor_tells_no_secret(binary, kafka, tmp_path):
    secret = "correct-horse-battery"
    config = tmp_path / "headwater.toml"
    config.write_text(f'[store]\nurl = "s3://{secret}@bucket/x"\n[store.options]\naws_secret_access_key = "{secret}"\n')
    password = pathlib.Path(tmp_path / "password")
    password.write_text(secret)
    arguments = ["doctor", "--config", config, "--check-seconds", 3, "--brokers", kafka.brokers, "--topic", "x",
                 "--property", "security.protocol=SASL_PLAINTEXT", "--property", "sasl.mechanism=PLAIN",
                 "--property", "sasl.username=me", "--property", f"sasl.password=file:{password}"]
    for output in ("text", "json"):
        done = cli(binary, *arguments, "--output", output, env={"PATH": os.environ["PATH"], "AWS_ENDPOINT": f"http://127.0.0.1:{free_port()}"})
        assert done.returncode == 1
        assert secret not in done.stdout + done.stderr
