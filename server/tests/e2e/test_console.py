"""The console is in the binary: the page, and all that it loads. How it looks and works is in server/tests/browser."""

import re
import shutil

import pytest

TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


def test_a_build_with_node_has_the_page_and_its_files(unguarded):
    page = unguarded.ask("GET", "/", headers={"accept": "text/html"})
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    if "built without the web console" in page.text and shutil.which("npm") is None:
        pytest.skip("there is no Node here, and the binary was built without it")
    loaded = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert {path.rsplit(".")[-1] for path in loaded} >= {"js", "css"}, page.text
    for path in loaded:
        file = unguarded.ask("GET", path)
        assert file.status_code == 200 and len(file.content) > 100, path
        assert file.headers["content-type"].split(";")[0] == TYPES[path.rsplit(".")[-1]], path
        is_named_by_content = path.startswith("/assets/")
        assert ("immutable" in file.headers["cache-control"]) == is_named_by_content, path
