"""Conversion of every accepted type of input into a flat list of pictures: 8-bit images or arrays of numbers.

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from beit.errors import ConfigError, DataError, warn
from beit.image.band_reading import bands_of, numbers_of
from beit.image.bands import COLOURS, AnyPicture, BandOptions, Bands
from beit.image.depth import nodata_in
from beit.image.large import too_large
from beit.image.lazy_picture import NUMBERS, measured, read_picture
from beit.image.options import FIRST, LAST, NONE
from beit.image.reading import check_single
from beit.image.value_range import range_of_tags

Pixels = NDArray[Any]
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_NAME = "the picture"  # in messages


@dataclass(frozen=True)
class Picture:
    """One picture: a Pillow image of 8 bits, deep colours, or an array (H, W, C) of numbers of any kind.

    Attributes:
        content: The pixels.
        layout: Channel layout of the input.
    """

    content: AnyPicture | Pixels
    layout: str

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        if isinstance(self.content, Image.Image | Bands):
            return self.content.height, self.content.width
        return self.content.shape[0], self.content.shape[1]


def flatten(images: Any, single_dims: int) -> list[Any]:
    """Return the pictures of a picture, a list, a nested list, or an array with leading batch dimensions.

    Args:
        images: The input of the caller.
        single_dims: How many dimensions the array of one picture has; arrays with more are batches.
    """
    if isinstance(images, list | tuple):
        return [image for item in images for image in flatten(item, single_dims)]
    if not isinstance(images, Image.Image) and getattr(images, "ndim", 0) > single_dims:
        return [image for item in images for image in flatten(item, single_dims)]
    return [images]


def to_picture(source: Any, layout: str | None) -> Picture:
    """Return one picture, however it was given.

    Pillow images of every mode, files and plain (H, W) arrays become RGB, in more than 8 bits where they have them;
    arrays with a channel dimension keep their
    channels. Pictures and files that carry an EXIF orientation are turned upright, as `read_picture` does.

    Args:
        source: A Pillow image, a path, the bytes of a file, an open file such as a member of an archive, a numpy array,
            a torch tensor, or any other object that numpy can make an array of.
        layout: Channel layout of an array; None: inferred from its shape.

    Raises:
        ConfigError: If it is no picture at all.
        DataError: If it is one, but broken, empty or ambiguous.
    """
    if isinstance(source, str | os.PathLike):
        return Picture(read_picture(os.fspath(source)), LAST)
    if isinstance(source, bytes | bytearray | memoryview):
        return Picture(read_picture(bytes(source)), LAST)
    if hasattr(source, "read") and not isinstance(source, Image.Image):
        return Picture(read_picture(content_of(source)), LAST)
    if isinstance(source, Image.Image):
        return Picture(_to_rgb(source), LAST)
    return _from_array(to_array(source, "picture"), layout)


def content_of(file: Any) -> bytes:
    """Return the bytes of an open file, from where it stands.

    Raises:
        ConfigError: If it was opened as text.
    """
    content = file.read()
    if not isinstance(content, bytes):
        raise ConfigError(f"got a file that gives {type(content).__name__}, not bytes; open it in binary mode, 'rb'")
    return content


def to_array(source: Any, kind: str) -> Pixels:
    """Return a tensor of any framework, on any device, as a numpy array; `kind` is its name in messages.

    Raises:
        ConfigError: If it is not one.
    """
    if not hasattr(source, "__array__"):  # plain lists of numbers are not guessed at
        raise ConfigError(
            f"got a {type(source).__name__} as a {kind}; expected a Pillow image, an array or tensor, a path, or bytes"
        )
    if hasattr(source, "detach"):
        source = source.detach().cpu()
        source = source.float() if str(source.dtype) == "torch.bfloat16" else source  # numpy has no bfloat16
    array: Pixels = np.asarray(source)
    if array.dtype.name in ("bfloat16", "float16"):
        return array.astype(np.float32)
    if array.dtype.kind not in "buif":
        raise ConfigError(f"got an array of {array.dtype} as a {kind}; expected whole or real numbers")
    return array


def load_upright(image: Image.Image, kind: str) -> Image.Image:
    """Return a Pillow image, read from its file if that is still to be done, and turned by its EXIF orientation.

    Raises:
        DataError: If its file is broken, or it has no pixels.
    """
    try:
        check_single(image, f"the {kind}")
        image.load()
        if image.getexif().get(_ORIENTATION, 1) != 1:  # exif_transpose copies pictures that are upright already
            image = ImageOps.exif_transpose(image)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise too_large(f"the {kind}") from None
    except Exception as error:  # damaged files make Pillow raise many kinds of errors
        raise DataError(f"the {kind} is broken: {error or type(error).__name__}; fetch or save it again") from None
    if min(image.size) == 0:
        raise DataError(f"the {kind} has {image.height} x {image.width} pixels; expected at least 1 x 1")
    return image


def _to_rgb(image: Image.Image) -> AnyPicture:
    tags: Any = getattr(image, "tag_v2", None)
    span = None if tags is None or image.mode not in _DEEP else range_of_tags(tags)
    image = load_upright(image, "picture")
    if nodata_in(image) is not None and image.mode in NUMBERS:
        return measured(image, _NAME)[0]
    if image.mode == "RGB":
        return image
    if span is not None or image.mode.startswith("I;16"):
        return bands_of(numbers_of(image, b"", _NAME), _NAME, BandOptions(COLOURS))[0]
    if image.mode in ("I", "F"):
        image = Image.fromarray(_grey_of_unknown_range(np.asarray(image), image.mode))
    elif image.mode in ("La", "RGBa"):  # Pillow converts colours multiplied with their opacity only back
        image = image.convert(image.mode.upper())
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise DataError(f"the picture has {image.mode} pixels ({error}); convert it to RGB first") from None


def _grey_of_unknown_range(grey_HW: Pixels, mode: str) -> NDArray[np.uint8]:
    """Return grey of mode I or F with 8 bits; 0..255 is what Pillow's own conversions take these modes to hold."""
    low, high = float(grey_HW.min()), float(grey_HW.max())
    if not 0 <= low <= high <= 255:  # false for NaN as well
        raise DataError(
            f"the picture has {mode} pixels from {low:g} to {high:g}, whose range is unknown; "
            "scale them to 0..255 and convert the picture to L or RGB first"
        )
    whole_HW = np.rint(grey_HW)
    if high <= 1 and not np.array_equal(whole_HW, grey_HW):
        whole_HW = np.rint(grey_HW * 255)
    return whole_HW.astype(np.uint8)


