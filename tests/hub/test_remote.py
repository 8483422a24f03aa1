"""Files on object stores and web servers: ranges, tries, versions, and what cannot be read in words."""

import os
import pickle
import time

import pytest

from beit.errors import ConnectionLostError, DataError
from beit.hub import persistence
from beit.hub.remote import RemoteFile, RemoteFiles, is_remote, remote_matches
from tests.web_server import web_server

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(persistence, "_WAITS", (0.01,) * 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site/a.tar").write_bytes(CONTENT)
    with web_server(tmp_path / "site") as running:
        yield running


@pytest.fixture
def file(site):
    return RemoteFile(f"{site.url}/a.tar?signature=secret").located()


def test_what_is_remote():
    assert all(map(is_remote, ["s3://bucket/a.tar", "gs://b/c", "https://host/a.tar"]))
    assert not any(map(is_remote, ["s3", "a/https:", "hub:owner/name", "ftp://host/a", "digits:train", "C:\\a"]))


def test_names_without_the_signature(file):
    assert (file.name, file.stem, file.size) == ("a.tar", "a", len(CONTENT))
    assert str(file).endswith("/a.tar")


def test_ranges_and_nothing_else_are_fetched(site, file):
    files = RemoteFiles()
    site.requests.clear()
    for offset, size in ((5, 10), (90_000, 300), (len(CONTENT) - 4, 4)):
        assert files.read(file, offset, size) == CONTENT[offset : offset + size]
    assert files.read(file, len(CONTENT) - 4, 100) == CONTENT[-4:]
    assert site.fetched() == 10 + 300 + 4 + 4
    assert {method for method, *_ in site.requests} == {"GET"}


def test_a_stream_reads_ahead(site, file):
    site.requests.clear()
    with file.open(1 << 14) as stream:
        assert b"".join(iter(lambda: stream.read(512), b"")) == CONTENT
    assert len(site.requests) <= len(CONTENT) / (1 << 14) + 1


def test_each_process_has_its_own_connections(file):
    files = RemoteFiles()
    assert files.read(file, 0, 4) == CONTENT[:4]
    assert pickle.loads(pickle.dumps(files)).read(file, 1, 4) == CONTENT[1:5]  # noqa: S301  # our own
    child = os.fork()
    if child == 0:
        os._exit(0 if files.read(file, 7, 4) == CONTENT[7:11] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert files.read(file, 9, 4) == CONTENT[9:13]


@pytest.mark.parametrize("trouble", ["busy", "cut"])
def test_what_passes_is_tried_again(site, file, trouble):
    files = RemoteFiles()
    setattr(site, trouble, 2)
    assert files.read(file, 100, 1000) == CONTENT[100:1100]
    assert getattr(site, trouble) == 0


def test_what_does_not_pass_ends_the_run(site, file):
    site.busy = 100
    with pytest.raises(ConnectionLostError, match=r"a\.tar cannot be reached any more \(.*503.* the same command"):
        RemoteFiles().read(file, 0, 10)


def test_its_message_stays_one_line_in_torchs_loader():
    wrapped = (
        "Caught ConnectionLostError in worker 0.\nTraceback:\n  a.py\nbeit.errors.ConnectionLostError: it is gone\n"
    )
    assert str(ConnectionLostError(wrapped)) == "it is gone"


def test_a_changed_file_is_not_mixed_with_the_old(site, file):
    files = RemoteFiles()
    files.read(file, 0, 10)
    (site.folder / "a.tar").write_bytes(CONTENT[::-1])
    with pytest.raises(DataError, match="has changed since it was listed"):
        files.read(file, 0, 10)


def test_what_cannot_be_read_is_said_at_once(site):
    began = time.monotonic()
    with pytest.raises(DataError, match=r"b\.tar cannot be read: there is no such file"):
        RemoteFile(f"{site.url}/b.tar").located()
    site.ranges = False
    with pytest.raises(DataError, match="its server gives no ranges of bytes"):
        RemoteFile(f"{site.url}/a.tar").located()
    with pytest.raises(DataError, match="over https only"):
        RemoteFile("http://example.org/a.tar").located()
    assert time.monotonic() - began < 5


def test_a_redirect_to_plain_http_is_not_followed(site):
    site.redirect = "http://example.org/a.tar"
    with pytest.raises(
        DataError, match=r"http://example\.org/a\.tar is not read: pictures are accepted over https only"
    ):
        RemoteFile(f"{site.url}/a.tar").located()


def test_no_more_than_was_asked_for_is_taken(site, file):
    site.floods = True
    with pytest.raises(DataError, match=r"was asked for 10 bytes and announces 102400"):
        RemoteFiles().read(file, 0, 10)


def test_a_web_server_lists_nothing(site):
    assert remote_matches(f"{site.url}/a.tar?b=*", (".tar",)) == [f"{site.url}/a.tar?b=*"]
    with pytest.raises(DataError, match=r"lists no files; expected numbers or names in braces"):
        remote_matches(f"{site.url}/*.tar", (".tar",))
