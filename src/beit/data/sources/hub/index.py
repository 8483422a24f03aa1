"""Index of the shards of a data set on the hub: read from the footers of its files, then cached."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.hub.files import HubName, choose_files
from beit.data.sources.index_cache import Arrays, cache_file, load_index, save_arrays
from beit.data.sources.parquet.footer import ParquetFooter, joined_labels, read_footer
from beit.data.sources.parquet.labels import TableLabels
from beit.data.sources.parquet.split_column import DividedRows, rows_of_cells
from beit.data.sources.progress import progress
from beit.data.sources.source import BrokenShard
from beit.errors import DataError
from beit.hub import HubDataset, hub_address, list_dataset, network_is_off

_LAYOUT = 4  # of a cached index; another number makes them all anew
_BLOCK = 1 << 16  # bytes to fetch at a time: a footer is small
_AT_ONCE = 8


@dataclass(frozen=True)
class HubIndex:
    """The readable shards of one split.

    Attributes:
        dataset: The data set at one commit.
        files: Names of the shards.
        rows: Pictures in each; empty for tar files, which are indexed where they lie.
        labels: Labels of all pictures, or None.
        broken: Shards that cannot be read.
        divided: The splits into which a column divides the rows, or None.
    """

    dataset: HubDataset
    files: list[str]
    rows: NDArray[np.int64]
    labels: TableLabels | None
    broken: list[BrokenShard]
    divided: DividedRows | None = None


def hub_index(name: HubName, columns: Sequence[str] = ()) -> HubIndex:
    """Return the index of a split: that of this commit, or of the last one seen while the network is off.

    Raises:
        DataError: If there is no such data set or split, or it cannot be reached and none is cached.
    """
    chosen = "".join(f" {column}" for column in columns)
    cached = cache_file("hub", f"{hub_address()} {name.repo_id} {name.split} {name.revision}{chosen}".encode())
    known = _load(cached, name.repo_id)
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
    index = _read_index(dataset, choose_files(name, files), columns)
    if not index.broken:  # what is broken may only have been cut off on the way
        _save(cached, index)
    return index


def _read_index(dataset: HubDataset, files: Sequence[str], columns: Sequence[str]) -> HubIndex:
    if files[0].endswith(".tar"):
        return HubIndex(dataset, list(files), np.empty(0, np.int64), None, [])

    def look(file: str) -> ParquetFooter | str:
        with dataset.remote(file, _BLOCK) as content:
            return read_footer(content, wanted=columns, dividing=True)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = list(progress(threads.map(look, files), len(files), "reading the footers of the shards"))
    broken = [
        BrokenShard(f"{dataset.repo_id}/{file}", what)
        for file, what in zip(files, found, strict=True)
        if isinstance(what, str)
    ]
    good = [(file, what) for file, what in zip(files, found, strict=True) if isinstance(what, ParquetFooter)]
    if not good:
        raise DataError(f"{dataset.repo_id} on the hub cannot be read; first: {broken[0].name}: {broken[0].reason}")
    rows = np.array([footer.rows for _, footer in good], dtype=np.int64)
    labels = joined_labels([footer for _, footer in good], dataset.repo_id, columns)
    divided = rows_of_cells({f"{dataset.repo_id}/{file}": footer.dividing for file, footer in good})
    return HubIndex(dataset, [file for file, _ in good], rows, labels, broken, divided)


def _load(cached: Path, repo_id: str) -> HubIndex | None:
    def index(stored: Arrays) -> HubIndex | None:
        description = json.loads(str(stored["description"]))
        if description["layout"] != _LAYOUT:
            return None
        classes, kind = description["classes"], description["kind"]
        labels = TableLabels(classes, stored["labels"], kind) if classes is not None else None
        dataset = HubDataset(repo_id, description["commit"])
        files: list[str] = description["files"]
        divided = description["divided"] and DividedRows(**description["divided"])
        return HubIndex(dataset, files, stored["rows"], labels, [], divided or None)

    return load_index(cached, ("description", "rows", "labels"), index)


def _save(cached: Path, index: HubIndex) -> None:
    found = index.labels
    description: dict[str, Any] = {"layout": _LAYOUT, "commit": index.dataset.commit, "files": index.files}
    description |= {"classes": found and found.classes, "kind": found and found.kind}
    description["divided"] = index.divided and asdict(index.divided)
    labels = found.labels if found is not None else np.empty(0, np.int64)
    save_arrays(cached, {"description": np.array(json.dumps(description)), "rows": index.rows, "labels": labels})