def _from_array(array: Pixels, layout: str | None) -> Picture:
    if array.size == 0:
        raise DataError(f"the picture is an array of shape {array.shape}; expected at least one pixel")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError("the picture holds NaN or infinite values; expected finite numbers; repair or drop it")
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255  # as Pillow has black and white
    if array.ndim == 2:  # grey without a channel dimension is shown like a Pillow picture of mode L: in all three
        return Picture(np.broadcast_to(array[..., None], (*array.shape, 3)), LAST if layout in (None, NONE) else layout)
    if array.ndim != 3 or layout == NONE:
        raise DataError(
            f"the picture is an array of shape {array.shape}; expected (height, width), or three dimensions "
            "with the channels first or last"
        )
    layout = layout or _guess_layout(array.shape)
    return Picture(array.transpose(1, 2, 0) if layout == FIRST else array, layout)


def _guess_layout(shape: tuple[int, ...]) -> str:
    first, last = shape[0] in (1, 3), shape[-1] in (1, 3)
    if not first and not last:
        raise DataError(
            f"the picture is an array of shape {shape}, with 1 or 3 channels neither first nor last; "
            f"pass input_data_format={FIRST!r} or {LAST!r}"
        )
    layout = LAST if not first or (shape[0], shape[-1]) == (1, 3) else FIRST  # colour is likelier than a width of 3
    if first and last:
        warn(
            f"a picture of shape {shape} may have its channels first or last; taken as {layout}, "
            "pass input_data_format to say which",
        )
    return layout
