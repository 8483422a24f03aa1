"""Range of the values of deep pictures: 12 bits in a file of 16, numbers of 32 bits, real numbers.

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from beit.errors import DataError

logger = logging.getLogger("beit")

_TAGS = ((280, 281), (340, 341))  # the least and the greatest sample, as whole numbers and in the samples' own type
_BITS = 258  # the tag of the bits per sample
_NODATA = 42113  # GDAL's
_DEEP = (0, 65535)  # of 16 bits without a sign
_DARK = 8  # times the highest value: 12 bits and less in a file of 16
_PNG, _SIGNIFICANT = b"\x89PNG\r\n\x1a\n", b"sBIT"
Span = tuple[float, float]  # the values that become black and white
Asked = Span | Literal["bits"]  # these, or all that the numbers of a file can hold
BITS: Literal["bits"] = "bits"
Values = NDArray[Any]


def range_of_tags(tags: Any) -> Span | None:
    """Return the range of the values that the tags of a TIFF declare, or that its 9 to 15 bits hold; else None.

    Several samples may have one each: theirs is all that these cover, so that no sample is cut off by that of another.
    """
    for least, greatest in _TAGS:
        low, high = _number(tags.get(least, 0), min), _number(tags.get(greatest), max)
        if low is not None and high is not None and high > low:
            return low, high
    bits = _number(tags.get(_BITS), max)
    return (0.0, 2**bits - 1) if bits is not None and 8 < bits < 16 else None


def nodata_of_tags(tags: Any) -> float | None:
    """Return the value that stands for no measurement in a TIFF, as GDAL notes it in text; None without one."""
    text = tags.get(_NODATA)
    try:
        return float(str(text).strip("\0 ")) if isinstance(text, str) else None
    except ValueError:
        return None


def is_absent(values_HWC: Values, nodata: float | None) -> NDArray[np.bool_]:
    """Return where there is no measurement: of whole numbers without a sign where all channels say so.

    They may hold the same number as a value, as white is 255 in one of three colours.
    """
    if nodata is None:
        return np.zeros(values_HWC.shape, bool)
    if np.isnan(nodata):
        return np.isnan(values_HWC)
    with np.errstate(over="ignore"):
        absent = values_HWC == (np.asarray(nodata, values_HWC.dtype) if values_HWC.dtype.kind == "f" else nodata)
    return np.broadcast_to(absent.all(-1, keepdims=True), absent.shape) if values_HWC.dtype.kind == "u" else absent


def say_absent(name: object, nodata: float, share: float) -> None:
    """Say once of a value that it stands for no measurement, and what becomes of it."""
    if (key := repr(nodata)) not in _nodata_said:
        _nodata_said.add(key)
        logger.warning(
            "%s declares that %g stands for no measurement (GDAL_NODATA), %.3g %% of its values: they are read as "
            "black, like the low end of the range", name, nodata, 100 * share,
        )  # fmt: skip


_nodata_said = set[str]()


def _number(value: Any, of_several: Callable[[Iterable[Any]], Any]) -> float | None:
    """Return the value of a tag, of several samples their minimum or maximum; None for what is no number."""
    if isinstance(value, tuple):
        numbers = [one for one in cast("tuple[Any, ...]", value) if isinstance(one, int | float)]
        value = of_several(numbers) if numbers else None
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def range_of_png(content: bytes, values: Values) -> Span | None:
    """Return the range of 16-bit values in a PNG that declares fewer significant bits (sBIT); None without them.

    PNG asks for values that are scaled up to all 16 bits, and many programs leave them as they are: which of the two it
    is can be seen in the lower bits, which are zeros or repeat the upper ones where values were scaled.
    """
    bits = _significant_bits(content)
    if bits is None or not 0 < bits < 16 or values.max() >> bits:
        return None
    rest, kept = 16 - bits, values >> (16 - bits)
    lower = values & ((1 << rest) - 1)
    repeated = kept >> (bits - rest) if bits >= rest else kept
    scaled = not lower.any() or (bits >= rest and np.array_equal(lower, repeated))
    return None if scaled else (0.0, float((1 << bits) - 1))


def _significant_bits(content: bytes) -> int | None:
    """Return how many bits of the first channel of a PNG are significant, if it says so before its pixels."""
    at = len(_PNG)
    while content.startswith(_PNG) and at + 9 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if kind == _SIGNIFICANT:
            return content[at + 8]
        if kind == b"IDAT":
            break
        at += length + 12  # with its length, kind and checksum
    return None


def in_unit_range(values: Values, name: object, asked: Asked | None, declared: Span | None = None) -> Values:
    """Return values in [0, 1]: those of 8 bits divided by 255, others by their range, beyond which they are cut off.

    Raises:
        DataError: If the range is unknown, or a value is no number.
    """
    return cut_to_range(values, name, asked, declared)[0]


def cut_to_range(
    values: Values, name: object, asked: Asked | None, declared: Span | None = None
) -> tuple[Values, float]:
    """Return values as `in_unit_range` does, and the share of them that lay beyond the range.

    The first picture with such values is named in the log.

    Raises:
        DataError: If the range is unknown, or a value is no number.
    """
    kind, size = values.dtype.kind, values.dtype.itemsize  # whatever the order of the bytes
    if size == 1 and kind in "bu":
        return values.astype(np.float32) / np.float32(255 if kind == "u" else 1), 0.0
    if kind not in "buif":
        raise DataError(f"{name} holds {values.dtype}; expected whole or real numbers: save those that you mean")
    if not np.isfinite(values).all():
        raise DataError(f"{name} holds values that are no numbers (NaN or infinite); expected all finite: fill them in")
    low, high = _range_of(values, name, asked, declared)
    if asked is None and declared is None and kind == "u" and 0 < values.max(initial=0) < high / _DARK:
        _say_dark(str(name), float(values.max()), high)
    shares = values.astype(np.float64)
    shares -= low  # in place: large pictures fill the memory otherwise
    shares /= high - low
    beyond = (np.count_nonzero(shares < 0) + np.count_nonzero(shares > 1)) / shares.size
    if beyond:
        _say_beyond((low, high), asked is None, str(name), (float(values.min()), float(values.max())), beyond)
    return np.clip(shares, 0, 1, out=shares), beyond


def _range_of(values: Values, name: object, asked: Asked | None, declared: Span | None) -> Span:
    kind, size = values.dtype.kind, values.dtype.itemsize
    if asked == BITS:
        asked = _held(values) or declared
    span = asked or declared or (_DEEP if (kind, size) == ("u", 2) else None)
    if span is None and (kind != "f" or values.min() < 0 or values.max() > 1):
        raise DataError(
            f"{name} holds {values.dtype} from {values.min():g} to {values.max():g}; expected 8 or 16 bits without a "
            "sign, or real numbers from 0 to 1: convert it",
            otherwise="say with data.value_range which values are 0 and 1",
        )
    return span or (0.0, 1.0)


_dark_said = set[float]()


def _say_dark(name: str, highest: float, high: float) -> None:
    """Say once that the values of a picture take a small part of the range that is taken for want of another."""
    if high not in _dark_said:
        _dark_said.add(high)
        logger.warning(
            "%s holds values up to %g, and %g is taken as white, as nothing else is declared; if all pictures are "
            "so, name the range with data.value_range, such as [0, %g]", name, highest, high,
            2 ** np.ceil(np.log2(highest + 1)) - 1,
        )  # fmt: skip


_said = set[Span | None]()  # None: ranges that files declare, which may all differ


def _say_beyond(span: Span, declared: bool, name: str, found: Span, share: float) -> None:
    """Say once of a range, or of those that files declare, that values lie beyond it."""
    key = None if declared else span
    if key in _said:
        return
    _said.add(key)
    what = "it declares" if declared else "of data.value_range"
    logger.warning(
        "%s holds values from %g to %g, beyond the range %s, [%g, %g]: %.3g %% of them are cut off; beit statistics "
        "counts all, and a wider data.value_range keeps them", name, *found, what, *span, 100 * share,
    )  # fmt: skip


def _held(values: Values) -> Span | None:
    """Return the range of all whole numbers of a type; None of real numbers."""
    if values.dtype.kind not in "iu":
        return None
    limits = np.iinfo(values.dtype)
    return float(limits.min), float(limits.max)
