"""Index of the pictures in a tar shard: read from its headers once, then cached.

Samples are grouped as WebDataset does: neighbours whose names agree up to the first dot of the base name are one
sample, and what follows the dot names a part of it, such as `jpg`, `cls` or `json`. Pictures of which numbers differ,
such as `cat.0.jpg` and `cat.1.jpg`, are samples of their own, unless a label stands before them.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import tarfile
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.index_cache import Arrays, cache_file, load_index, save_arrays
from beit.data.sources.shard_file import ShardFile, open_shard, state_of
from beit.data.sources.source import check_name
from beit.data.sources.tar.entries import TarEntries
from beit.errors import ConnectionLostError, DataError
from beit.files import strict_json
from beit.image import EXTENSIONS
from beit.image.listing import SYSTEM_FOLDERS

_LAYOUT = 7  # of a cached index; another number makes them all anew
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_AHEAD, _AHEAD_OF_ONE = 8 << 20, 1 << 13  # bytes to fetch at once of a shard elsewhere: all headers, or those of one
_NUMBER = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")
_MOST_PADDING = 2**20  # bytes of zeros behind the end of an archive


@dataclass(frozen=True)
class TarIndex:
    """The samples of a shard that have a picture.

    Attributes:
        headers: Where the entry of each picture begins, in bytes.
        offsets: Where its content begins.
        sizes: How long that is.
        labels: Class of each sample, whole numbers or names; None if some have none.
        folders: Folders that the pictures lie in.
        folder_of: Number of each picture's folder.
        passed_over: Number of files of each ending that belong to no picture.
        digest: Hash of names, places and sizes.
    """

    headers: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[Any] | None
    folders: NDArray[Any]
    folder_of: NDArray[np.int32]
    passed_over: dict[str, int]
    digest: str


@dataclass
class _Sample:
    picture: tarfile.TarInfo | None = None
    plain: bool = False  # the picture's part is named by its format alone: `jpg`, not `mask.jpg`
    label: str | int | None = field(default=None)
    endings: list[str] = field(default_factory=list[str])
    beside: list[str] = field(default_factory=list[str])  # what is not read of a sample with a picture


def shard_index(path: ShardFile, endings: frozenset[str] = EXTENSIONS) -> TarIndex:
    """Return the index of a shard, from the cache if that has one of the file as it is.

    Args:
        path: The shard.
        endings: Of the files in it that are pictures.

    Raises:
        DataError: With what is wrong with the shard.
    """
    more = sorted(endings - EXTENSIONS)
    known = np.array([str(_LAYOUT), *(str(part) for part in state_of(path)), *more])
    cached = cache_file("shards", os.fsencode(path.absolute()) if isinstance(path, Path) else str(path).encode())
    index = _load(cached, known)
    if index is None:
        index = read_index(path, endings)
        _save(cached, known, index)
    return index


def read_index(path: ShardFile, endings: frozenset[str] = EXTENSIONS) -> TarIndex:
    """Return the index of a shard from its headers; no picture is read.

    Args:
        path: The shard.
        endings: Of the files in it that are pictures.

    Raises:
        DataError: With what is wrong with the shard.
    """
    found: list[tuple[int, int, int]] = []
    labels: list[str | int | None] = []
    folders: dict[str, int] = {}
    folder_of: list[int] = []
    passed_over: Counter[str] = Counter()
    digest = hashlib.sha256()
    try:
        with open_shard(path, _AHEAD) as file:
            for sample in _samples(file, endings):
                if (picture := sample.picture) is None:
                    passed_over.update(sample.endings)
                else:
                    passed_over.update(sample.beside)
                    folder_of.append(folders.setdefault(_folder(picture.name), len(folders)))
                    found.append((picture.offset, picture.offset_data, picture.size))
                    labels.append(sample.label)
                    digest.update(f"{picture.name} {found[-1]}".encode("utf-8", "surrogateescape"))
            labelled = sum(label is not None for label in labels)
            if 0 < labelled < len(labels):
                passed_over[f"labels, because {len(labels) - labelled:,} samples have none"] = labelled
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None
    except (DataError, ConnectionLostError):
        raise
    except Exception as error:  # a damaged shard makes tarfile raise nearly anything
        raise DataError(f"it is damaged or no tar file ({error or type(error).__name__})") from None
    if not found:
        raise DataError(f"it holds no pictures; expected files ending in {', '.join(sorted(endings))}")
    headers, offsets, sizes = np.array(found, dtype=np.int64).T.copy()
    places = np.array(list(folders)), np.array(folder_of, np.int32)
    return TarIndex(headers, offsets, sizes, _as_array(labels), *places, dict(passed_over), digest.hexdigest())


def _folder(name: str) -> str:
    return posixpath.normpath(posixpath.dirname(_with_slashes(name)))


def _with_slashes(name: str) -> str:
    """Return the name of an entry with "/" between folders, where a program on Windows has written backslashes."""
    return name if "/" in name else name.replace("\\", "/")


def member_name(path: ShardFile, header: int) -> str:
    """Return the name of the file whose entry begins at a place of a shard."""
    with open_shard(path, _AHEAD_OF_ONE) as file:
        file.seek(header)
        member = next(iter(TarEntries(file)), None)
    return member.name if member is not None else f"byte {header}"


def _samples(file: IO[bytes], endings: frozenset[str]) -> Iterator[_Sample]:
    """Yield the samples of a shard in their order.

    Raises:
        DataError: If it is compressed or ends before its end.
        TarError: If it is no tar file.
    """
    begin = file.read(8)
    for magic, name in _COMPRESSED.items():
        if begin.startswith(magic):
            raise DataError(
                f"it is compressed by {name}, so nothing in it can be found by its place; unpack it to .tar"
            )
    file.seek(0)
    entries = TarEntries(file)
    others: Counter[str] = Counter()
    for _, members in groupby(_files(entries, others), key=lambda member: member[0]):
        sample = _Sample()
        for _, part, member in members:
            if sample.picture is not None and not sample.plain and sample.label is None and _numbered(part, endings):
                yield sample
                sample = _Sample()
            _add(sample, part, member, entries, endings)
        yield sample
    yield _Sample(endings=list(others.elements()))
    file.seek(entries.end)  # tarfile takes whatever is no header for the end
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"it is cut off or damaged at byte {entries.end}")
    if file.read(_MOST_PADDING).strip(b"\0"):
        raise DataError(
            f"it goes on behind its end at byte {entries.end}; expected one tar file, not several in a row: name them "
            "one by one, or join them with tar --concatenate"
        )


def _numbered(part: str, endings: frozenset[str]) -> bool:
    """Return whether a part is a picture of its own: `0.jpg` of `cat.0.jpg` and `cat.1.jpg`, and not `mask.jpg`."""
    name, _, ending = part.rpartition(".")
    return f".{ending}" in endings and any(character.isdecimal() for character in name)


def _files(entries: TarEntries, others: Counter[str]) -> Generator[tuple[str, str, tarfile.TarInfo]]:
    """Yield (key of the sample, name of the part, entry) of every file but for hidden ones.

    What is none, and what systems and programs have put in, is counted in `others`.
    """
    for member in entries:
        folder, _, base = _with_slashes(member.name).rpartition("/")
        key, _, part = base.partition(".")
        ending = f".{part.rpartition('.')[2].lower()}" if part else ""
        if not key or member.isdir():
            continue
        if system := next((name for name in folder.split("/") if name.lower() in SYSTEM_FOLDERS), None):
            others[f"{ending} in {system}"] += 1
        elif not member.isreg():
            others[f"{ending} that are links or devices"] += 1
        else:
            yield f"{folder}/{key}", part.lower(), member


def _add(sample: _Sample, part: str, member: tarfile.TarInfo, entries: TarEntries, endings: frozenset[str]) -> None:
    """Take a part into a sample; of several pictures the first whose part is named by its format alone."""
    ending = f".{part.rpartition('.')[2]}" if part else ""
    sample.endings.append(ending)
    label = _label(part, entries.content(member)) if part in ("cls", "json") else None
    if label is not None:
        sample.label = label if sample.label is None else sample.label
        return
    plain = f".{part}" in endings
    picture = plain or ending in endings
    if not picture:
        sample.beside.append(f"{ending} without a label" if part in ("cls", "json") else ending)
    if picture and sample.picture is not None:
        sample.beside.append(f"{ending} of samples that have a picture already")
    if picture and (sample.picture is None or (plain and not sample.plain)):
        sample.picture, sample.plain = member, plain


def _label(part: str, content: bytes) -> str | int | None:
    """Return the class in a `.cls` or a `.json` file, None if there is none."""
    if part == "cls":
        text = content.decode("utf-8", "replace").strip()
        number = _NUMBER.fullmatch(text)
        return _checked(int(number[1]) if number else text) if text else None
    try:
        value = strict_json(content.decode("utf-8"), finite=False)
    except (ValueError, RecursionError):
        return None
    label = value.get("label") if isinstance(value, dict) else None
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return _checked(label) if isinstance(label, str | int) and not isinstance(label, bool) else None


def _checked(label: str | int) -> str | int:
    """Return a class that an array can hold, as a name if the number is too large.

    Raises:
        DataError: If its name is too long, or holds half a character.
    """
    if isinstance(label, int):
        return label if -(2**63) <= label < 2**63 else str(label)
    check_name(label)
    return label


def _as_array(labels: list[str | int | None]) -> NDArray[Any] | None:
    if None in labels:
        return None
    return np.array(labels) if all(isinstance(label, int) for label in labels) else np.array([str(x) for x in labels])


def _load(cached: Path, known: NDArray[np.str_]) -> TarIndex | None:
    """Return the cached index, None if there is none of the file as it is."""

    def index(stored: Arrays) -> TarIndex | None:
        if not np.array_equal(stored["known"], known):
            return None
        headers, offsets, sizes = stored["places"]
        labels = stored["labels"] if len(stored["labels"]) else None
        folders, passed_over = (stored["folders"], stored["folder_of"]), dict(json.loads(str(stored["passed_over"])))
        return TarIndex(headers, offsets, sizes, labels, *folders, passed_over, str(stored["digest"]))

    return load_index(cached, ("known", "places", "labels", "folders", "folder_of", "passed_over", "digest"), index)


def _save(cached: Path, known: NDArray[np.str_], index: TarIndex) -> None:
    places = np.stack((index.headers, index.offsets, index.sizes))
    labels = np.empty(0) if index.labels is None else index.labels
    save_arrays(
        cached,
        {
            "known": known,
            "places": places,
            "labels": labels,
            "folders": index.folders,
            "folder_of": index.folder_of,
            "passed_over": np.array(json.dumps(index.passed_over)),
            "digest": np.array(index.digest),
        },
    )
