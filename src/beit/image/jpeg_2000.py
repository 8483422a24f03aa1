"""JPEG 2000: how far its pictures can be reduced while they are decoded, by leaving out the finest wavelets."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_START, _SIZE, _CODING, _COMPONENT, _TILE_PART, _DATA = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93
_BOXES, _CODESTREAM = b"\0\0\0\x0cjP  ", b"jp2c"
_MANY = 257  # components, from which their numbers take two bytes


def halvings(content: bytes) -> int:
    """Return how often every component of a JPEG 2000 picture can be halved; 0 where it does not begin at its origin.

    Damage, which a decoder will name, counts as none.
    """
    try:
        found, components = list[int](), 0
        for marker, body in _segments(content, _codestream(content)):
            if marker == _SIZE:
                _, _, _, left, top, _, _, tile_left, tile_top, components = struct.unpack_from(">H8IH", body)
                if left or top or tile_left or tile_top:
                    return 0
            elif marker == _CODING:
                found.append(body[5])
            elif marker == _COMPONENT:
                found.append(body[2 if components < _MANY else 3])
    except (struct.error, IndexError, OverflowError):
        return 0
    return min(found, default=0)


def _codestream(content: bytes) -> int:
    """Return where the codestream begins, behind the boxes of a file of the format JP2."""
    if not content.startswith(_BOXES):
        return 0
    at = 0
    while content[at + 4 : at + 8] != _CODESTREAM:
        size = struct.unpack_from(">I", content, at)[0]
        size = struct.unpack_from(">Q", content, at + 8)[0] if size == 1 else size
        if size < 8:  # the rest of the file, or no box
            raise IndexError
        at += size
    return at + (16 if content[at : at + 4] == b"\0\0\0\1" else 8)


def _segments(content: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield the markers of the headers of the picture and of its tiles, each with what it says."""
    if struct.unpack_from(">H", content, at)[0] != _START:
        raise IndexError
    at, end = at + 2, 0
    while at + 4 <= len(content):
        marker, size = struct.unpack_from(">HH", content, at)
        if marker == _DATA:  # of a tile, behind which stands the next one
            if end <= at:
                return
            at = end
            continue
        if not 0xFF00 < marker < 0xFFD9 or size < 2:
            return
        body = content[at + 4 : at + 2 + size]
        if marker == _TILE_PART:
            length = struct.unpack_from(">I", body, 2)[0]
            end = at + length if length else 0  # 0: up to the end of the file
        yield marker, body
        at += 2 + size
