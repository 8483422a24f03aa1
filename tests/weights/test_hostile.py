"""Hostile and damaged files: all of them end in one clear error, quickly and without side effects."""

import io
import json
import os
import pickle
import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from beit.errors import CheckpointError
from beit.weights.msgpack_file import open_msgpack, write_msgpack
from beit.weights.pickles import open_pickled
from beit.weights.storage.lazy_tensor import LazyTensor, open_safetensors
from tests.weights import hostile

OPENERS = {".safetensors": open_safetensors, ".msgpack": open_msgpack}

# Opens every hostile file in turn, after all imports, and prints the peak of its memory.
# VmHWM and not ru_maxrss, which begins at what the process that started this one held.
OPEN_ALL = """
import json, re, sys
from pathlib import Path
from beit.errors import CheckpointError
from beit.weights.msgpack_file import open_msgpack
from beit.weights.pickles import open_pickled
from beit.weights.storage.lazy_tensor import open_safetensors
openers = {".safetensors": open_safetensors, ".msgpack": open_msgpack}
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before, refused = peak(), 0
for path in map(Path, sys.argv[1:]):
    try:
        openers.get(path.suffix, open_pickled)(path)
    except CheckpointError:
        refused += 1
print(json.dumps({"refused": refused, "grown_mib": (peak() - before) / 1024}))
"""


def open_any(path):
    return OPENERS.get(path.suffix, open_pickled)(path)


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """The file that appears when something is executed."""
    path = tmp_path / "marker"
    monkeypatch.setenv("BEIT_EVIL_MARKER", str(path))
    return path


@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_a_hostile_file_is_refused(tmp_path, marker, name):
    path = tmp_path / hostile.HOSTILE[name](tmp_path)
    start = time.process_time()  # not that of the clock, which other processes share
    with pytest.raises(CheckpointError, match=hostile.REASONS[name]) as caught:
        open_any(path)
    assert time.process_time() - start < 5, "a bomb would take minutes"
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not marker.exists()


@pytest.mark.parametrize("name", ["evil_pickle", "reduce_runs_a_command", "inst", "name_put_together_from_memo"])
def test_the_attacks_work_elsewhere(tmp_path, marker, name):
    with open(hostile.HOSTILE[name](tmp_path), "rb") as file:
        pickle.load(file)  # noqa: S301  # this is what must not happen in the reader
    assert marker.exists()


@pytest.mark.e2e
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs the memory figures of Linux")
def test_hostile_files_do_not_fill_the_memory(tmp_path, marker):
    paths = []
    for name, build in hostile.HOSTILE.items():
        (tmp_path / name).mkdir()
        paths.append(str(build(tmp_path / name)))
    done = subprocess.run(
        [sys.executable, "-c", OPEN_ALL, *paths], capture_output=True, text=True, check=True, timeout=120
    )
    result = json.loads(done.stdout)
    assert result["refused"] == len(hostile.HOSTILE)
    assert result["grown_mib"] < 256
    assert not marker.exists()


# --- Damage by chance

CONTENT = {"a": torch.arange(6.0).reshape(2, 3), "b": {"c": torch.tensor([True, False])}}


@cache
def valid_file(kind):
    """The bytes of a small valid file."""
    if kind == "safetensors":
        return save({"a": CONTENT["a"], "b.c": CONTENT["b"]["c"]}, metadata={"format": "pt"})
    if kind == "pickle":
        return pickle.dumps({"a": [1, 2.5, "x", None, {3}], "b": (True, b"y", {"z": -1})})
    stream = io.BytesIO()
    torch.save(CONTENT, stream, _use_new_zipfile_serialization=kind == "zip")
    return stream.getvalue()


@cache
def valid_msgpack(folder):
    path = folder / "valid.msgpack"
    write_msgpack(path, {"a": CONTENT["a"].numpy(), "b": {"c": CONTENT["b"]["c"].numpy()}})
    return path.read_bytes()


def leaves(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # by pickletools, about damaged text
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "safetensors", "msgpack"])
def test_damage_gives_a_clear_error_or_a_result(tmp_path_factory, kind):
    folder = tmp_path_factory.mktemp(kind)
    valid = valid_msgpack(folder) if kind == "msgpack" else valid_file(kind)
    path = folder / f"damaged.{kind}"
    spots = st.tuples(st.integers(0, len(valid) - 1), st.integers(0, 255))

    @settings(max_examples=100, deadline=None)
    @given(changes=st.lists(spots, max_size=4), length=st.integers(0, len(valid)) | st.just(len(valid)))
    @example(changes=[], length=len(valid))
    def damage(changes, length):
        content = bytearray(valid)
        for spot, byte in changes:
            content[spot] = byte
        path.write_bytes(content[:length])
        try:
            arrays = [leaf.read() for leaf in leaves(open_any(path)) if isinstance(leaf, LazyTensor)]
        except CheckpointError:
            assert changes or length < len(valid)
        else:
            assert all(isinstance(array, np.ndarray) for array in arrays)

    damage()


@pytest.mark.parametrize("opener", [open_pickled, open_safetensors, open_msgpack])
def test_files_that_are_not_there(tmp_path, opener):
    with pytest.raises(CheckpointError, match=r"nothing.* cannot be read \(No such file or directory\); expected .*;"):
        opener(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"cannot be read \(it is a folder"):
        opener(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(CheckpointError, match=r"empty is damaged or unsafe"):
        opener(tmp_path / "empty")
    assert os.listdir(tmp_path) == ["empty"]
