"""Splits of a collection into training and validation, and subsets of a few pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beit.data.rng import Purpose, generator
from beit.data.sources.source import ImageSource, Subset
from beit.errors import DataError


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
