"""Files of a plain web server; the stand-in of the hub plays that server."""

import socket
from urllib.error import URLError

import pytest
from huggingface_hub import constants

from beit.errors import CheckpointError, StorageError
from beit.hub import download
from beit.hub.download import fetch_url
from beit.hub.repository import HubOptions
from tests.fake_hub import FakeHub

CONTENT = bytes(range(256)) * 20_000
NAME = "beit_base.pth"


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / NAME).write_bytes(CONTENT)
    with FakeHub() as running:
        running.add("releases", tmp_path / "served")
        yield running


@pytest.fixture
def url(server):
    return server.address("releases", NAME)


@pytest.fixture
def options(tmp_path):
    return HubOptions(cache_dir=tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "beit"


def replace(server, tmp_path, content):
    (tmp_path / "served" / NAME).write_bytes(content)
    server.add("releases", tmp_path / "served")


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if "incomplete" in path.name)


class TestDownload:
    def test_is_kept_and_not_fetched_twice(self, server, url, options, folder):
        for _ in range(2):
            assert fetch_url(url, options) == folder / NAME
        assert (folder / NAME).read_bytes() == CONTENT
        assert server.gets() == [None]
        assert leftovers(folder) == []

    def test_can_be_forced(self, server, url, options, folder, tmp_path):
        fetch_url(url, options)
        replace(server, tmp_path, b"new")
        fetch_url(url, options)
        assert (folder / NAME).read_bytes() == CONTENT
        fetch_url(url, HubOptions(cache_dir=options.cache_dir, force_download=True))
        assert (folder / NAME).read_bytes() == b"new"

    def test_goes_to_the_home_of_the_hub_by_default(self, url, tmp_path, monkeypatch):
        monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
        assert fetch_url(url, HubOptions()) == tmp_path / "home" / "beit" / NAME

    def test_never_sends_the_token(self, server, url, tmp_path):
        server.add("releases", tmp_path / "served", token="hf_right")  # noqa: S106
        with pytest.raises(CheckpointError, match="401"):
            fetch_url(url, HubOptions(cache_dir=tmp_path, token="hf_right"))  # noqa: S106

    def test_follows_redirects(self, server, url, options, folder):
        server.redirects["/short/name.pth"] = url
        assert fetch_url(f"{server.url}/short/name.pth?download=1", options) == folder / "name.pth"
        assert (folder / "name.pth").read_bytes() == CONTENT

    def test_takes_empty_files(self, server, url, options, folder, tmp_path):
        replace(server, tmp_path, b"")
        assert fetch_url(url, options).read_bytes() == b""

    @pytest.mark.e2e
    def test_several_processes_fetch_it_once(self, server, url, options, folder, tmp_path):
        code = (
            "from beit.hub.download import fetch_url; from beit.hub.repository import HubOptions\n"
            f"print(fetch_url({url!r}, HubOptions(cache_dir={str(options.cache_dir)!r})))"
        )
        processes = [server.python(code, tmp_path / "home") for _ in range(4)]
        for process in processes:
            output, errors = process.communicate(timeout=60)
            assert output.strip() == str(folder / NAME), errors
        assert (folder / NAME).read_bytes() == CONTENT
        assert server.gets() == [None]


class TestCutConnections:
    @pytest.mark.parametrize("reset", [False, True])
    def test_are_continued_by_the_next_call(self, server, url, options, folder, reset):
        server.cut("releases", NAME, 3_000_000, reset=reset)
        server.cut("releases", NAME, 1_000_000)
        for _ in range(2):
            with pytest.raises(CheckpointError, match="run again: the download continues"):
                fetch_url(url, options)
            assert not (folder / NAME).exists()
        fetch_url(url, options)
        assert (folder / NAME).read_bytes() == CONTENT
        first, second, third = server.gets()
        assert first is None
        # a reset drops what the system holds and nobody has read yet, which on a busy machine may be all of it
        assert second is not None or reset
        positions = [int((span or "bytes=0-").removeprefix("bytes=").removesuffix("-")) for span in (second, third)]
        assert positions[0] == 3_000_000 or (reset and positions[0] < 3_000_000)
        assert positions[1] == positions[0] + 1_000_000
        assert leftovers(folder) == []

    def test_start_again_when_the_file_has_changed(self, server, url, options, folder, tmp_path):
        server.cut("releases", NAME, 3_000_000)
        with pytest.raises(CheckpointError):
            fetch_url(url, options)
        changed = CONTENT[::-1]
        replace(server, tmp_path, changed)
        assert fetch_url(url, options).read_bytes() == changed
        assert server.gets() == [None, "bytes=3000000-"]

    def test_start_again_when_too_much_is_there(self, server, url, options, folder):
        server.cut("releases", NAME, 3_000_000)
        with pytest.raises(CheckpointError):
            fetch_url(url, options)
        with (folder / f"{NAME}.incomplete").open("ab") as file:
            file.write(bytes(len(CONTENT)))
        assert fetch_url(url, options).read_bytes() == CONTENT
        assert server.gets()[-1] is None

    def test_start_again_when_nobody_knows_of_which_version_the_beginning_is(self, server, url, options, folder):
        folder.mkdir(parents=True)
        (folder / f"{NAME}.incomplete").write_bytes(b"from somewhere else")
        assert fetch_url(url, options).read_bytes() == CONTENT
        assert server.gets() == [None]


