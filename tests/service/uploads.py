"""Pictures and what claims to be one."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def picture(seed=0, size=(48, 40), kind="JPEG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind)


def png_bomb(width, height):
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def hostile():
    """Return (name, bytes, statuses that may answer them) of 200 uploads, none of which is a picture to answer."""
    jpeg, png, webp = picture(1), picture(2, kind="PNG"), picture(3, kind="WEBP")
    rng = np.random.default_rng(0)
    film = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    cases = [
        ("nothing", b""),
        ("zeros", bytes(4096)),
        ("text", b"this is text"),
        ("svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
        ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file\n"),
        ("pdf", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"),
        ("zip", b"PK\x03\x04" + bytes(100)),
        ("film.gif", encoded(film[0], "GIF", save_all=True, append_images=film[1:])),
        ("film.webp", encoded(film[0], "WEBP", save_all=True, append_images=film[1:])),
        ("film.png", encoded(film[0], "PNG", save_all=True, append_images=film[1:])),
        ("pages.tiff", encoded(film[0], "TIFF", save_all=True, append_images=film[1:])),
        ("floats.tiff", encoded(Image.new("F", (8, 8), 7), "TIFF")),
        ("path", b"/etc/passwd"),
        ("address", b"http://127.0.0.1:1/picture.png"),
        ("icon", encoded(Image.new("RGB", (16, 16)), "ICO")),
        ("strip", encoded(Image.new("RGB", (3000, 1)))),
        ("column", encoded(Image.new("RGB", (1, 3000)))),
    ]
    cases += [(f"bomb_{side}.png", png_bomb(side, side)) for side in (2_000, 10_000, 60_000, 2**31 - 1)]
    cases += [("bomb_0.png", png_bomb(0, 0)), ("bomb_wide.png", png_bomb(10**6, 10))]
    for name, whole in (("jpeg", jpeg), ("png", png), ("webp", webp)):
        cases += [(f"truncated_{cut}.{name}", whole[: len(whole) * cut // 40]) for cut in range(38)]
    while len(cases) < 200:
        noise = rng.integers(0, 256, int(rng.integers(1, 3000)), dtype=np.uint8).tobytes()
        start = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\x00", b"RIFF")[len(cases) % 6]
        cases.append((f"noise_{len(cases)}", start + noise))
    return cases
