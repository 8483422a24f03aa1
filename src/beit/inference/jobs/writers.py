"""Rows of answers to one file: JSON lines, CSV or parquet, row by row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from beit.errors import ConfigError, missing_extra
from beit.inference.jobs.question import cells
from beit.inference.tasks import Task

Format = Literal["jsonl", "csv", "parquet", "pictures"]
_ROWS_AT_ONCE = 1024  # in memory, and in a row group of parquet
_POSSIBLE: dict[Task, tuple[Format, ...]] = {
    "classify": ("jsonl", "csv", "parquet"),
    "embed": ("jsonl", "csv", "parquet"),
    "segment": ("jsonl", "csv", "parquet", "pictures"),
    "attend": ("jsonl", "parquet", "pictures"),
    "reconstruct": ("pictures",),
}


def chosen_format(task: Task, output: Path, wanted: str) -> Format:
    """Return the format of an output: the one that is wanted, or with "auto" that of its ending.

    Raises:
        ConfigError: If the ending is unknown, or the task has no such form.
    """
    possible = _POSSIBLE[task]
    ending = output.suffix.removeprefix(".").lower()
    known = [name for name in get_args(Format) if name == ending]
    if wanted == "auto" and not known and (ending or "pictures" not in possible):
        raise ConfigError(
            f"--output {output} ends in {output.suffix or 'nothing'}; to {task} expected "
            f"{' or '.join('a folder' if name == 'pictures' else f'.{name}' for name in possible)}: rename it, or "
            "choose a --format"
        )
    told: Any = (known[0] if known else "pictures") if wanted == "auto" else wanted
    if told not in possible:
        raise ConfigError(f"the answers to {task} cannot be written as {told}; expected {' or '.join(possible)}")
    if told == "parquet":
        _pyarrow()  # fails before the work, not after it
    return told


def write_rows(path: Path, rows: Iterable[str], columns: Sequence[str], task: Task, form: Format) -> None:
    """Write rows, lines of JSON, to a file.

    Args:
        path: The file.
        rows: What `Result.to_json` tells, with the name of the picture, as lines of JSON.
        columns: Of a table, after that of the picture.
        task: What the rows tell.
        form: "jsonl", "csv" or "parquet".

    Raises:
        MissingExtraError: If parquet is asked for and pyarrow is not installed.
    """
    if form == "jsonl":
        with path.open("w", encoding="utf-8") as file:
            file.writelines(rows)
    elif form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["picture", *columns])
            for line in rows:
                row = json.loads(line)
                writer.writerow([row["picture"], *cells(row, columns)])
    else:
        _write_parquet(path, iter(rows), task)


def _write_parquet(path: Path, rows: Iterator[str], task: Task) -> None:
    arrow, parquet = _pyarrow()
    schema = arrow.schema([("picture", arrow.string()), *_fields(arrow)[task]])
    with parquet.ParquetWriter(path, schema) as writer:
        while lines := list(islice(rows, _ROWS_AT_ONCE)):
            values = [json.loads(line) for line in lines]
            for row in values:
                row["shares"] = list(row.get("shares", {}).items())  # the form that arrow takes a map in
            writer.write_table(arrow.Table.from_pylist(values, schema=schema))


def _fields(arrow: Any) -> dict[Task, list[tuple[str, Any]]]:
    """Return the columns of parquet files, named and nested like the rows."""
    real, whole = arrow.float32(), arrow.int32()
    predictions = arrow.list_(arrow.struct([("label", arrow.string()), ("probability", real)]))
    return {
        "classify": [("predictions", predictions)],
        "embed": [("embedding", arrow.list_(real))],
        "segment": [("height", whole), ("width", whole), ("shares", arrow.map_(arrow.string(), arrow.float64()))],
        "attend": [
            ("rows", whole), ("cols", whole), ("maps", arrow.list_(arrow.list_(real))), ("patch", arrow.list_(whole)),
        ],
    }  # fmt: skip


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise missing_extra("pyarrow", "train") from None
    return pyarrow, pyarrow.parquet
