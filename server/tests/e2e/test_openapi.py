"""The OpenAPI document is true: Schemathesis makes requests of it, good and bad ones, and checks each answer against it."""

import pathlib
import subprocess
import sys

import requests

HERE = pathlib.Path(__file__).parent


def test_answers_are_those_of_the_document(own_node, tmp_path):
    node = own_node()
    program = pathlib.Path(sys.executable).with_name("st")
    command = [program, "--config-file", HERE / "schemathesis.toml", "run", f"{node.url}/openapi.json", "--checks", "all"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    # It is still there, and nothing that was sent has made it panic.
    assert requests.get(f"{node.url}/healthz", timeout=5).text == "ok"
    assert "panicked" not in node.log_text()
