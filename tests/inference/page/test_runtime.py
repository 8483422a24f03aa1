"""The onnxruntime that the package brings is the one of npm that `runtime.json` records."""

import gzip
import hashlib
import json

import pytest

from beit.inference.page import RUNTIME

RECORD = json.loads((RUNTIME / "runtime.json").read_text())


def test_every_file_is_recorded():
    assert {path.name for path in RUNTIME.iterdir()} == {*RECORD["files"], "runtime.json"}
    assert RECORD["integrity"].startswith("sha512-")


@pytest.mark.parametrize("name", RECORD["files"])
def test_every_file_has_the_recorded_content(name):
    content = (RUNTIME / name).read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    assert len(content) == RECORD["files"][name]["bytes"]
    assert hashlib.sha256(content).hexdigest() == RECORD["files"][name]["sha256"]


def test_the_program_names_its_version_and_licence():
    head = (RUNTIME / "ort.js").read_text()[:300]
    assert f"ONNX Runtime Web v{RECORD['version']}" in head
    assert "MIT License" in (RUNTIME / "LICENSE").read_text()
