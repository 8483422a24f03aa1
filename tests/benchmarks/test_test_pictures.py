"""Programs read the pictures to test on last, and once."""

import ast
import re

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks.places import BENCHMARKS

READS_TEST = ("path_for", "accuracy_on_test")


def called(node):
    """Return the name of the function that is called."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def early_readings(text):
    """Return where a program may read the test pictures before its last step.

    They are asked for in functions `measure_on_test`; what calls one does not fit, train or choose afterwards.
    """
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    last_steps = [node for function in functions if function.name == "measure_on_test" for node in ast.walk(function)]
    found = [
        f"line {node.lineno}: {node.id} outside measure_on_test"
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in READS_TEST and node not in last_steps
    ]
    for function in functions:
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        read = min((node.lineno for node in calls if called(node) == "measure_on_test"), default=None)
        found += [
            f"line {node.lineno}: {called(node)} after the test pictures were read"
            for node in calls
            if read is not None and node.lineno > read and re.match("fit|train|choose", called(node))
        ]
    return found


def test_programs_read_the_test_pictures_last():
    sources = {path.name: path.read_text() for path in BENCHMARKS.glob("*.py") if path.name != "test_pictures.py"}
    assert {name for name, text in sources.items() if re.search(r"(?<!train)(?<!pyarrow)\.parquet", text)} == set()
    assert {name: found for name, text in sources.items() if (found := early_readings(text))} == {}
    users = {name for name, text in sources.items() if "from test_pictures import" in text}
    assert users == {"headline.py", "headline_gpu.py", "inference.py", "short_classifiers.py", "tokenizers_cifar10.py"}


def test_an_early_reading_is_found():
    assert early_readings("def choose():\n    return path_for(run)") == ["line 2: path_for outside measure_on_test"]
    late = "def measure_on_test():\n    path_for(run)\ndef main():\n    train()\n    measure_on_test()\n"
    assert early_readings(late) == []
    assert early_readings(late + "    train(more)\n") == ["line 6: train after the test pictures were read"]


class BlackPictures:
    """Ten pictures of different classes."""

    labels = np.arange(10)

    def __len__(self):
        return 10

    def load(self, index):
        return Image.new("RGB", (32, 32))


def test_only_what_is_finished_gets_the_test_pictures_and_once(program, tmp_path, monkeypatch):
    pictures = program("test_pictures")
    (tmp_path / "test.parquet").touch()
    monkeypatch.setattr(pictures, "open_source", lambda path: BlackPictures())
    monkeypatch.setattr(pictures.path_for, "__defaults__", (tmp_path,))
    with pytest.raises(SystemExit, match="is not finished"):
        pictures.accuracy_on_test(tmp_path, lambda pixels, labels: 0.5)
    (tmp_path / "chosen.json").write_text("{}")
    seen = []
    for _ in range(2):
        assert pictures.accuracy_on_test(tmp_path, lambda *test: seen.append(test) or 0.5) == 0.5
    assert pictures.accesses(tmp_path) == len(seen) == 1
    assert seen[0][0].shape == (10, 32, 32, 3)
