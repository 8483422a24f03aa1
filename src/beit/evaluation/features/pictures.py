"""Fixed sets of pictures whose features are measured again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from beit.data import Batch, BrokenPicture, Collate, ImageSource, ViewDataset, evaluation_batches

Shown = Callable[[Any, np.random.Generator], Mapping[str, Any]]  # a picture, as it is opened, to its views
_MOST_KEPT = 2**27  # bytes of a set that are kept in memory; a larger one is read again every time


class PictureSet:
    """Some pictures in the same views every time, as batches; a small set is read once and kept.

    Attributes:
        broken: Pictures that were left out in the newest pass that read them.

    Args:
        source: The pictures; also an attribute.
        shown: Their views.
        seed: Of the views, if they are random.
        batch_size: Pictures per batch.
        workers: Processes that load them.
    """

    def __init__(self, source: ImageSource, shown: Shown, seed: int, batch_size: int, workers: int) -> None:
        self.source = source
        self._dataset = ViewDataset(source, shown, seed, replace_broken=False)
        self._batch_size, self._workers = batch_size, workers
        self._kept: list[Batch] | None = None
        self.broken: list[BrokenPicture] = []

    def batches(self) -> Iterator[Batch]:
        """Yield the usable pictures in order; broken ones are left out."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Batch] = []
        size = 0
        self.broken = []
        for batch in evaluation_batches(self._dataset, Collate(0), self._batch_size, self._workers):
            self.broken += batch.broken
            if not batch.indices:
                continue
            size += sum(tensor.nbytes for tensor in batch.tensors.values())
            kept = [*kept, batch] if size <= _MOST_KEPT else []
            yield batch
        if size <= _MOST_KEPT:
            self._kept = kept


def missing_labels(bank: ImageSource, queries: ImageSource, k: int) -> str | None:
    """Return the reason why features cannot be measured with the labels of two sets of pictures; None if they can.

    Args:
        bank: Training pictures.
        queries: Held-out pictures.
        k: Neighbours that vote.
    """
    if any(source.labels is None or source.label_kind != "class" for source in (bank, queries)):
        return "the pictures have no label of one class each"
    if bank.classes != queries.classes:
        return "training and held-out pictures have different classes"
    if len(np.unique(np.asarray(bank.labels))) < 2:
        return "the training pictures are of one class"
    if len(bank) < k:
        return f"{len(bank)} training pictures are fewer than the {k} neighbours of monitor.k"
    return None
