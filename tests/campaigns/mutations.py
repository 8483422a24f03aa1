"""Damage to files: by chance, and as who knows the formats would do it."""

import json
import random
import struct
from typing import Any

NUMBERS = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
WORDS = [
    b"\0", b"\xff" * 8, b"NaN", b"Infinity", b"1e400", b"-1", b"9" * 400, b"[" * 500, b"{" * 500, b'"\\ud800"', b"*x ",
    b"&x ",
    b"null", b"true", b"../../../etc/passwd", b"%!PS", b"#EXTM3U\n", b"\r\n", b'"', b",", b"cos\nsystem\n(S'x'\ntR.",
    b"\x80\x04\x95", b"PK\x03\x04", b"a" * 3000, b"!!python/object/apply:os.system ", b"<!--", b"$a_{$",
]  # fmt: skip
VALUES = [
    None, True, -1, 0, 1.5, 1e308, "", "x" * 300, "\u00e9\n", "../../x", "nan", [], {}, [[]], {"a": {}}, 2**70,
    [1, "a"],
]  # fmt: skip


def mutated(draw: random.Random, sound: list[bytes]) -> bytes:
    """Return a sound content with some damage."""
    content = bytearray(draw.choice(sound))
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8, 30))):
        content = draw.choice(KINDS)(draw, content, sound)
        if len(content) > 2**21:
            return bytes(content[: 2**21])
    return bytes(content)


def _bit(draw: random.Random, content: bytearray, _: list[bytes]) -> bytearray:
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def _byte(draw: random.Random, content: bytearray, _: list[bytes]) -> bytearray:
    if content:
        content[_place(draw, content)] = draw.randrange(256)
    return content


def _number(draw: random.Random, content: bytearray, _: list[bytes]) -> bytearray:
    form = draw.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    place = _place(draw, content)
    content[place : place + size] = struct.pack(form, draw.choice(NUMBERS) % 256**size)
    return content


def _cut(draw: random.Random, content: bytearray, _: list[bytes]) -> bytearray:
    return content[: draw.randrange(len(content) + 1)]


def _remove(draw: random.Random, content: bytearray, _: list[bytes]) -> bytearray:
    place = _place(draw, content)
    del content[place : place + draw.choice((1, 2, 16, 512))]
    return content


def _repeat(draw: random.Random, content: bytearray, _: list[bytes]) -> bytearray:
    place, size = _place(draw, content), draw.choice((1, 8, 100, 512))
    content[place:place] = content[place : place + size] * draw.choice((1, 2, 50))
    return content


def _word(draw: random.Random, content: bytearray, _: list[bytes]) -> bytearray:
    place, word = _place(draw, content), draw.choice(WORDS)
    content[place : place + draw.choice((0, len(word)))] = word
    return content


def _splice(draw: random.Random, content: bytearray, sound: list[bytes]) -> bytearray:
    other = draw.choice(sound)
    return content[: draw.randrange(len(content) + 1)] + other[draw.randrange(len(other) + 1) :]


def _value(draw: random.Random, content: bytearray, _: list[bytes]) -> bytearray:
    """Put another value, or none, into a sound JSON: what a reader trusts because its syntax is right."""
    try:
        return bytearray(json.dumps(_changed(draw, json.loads(content))).encode())
    except (ValueError, RecursionError):  # no JSON, or one that is deeper than Python goes
        return content


def _changed(draw: random.Random, tree: Any) -> Any:
    holders = [tree] if isinstance(tree, dict | list) else []
    for holder in holders:
        inside = holder.values() if isinstance(holder, dict) else holder
        holders += [value for value in inside if isinstance(value, dict | list)]
    holder: Any = draw.choice([holder for holder in holders if holder] or [[0]])
    place = draw.choice([*holder] if isinstance(holder, dict) else range(len(holder)))
    if draw.random() < 0.2:
        del holder[place]
    else:
        holder[place] = draw.choice(VALUES)
    return tree


def _place(draw: random.Random, content: bytearray) -> int:
    """Return a place, half of the time near the beginning, where headers are."""
    return draw.randrange(max(1, min(len(content), 600) if draw.random() < 0.5 else len(content)))


KINDS = (_bit, _byte, _number, _cut, _remove, _repeat, _word, _splice, _value, _value)
