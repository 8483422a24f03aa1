"""Torch dataset of the views of a collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from beit.data.broken import BrokenPicture
from beit.data.sampler import Position, Purpose, generator
from beit.data.sources.source import ImageSource
from beit.data.tokens import StoredTokens
from beit.errors import DataError

MOST_REPLACEMENTS = 100  # neighbours to try in place of a broken picture


@dataclass(frozen=True)
class Sample:
    """The views of one picture, where it came from, and the broken pictures met on the way to it."""

    position: Position
    views: dict[str, Any]
    label: int | NDArray[np.float32] | None
    broken: tuple[BrokenPicture, ...] = ()


class ViewDataset(Dataset[Sample | BrokenPicture]):
    """The views of pictures at (epoch, index).

    In training a broken picture is replaced by the next good one, so that batches keep their size; in evaluation it is
    left out. Both report it. One that has gone since it was listed ends what reads it.

    Args:
        source: The pictures; also an attribute.
        views: Views of each: called with what the source opens, and a generator; also an attribute.
        seed: Of the random views.
        replace_broken: Whether a broken picture is replaced.
        fixed_views: Random views per picture, which the epochs repeat; None draws new ones in every epoch.
        stored: Visual tokens of these fixed views, (h, w) for the number of a picture in its collection and of a view.
    """

    def __init__(
        self,
        source: ImageSource,
        views: Callable[[Any, np.random.Generator], Mapping[str, Any]],
        seed: int,
        replace_broken: bool,
        fixed_views: int | None = None,
        stored: StoredTokens | None = None,
    ) -> None:
        self.source, self.views, self._seed, self._replace = source, views, seed, replace_broken
        self._fixed_views, self._stored = fixed_views, stored

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shard_sizes(self) -> NDArray[np.int64] | None:
        """Numbers of pictures in the files that hold many each, None if there are no such files."""
        return self.source.shard_sizes

    def name(self, index: int) -> str:
        """Return the name of a picture for messages."""
        return self.source.name(index)

    def __getitem__(self, position: Position) -> Sample | BrokenPicture:
        epoch, index = position
        broken: list[BrokenPicture] = []
        for _ in range(MOST_REPLACEMENTS if self._replace else 1):
            try:
                views = self._view(epoch, index)
            except DataError as error:
                broken.append(BrokenPicture(self.source.name(index), str(error)))
                index = (index + 1) % len(self.source)
                continue
            return Sample((epoch, index), views, self._label(index), tuple(broken))
        return broken[0]

    def _label(self, index: int) -> int | NDArray[np.float32] | None:
        labels = self.source.labels
        if labels is None:
            return None
        return int(labels[index]) if labels.ndim == 1 else labels[index]

    def _view(self, epoch: int, index: int) -> dict[str, Any]:
        """Return the views of a picture; by its number in the collection, whatever part of it this source is."""
        view = epoch if self._fixed_views is None else epoch % self._fixed_views
        origin = self.source.origin(index)
        views: dict[str, Any] = {}
        if self._stored is not None:
            views["visual_tokens"] = self._stored(origin, view)
        return {**self.views(self.source.open(index), generator(self._seed, Purpose.VIEW, view, origin)), **views}
