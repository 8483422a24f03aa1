"""Reading of one picture, with errors that name it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from beit.errors import DataError, MissingExtraError
from beit.image.formats import opened_picture
from beit.image.large import is_one_with_overviews, too_large
from beit.image.value_range import declared_range, grey_of_range

_MOST_SAID = 200  # characters of the message of a library
_ADVICE = "use PNG, JPEG, WebP, AVIF, JPEG 2000, TIFF, BMP, GIF or PPM"


def read_image(source: str | Path | bytes, name: str = "", min_side: int = 1) -> Image.Image:
    """Return a picture as RGB, upright.

    Args:
        source: A path, or the bytes of an image file.
        name: What to call the picture in messages; default: its path.
        min_side: Smallest height and width to accept, in pixels.

    Raises:
        DataError: If the file is missing, truncated, too small, animated, no picture, or a decompression bomb.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "picture")
    with explained(name), opened_picture(source) as image:
        check_single(image, name)
        picture = upright_rgb(image, name)
    check_side(picture.height, picture.width, name, min_side)
    return picture


@contextmanager
def explained(name: object, *but: type[Exception]) -> Generator[None]:
    """Turn any error of Pillow about a picture into a DataError of one line; its name becomes text only then.

    Args:
        name: The picture.
        but: Errors that are left as they are.

    Raises:
        DataError: Naming the picture and the fault.
    """
    try:
        yield
    except (DataError, *but):
        raise
    except MissingExtraError as error:
        raise DataError(f"{name} cannot be read: {error}") from None
    except FileNotFoundError:
        raise DataError(absent_picture(str(name))) from None
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a picture that can be read; {_ADVICE}") from None
    except OSError as error:
        if error.strerror is None:  # of Pillow, not of the system
            raise DataError(f"{name} is broken: {_said(error)}; fetch or save it again") from None
        raise DataError(f"{name} cannot be read: {error.strerror}") from None
    except Image.DecompressionBombError:
        raise DataError(too_large(name)) from None
    except Exception as error:  # damaged files make Pillow raise many kinds of errors
        raise DataError(f"{name} is broken: {_said(error)}; fetch or save it again") from None


def _said(error: Exception) -> str:
    """Return the beginning of a library's message in one line: some quote what they have read, or write several."""
    return " ".join(str(error).split())[:_MOST_SAID] or type(error).__name__


def absent_picture(name: str) -> str:
    """Return the message for a picture that is not there, or not on this machine."""
    if "://" in name:
        return f"{name} is an address, and nothing is fetched; download it, and pass the file or its bytes"
    return f"{name} does not exist; expected a picture file"


def check_side(height: int, width: int, name: object, min_side: int) -> None:
    """Refuse a picture that is too small.

    Raises:
        DataError: Naming its size.
    """
    if min(height, width) < min_side:
        raise DataError(f"{name} is {height} x {width} pixels; expected at least {min_side} on each side")


def upright_rgb(image: Image.Image, name: object) -> Image.Image:
    """Return an opened picture as RGB of 8 bits, turned by its EXIF orientation."""
    span = declared_range(image)
    upright = ImageOps.exif_transpose(image)
    return (_eight_bit(upright, name) if span is None else grey_of_range(upright, span)).convert("RGB")


def check_single(image: Image.Image, name: object) -> None:
    """Refuse an animation or a document of several pages, of which the first picture would be an arbitrary part.

    Cameras put a preview beside a photograph (MPO), scanners and maps overviews and masks (TIFF); there the first
    picture is the one that is meant.

    Raises:
        DataError: If there is more than one picture.
    """
    if getattr(image, "is_animated", False) and image.format != "MPO" and not is_one_with_overviews(image):
        raise DataError(
            f"{name} holds several pictures ({image.format}); expected one, save the one you mean by itself"
        )


def upper_eight_bits(grey: Image.Image) -> Image.Image:
    """Return 16-bit grey as 8-bit grey: the upper half of every number, which Pillow's own conversion would clip."""
    return Image.fromarray((np.asarray(grey).astype(np.uint32) >> 8).astype(np.uint8))


def _eight_bit(image: Image.Image, name: object) -> Image.Image:
    """Return a picture of 8 bits per channel."""
    if image.mode.startswith("I;16"):
        return upper_eight_bits(image)
    if image.mode in ("I", "F"):
        raise DataError(
            f"{name} has {image.mode} pixels, whose range is unknown; save it with 8 or 16 bits per channel, or as a "
            "TIFF that declares MinSampleValue and MaxSampleValue"
        )
    return image
