"""Read one picture, or say what is wrong with it."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from beit.errors import DataError

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def read_image(source: str | Path | bytes, name: str = "", min_side: int = 1) -> Image.Image:
    """Return a picture as RGB, upright.

    Args:
        source: A path, or the bytes of an image file.
        name: What to call the picture in messages; default: its path.
        min_side: Smallest height and width to accept, in pixels.

    Raises:
        DataError: If the file is missing, truncated, too small, no picture, or a decompression bomb.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "picture")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            upright = ImageOps.exif_transpose(image)
            picture = upright.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{name} does not exist") from None
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a picture that Pillow can read") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is broken: {error}") from None
    if min(picture.size) < min_side:
        raise DataError(
            f"{name} is {picture.height} x {picture.width} pixels; expected at least {min_side} on each side"
        )
    return picture
