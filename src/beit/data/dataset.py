"""Sources as torch datasets, and their samples as batches.

Legend: B batch, C channels, H x W pixels, N patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from beit.data.ahead import FetchedOrder
from beit.data.mask_plan import MaskPlan
from beit.data.order import Position
from beit.data.random import Purpose, generator
from beit.data.source import ImageSource
from beit.data.token_folder import StoredTokens
from beit.data.workers import leave_the_end_to_the_run
from beit.errors import DataError

MOST_REPLACEMENTS = 100  # neighbours to try in place of a broken picture


@dataclass(frozen=True)
class BrokenPicture:
    """A picture that could not be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """The views of one picture, where it came from, and the broken pictures met on the way to it."""

    position: Position
    views: dict[str, Any]
    label: int | NDArray[np.float32] | None
    broken: tuple[BrokenPicture, ...] = ()


@dataclass
class Batch:
    """Samples, stacked.

    Attributes:
        tensors: pixel_values (B, C, H, W), and what the job asked for of tokenizer_pixels (B, C, h, w),
            visual_tokens (B, rows, columns), bool_masked_pos (B, N) and labels (B,) or (B, K).
        indices: Numbers of the pictures in their source.
        broken: Broken pictures met.
    """

    tensors: dict[str, Tensor]
    indices: list[int]
    broken: list[BrokenPicture] = field(default_factory=list[BrokenPicture])

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on a device."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()}
        return Batch(moved, self.indices, self.broken)


class ViewDataset(Dataset[Sample | BrokenPicture]):
    """The views of pictures at (epoch, index).

    In training a broken picture is replaced by the next good one, so that batches keep their size; in evaluation it is
    left out. Both tell.

    Args:
        source: The pictures.
        views: What to show of each: called with what the source opens, and a generator.
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
        self._source, self._views, self._seed, self._replace = source, views, seed, replace_broken
        self._fixed_views, self._stored = fixed_views, stored

    def __len__(self) -> int:
        return len(self._source)

    @property
    def shard_sizes(self) -> NDArray[np.int64] | None:
        """Numbers of pictures in the files that hold many each, None if there are no such files."""
        return self._source.shard_sizes

    def fetched(self, order: Iterable[list[Position]]) -> Iterable[list[Position]]:
        """Return an order that fetches what its pictures lie in, if that is not at hand."""
        return FetchedOrder(order, self._source) if self._source.look_ahead else order

    def name(self, index: int) -> str:
        """Return what to call a picture in messages."""
        return self._source.name(index)

    def __getitem__(self, position: Position) -> Sample | BrokenPicture:
        epoch, index = position
        broken: list[BrokenPicture] = []
        for _ in range(MOST_REPLACEMENTS if self._replace else 1):
            try:
                views = self._view(epoch, index)
            except DataError as error:
                broken.append(BrokenPicture(self._source.name(index), str(error)))
                index = (index + 1) % len(self._source)
                continue
            return Sample((epoch, index), views, self._label(index), tuple(broken))
        return broken[0]

    def _label(self, index: int) -> int | NDArray[np.float32] | None:
        labels = self._source.labels
        if labels is None:
            return None
        return int(labels[index]) if labels.ndim == 1 else labels[index]

    def _view(self, epoch: int, index: int) -> dict[str, Any]:
        """Return the views of a picture; by its number in the collection, whatever part of it this source is."""
        view = epoch if self._fixed_views is None else epoch % self._fixed_views
        origin = self._source.origin(index)
        views: dict[str, Any] = {}
        if self._stored is not None:
            views["visual_tokens"] = self._stored(origin, view)
        return {**self._views(self._source.open(index), generator(self._seed, Purpose.VIEW, view, origin)), **views}


class Collate:
    """Stack samples; draw their masks together, each from its own (seed, epoch, index)."""

    def __init__(self, seed: int, mask: MaskPlan | None = None) -> None:
        self._seed, self._mask = seed, mask

    def __call__(self, items: Sequence[Sample | BrokenPicture]) -> Batch:
        """Return the batch of some samples; broken pictures are told, not stacked."""
        samples = [item for item in items if isinstance(item, Sample)]
        broken = [item for item in items if isinstance(item, BrokenPicture)]
        broken += [picture for sample in samples for picture in sample.broken]
        tensors: dict[str, Tensor] = {}
        for name in samples[0].views if samples else ():
            tensors[name] = torch.from_numpy(np.stack([sample.views[name] for sample in samples]))
        labels = [sample.label for sample in samples if sample.label is not None]
        if labels:
            tensors["labels"] = torch.from_numpy(np.stack(labels))
        if self._mask is not None and samples:
            tensors["bool_masked_pos"] = self._masks(self._mask, samples)
        return Batch(tensors, [sample.position[1] for sample in samples], broken)

    def _masks(self, plan: MaskPlan, samples: Sequence[Sample]) -> Tensor:
        rngs = [generator(self._seed, Purpose.MASK, *sample.position) for sample in samples]
        return torch.from_numpy(plan.draw(rngs)).flatten(1)


def training_batches(
    dataset: ViewDataset, order: Iterable[list[Position]], collate: Collate, workers: int, pin: bool = False
) -> DataLoader[Batch]:
    """Return the batches of a run, loaded by some worker processes."""
    loader: Any = DataLoader(
        dataset,
        batch_sampler=dataset.fetched(order),
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=leave_the_end_to_the_run,
    )
    return loader


def evaluation_batches(dataset: ViewDataset, collate: Collate, batch_size: int, workers: int) -> DataLoader[Batch]:
    """Return every picture once, in order."""
    positions = [(0, index) for index in range(len(dataset))]
    batches = [positions[first : first + batch_size] for first in range(0, len(positions), batch_size)]
    return training_batches(dataset, batches, collate, workers)
