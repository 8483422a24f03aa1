"""Only regular files are opened, and nothing else makes a reader wait."""

import os
import socket

import pytest

from beit.data import open_source
from beit.errors import BeitError
from beit.files import open_regular, read_json
from beit.image import read_image
from beit.inference.jobs.frames import film_frames
from beit.weights import open_checkpoint


def test_files_and_links_to_files_are_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    for name in "ab":
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


def test_nothing_else_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for place, kind in ((tmp_path / "pipe", "named pipe"), ("/dev/zero", "device"), (tmp_path, "folder")):
            with pytest.raises(OSError, match=f"it is a {kind}; expected a regular file"):
                open_regular(place)
        with pytest.raises(OSError, match="No such device"):
            open_regular(tmp_path / "socket")


READERS = {
    "a.png": read_image,
    "a.jpg": lambda path: open_source(str(path.parent)).load(0),
    "a.tar": lambda path: open_source(str(path)),
    "a.parquet": lambda path: open_source(str(path)),
    "a": lambda path: open_source(str(path)),
    "a.json": lambda path: read_json(path, "an object"),
    "a.safetensors": open_checkpoint,
    "a.bin": open_checkpoint,
    "a.mp4": lambda path: list(film_frames(path)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_named_pipe_is_an_error_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(BeitError, match="expected"):
        READERS[name](tmp_path / name)