class TestErrors:
    def test_offline(self, server, url, options, folder, monkeypatch):
        with pytest.raises(CheckpointError, match=f"network is off.*put the file at {folder / NAME}"):
            fetch_url(url, HubOptions(cache_dir=options.cache_dir, local_files_only=True))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match="network is off"):
            fetch_url(url, options)
        assert server.requests == []
        folder.mkdir(parents=True)
        (folder / NAME).write_bytes(CONTENT)
        assert fetch_url(url, options) == folder / NAME

    @pytest.mark.parametrize(
        "address",
        [
            "http://example.com/a.pth",
            "ftp://example.com/a.pth",
            "file:///etc/passwd",
            "a.pth",
            "http://127.0.0.1.evil.com/a",
        ],
    )
    def test_only_https_is_accepted(self, address, options):
        with pytest.raises(CheckpointError, match="over https only"):
            fetch_url(address, options)

    @pytest.mark.parametrize("address", ["http://example.com/a.pth", "file:///etc/passwd", "ftp://127.0.0.1/a.pth"])
    def test_nor_may_a_redirect_leave_it(self, address, server, options, folder):
        server.redirects["/a.pth"] = address
        with pytest.raises(CheckpointError, match=r"over https only|302 .* is not allowed"):
            fetch_url(f"{server.url}/a.pth", options)
        assert not (folder / "a.pth").exists()

    @pytest.mark.parametrize(
        "address", ["https://example.com", "https://example.com/a/..", "https://example.com/%2e%2e"]
    )
    def test_the_address_must_name_a_file(self, address, options):
        with pytest.raises(CheckpointError, match="does not end in the name of a file"):
            fetch_url(address, options)

    def test_a_name_never_leaves_the_folder(self, server, options, folder, tmp_path):
        server.redirects["/a/..%2F..%2Fb.pth"] = server.address("releases", NAME)
        assert fetch_url(f"{server.url}/a/..%2F..%2Fb.pth", options) == folder / "b.pth"

    def test_what_is_not_there(self, server, options, folder):
        with pytest.raises(CheckpointError, match=r"HTTP 404 Not Found.*check the address") as caught:
            fetch_url(server.address("releases", "other.pth"), options)
        assert type(caught.value.__cause__).__name__ == "HTTPError"

    def test_the_host_is_not_known(self, options, monkeypatch):
        def unknown(*_, **__):
            raise URLError(socket.gaierror(-2, "Name or service not known"))

        monkeypatch.setattr(download, "_request", unknown)
        with pytest.raises(
            CheckpointError, match=r"^the host of https://x/a\.pth cannot be resolved; check the network"
        ):
            fetch_url("https://x/a.pth", options)

    def test_nobody_answers(self, options):
        with pytest.raises(CheckpointError, match=r"refused.*check the network"):
            fetch_url("http://127.0.0.1:9/a.pth", options)

    def test_a_full_disk(self, server, url, options, folder, tmp_path):
        code = (
            "import resource\n"
            "from beit.errors import StorageError\n"
            "from beit.hub.download import fetch_url\n"
            "from beit.hub.repository import HubOptions\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"  # what a full disk does to a large file
            "try:\n"
            f"    fetch_url({url!r}, HubOptions(cache_dir={str(options.cache_dir)!r}))\n"
            "except StorageError as error:\n"
            "    print(error)\n"
        )
        output, errors = server.python(code, tmp_path / "home").communicate(timeout=60)
        assert output.startswith(f"cannot write {folder / NAME}.incomplete: File too large; free space"), errors
        assert not (folder / NAME).exists()

    def test_a_cache_that_is_a_file(self, url, tmp_path):
        (tmp_path / "cache").write_text("")
        with pytest.raises(StorageError, match="choose another folder"):
            fetch_url(url, HubOptions(cache_dir=tmp_path / "cache"))
