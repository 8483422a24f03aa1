"""Cached indices: whole, or made again."""

import json

import numpy as np
import pytest

from beit.data.sources.index_cache import cache_file, load_index, save_arrays


def test_arrays_come_back(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = cache_file("kind", b"one")
    assert file.is_relative_to(tmp_path / "beit" / "kind")
    assert file != cache_file("kind", b"other")
    assert load_index(file, ("a",), dict) is None, "none is there yet"
    save_arrays(file, {"a": np.arange(3), "b": np.array("text")})
    stored = load_index(file, ("a", "b"), dict)
    assert stored is not None
    assert (stored["a"].tolist(), str(stored["b"])) == ([0, 1, 2], "text")
    assert load_index(file, ("a", "c"), dict) is None, "one is missing"
    assert load_index(file, ("a",), lambda _: None) is None, "it is of another state"


def test_no_pickle_is_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([{}], dtype=object))
    assert load_index(tmp_path / "x.npz", ("a",), dict) is None


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", '{"a": 1}', "[" * 100_000])
def test_arrays_that_are_no_index_are_passed_by(tmp_path, content):
    """Those of another version of the package, or of anybody."""
    save_arrays(tmp_path / "x.npz", {"described": np.array(content)})

    def index(stored):
        return json.loads(str(stored["described"]))["a"]["b"].lower()

    assert load_index(tmp_path / "x.npz", ("described",), index) is None
