"""Cached indices: whole, or made again."""

import numpy as np

from beit.data.sources.index_cache import cache_file, load_arrays, save_arrays


def test_arrays_come_back(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = cache_file("kind", b"one")
    assert file.is_relative_to(tmp_path / "beit" / "kind")
    assert file != cache_file("kind", b"other")
    assert load_arrays(file, ("a",)) is None, "none is there yet"
    save_arrays(file, {"a": np.arange(3), "b": np.array("text")})
    stored = load_arrays(file, ("a", "b"))
    assert stored is not None
    assert (stored["a"].tolist(), str(stored["b"])) == ([0, 1, 2], "text")
    assert load_arrays(file, ("a", "c")) is None, "one is missing"


def test_no_pickle_is_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([{}], dtype=object))
    assert load_arrays(tmp_path / "x.npz", ("a",)) is None
