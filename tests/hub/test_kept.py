"""Copies of remote files: fetched once by ranges, continued, and made anew for another version."""

import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from beit.errors import ConnectionLostError, StorageError
from beit.hub import kept, persistence
from beit.hub.kept import kept_copy
from beit.hub.remote import RemoteFile
from tests.full_disk import full_disk
from tests.web_server import web_server

CONTENT = bytes(range(256)) * 400
PIECE = 30_000


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(persistence, "_WAITS", (0.01,) * 2)
    monkeypatch.setattr(kept, "_PIECE", PIECE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site/a.parquet").write_bytes(CONTENT)
    with web_server(tmp_path / "site") as running:
        yield running


@pytest.fixture
def file(site):
    file = RemoteFile(f"{site.url}/a.parquet").located()
    site.requests.clear()
    return file


def test_it_is_fetched_once(site, file):
    path = kept_copy(file)
    assert path.read_bytes() == CONTENT
    assert path.name == "a.parquet"
    assert site.fetched() == len(CONTENT)
    assert kept_copy(file) == path
    assert site.fetched() == len(CONTENT)


KILLED = """
import os, signal, sys
from beit.hub import kept
from beit.hub.remote import RemoteFile

kept._PIECE = PIECE
append, pieces = kept.AppendedFile.append, []

def until_killed(self, piece):
    append(self, piece)
    pieces.append(piece)
    if len(pieces) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

kept.AppendedFile.append = until_killed
kept.kept_copy(FILE)
"""


def broken_off(site, file):
    """A process of its own fetches two pieces and is killed."""
    code = KILLED.replace("PIECE\n", f"{PIECE}\n").replace("FILE", repr(file))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    site.requests.clear()


@pytest.mark.e2e
def test_what_broke_off_is_continued(site, file):
    broken_off(site, file)
    assert kept_copy(file).read_bytes() == CONTENT
    assert site.fetched() == len(CONTENT) - 2 * PIECE


@pytest.mark.e2e
def test_nothing_is_continued_that_may_have_changed(site, file):
    unversioned = replace(file, version="")
    broken_off(site, unversioned)
    assert kept_copy(unversioned).read_bytes() == CONTENT
    assert site.fetched() == len(CONTENT)


def test_another_version_is_another_copy(site, file):
    first = kept_copy(file)
    (site.folder / "a.parquet").write_bytes(CONTENT[::-1])
    second = kept_copy(RemoteFile(file.url).located())
    assert second.read_bytes() == CONTENT[::-1]
    assert first.read_bytes() == CONTENT


def test_a_lost_connection_keeps_what_arrived(site, file):
    site.cut = 10
    with pytest.raises(ConnectionLostError):
        kept_copy(file)
    site.cut = 0
    assert kept_copy(file).read_bytes() == CONTENT


def test_a_full_disk_is_said(file):
    with full_disk(4096), pytest.raises(StorageError, match="XDG_CACHE_HOME"):
        kept_copy(file)
