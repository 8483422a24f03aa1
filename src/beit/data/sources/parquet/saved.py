"""Folder that `save_to_disk` of the library `datasets` wrote, as a collection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from beit.data.sources.parquet.file import TableSource, file_line, require_datasets
from beit.errors import DataError

_STATE, _SPLITS = "state.json", "dataset_dict.json"


class SavedSource(TableSource):
    """Rows of one saved data set; pictures that it only names by their paths are refused one by one."""

    def __init__(self, folder: Path, min_side: int = 8, columns: Sequence[str] = ()) -> None:
        require_datasets()
        super().__init__(folder, _load(folder), min_side, columns)

    def contents(self) -> Iterator[str]:
        """Yield the name, the size and the end of every file of rows."""
        for path in sorted(self._path.glob("*.arrow")):
            yield file_line(path)


def is_saved(folder: Path) -> bool:
    """Return whether a folder is one that `Dataset.save_to_disk` wrote."""
    return (folder / _STATE).is_file() and any(folder.glob("*.arrow"))


def saved_splits(folder: Path) -> list[str]:
    """Return the names of the splits, each a folder, that `DatasetDict.save_to_disk` wrote; none for other folders.

    Raises:
        DataError: If the file that lists them is damaged.
    """
    path = folder / _SPLITS
    if not path.is_file():
        return []
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}); expected the splits of a data set: save it again") from None
    return [str(name) for name in names if is_saved(folder / str(name))]


def _load(folder: Path) -> Any:
    """Return the table of a folder.

    Raises:
        DataError: If it is damaged.
    """
    import datasets

    try:
        return datasets.load_from_disk(str(folder))
    except Exception as error:  # datasets raises whatever pyarrow and json do
        raise DataError(
            f"{folder} cannot be read as a data set of save_to_disk: {str(error).splitlines()[0]}; save it again"
        ) from None
