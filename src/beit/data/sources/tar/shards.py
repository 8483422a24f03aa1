"""Tar shards as a collection, as WebDataset packs them, or with a folder for every class."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.key_folders import labels_of_files
from beit.data.sources.progress import progress
from beit.data.sources.shard_file import ShardFile, ShardState, folder_of, located, state_of, unchanged
from beit.data.sources.source import BrokenShard, ImageSource, Labels, still_there
from beit.data.sources.split_names import are_splits
from beit.data.sources.tar.index import TarIndex, member_name, shard_index
from beit.errors import DataError, GoneError
from beit.files import regular_descriptor
from beit.hub import RemoteFiles
from beit.image import (
    MOST_BYTES,
    BandOptions,
    LazyPicture,
    PassedOver,
    endings_of,
    open_image,
    say_passed_over,
)

_AT_ONCE = 8  # shards indexed: on a network file system most of the time is waiting
_MOST_OPEN = 64  # files: far below what systems allow a process


class TarSource(ImageSource):
    """The pictures of tar files, in the order of the files and of their entries.

    An index holds the place of each picture, so that any can be read at once, by any process. Samples have labels if
    all of them have one, in `.cls` or under `label` in `.json`; if none has, and pictures lie in several folders, these
    are the classes.

    Args:
        paths: The files.
        min_side: Pictures with a shorter side, in pixels, count as broken.
        mixed: Whether folders called train and val are taken as classes, rather than refused.
        bands: Reading of pictures of other than three channels, arrays among them; None: as RGB.
    """

    def __init__(
        self, paths: Sequence[ShardFile], min_side: int = 8, mixed: bool = False, bands: BandOptions | None = None
    ) -> None:
        self._min_side = min_side
        broken: list[BrokenShard] = []
        indexed: list[tuple[ShardFile, TarIndex]] = []
        states: dict[Path, ShardState] = {}
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            results = threads.map(_index_or_reason, paths, repeat(endings_of(bands)))
            for path, result in zip(paths, progress(results, len(paths), "indexing shards"), strict=True):
                if isinstance(result, str):
                    broken.append(BrokenShard(str(path), result))
                    continue
                file, index, state = result
                indexed.append((file, index))
                if isinstance(file, Path):
                    states[file] = state
        if not indexed:
            raise DataError(
                f"none of the {len(paths)} tar files can be read; first: {broken[0].name}: {broken[0].reason}"
                if len(broken) > 1
                else f"{broken[0].name} cannot be read: {broken[0].reason}"
            )
        self.broken_shards = broken
        self._shards = [(path, index.digest) for path, index in indexed]
        self.shard_sizes = np.array([len(index.sizes) for _, index in indexed], dtype=np.int64)
        self._ends = np.cumsum(self.shard_sizes)
        self._headers, self._offsets, self._sizes = (
            np.concatenate([getattr(index, part) for _, index in indexed]) for part in ("headers", "offsets", "sizes")
        )
        self.classes, self.labels = _classes([index.labels for _, index in indexed])
        unlabelled = sum(index.labels is None for _, index in indexed)
        if unlabelled == len(indexed):
            self.classes, self.labels = labels_of_files([str(path) for path, _ in indexed], self.shard_sizes.tolist())
            if self.labels is None:
                self.classes, self.labels = folder_classes([(path.stem, index) for path, index in indexed], mixed)
        passed_over = PassedOver(sum((Counter(index.passed_over) for _, index in indexed), Counter()))
        remark = f"labels are left out, because {unlabelled:,} of {len(indexed):,} shards have none"
        remarks = [remark] if 0 < unlabelled < len(indexed) else []
        say_passed_over(str(paths[0]) if len(paths) == 1 else folder_of(paths[0]), passed_over, *remarks)
        self._files, self._remote = OpenFiles(states), RemoteFiles()

    def __len__(self) -> int:
        return len(self._sizes)

    def name(self, index: int) -> str:
        """Return the shard and the file in it."""
        path = self._path(index)
        try:
            return f"{path}/{member_name(path, int(self._headers[index]))}"
        except Exception:  # a damaged shard makes tarfile raise nearly anything, and it needs a name all the same
            return f"{path}, byte {self._headers[index]}"

    def open(self, index: int) -> LazyPicture:
        """Return the picture, as yet undecoded."""
        path, size = self._path(index), int(self._sizes[index])
        if size > MOST_BYTES:
            raise DataError(f"{self.name(index)} has {size} bytes; expected a picture of at most {MOST_BYTES}")
        try:
            content = self._read(path, int(self._offsets[index]), size)
        except OSError as error:
            raise DataError(f"{self.name(index)} cannot be read: {error.strerror or error}") from None
        return open_image(content, _Name(self, index), self._min_side, self.bands)

    def contents(self) -> Iterator[str]:
        """Yield the name of every shard, and the hash of the names, places and sizes of its pictures."""
        for path, digest in self._shards:
            yield f"{path.name} {digest}"

    def _read(self, path: ShardFile, offset: int, size: int) -> bytes:
        """Return a part of a shard, which is as it was when it was indexed.

        Raises:
            GoneError: If it is not, or cannot be had any more.
        """
        if isinstance(path, Path):
            with still_there(path):
                return self._files.read(path, offset, size)
        try:
            return self._remote.read(path, offset, size)
        except DataError as error:  # of the shard: it was there when it was listed
            raise GoneError(str(error)) from None

    def _path(self, index: int) -> ShardFile:
        return self._shards[int(np.searchsorted(self._ends, index, side="right"))][0]


class OpenFiles:
    """Parts of files, read while the files used last stay open.

    Reading does not move the position of a file, which forked processes share.

    Args:
        states: Of the files when they were listed; others are not compared.
    """

    def __init__(self, states: Mapping[Path, ShardState] | None = None) -> None:
        self._states = states or {}
        self._handles: OrderedDict[Path, int] = OrderedDict()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Return a part of a file, shorter than asked for only at the end of the file.

        Raises:
            OSError: If it cannot be read.
            GoneError: If it is not as it was: what is read would be of other pictures.
        """
        handle = self._handle(path)
        content = os.pread(handle, size, offset)
        while len(content) < size and (more := os.pread(handle, size - len(content), offset + len(content))):
            content += more
        unchanged(path, self._states.get(path), os.fstat(handle))  # after it was read
        return content

    def _handle(self, path: Path) -> int:
        if path not in self._handles:
            if len(self._handles) >= _MOST_OPEN:
                os.close(self._handles.popitem(last=False)[1])
            self._handles[path] = regular_descriptor(path)
        self._handles.move_to_end(path)
        return self._handles[path]

    def __reduce__(self) -> tuple[type[OpenFiles], tuple[Mapping[Path, ShardState]]]:
        """Drop the handles, which have no meaning in another process."""
        return OpenFiles, (self._states,)

    def __del__(self) -> None:
        for handle in self._handles.values():
            os.close(handle)


