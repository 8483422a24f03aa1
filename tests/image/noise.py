"""Pictures of noise in every mode, and options of the processor for small ones."""

import io

import numpy as np
from PIL import Image

SMALL = {"size": {"height": 40, "width": 48}, "crop_size": {"height": 32, "width": 40}}
PLAIN = {"do_resize": False, "do_center_crop": False, "do_rescale": False, "do_normalize": False}


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def file_bytes(image, format="PNG", **options):  # noqa: A002  # Pillow's own name
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


MODES = ["1", "L", "LA", "La", "P", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"]


def picture_of_mode(mode, height=21, width=33):
    colour = Image.fromarray(noise(height, width, 4))
    if mode in ("RGBa", "La"):
        return colour.convert(mode.upper()).convert(mode)
    if mode == "I;16":
        return Image.fromarray(noise(height, width, 1)[..., 0].astype(np.uint16) * 257)
    return colour.convert("L").convert(mode) if mode in ("I", "LA") else colour.convert("RGB").convert(mode)
