"""Sizes of pictures in settings: a side, or height and width, in pixels."""

from __future__ import annotations

ImageSize = int | tuple[int, int]


def read_size(value: ImageSize | str, also: str = "") -> ImageSize:
    """Return the side, or (height, width), that a setting names.

    Args:
        value: Such as 384, (384, 512), "384" or "384x512".
        also: What else is expected, for the error.

    Raises:
        ValueError: If it is neither.
    """
    given = value.split("x") if isinstance(value, str) else value if isinstance(value, tuple) else (value,)
    if not all(str(side).isdecimal() and int(side) > 0 for side in given) or len(given) > 2:
        raise ValueError(f"image_size is {value!r}; expected a side or HEIGHTxWIDTH in pixels, such as 384{also}")
    sides = [int(side) for side in given]
    return (sides[0], sides[1]) if len(sides) == 2 else sides[0]
