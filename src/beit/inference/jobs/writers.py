"""Writers of one file of results: JSON lines, CSV, parquet or arrays, row by row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from beit.errors import ConfigError, missing_extra
from beit.files import atomic_file
from beit.inference.jobs.arrays import ARRAYS, write_arrays
from beit.inference.tasks.options import TaskOptions
from beit.inference.tasks.task import Format, PredictorTask

_ROWS_AT_ONCE = 1024  # in memory, and in a row group of parquet
AnyTask = PredictorTask[Any, Any]


def chosen_format(task: AnyTask, options: TaskOptions, output: Path, wanted: str) -> Format:
    """Return the format of an output: the one that is wanted, or with "auto" that of its ending.

    Raises:
        ConfigError: If the ending is unknown, or the task has no such form.
    """
    possible = task.possible_formats(options)
    ending = output.suffix.removeprefix(".").lower()
    known = [name for name in get_args(Format) if name == ending]
    if wanted == "auto" and not known and (ending or "pictures" not in possible):
        raise ConfigError(
            f"--output {output} ends in {output.suffix or 'nothing'}; to {task.action or task.name} expected "
            f"{' or '.join('a folder' if name == 'pictures' else f'.{name}' for name in possible)}: rename it, or "
            "choose a --format"
        )
    chosen: Any = (known[0] if known else "pictures") if wanted == "auto" else wanted
    if chosen not in possible:
        raise ConfigError(f"the results of {task.name} cannot be written as {chosen}; expected {' or '.join(possible)}")
    if chosen == "parquet":
        _pyarrow()  # fails before the work, not after it
    return chosen


def write_rows(
    path: Path, rows: Iterable[str], columns: Sequence[str], task: AnyTask, options: TaskOptions, form: Format
) -> None:
    """Write rows, lines of JSON, to a file, whole or not at all.

    Args:
        path: The file.
        rows: Results and the names of their pictures, as lines of JSON.
        columns: Of a table, after that of the picture.
        task: The task that the rows are results of.
        options: Of the task.
        form: "jsonl", "csv", "parquet", "npy" or "safetensors".

    Raises:
        MissingExtraError: If parquet is asked for and pyarrow is not installed.
        StorageError: If the disk is full; an earlier file is untouched.
    """
    if form == "parquet":
        _write_parquet(path, iter(rows), task, options)
        return
    if form in ARRAYS:
        write_arrays(path, rows, task, form)
        return
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if form == "jsonl":
            file.writelines(rows)
            return
        writer = csv.writer(file)
        writer.writerow(["picture", *columns])
        for line in rows:
            for row in task.table(json.loads(line)):
                writer.writerow([row["picture"], *task.cells(row, columns)])


def _write_parquet(path: Path, rows: Iterator[str], task: AnyTask, options: TaskOptions) -> None:
    arrow, parquet = _pyarrow()
    schema = arrow.schema([("picture", arrow.string()), *task.parquet_fields(arrow, options)])
    at_once = task.rows_at_once(options) or _ROWS_AT_ONCE
    with atomic_file(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while lines := list(islice(rows, at_once)):
            values = [_with_lists(row) for line in lines for row in task.table(json.loads(line))]
            writer.write_table(arrow.Table.from_pylist(values, schema=schema))


def _with_lists(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose objects are lists of pairs: the form in which arrow takes a map."""
    return {name: list(value.items()) if isinstance(value, dict) else value for name, value in row.items()}


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise missing_extra("pyarrow", "train") from None
    return pyarrow, pyarrow.parquet
