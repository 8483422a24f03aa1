"""Pictures in tar shards, as WebDataset packs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data.open_files import OpenFiles
from beit.data.progress import shown
from beit.data.source import BrokenShard, ImageSource, Labels
from beit.data.tar_index import TarIndex, member_name, shard_index
from beit.errors import DataError
from beit.image import StoredPicture, open_image

_AT_ONCE = 8  # shards indexed: on a network file system most of the time is waiting


class TarSource(ImageSource):
    """The pictures of tar files, in the order of the files and of their entries.

    An index tells where each picture lies, so that any can be read at once, by any process. Samples have labels if all
    of them have one, in `.cls` or under `label` in `.json`.
    """

    def __init__(self, paths: Sequence[Path], min_side: int = 8) -> None:
        self._min_side = min_side
        broken: list[BrokenShard] = []
        indexed: list[tuple[Path, TarIndex]] = []
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            results = threads.map(_index_or_reason, paths)
            for path, result in zip(paths, shown(results, len(paths), "indexing shards"), strict=True):
                if isinstance(result, TarIndex):
                    indexed.append((path, result))
                else:
                    broken.append(BrokenShard(str(path), result))
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
        self._files = OpenFiles()

    def __len__(self) -> int:
        return len(self._sizes)

    def name(self, index: int) -> str:
        """Return the shard and the file in it."""
        path = self._path(index)
        try:
            return f"{path}/{member_name(path, int(self._headers[index]))}"
        except Exception:  # a damaged shard makes tarfile raise nearly anything, and it needs a name all the same
            return f"{path}, byte {self._headers[index]}"

    def open(self, index: int) -> StoredPicture:
        """Return the picture, as yet undecoded."""
        path, size = self._path(index), int(self._sizes[index])
        try:
            content = self._files.read(path, int(self._offsets[index]), size)
        except OSError as error:
            raise DataError(f"{self.name(index)} cannot be read: {error.strerror or error}") from None
        if len(content) < size:
            raise DataError(f"{self.name(index)} is cut off: {path} has become shorter; fetch it again")
        return open_image(content, _Name(self, index), self._min_side)

    def contents(self) -> Iterator[str]:
        """Yield the name of every shard, and the hash of the names, places and sizes of its pictures."""
        for path, digest in self._shards:
            yield f"{path.name} {digest}"

    def _path(self, index: int) -> Path:
        return self._shards[int(np.searchsorted(self._ends, index, side="right"))][0]


@dataclass(frozen=True)
class _Name:
    """The name of a picture, whose header is read only when it is wanted."""

    source: TarSource
    index: int

    def __str__(self) -> str:
        return self.source.name(self.index)


def _index_or_reason(path: Path) -> TarIndex | str:
    try:
        return shard_index(path)
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
