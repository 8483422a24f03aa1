"""Options of a processor, checked and converted to one form.

The published files and arguments write a size in four ways (256, (256, 256), {"height": 256, "width": 256},
{"shortest_edge": 256}) and a mean in two (one number, one per channel); behind this file there is one way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from beit.errors import ConfigError, shortened

Size = tuple[int, int] | int  # (height, width), or the length of the shorter side
PerChannel = float | tuple[float, ...]

_SIDES = ("height", "width", "shortest_edge", "longest_edge")
_MOST_SIDE = 2**14  # pixels: what a file asks for is allocated
FIRST, LAST, NONE = "channels_first", "channels_last", "none"


@dataclass(frozen=True)
class Steps:
    """Steps of preprocessing, in this order; one that is None is left out.

    Attributes:
        size: Target size: (height, width), or the length of the shorter side, which keeps the picture's shape.
        resample: Filter of the resizing.
        crop_hw: Size of the centre crop, (height, width) in pixels.
        factor: Number that pixels are multiplied by.
        mean: Subtracted afterwards, one number or one per channel.
        std: Then divided by, likewise; given if and only if `mean` is.
    """

    size: Size | None
    resample: Image.Resampling
    crop_hw: tuple[int, int] | None
    factor: float | None
    mean: PerChannel | None
    std: PerChannel | None

    def resized_hw(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) that a picture of this size is resized to."""
        if self.size is None:
            return height, width
        if not isinstance(self.size, int):
            return self.size
        shorter = min(height, width)
        return self.size * height // shorter, self.size * width // shorter


def parse_steps(options: Mapping[str, Any]) -> Steps:
    """Return the steps that a full set of published options asks for.

    Raises:
        ConfigError: If a value that is needed is invalid.
    """
    normalised = options["do_normalize"]
    return Steps(
        size=parse_size(options["size"], "size") if options["do_resize"] else None,
        resample=parse_resample(options["resample"]),
        crop_hw=_crop(options["crop_size"]) if options["do_center_crop"] else None,
        factor=_factor(options["rescale_factor"]) if options["do_rescale"] else None,
        mean=_per_channel(options["image_mean"], "image_mean") if normalised else None,
        std=_per_channel(options["image_std"], "image_std") if normalised else None,
    )


def parse_size(size: Any, name: str) -> Size:
    """Return a size written in any of the published ways.

    Raises:
        ConfigError: If it is none of them, or not positive.
    """
    if hasattr(size, "longest_edge"):  # a SizeDict, as transformers 5 has it
        size = dict(size)
    if isinstance(size, Mapping):
        given = {str(key): value for key, value in size.items() if value is not None}
        if given.keys() == {"shortest_edge"} and _is_side(given["shortest_edge"]):
            return int(given["shortest_edge"])
        sides = [given["height"], given["width"]] if given.keys() == {"height", "width"} else []
    elif isinstance(size, Iterable) and not isinstance(size, str):
        sides = list(size)
    else:
        sides = [size, size]
    if len(sides) != 2 or not all(map(_is_side, sides)):
        shown = repr(size)[:200] if isinstance(size, Mapping) else shortened(size)
        raise ConfigError(
            f"{name} is {shown}; expected whole numbers of pixels above 0, up to {_MOST_SIDE}, such as 224, "
            '{"height": 224, "width": 224} or, for size, {"shortest_edge": 256}'
        )
    return int(sides[0]), int(sides[1])


class SizeDict(dict[str, int]):
    """A size as the published files write it; `size.height` is `size["height"]`, and None where it has no such side."""

    def __getattr__(self, name: str) -> int | None:
        if name in _SIDES:
            return self.get(name)
        raise AttributeError(f"a size has no {name!r}; it has {', '.join(_SIDES)}")


def size_to_dict(size: Size) -> SizeDict:
    """Return a size as the published files write it."""
    return SizeDict(shortest_edge=size) if isinstance(size, int) else SizeDict(height=size[0], width=size[1])


def parse_resample(resample: Any) -> Image.Resampling:
    """Return the filter with this number or name, which may also be that of an enumeration's member.

    Raises:
        ConfigError: If there is none.
    """
    named = getattr(resample, "value", resample)
    if isinstance(named, str) and named.upper() in Image.Resampling.__members__:
        return Image.Resampling[named.upper()]
    try:
        return Image.Resampling(resample)
    except ValueError:
        names = ", ".join(f"{known.value} ({known.name.lower()})" for known in Image.Resampling)
        raise ConfigError(f"resample is {shortened(resample)}; expected one of {names}") from None


def parse_layout(layout: Any, name: str, allowed: tuple[str, ...]) -> str | None:
    """Return a channel layout, which may also be an enumeration's member, as a plain string.

    Raises:
        ConfigError: If it is not one of `allowed`.
    """
    layout = getattr(layout, "value", layout)
    if layout is not None and layout not in allowed:
        raise ConfigError(f"{name} is {shortened(layout)}; expected None or one of {', '.join(allowed)}")
    return layout


def _crop(size: Any) -> tuple[int, int]:
    crop = parse_size(size, "crop_size")
    if isinstance(crop, int):
        raise ConfigError(f'crop_size is {size!r}; a crop needs both sides: {{"height": {crop}, "width": {crop}}}')
    return crop


def _is_side(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 < int(value) <= _MOST_SIDE


def _factor(factor: Any) -> float:
    if not _is_number(factor):
        raise ConfigError(
            f"rescale_factor is {shortened(factor)}; expected a number such as 1/255, or set do_rescale=False"
        )
    return float(factor)


def _per_channel(values: Any, name: str) -> PerChannel:
    listed = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    if not listed or not all(map(_is_number, listed)) or (name == "image_std" and 0 in listed):
        sort = "number other than 0" if name == "image_std" else "number"
        raise ConfigError(f"{name} is {shortened(values)}; expected one {sort}, or one per channel")
    return tuple(float(value) for value in listed) if isinstance(values, Iterable) else float(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


_CLASS = "BeitImageProcessor"
_CLASS_KEYS = ("image_processor_type", "feature_extractor_type")  # what the file is of, not how it works


def options_of_file(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a file under today's names; missing options and nulls take their defaults.

    `reduce_labels` is the old name of `do_reduce_labels`, which wins where a file has both. Keys that name the class
    or start with "_" are bookkeeping of the program that wrote the file.
    """
    kept = {
        name: value
        for name, value in options.items()
        if value is not None and name not in _CLASS_KEYS and not name.startswith("_")
    }
    if "reduce_labels" in kept:
        old = kept.pop("reduce_labels")
        kept.setdefault("do_reduce_labels", old)
    return kept


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON has them, with the name of their class."""
    return {"image_processor_type": _CLASS} | {name: _plain(value) for name, value in options.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # an enumeration's member becomes its number
    return value
