"""Sizes of pictures on the command line: a side, or HEIGHTxWIDTH, in pixels."""

from __future__ import annotations

from beit.errors import ConfigError


def image_size(value: str, also: str = "") -> int | tuple[int, int]:
    """Return the side, or (height, width), that a word names.

    Args:
        value: Such as "384" or "384x512".
        also: What else is expected, for the error.

    Raises:
        ConfigError: If it is neither.
    """
    sides = value.split("x")
    if not all(side.isdecimal() and int(side) > 0 for side in sides) or len(sides) > 2:
        raise ConfigError(f"image_size is {value!r}; expected a side or HEIGHTxWIDTH in pixels, such as 384{also}")
    return (int(sides[0]), int(sides[1])) if len(sides) == 2 else int(sides[0])
