"""Large pictures: the limit of pixels, and TIFF files with overviews of one picture."""

from __future__ import annotations

import re
import warnings
from typing import Any

from PIL import Image

from beit.errors import DataError

_LIMIT = 178_956_970  # pixels past which Pillow refuses a picture: twice the number at which it warns
_SUBFILE, _DESCRIPTION = 254, 270  # TIFF tags
IMAGEJ = "ImageJ="  # what its descriptions begin with
_PLANES = re.compile(r"ImageJ=.*?^images=(\d{1,9})\s*$", re.DOTALL | re.MULTILINE)  # in the description of a stack
REDUCED, MASK = 1, 4  # bits of the kind of a page
SLIDES = "Aperio"  # whose files hold a thumbnail, a label and a photograph of the slide beside it


def allow_pixels(most: int | None) -> None:
    """Refuse pictures of more pixels than this, in this process and in those that it starts; None: Pillow's limit."""
    limit = _LIMIT if most is None else most
    Image.MAX_IMAGE_PIXELS = (limit + 1) // 2
    if most is not None:  # what was asked for needs no warning
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def most_pixels() -> int:
    """Return how many pixels a picture may have."""
    return _LIMIT if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


def too_large(name: object) -> DataError:
    """Return the error for a picture of more pixels than are allowed."""
    return DataError(
        f"{name} is large, not broken: it has more than {most_pixels():,} pixels; expected fewer: cut it into tiles",
        otherwise="raise data.max_pixels if you trust the file",
    )


def is_one_with_overviews(image: Image.Image) -> bool:
    """Return whether a TIFF of several pages is one picture, the first, with overviews or masks of it."""
    if image.format != "TIFF":
        return False
    pages: Any = image
    if str(pages.tag_v2.get(_DESCRIPTION, "")).startswith(SLIDES):
        return True
    try:
        for page in range(1, pages.n_frames):
            pages.seek(page)
            if not pages.tag_v2.get(_SUBFILE, 0) & (REDUCED | MASK):
                return False
        return True
    finally:
        pages.seek(0)


def planes_declared(description: Any) -> int:
    """Return the planes that ImageJ declares in a description, all of which may lie behind one page; 1 without it."""
    found = _PLANES.match(description) if isinstance(description, str) else None
    return int(found[1]) if found else 1


def has_planes_behind(image: Image.Image) -> bool:
    """Return whether a TIFF of ImageJ has more planes than pages, all but the first of which Pillow does not see."""
    pages: Any = image
    return image.format == "TIFF" and planes_declared(pages.tag_v2.get(_DESCRIPTION)) > pages.n_frames


def several(name: object, kind: str | None) -> DataError:
    """Return the error for a file of several pictures."""
    return DataError(
        f"{name} holds several pictures ({kind}); expected one, save the one you mean by itself",
        otherwise="name it by its number, from 0, with data.frame",
    )


def check_frame(frame: int | None, frames: int, name: object) -> None:
    """Refuse the number of a frame that a file does not have.

    Raises:
        DataError: Naming both numbers.
    """
    if frame is not None and frame >= frames:
        raise DataError(
            f"{name} holds {frames} picture{'s' * (frames > 1)}, and data.frame is {frame}; expected a number from 0 "
            f"to {frames - 1}"
        )
