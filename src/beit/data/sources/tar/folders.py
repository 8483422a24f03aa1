"""Classes of tar files in which every class is a folder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from beit.data.sources.source import Labels
from beit.data.sources.split_names import are_splits
from beit.data.sources.tar.index import TarIndex
from beit.errors import DataError


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
