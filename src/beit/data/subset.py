"""Parts of a source: training and validation, and a few pictures per class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from beit.data.random import Purpose, generator
from beit.data.source import ImageSource
from beit.errors import DataError
from beit.image import StoredPicture


class Subset(ImageSource):
    """Some pictures of a source, renumbered."""

    def __init__(self, source: ImageSource, indices: NDArray[np.int64]) -> None:
        self._source = source
        self._indices = indices
        self.classes = source.classes
        self.labels = source.labels[indices] if source.labels is not None else None
        self.label_kind = source.label_kind
        self.shard_sizes = _shard_sizes(source.shard_sizes, indices)
        self.broken_shards = source.broken_shards
        self.look_ahead = source.look_ahead
        self.exact_contents = source.exact_contents

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        """Return the name in the whole source."""
        return self._source.name(int(self._indices[index]))

    def open(self, index: int) -> StoredPicture:
        """Return the picture, as yet undecoded."""
        return self._source.open(int(self._indices[index]))

    def origin(self, index: int) -> int:
        """Return the number in the whole source."""
        return self._source.origin(int(self._indices[index]))

    def contents(self) -> Iterator[str]:
        """Yield the lines of the whole source."""
        return self._source.contents()

    def fetch(self, now: Iterable[int], soon: Iterable[int]) -> None:
        """Have at hand what holds some pictures, and begin to fetch what holds others."""
        self._source.fetch(self._indices[list(now)].tolist(), self._indices[list(soon)].tolist())


def _shard_sizes(sizes: NDArray[np.int64] | None, indices: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return how many pictures of each shard are chosen; None if they are not in the order of the shards."""
    if sizes is None or np.any(indices[1:] < indices[:-1]):
        return None
    ends = np.searchsorted(indices, np.cumsum(sizes))
    return np.diff(ends, prepend=0).astype(np.int64)


def split(source: ImageSource, share: float, seed: int, stratified: bool = False) -> tuple[Subset, Subset]:
    """Return (training, validation), the latter holding `share` of the pictures, of every class if `stratified`.

    Raises:
        DataError: If the source, or with `stratified` a class, has fewer than two pictures.
    """
    if source.labels is None or not stratified or source.label_kind != "class":
        groups = [np.arange(len(source))]
    else:
        groups = [np.flatnonzero(source.labels == label) for label in range(len(source.classes or ()))]
    rng = generator(seed, Purpose.SPLIT)
    validation: list[NDArray[np.int64]] = []
    for label, group in enumerate(groups):
        if len(group) < 2:
            what = f"class {source.classes[label]!r} has" if source.classes and stratified else "there is"
            raise DataError(
                f"{what} {len(group)} picture{'s' * (len(group) != 1)}; expected at least 2, one to train on and one "
                "to validate on: add pictures, or name validation pictures with data.val_path"
            )
        count = min(max(1, round(share * len(group))), len(group) - 1)
        validation.append(rng.permutation(group)[:count])
    held_out = np.sort(np.concatenate(validation))
    return Subset(source, np.setdiff1d(np.arange(len(source)), held_out)), Subset(source, held_out)


def few_per_class(source: ImageSource, count: int, seed: int) -> Subset:
    """Return `count` random pictures of every class.

    Raises:
        DataError: If the source has no labels, or a class has fewer pictures.
    """
    labels = source.labels
    if labels is None or source.classes is None or source.label_kind != "class":
        raise DataError("data.per_class needs pictures of one class each; put them into one folder per class")
    rng = generator(seed, Purpose.SPLIT, count)
    chosen: list[NDArray[np.int64]] = []
    for label, name in enumerate(source.classes):
        group = np.flatnonzero(labels == label)
        if len(group) < count:
            raise DataError(f"class {name!r} has {len(group)} pictures; data.per_class asks for {count}: lower it")
        chosen.append(rng.permutation(group)[:count])
    return Subset(source, np.sort(np.concatenate(chosen)))


def spread(source: ImageSource, count: int) -> ImageSource:
    """Return `count` pictures at even distances, all of them if there are no more: folders are sorted by class."""
    if len(source) <= count:
        return source
    return Subset(source, np.linspace(0, len(source) - 1, count).astype(np.int64))
