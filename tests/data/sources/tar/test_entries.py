"""Entries of hostile tar files: every one ends in a result or one error, soon and in little memory."""

import io
import json
import random
import tarfile

import numpy as np
import pytest

from beit.data import open_source
from beit.data.sources.tar.index import read_index
from beit.errors import BeitError, DataError
from tests.shards import picture_bytes, write_tar
from tests.watchdog import assert_within


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def header(name, size, kind=tarfile.REGTYPE):
    """The block of an entry with a size that `tarfile` would not write."""
    entry = tarfile.TarInfo(name)
    entry.type = kind
    block = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = (size % 2**96).to_bytes(12, "big") if size < 0 or size >= 2**33 else b"%011o\0" % size
    if size < 0 or size >= 2**33:
        block[124] = 0xFF if size < 0 else 0x80
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records):
    """The blocks of an extended header."""
    text = b""
    for key, value in records.items():
        record = b" %s=%s\n" % (key, value)
        length = next(n for n in range(len(record), len(record) + 9) if len(b"%d" % n) + len(record) == n)
        text += b"%d" % length + record
    return header("x", len(text), tarfile.XHDTYPE) + text + bytes(-len(text) % 512)


BLOCK = bytes(512)
GOOD = header("a.png", 10) + b"picture".ljust(512, b"\0")
HOSTILE = {
    "back to itself": header("a.png", -512),
    "back to the one before": GOOD + header("b.png", -1536),
    "back by its extension": pax({b"size": b"-512"}) + header("a.png", 0),
    "a terabyte of picture": header("a.png", 2**40) + BLOCK,
    "a terabyte of label": header("a.cls", 2**40) + BLOCK,
    "a terabyte of extension": header("a.png", 2**40, tarfile.XHDTYPE) + BLOCK,
    "a terabyte of name": header("a.png", 2**40, tarfile.GNUTYPE_LONGNAME) + BLOCK,
    "a name without end": header("a", 0, tarfile.GNUTYPE_LONGNAME) * 3000,
    "a sparse map without end": pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"})
    + header("a.png", 512)
    + b"99999999\n".ljust(512, b"\0"),
    "an old sparse map without end": header("a.png", 512, tarfile.GNUTYPE_SPARSE)[:482] + b"\x01" * 30,
    "labels of two megabytes": header("a.png", 0) + header("a.cls", 2**21) + bytes(2**21),
    "no bytes": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_at_once(tmp_path, name):
    (tmp_path / "x.tar").write_bytes(HOSTILE[name] + 2 * BLOCK)
    with assert_within(seconds=5, megabytes=64), pytest.raises(DataError):
        read_index(tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("part", "content", "label"),
    [
        ("cls", b"--5", "--5"), ("cls", b"-5", "-5"), ("cls", b"9" * 5000, None), ("cls", b"9" * 400, "9" * 400),
        ("json", b'{"label": ' + b"9" * 400 + b"}", ""), ("json", b"[" * 200_000, ""),
        ("json", json.dumps({"label": "\ud800"}).encode(), ""), ("cls", b"a" * 100_000, None),
    ],
)  # fmt: skip
def test_classes_that_no_array_holds(tmp_path, part, content, label):
    write_tar(tmp_path / "x.tar", [("a.png", picture_bytes(1)), (f"a.{part}", content)])
    if label is None:
        with pytest.raises(DataError, match="the class"):
            open_source(str(tmp_path / "x.tar"))
    else:
        assert open_source(str(tmp_path / "x.tar")).classes == ([label] if label else None)


def test_a_picture_too_large_to_read_is_broken_alone(tmp_path):
    with (tmp_path / "x.tar").open("wb") as file:  # sparse on the disk
        file.write(header("a.png", 2**31))
        file.seek(2**31, io.SEEK_CUR)
        file.write(header("b.png", len(picture_bytes(1))) + picture_bytes(1).ljust(1024, b"\0")[:1024] + 2 * BLOCK)
    source = open_source(str(tmp_path / "x.tar"))
    with pytest.raises(DataError, match=r"a\.png has 2147483648 bytes; expected a picture of at most"):
        source.load(0)
    source.load(1)


def test_damaged_at_random_it_is_read_or_refused(tmp_path):
    files = [((f"{n}.png", picture_bytes(n)), (f"{n}.cls", b"%d" % n)) for n in range(3)]
    write_tar(tmp_path / "good.tar", [file for pair in files for file in pair])
    good, draw = (tmp_path / "good.tar").read_bytes(), random.Random(3)  # noqa: S311
    for number in range(150):
        bad = bytearray(good)
        for _ in range(draw.randint(1, 8)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        (tmp_path / f"{number}.tar").write_bytes(bad)
        with assert_within(seconds=5, megabytes=256):
            try:
                source = open_source(str(tmp_path / f"{number}.tar"))
                np.asarray(source.load(0))
            except BeitError:
                continue
