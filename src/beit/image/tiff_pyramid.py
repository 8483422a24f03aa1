"""Smaller versions of the picture in a TIFF: pages behind it, or directories inside its own (SubIFDs).

Only directories are read here. Each version is handed out as a TIFF of its own, so that whatever reads the picture, in
any depth and number of bands, reads its versions in the same way.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beit.image.large import IMAGEJ, MASK, REDUCED, SLIDES

_FORMS = {  # by the beginning: order of bytes, letters of an offset, of a number of tags, and of a tag's count
    b"II*\0": ("<", "I", "H"), b"MM\0*": (">", "I", "H"), b"II+\0": ("<", "Q", "Q"), b"MM\0+": (">", "Q", "Q"),
}  # fmt: skip
_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 11: "f", 12: "d", 13: "I", 16: "Q", 18: "Q"}  # of values that are read here
_WIDTH, _HEIGHT, _SUBFILE, _DESCRIPTION, _ORIENTATION, _TILE = 256, 257, 254, 270, 274, 322
_PHOTOMETRIC, _SUBDIRECTORIES, _SAMPLE_FORMAT, _DEPTH = 262, 330, 339, 32997
# What has to agree: bits, samples, declared ranges, palette, extra samples and their format.
_MEANING = (258, 277, 280, 281, 320, 338, _SAMPLE_FORMAT, 340, 341)
_RGB, _YCBCR, _REAL = 2, 6, 3
_MOST_DIRECTORIES, _MOST_TAGS, _MOST_VALUES = 64, 4096, 4096

Number = int | float


@dataclass(frozen=True)
class Level:
    """The picture, or a smaller version of it, in a TIFF.

    Attributes:
        width: In pixels.
        height: In pixels.
        directory: Where its directory begins, in bytes.
        following: Where that says which directory comes next.
    """

    width: int
    height: int
    directory: int
    following: int


@dataclass(frozen=True)
class _Directory:
    tags: dict[int, tuple[Number, ...]]
    place: int
    following: int
    next_place: int

    def number(self, tag: int, otherwise: int) -> int:
        """Return the first value of a tag."""
        values = self.tags.get(tag)
        return int(values[0]) if values else otherwise

    @property
    def level(self) -> Level:
        """The picture of this directory."""
        return Level(self.number(_WIDTH, 0), self.number(_HEIGHT, 0), self.place, self.following)


class _DamagedError(Exception):
    """Raised where a directory is not what it should be, which a reader of pictures will say."""


def levels_of(content: bytes) -> list[Level]:
    """Return the picture in a TIFF and its smaller versions; nothing if it has none, or is not one upright picture.

    Real numbers are left out: where some are missing (NaN), which is an error, a smaller version need not show it.
    """
    try:
        pages = list(_chain(content, _header(content)))
        if not pages or not _is_plain(first := pages[0]):
            return []
        is_slide = _description(first).startswith(SLIDES)
        if not is_slide and not all(page.number(_SUBFILE, 0) & (REDUCED | MASK) for page in pages[1:]):
            return []  # several pictures
        inside = first.tags.get(_SUBDIRECTORIES, ())[:_MOST_DIRECTORIES]
        inner = [next(_chain(content, int(place))) for place in inside]
        found = [page.level for page in [*pages[1:], *inner] if _is_version(page, first, is_slide)]
    except (_DamagedError, StopIteration, struct.error, OverflowError):
        return []
    return [first.level, *found] if found else []


def level_content(content: bytes, level: Level) -> bytes:
    """Return the bytes of a TIFF with the picture of a level alone."""
    order, offset, _ = _FORMS[content[:4]]
    size, pointer = struct.calcsize(offset), _pointer(content)
    end = level.following
    return b"".join(
        (
            content[:pointer], struct.pack(order + offset, level.directory), content[pointer + size : end],
            bytes(size), content[end + size :],
        )
    )  # fmt: skip


def _pointer(content: bytes) -> int:
    """Return where a TIFF says where its first directory begins."""
    return 4 if _FORMS[content[:4]][1] == "I" else 8


def _header(content: bytes) -> int:
    order, offset, _ = _FORMS[content[:4]]
    return struct.unpack_from(order + offset, content, _pointer(content))[0]


def _chain(content: bytes, place: int) -> Iterator[_Directory]:
    """Yield a directory and those that follow it.

    Raises:
        _DamagedError: If they go round in a circle, are too many, or are cut off.
    """
    seen: set[int] = set()
    while place:
        if place in seen or len(seen) == _MOST_DIRECTORIES:
            raise _DamagedError
        seen.add(place)
        directory = _directory(content, place)
        yield directory
        place = directory.next_place


def _directory(content: bytes, place: int) -> _Directory:
    order, offset, count_form = _FORMS[content[:4]]
    count, tags = struct.unpack_from(order + count_form, content, place)[0], dict[int, tuple[Number, ...]]()
    if count > _MOST_TAGS:
        raise _DamagedError
    at, room = place + struct.calcsize(count_form), struct.calcsize(offset)
    for _ in range(count):
        tag, kind, number = struct.unpack_from(f"{order}HH{offset}", content, at)
        inside = at + 4 + room
        at = inside + room
        number = min(number, _MOST_VALUES) if tag == _DESCRIPTION else number
        if tag in _READ and kind in _TYPES and number <= _MOST_VALUES:
            form = f"{order}{number}{_TYPES[kind]}"
            where = inside if struct.calcsize(form) <= room else struct.unpack_from(order + offset, content, inside)[0]
            tags[tag] = struct.unpack_from(form, content, where)
    return _Directory(tags, place, at, struct.unpack_from(order + offset, content, at)[0])


_READ = frozenset(
    {_WIDTH, _HEIGHT, _SUBFILE, _DESCRIPTION, _ORIENTATION, _TILE, _PHOTOMETRIC, _SUBDIRECTORIES, _DEPTH, *_MEANING}
)


def _description(directory: _Directory) -> str:
    return bytes(int(value) for value in directory.tags.get(_DESCRIPTION, ())).decode("latin-1")


def _is_plain(first: _Directory) -> bool:
    """Return whether a page is one upright picture of whole numbers."""
    return (
        first.number(_ORIENTATION, 1) == 1
        and first.number(_SAMPLE_FORMAT, 1) != _REAL
        and first.number(_DEPTH, 1) == 1
        and not _description(first).startswith(IMAGEJ)
    )


def _is_version(page: _Directory, first: _Directory, is_slide: bool) -> bool:
    """Return whether a page shows the first one in fewer pixels, whose values mean the same.

    The pages of a slide are its levels where they are tiled; a label and a photograph of the slide are not.
    """
    kind = page.number(_SUBFILE, 0)
    version = _TILE in page.tags and _TILE in first.tags if is_slide else bool(kind & REDUCED and not kind & MASK)
    return version and _has_the_shape(page.level, first.level) and _meaning(page) == _meaning(first)


def _has_the_shape(small: Level, large: Level) -> bool:
    """Return whether a picture is smaller, and of the same shape up to two pixels that were rounded."""
    if not (0 < small.width < large.width and 0 < small.height < large.height):
        return False
    difference = abs(small.height * large.width - small.width * large.height)
    return difference <= 2 * max(large.width, large.height)


def _meaning(page: _Directory) -> Sequence[object]:
    colours = page.number(_PHOTOMETRIC, 0)
    return [_RGB if colours == _YCBCR else colours, *(page.tags.get(tag) for tag in _MEANING)]
