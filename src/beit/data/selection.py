"""Parts of a collection: held-out shares, few pictures per class, samples, and the classes of another collection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from beit.data.class_names import in_spelling_of
from beit.data.sampler import Purpose, generator
from beit.data.sources.index_cache import Arrays, cache_file, load_index, save_arrays
from beit.data.sources.source import ImageSource, Labels, Subset, spaced
from beit.errors import DataError

LARGE = 1_000_000  # pictures; fewer are divided in a quarter of a second


def split(source: ImageSource, share: float, seed: int, stratified: bool = False) -> tuple[Subset, Subset]:
    """Return (training, validation), the latter holding `share` of the pictures, of every class if `stratified`.

    Of a class that a table names and no picture is of there is nothing to hold out.

    That of a large collection is kept on disk: all processes of a machine, and later runs, draw it once.

    Raises:
        DataError: If the source has fewer than two pictures, or with `stratified` a class a single one.
    """
    if len(source) < LARGE:
        is_held_out = _held_out(source, share, seed, stratified)
    else:
        cached = cache_file("splits", _identity(source, share, seed, stratified))

        def kept(stored: Arrays) -> NDArray[np.bool_]:
            return np.unpackbits(stored["held_out"]).view(np.bool_)[: len(source)]

        is_held_out = load_index(cached, ("held_out",), kept)
        if is_held_out is None or len(is_held_out) != len(source):
            is_held_out = _held_out(source, share, seed, stratified)
            save_arrays(cached, {"held_out": np.packbits(is_held_out)})
    return Subset(source, np.flatnonzero(~is_held_out)), Subset(source, np.flatnonzero(is_held_out))


def _identity(source: ImageSource, share: float, seed: int, stratified: bool) -> bytes:
    """Return what a split depends on; numpy may draw other permutations in another version."""
    digest = hashlib.sha256(json.dumps([len(source), share, seed, stratified, np.__version__]).encode())
    if stratified and source.labels is not None:
        digest.update(f"{source.labels.dtype} {source.label_kind}".encode())
        digest.update(np.ascontiguousarray(source.labels).data)
    return digest.digest()


def _held_out(source: ImageSource, share: float, seed: int, stratified: bool) -> NDArray[np.bool_]:
    """Draw the pictures to validate on, and return for each whether it is one.

    Raises:
        DataError: See `split`.
    """
    if source.labels is None or not stratified or source.label_kind != "class":
        groups = [np.arange(len(source))]
    else:
        groups = _by_class(source.labels, len(source.classes or ()))
    rng = generator(seed, Purpose.SPLIT)
    validation: list[NDArray[np.int64]] = []
    for label, group in enumerate(groups):
        if not len(group) and len(source):
            continue
        if len(group) < 2:
            what = f"class {source.classes[label]!r} has" if source.classes and stratified else "there is"
            raise DataError(
                f"{what} {len(group)} picture{'s' * (len(group) != 1)}; expected at least 2, one to train on and one "
                "to validate on: add pictures, or name validation pictures with data.val_path"
            )
        count = min(max(1, round(share * len(group))), len(group) - 1)
        validation.append(rng.permutation(group)[:count])
    is_held_out = np.zeros(len(source), bool)
    is_held_out[np.concatenate(validation)] = True
    return is_held_out


def _by_class(labels: Labels, classes: int) -> list[NDArray[np.int64]]:
    """Return the places of every class, in order; sorted once, as a look at all labels for each class takes an hour."""
    order = np.argsort(labels, kind="stable")
    edges = np.searchsorted(labels, np.arange(classes + 1), sorter=order)
    return [order[start:end] for start, end in pairwise(edges)]


def few_per_class(source: ImageSource, count: int, seed: int) -> Subset:
    """Return `count` random pictures of every class that has some: tables may name others.

    Raises:
        DataError: If the source has no labels, or a class has fewer pictures.
    """
    labels = source.labels
    if labels is None or source.classes is None or source.label_kind != "class":
        raise DataError("data.per_class needs pictures of one class each; put them into one folder per class")
    rng = generator(seed, Purpose.SPLIT, count)
    chosen: list[NDArray[np.int64]] = []
    for name, group in zip(source.classes, _by_class(labels, len(source.classes)), strict=True):
        if 0 < len(group) < count:
            raise DataError(f"class {name!r} has {len(group)} pictures; data.per_class asks for {count}: lower it")
        chosen.append(rng.permutation(group)[:count])
    return Subset(source, np.sort(np.concatenate(chosen)))


def spread(source: ImageSource, count: int) -> ImageSource:
    """Return `count` pictures at even distances (folders are sorted by class), or all if there are no more."""
    if len(source) <= count:
        return source
    return Subset(source, np.array(spaced(len(source), count), np.int64))


def sample(source: ImageSource, count: int, seed: int) -> ImageSource:
    """Return `count` random pictures in their order, or all if there are no more.

    Of a collection that is fetched shard by shard they are the first ones, or a run would wait for all shards.
    """
    if len(source) <= count:
        return source
    if source.look_ahead:
        return Subset(source, np.arange(count))
    return Subset(source, np.sort(generator(seed, Purpose.SAMPLE).permutation(len(source))[:count]))


def with_classes(source: ImageSource, classes: Sequence[str]) -> ImageSource:
    """Return the pictures with their classes numbered as in another collection, of which it may lack some.

    Raises:
        DataError: If a picture is of a class that the other has not.
    """
    if source.labels is None or source.classes is None or source.classes == list(classes):
        return source
    known = (source.labels >= 0) & (source.labels < len(source.classes))  # -1 often stands for none
    names = in_spelling_of(source.classes, classes)
    present = [names[label] for label in np.unique(source.labels[known])]
    if strange := sorted(set(present) - set(classes)):
        raise DataError(
            f"the classes to train and to validate on differ in {strange[:5]}, of which no picture to train on "
            "is; name the class folders alike, take these pictures out, or name a file of labels with data.val_labels"
        )
    place = {name: number for number, name in enumerate(classes)}
    numbers = np.array([place.get(name, -1) for name in names], dtype=np.int64)
    renumbered = Subset(source, np.arange(len(source)))
    renumbered.classes = list(classes)
    renumbered.labels = np.where(known, numbers[np.where(known, source.labels, 0)], -1)
    return renumbered
