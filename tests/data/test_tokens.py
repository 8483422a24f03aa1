"""Visual tokens on disk."""

import json
import os
import pickle

import numpy as np
import pytest

from beit.data import (
    MISSING,
    StoredTokens,
    TokenWriter,
    write_labels_and_names,
)
from beit.errors import ConfigError, DataError, StorageError

IDENTITY = {"tokenizer": "a" * 64, "data": "b" * 64, "random_views": None}


SHAPE = (5, 2, 3, 4)


def rows(first, last):
    return (np.arange(first * 12, last * 12) % 1000).reshape(-1, 3, 4)


def written(folder, last=10):
    writer = TokenWriter(folder, IDENTITY, SHAPE)
    for first in range(writer.finished, last, 2):
        writer.append(rows(first, first + 2))
    writer.close()
    return folder


def test_rows_come_back_by_picture_and_view(tmp_path):
    stored = StoredTokens(written(tmp_path / "t"))
    assert stored.shape == SHAPE
    assert np.array_equal(stored(3, 1), rows(7, 8)[0])
    assert stored(0, 0).dtype == np.int64
    assert np.load(tmp_path / "t/tokens.npy", mmap_mode="r").dtype == np.uint16
    again = pickle.loads(pickle.dumps(stored))  # noqa: S301  # as worker processes get it
    assert np.array_equal(again(4, 0), rows(8, 9)[0])
    counts, broken = stored.counts(1000)
    assert (counts.sum(), broken) == (120, 0)


def test_a_writer_continues_where_the_last_one_stopped(tmp_path):
    whole = (written(tmp_path / "whole") / "tokens.npy").read_bytes()
    writer = TokenWriter(tmp_path / "t", IDENTITY, SHAPE)
    writer.append(rows(0, 4))
    writer.close()
    with (tmp_path / "t/tokens.npy").open("ab") as file:
        file.write(b"half a row that nobody vouches for")
    with pytest.raises(DataError, match="holds 4 of 10 rows"):
        StoredTokens(tmp_path / "t")
    assert TokenWriter(tmp_path / "t", IDENTITY, SHAPE).finished == 4
    assert (written(tmp_path / "t") / "tokens.npy").read_bytes() == whole


def test_a_killed_writer_has_promised_no_more_than_it_stored(tmp_path):
    written(tmp_path / "t", last=4)
    identity = json.loads((tmp_path / "t/facts.json").read_text())
    (tmp_path / "t/facts.json").write_text(json.dumps({**identity, "finished_rows": 8}))
    assert TokenWriter(tmp_path / "t", IDENTITY, SHAPE).finished == 4, "the file ends there"


def test_other_tokens_are_refused(tmp_path):
    written(tmp_path / "t")
    with pytest.raises(ConfigError, match="other tokens: tokenizer is aaaaaaaaaaaa, expected cccccccccccc; choose"):
        TokenWriter(tmp_path / "t", {**IDENTITY, "tokenizer": "c" * 64}, SHAPE)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    with pytest.raises(ConfigError, match="is not empty and holds no tokens"):
        TokenWriter(tmp_path / "full", IDENTITY, SHAPE)


def test_a_broken_picture_has_no_tokens(tmp_path):
    writer = TokenWriter(tmp_path, IDENTITY, SHAPE)
    writer.append(np.full((2, 3, 4), MISSING))
    writer.append(rows(2, 10))
    writer.close()
    with pytest.raises(DataError, match="picture 0 has no tokens"):
        StoredTokens(tmp_path)(0, 1)
    assert StoredTokens(tmp_path).counts(1000)[1] == 1


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_what_is_no_token_folder(tmp_path, content):
    if content is not None:
        (tmp_path / "facts.json").write_text(content)
    with pytest.raises(DataError, match=r"facts[.]json"):
        StoredTokens(tmp_path)


def test_damaged_tokens(tmp_path):
    written(tmp_path)
    (tmp_path / "tokens.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"tokens\.npy cannot be read"):
        StoredTokens(tmp_path)


def test_a_full_disk_keeps_what_is_there(tmp_path, monkeypatch):
    writer = TokenWriter(tmp_path, IDENTITY, SHAPE)
    writer.append(rows(0, 4))
    writer.close()
    writer = TokenWriter(tmp_path, IDENTITY, SHAPE)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match=r"No space left on device; free space and give the same command again"):
            writer.append(rows(4, 10))
    writer._file.close()
    assert TokenWriter(tmp_path, IDENTITY, SHAPE).finished == 4


def test_names_and_labels(tmp_path):
    write_labels_and_names(tmp_path, ["one", "two\nlines"], np.array([1, 0]))
    assert (tmp_path / "names.txt").read_text() == "one\ntwo lines\n"
    assert np.load(tmp_path / "labels.npy").tolist() == [1, 0]


@pytest.mark.parametrize("kind", [">u2", np.int64, np.float32, "S3", bool])
def test_rows_of_another_type_are_refused(tmp_path, kind):
    np.save(written(tmp_path) / "tokens.npy", np.ones(SHAPE).astype(kind))
    with pytest.raises(DataError, match=r"tokens\.npy holds .*; expected uint16; encode again"):
        StoredTokens(tmp_path)


def test_a_damaged_token_is_noticed(tmp_path):
    rows = np.load(written(tmp_path) / "tokens.npy", mmap_mode="r+")
    rows[3, 1, 2, 3] = 4000
    rows.flush()
    stored = StoredTokens(tmp_path, 1000)
    assert stored(3, 0).max() < 1000
    with pytest.raises(DataError, match=r"picture 3 has the token 4000 .* expected tokens below 1000"):
        stored(3, 1)
    with pytest.raises(DataError, match="holds the token 4000; expected tokens below 1000"):
        stored.counts(1000)


@pytest.mark.parametrize("content", [b"", b"abc", b"\x93NUMPY\x01\0\x08\0{'descr'", b"\x93NUMPY\x01\0\x02\0[{"])
def test_a_damaged_header_of_the_rows_is_named(tmp_path, content):
    (written(tmp_path) / "tokens.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"tokens\.npy cannot be read .* made it again"):
        StoredTokens(tmp_path)


def test_a_file_that_is_cut_off_while_it_is_read_is_named(tmp_path):
    """A memory map of it would end the process by a signal."""
    stored = StoredTokens(written(tmp_path / "t"))
    os.truncate(tmp_path / "t/tokens.npy", 200)
    with pytest.raises(DataError, match=r"picture 4 has no tokens in .*: tokens\.npy has become shorter since"):
        stored(4, 1)
    with pytest.raises(DataError, match="has become shorter"):
        stored.counts(1000)


def test_a_folder_that_is_moved_while_it_is_written_is_named(tmp_path):
    writer = TokenWriter(tmp_path / "t", IDENTITY, SHAPE)
    writer.append(rows(0, 4))
    (tmp_path / "t").rename(tmp_path / "moved")
    with pytest.raises(StorageError, match=r"the token folder .*t has gone while it was written; give it back"):
        writer.close()
    assert os.listdir(tmp_path) == ["moved"]
