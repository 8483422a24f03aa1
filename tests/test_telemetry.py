"""Libraries that report about their use to their makers do not, wherever this package imports them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import beit

SOURCE = Path(beit.__file__).parent
REPORTING = {"onnxruntime", "openvino", "nncf", "ray"}

USED = """
import sys

asked = []

def note(event, given):
    if event in ("socket.connect", "socket.getaddrinfo"):
        asked.append(given)

sys.addaudithook(note)
from beit.telemetry import keep_telemetry_off
keep_telemetry_off()
import numpy, onnx, onnxruntime, openvino, nncf
from onnx import TensorProto, helper

shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negative", shapes[:1], shapes[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(model, "negative.onnx")
one = numpy.ones(1, numpy.float32)
assert onnxruntime.InferenceSession("negative.onnx").run(None, {"x": one})[0] == -1
assert openvino.compile_model(openvino.convert_model("negative.onnx"), "CPU")(one)[0] == -1

from nncf.telemetry.wrapper import NNCFTelemetry, telemetry
from openvino.tools.ovc import convert_impl, telemetry_utils
from ray._common.usage.usage_lib import usage_stats_enabled

assert not isinstance(telemetry, NNCFTelemetry)
assert {module.tm.__name__ for module in (convert_impl, telemetry_utils)} == {"openvino.tools.ovc.telemetry_stub"}
assert not usage_stats_enabled()
assert asked == [], asked
"""


@pytest.fixture
def home(tmp_path):
    return {name: value for name, value in os.environ.items() if "TELEMETRY" not in name and name != "CI"} | {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / ".cache"),
    }


@pytest.mark.e2e
def test_nothing_is_sent_or_kept(home, tmp_path):
    """No connection is asked for in Python, and no identity of this machine is drawn, which the reports carry."""
    for name in REPORTING:
        pytest.importorskip(name)
    done = subprocess.run([sys.executable, "-c", USED], env=home, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in left if "icrosoft" in path or "intel" in path} == set()


def test_who_wants_to_report_can(home):
    program = "import os; from beit import telemetry; telemetry.keep_telemetry_off(); print(os.environ['{}'])"
    for name, before, after in (("ORT_DISABLE_TELEMETRY", "0", "0"), ("RAY_USAGE_STATS_ENABLED", None, "0")):
        environment = home | ({name: before} if before else {})
        command = [sys.executable, "-c", program.format(name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == after, done.stderr


def importing(tree):
    """Functions, or the module, that import a reporting library, with whether they switch its reports off before."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if REPORTING & {str(name).partition(".")[0] for name in names}:
                yield node


def test_it_is_switched_off_before_every_import():
    found = 0
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "keep_telemetry_off"
        }
        for node in importing(tree):
            found += 1
            assert any(node.lineno - 4 < line < node.lineno for line in calls), f"{path}:{node.lineno}"
    assert found >= 5