@dataclass(frozen=True)
class _Name:
    """Name of a picture, whose tar header is read only when the name is wanted."""

    source: TarSource
    index: int

    def __str__(self) -> str:
        return self.source.name(self.index)


def _index_or_reason(path: ShardFile, endings: frozenset[str]) -> tuple[ShardFile, TarIndex, ShardState] | str:
    try:
        file = located(path)
        state = state_of(file)  # before it is read
        return file, shard_index(file, endings), state
    except DataError as error:
        return str(error)


def _classes(parts: list[NDArray[Any] | None]) -> tuple[list[str] | None, Labels | None]:
    """Return the names of the classes and the class of every sample; nothing if some have none."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None, None
    numbers = all(part.dtype.kind == "i" for part in known)
    distinct, labels = np.unique(
        np.concatenate(known if numbers else [part.astype(str) for part in known]), return_inverse=True
    )
    return [str(value) for value in distinct], labels.astype(np.int64)


def folder_classes(shards: Sequence[tuple[str, TarIndex]], mixed: bool) -> tuple[list[str] | None, Labels | None]:
    """Return the names of the classes and the class of every picture; nothing if they do not lie in several folders.

    Folders around all pictures, and one around those of a shard that is called like it, are no classes.

    Args:
        shards: Name and index of each.
        mixed: Whether folders called train and val are taken as classes, rather than refused.

    Raises:
        DataError: If the folders are splits.
    """
    folders = [[_parts(folder, stem) for folder in index.folders.tolist()] for stem, index in shards]
    every = [parts for of_shard in folders for parts in of_shard]
    depth = _common(every)
    if any(len(parts) <= depth for parts in every):
        return None, None
    names = sorted({parts[depth] for parts in every})
    if not mixed and are_splits(names):
        raise DataError(
            f"a tar file holds the splits {', '.join(names)}; expected one split a file: pack each by itself, and name "
            "them with data.path and data.val_path, or set data.split to all to mix them"
        )
    number = {name: index for index, name in enumerate(names)}
    labels = [
        np.array([number[parts[depth]] for parts in of_shard], np.int64)[index.folder_of]
        for of_shard, (_, index) in zip(folders, shards, strict=True)
    ]
    return names, np.concatenate(labels)


def _parts(folder: str, stem: str) -> list[str]:
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return parts[1:] if parts[:1] == [stem] else parts


def _common(every: Sequence[list[str]]) -> int:
    """Return how many folders all paths begin with in common."""
    first, last = min(every), max(every)
    return next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
