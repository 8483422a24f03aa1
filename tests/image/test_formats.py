"""No picture starts a program, whichever way it comes in, and Pillow opens pictures in one place."""

import ast
import io
import os
import sys
import tarfile
from pathlib import Path

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import beit
from beit import BeitImageProcessor
from beit.data import open_source
from beit.data.sources.label_maps import LabelIds
from beit.errors import BeitError, DataError
from beit.image import open_image, read_image
from beit.inference.jobs.frames import film_frames
from beit.inference.jobs.inputs import open_inputs
from beit.inference.pictures import to_rgb
from beit.service.uploads import decode

SOURCE = Path(beit.__file__).parent
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"}
_started = []
_watching = []  # an audit hook cannot be taken away: it writes where somebody listens


def _listen(event, arguments):
    if _watching and event in STARTS:
        _started.append((event, arguments))


sys.addaudithook(_listen)


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A `gs` on the PATH that leaves a file, and what Pillow remembers of another one forgotten."""
    from PIL import EpsImagePlugin

    program, trace = tmp_path / "bin" / "gs", tmp_path / "started"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {trace}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    _started.clear()
    _watching.append(True)
    yield trace
    _watching.clear()


def folder(place):
    (place / "pictures").mkdir()
    (place / "pictures" / "innocent.png").write_bytes(POSTSCRIPT)
    return place / "pictures"


def tar(place):
    with tarfile.open(place / "a.tar", "w") as shard:
        entry = tarfile.TarInfo("innocent.png")
        entry.size = len(POSTSCRIPT)
        shard.addfile(entry, io.BytesIO(POSTSCRIPT))
    return str(place / "a.tar")


def parquet(place):
    pq.write_table(pa.table({"image": [POSTSCRIPT]}), place / "a.parquet")
    return str(place / "a.parquet")


def file(place):
    return folder(place) / "innocent.png"


ENTRIES = {
    "path": lambda place: read_image(file(place)),
    "bytes": lambda place: read_image(POSTSCRIPT),
    "lazy": lambda place: open_image(POSTSCRIPT, "a"),
    "folder": lambda place: open_source(str(folder(place))).load(0),
    "tar": lambda place: open_source(tar(place)).load(0),
    "parquet": lambda place: open_source(parquet(place)).load(0),
    "predicted file": lambda place: open_inputs([str(file(place))])[0].load(0),
    "predicted shard": lambda place: open_inputs([tar(place)])[0].load(0),
    "predicted bytes": lambda place: to_rgb(POSTSCRIPT),
    "processed": lambda place: BeitImageProcessor()(file(place)),
    "processed map": lambda place: BeitImageProcessor()(Image.new("RGB", (8, 8)), segmentation_maps=[file(place)]),
    "label map": lambda place: LabelIds(2).read(file(place)),
    "upload": lambda place: decode(POSTSCRIPT, 1000),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_postscript_starts_nothing(tmp_path, ghostscript, entry):
    with pytest.raises(BeitError, match="not a picture that can be read"):
        ENTRIES[entry](tmp_path)
    assert _started == []
    assert not ghostscript.exists()


def test_the_attack_works_elsewhere(ghostscript):
    with pytest.raises(OSError, match=r".*"):
        Image.open(io.BytesIO(POSTSCRIPT)).load()
    assert _started
    assert ghostscript.exists()


def test_pillow_opens_pictures_in_one_place():
    opening = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open")
    }
    assert opening == {"image/formats.py"}


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n"])
def test_a_film_that_names_other_files_is_none(tmp_path, text):
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(BeitError, match=r"no film that can be read: .*Invalid "):
        list(film_frames(tmp_path / "a.mp4"))


@pytest.fixture
def film(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        out.mux([*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode()])
    return tmp_path / "a.avi"


@pytest.mark.parametrize(
    ("matrix", "size", "first"),
    [((0, 1, -1, 0), (32, 48), "top"), ((-1, 0, 0, -1), (48, 32), "right"), ((0, -1, 1, 0), (32, 48), "bottom")],
)
def test_frames_are_upright_however_a_phone_was_held(tmp_path, matrix, size, first):
    """The matrix is that of the film's track: x' = a x + c y, y' = b x + d y, to the right and down."""
    place = tmp_path / "a.mp4"
    with av.open(str(place), "w") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stored = Image.new("RGB", (48, 32), "blue")
        stored.paste("red", (0, 0, 24, 32))
        out.mux([*stream.encode(av.VideoFrame.from_image(stored)), *stream.encode()])
    content = place.read_bytes()
    at = content.index(b"tkhd") + 44  # behind times, numbers and the duration of a track of version 0
    numbers = (matrix[0], matrix[1], 0, matrix[2], matrix[3], 0, 0, 0)
    written = b"".join((number << 16).to_bytes(4, "big", signed=True) for number in numbers)
    place.write_bytes(content[:at] + written + content[at + len(written) :])
    ((_, frame),) = film_frames(place)
    assert frame.size == size
    middle = {"top": (16, 8), "bottom": (16, 40), "right": (40, 16)}[first]
    red, _, blue = frame.getpixel(middle)
    assert red > 200 > 50 > blue, "the left half of what is stored"


def test_frames_of_too_many_pixels_are_refused(film, monkeypatch):
    assert [frame.size for _, frame in film_frames(film)] == [(32, 32)]
    monkeypatch.setattr("beit.inference.jobs.frames.most_pixels", lambda: 1000)
    with pytest.raises(DataError, match=r"a\.avi is no film that can be read"):
        list(film_frames(film))


def test_a_film_whose_words_are_no_text(film, monkeypatch):
    monkeypatch.setattr(av, "open", lambda *_, **__: b"\xff".decode())
    with pytest.raises(DataError, match=r"a\.avi is no film that can be read: 'utf-8' codec"):
        list(film_frames(film))
