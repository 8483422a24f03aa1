"""What lies in the shards of a data set on the hub: known from the ends of its files, and kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data.cache import cache_file, keep_arrays, read_arrays
from beit.data.hub_files import HubName, choose_files
from beit.data.parquet_ends import ParquetEnd, joined_labels, read_end
from beit.data.progress import shown
from beit.data.source import BrokenShard, Labels
from beit.errors import DataError
from beit.hub import HubDataset, hub_address, list_dataset, network_is_off

_LAYOUT = 1  # of a kept index; another number makes them all anew
_BLOCK = 1 << 16  # bytes to fetch at a time: the end of a file is small
_AT_ONCE = 8


@dataclass(frozen=True)
class HubIndex:
    """The readable shards of one split.

    Attributes:
        dataset: The data set at one commit.
        files: Names of the shards.
        rows: Pictures in each; empty for tar files, which are indexed where they lie.
        classes: Class names, or None.
        labels: Class of every picture, or None.
        broken: Shards that cannot be read.
    """

    dataset: HubDataset
    files: list[str]
    rows: NDArray[np.int64]
    classes: list[str] | None
    labels: Labels | None
    broken: list[BrokenShard]


def hub_index(name: HubName) -> HubIndex:
    """Return what a split holds: what is kept of this commit, or of the last one seen while the network is off.

    Raises:
        DataError: If there is no such data set or split, or it cannot be reached and nothing is kept of it.
    """
    kept = cache_file("hub", f"{hub_address()} {name.repo_id} {name.split} {name.revision}".encode())
    known = _read_kept(kept, name.repo_id)
    if network_is_off():
        if known is None:
            raise DataError(
                f"data set {name.repo_id!r} has not been used here before and HF_HUB_OFFLINE=1 turns the network off; "
                "unset it, and run once"
            )
        return known
    dataset, files = list_dataset(name.repo_id, name.revision)
    if known is not None and known.dataset == dataset:
        return known
    index = _read_index(dataset, choose_files(name, files))
    if not index.broken:  # what is broken may only have been cut off on the way
        _keep(kept, index)
    return index


def _read_index(dataset: HubDataset, files: Sequence[str]) -> HubIndex:
    if files[0].endswith(".tar"):
        return HubIndex(dataset, list(files), np.empty(0, np.int64), None, None, [])

    def look(file: str) -> ParquetEnd | str:
        with dataset.remote(file, _BLOCK) as content:
            return read_end(content)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = list(shown(threads.map(look, files), len(files), "reading the ends of the shards"))
    broken = [
        BrokenShard(f"{dataset.repo_id}/{file}", what)
        for file, what in zip(files, found, strict=True)
        if isinstance(what, str)
    ]
    good = [(file, what) for file, what in zip(files, found, strict=True) if isinstance(what, ParquetEnd)]
    if not good:
        raise DataError(f"{dataset.repo_id} on the hub cannot be read; first: {broken[0].name}: {broken[0].reason}")
    rows = np.array([end.rows for _, end in good], dtype=np.int64)
    classes, labels = joined_labels([end for _, end in good], dataset.repo_id)
    return HubIndex(dataset, [file for file, _ in good], rows, classes, labels, broken)


def _read_kept(kept: Any, repo_id: str) -> HubIndex | None:
    stored = read_arrays(kept, ("facts", "rows", "labels"))
    facts = json.loads(str(stored["facts"])) if stored is not None else {}
    if stored is None or facts.get("layout") != _LAYOUT:
        return None
    labels = stored["labels"] if facts["classes"] is not None else None
    return HubIndex(HubDataset(repo_id, facts["commit"]), facts["files"], stored["rows"], facts["classes"], labels, [])


def _keep(kept: Any, index: HubIndex) -> None:
    facts = {"layout": _LAYOUT, "commit": index.dataset.commit, "files": index.files, "classes": index.classes}
    labels = index.labels if index.labels is not None else np.empty(0, np.int64)
    keep_arrays(kept, {"facts": np.array(json.dumps(facts)), "rows": index.rows, "labels": labels})
