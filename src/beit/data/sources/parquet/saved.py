"""Folder that `save_to_disk` of the library `datasets` wrote, as a collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from beit.data.sources.parquet.file import TableSource, file_line, require_datasets
from beit.data.sources.parquet.split_column import DividedRows, rows_of_cells
from beit.data.sources.split_names import is_split_column
from beit.errors import DataError
from beit.files import read_json

_STATE, _SPLITS = "state.json", "dataset_dict.json"


class SavedSource(TableSource):
    """Rows of one saved data set; pictures that it only names by their paths are refused one by one."""

    def __init__(self, folder: Path, min_side: int = 8, columns: Sequence[str] = ()) -> None:
        require_datasets()
        super().__init__(folder, _load(folder), min_side, columns)

    def divided(self) -> DividedRows | None:
        """Return the splits into which a column divides the rows; None if none does."""
        names = [name for name in self._table.column_names if is_split_column(name)]
        return rows_of_cells({str(self._path): {name: list(self._table[name]) for name in names}})

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
    expected, remedy = "the splits of a data set", "save it again"
    names = read_json(path, expected, remedy, DataError).get("splits")
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DataError(f"{path} holds no list of names; expected {expected}: {remedy}")
    here = {part.name for part in folder.iterdir() if is_saved(part)}  # no name leads elsewhere
    return [name for name in names if name in here]


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
