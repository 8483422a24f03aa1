"""Formats of extras and of many channels: DICOM, HEIC, TIFF of pages, films, and requests of the service."""

import asyncio
import io
from functools import cache
from pathlib import Path
from urllib.parse import quote

import av
import httpx
import numpy as np
import pillow_heif
from fastapi import FastAPI
from PIL import Image

from beit.image import BandOptions, open_image, read_image
from beit.inference.jobs.frames import film_frames
from beit.service import ServiceSettings, create_app
from tests.campaigns.target import Target
from tests.data.real_files.test_extra_formats import dicom
from tests.service.fake_predictor import FakePredictor

BOUNDARY = "b"
MOST_FRAMES = 20  # of a film; a longer one is as sound as its beginning


def format_targets(place: Path) -> dict[str, Target]:
    """Return the targets; `place` is for files that libraries write by name."""
    deep, four = BandOptions(1), BandOptions(4)
    return {
        "dicom": Target("a.dcm", scans(place), read_image),
        "deep dicom": Target(
            "a.dcm", scans(place), lambda path: open_image(path.read_bytes(), "a", bands=deep).decode()
        ),
        "heic": Target("a.heic", [heic()], read_image),
        "pages": Target("a.tif", tiffs(), lambda path: open_image(path.read_bytes(), "a", bands=four).decode()),
        "film": Target("a.mp4", films(place), frames),
        "request": Target("request", requests(), answered),
    }


def scans(place: Path) -> list[bytes]:
    """Return DICOM files: plain, deflated, with a window and a rescaling, and of several frames."""
    values = np.arange(24 * 20).reshape(24, 20)
    kinds = [{}, {"syntax": "DeflatedExplicitVRLittleEndian"}, {"syntax": "ImplicitVRLittleEndian"}]
    kinds += [{"WindowCenter": 200, "WindowWidth": 300, "RescaleSlope": 2, "RescaleIntercept": -100}]
    found = [dicom(place / "a.dcm", values, **options).read_bytes() for options in kinds]
    return [*found, dicom(place / "a.dcm", [values] * 3, NumberOfFrames=3).read_bytes()]


def heic() -> bytes:
    """Return a HEIC picture."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (24, 20), "red")).save(buffer)
    return buffer.getvalue()


def tiffs() -> list[bytes]:
    """Return TIFF files of four grey pages, each a channel, plain and packed, of 8 and 16 bits and of real numbers."""
    found = []
    for mode, packed in (("L", None), ("L", "tiff_adobe_deflate"), ("I;16", "tiff_lzw"), ("F", None)):
        buffer, page = io.BytesIO(), Image.new(mode, (20, 24), 1)
        page.save(buffer, "TIFF", save_all=True, append_images=[page] * 3, compression=packed)
        found.append(buffer.getvalue())
    return found


def films(place: Path) -> list[bytes]:
    """Return short films in two containers."""
    found = []
    for name in ("a.mp4", "a.avi"):
        with av.open(str(place / name), "w") as film:
            stream = film.add_stream("mpeg4", rate=5)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for number in range(3):
                pixels = np.full((32, 32, 3), 80 * number, np.uint8)
                film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            film.mux(stream.encode())
        found.append((place / name).read_bytes())
    return found


def frames(path: Path) -> list[tuple[int, int]]:
    """Return the sizes of the first frames of a film."""
    return [frame.size for (_, frame), _ in zip(film_frames(path), range(MOST_FRAMES), strict=False)]


def requests() -> list[bytes]:
    """Return requests: path, type and length of the body in a line each, and the body."""
    buffer = io.BytesIO()
    Image.new("RGB", (24, 20), "red").save(buffer, "PNG")
    parts = [
        b'name="top_k"\r\n\r\n2',
        b'name="model"\r\n\r\nfake',
        b'name="file"; filename="a.png"\r\n\r\n' + buffer.getvalue(),
    ]
    body = b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"
    heads = ("/v1/classify", "/v1/classify?x=%00", "/v1/embed")
    return [f"{head}\nmultipart/form-data; boundary={BOUNDARY}\n{len(body)}\n".encode() + body for head in heads]


@cache
def service() -> tuple[asyncio.AbstractEventLoop, FastAPI]:
    """Return a service of this process, and the loop that it runs in."""
    settings = ServiceSettings(max_upload_mb=1, max_pixels=10_000)
    return asyncio.new_event_loop(), create_app({"fake": FakePredictor()}, settings)


def answered(path: Path) -> int:
    """Send a request to a service, whose answer is none of a failure."""
    head, kind, length, body = (path.read_bytes() + b"\n\n\n").split(b"\n", 3)
    loop, app = service()

    async def conversation() -> int:
        headers = [(b"content-type", kind[:9999]), (b"content-length", length[:99]), (b"host", b"127.0.0.1")]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            address = "http://127.0.0.1/" + quote(head[:999].lstrip(b"/"), safe="/?&=%")
            return (await client.post(address, content=body, headers=headers)).status_code

    status = loop.run_until_complete(conversation())
    if status >= 500 and status != 503:
        raise AssertionError(f"the service answers {status}")
    return status
