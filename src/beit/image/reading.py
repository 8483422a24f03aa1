"""Checks of one picture that is read, with errors that name it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from beit.errors import DataError, MissingExtraError
from beit.image.large import check_frame, has_planes_behind, is_one_with_overviews, several, too_large

_MOST_SAID = 200  # characters of the message of a library
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_LAST_ORIENTATION = 8
_ADVICE = "use PNG, JPEG, WebP, AVIF, JPEG 2000, TIFF, BMP, GIF or PPM"


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
        raise DataError(f"{name} cannot be read here; {_ADVICE}", otherwise=f"install what reads it: {error}") from None
    except FileNotFoundError:
        raise DataError(absent_picture(str(name))) from None
    except UnidentifiedImageError:
        raise DataError(f"{name} is not a picture that can be read; {_ADVICE}") from None
    except OSError as error:
        if error.strerror is None:  # of Pillow, not of the system
            raise DataError(f"{name} is broken: {_said(error)}; fetch or save it again") from None
        raise DataError(f"{name} cannot be read: {error.strerror}") from None
    except Image.DecompressionBombError:
        raise too_large(name) from None
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


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an opened picture of 8 bits per channel as RGB, turned by its EXIF orientation."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "P":
        upright.info.pop("transparency", None)  # of which Pillow warns, and which is left out
    return upright.convert("RGB")


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation that an opened picture is to be turned from: 1 for none, or for no such number.

    It is asked for before the pixels: a TIFF of Pillow turns while it is decoded, and forgets from what.
    """
    found: Any = image.getexif().get(_ORIENTATION, 1)  # which decodes a PNG
    return found if isinstance(found, int) and 1 <= found <= _LAST_ORIENTATION else 1


def frames_of(image: Image.Image) -> int:
    """Return how many frames or pages a picture has."""
    return getattr(image, "n_frames", 1)


def choose_frame(image: Image.Image, frame: int | None, name: object) -> None:
    """Go to the frame or page of an opened picture that is asked for; without one, refuse several pictures.

    Raises:
        DataError: If there is no such frame, or none is named of several.
    """
    if frame is None:
        check_single(image, name)
    else:
        check_frame(frame, frames_of(image), name)
        image.seek(frame)


def check_single(image: Image.Image, name: object) -> None:
    """Refuse an animation or a document of several pages, of which the first picture would be an arbitrary part.

    Cameras put a preview beside a photograph (MPO), scanners and maps overviews and masks (TIFF); there the first
    picture is the one that is meant.

    Raises:
        DataError: If there is more than one picture.
    """
    if is_several(image):
        raise several(name, image.format)


def is_several(image: Image.Image) -> bool:
    """Return whether an opened file holds several pictures, of which none is the one that is meant."""
    pages = getattr(image, "is_animated", False) and image.format != "MPO" and not is_one_with_overviews(image)
    return pages or has_planes_behind(image)
