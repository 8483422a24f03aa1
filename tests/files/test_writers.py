"""Every writer of the package meets a full disk: one clear error, the earlier file as it was, nothing half-written.

`tests/files/writers` lists them. A file of the package that writes and is not in it, or that writes past `beit.files`,
fails here.
"""

import ast
import io
import os
import shutil
import stat
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

import beit
from beit.data.sources.index_cache import load_index, save_arrays
from beit.errors import StorageError
from tests.files.writers import WRITERS
from tests.full_disk import full_disk

SOURCE = Path(beit.__file__).parent
ROOM = 8  # bytes of a file that a full disk still takes


@contextmanager
def quiet():
    """What is printed meanwhile goes nowhere; it would go to a file of pytest's, on the full disk too."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def content(place):
    """Every file below a folder, with what is in it."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.e2e
def test_a_full_disk(tmp_path, name):
    (tmp_path / "needed").mkdir()
    (tmp_path / "place").mkdir()
    write = WRITERS[name][0](tmp_path / "needed")
    with quiet():
        write(tmp_path / "place")
    before = content(tmp_path / "place")
    assert before
    if name in ("tokens", "appended", "metrics", "exported"):  # nothing earlier is replaced
        shutil.rmtree(tmp_path / "place")
        (tmp_path / "place").mkdir()
        before = {}
    with quiet(), full_disk(ROOM), pytest.raises(StorageError) as error:
        write(tmp_path / "place")
    at = f"cannot write {tmp_path}/"
    assert str(error.value).startswith((f"{at}place", f"{at}.place.lock"))  # the lock of an output lies beside it
    assert "; free space" in str(error.value)
    assert {name: held for name, held in content(tmp_path / "place").items() if held} == before


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.e2e
def test_the_mode_is_that_of_the_umask(tmp_path, name):
    (tmp_path / "needed").mkdir()
    write = WRITERS[name][0](tmp_path / "needed")
    umask = 0o027  # neither that of most machines nor what temporary files have
    before = os.umask(umask)
    try:
        with quiet():
            write(tmp_path / "place")
    finally:
        os.umask(before)
    written = [tmp_path / "place", *(tmp_path / "place").rglob("*")]
    assert len(written) > 1
    for path in written:
        expected = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_an_index_that_cannot_be_kept_is_made_again(tmp_path):
    save_arrays(tmp_path / "a.npz", {"a": np.zeros(100)})
    with full_disk(ROOM):
        save_arrays(tmp_path / "a.npz", {"a": np.ones(100)})
    assert load_index(tmp_path / "a.npz", ["a"], dict)["a"].sum() == 0
    assert os.listdir(tmp_path) == ["a.npz"]


# No writer is missed

ELSEWHERE = {
    "hub/kept.py": "tests/hub/test_kept.py has a server and a full disk",
    "hub/download.py": "TestUrls in tests/hub/test_download.py has a server and a full disk",
    "data/sources/index_cache.py": "tested above: it goes on without a cache",
    "inference/export/web.py": "a page has its name when it is whole: tests/inference/export/test_web.py",
    "hub/card.py": "what is pushed lies in a temporary folder: tests/hub/test_card.py",
    "models_torch/kernels/fastest.py": "tests/models_torch/kernels/test_fastest.py: it goes on without what was timed",
}
PAST_FILES = {
    "engine/jax_backend.py": "Orbax writes into the folder of a checkpoint, which gets its name when it is whole",
    "inference/export/onnx_file.py": "onnxruntime writes into the folder of an export, which gets its name when whole",
    "inference/export/openvino_file.py": "OpenVINO does",
    "models_torch/scene.py": "the scores of a large picture lie in a temporary file without a name",
    "engine/metrics.py": "TensorBoard writes its events in a thread of its own",
}
WAYS = {"atomic_file", "atomic_folder", "atomic_stream", "AppendedFile", "move_into_place", "write_bytes", "write_json",
        "write_text", "write_safetensors", "write_msgpack"}  # fmt: skip
METHODS = {"write_text", "write_bytes", "touch", "truncate", "tofile", "symlink_to", "hardlink_to", "rename"}
FUNCTIONS = {
    *("np.save", "np.savez", "np.savez_compressed", "np.memmap", "torch.save", "torch.export.save"),
    *("torch.onnx.export", "json.dump", "pickle.dump", "os.replace", "os.rename", "os.link", "os.symlink"),
    *("os.truncate", "shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copyfileobj", "shutil.copytree"),
    *("shutil.move", "openvino.save_model", "parquet.ParquetWriter", "checkpointer.save", "save_file"),
    *("SummaryWriter", "quantize_dynamic", "tempfile.TemporaryFile", "tempfile.NamedTemporaryFile", "tempfile.mkstemp"),
}


def writes(call):
    """Whether a call writes a file, as far as it shows."""
    name, method = ast.unparse(call.func), call.func.attr if isinstance(call.func, ast.Attribute) else None
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    words = [value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    if name == "open" or method == "open":
        return any(set(word) <= set("rwaxbt+") and set(word) & set("wax+") for word in words)
    picture = method == "save" and ("PNG" in words or any(keyword.arg == "format" for keyword in call.keywords))
    return picture or name in FUNCTIONS or (method in METHODS and name not in WAYS)


def stray_writers(text):
    """The calls of a source text that write a file neither whole by `beit.files` nor in memory."""
    tree = ast.parse(text)
    found = {node for node in ast.walk(tree) if isinstance(node, ast.Call) and writes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and any(name in ast.unparse(item) for item in node.items for name in WAYS):
            found -= set(ast.walk(node))
        if isinstance(node, ast.FunctionDef):
            memory = {ast.unparse(part.targets[0]) for part in ast.walk(node)
                      if isinstance(part, ast.Assign) and ast.unparse(part.value) == "io.BytesIO()"}  # fmt: skip
            found -= {call for call in ast.walk(node) if isinstance(call, ast.Call)
                      and any(ast.unparse(argument) in memory for argument in call.args)}  # fmt: skip
    return sorted(f"line {call.lineno}: {ast.unparse(call)}" for call in found)


def sources():
    """Every source file of the package, by its path."""
    return {path.relative_to(SOURCE).as_posix(): path.read_text() for path in SOURCE.rglob("*.py")}


@pytest.mark.e2e
def test_everything_is_written_by_way_of_files():
    stray = {path: found for path, text in sources().items() if (found := stray_writers(text))}
    assert {
        path: found for path, found in stray.items() if path not in PAST_FILES and not path.startswith("files/")
    } == {}
    assert PAST_FILES.keys() <= stray.keys(), "an exception that is none any more"


@pytest.mark.parametrize(
    "line",
    [
        'path.open("w")', 'open(path, mode="ab")', 'path.write_text("a")', "np.save(path, a)", "torch.save(a, path)",
        'row.save(path, format="PNG")', "os.replace(a, b)", "save_file(a, path)", "json.dump(a, file)",
    ],
)  # fmt: skip
def test_a_stray_writer_is_found(line):
    assert stray_writers(f"def f():\n    {line}") == [f"line 2: {ast.unparse(ast.parse(line))}"]
    assert stray_writers(f"with atomic_file(a) as path:\n    {line}") == []


def test_no_writer_is_missing_in_the_table():
    def imports_a_way(text):
        imported = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom))
        return any(name.name in WAYS for node in imported for name in node.names)

    writing = {path for path, text in sources().items() if imports_a_way(text) and not path.endswith("__init__.py")}
    listed = {path for _, files in WRITERS.values() for path in files}
    assert writing - listed - ELSEWHERE.keys() == set()
    assert listed | ELSEWHERE.keys() <= sources().keys()
