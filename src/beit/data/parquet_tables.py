"""Parquet files as one table; a damaged one of several is named and left out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beit.data.source import BrokenShard
from beit.errors import DataError, StorageError
from beit.hub import DISK_FULL


def row_count(path: Path) -> int:
    """Return the number of rows that the footer of a file tells."""
    import pyarrow.parquet as pq

    metadata: Any = pq.read_metadata(path)
    return int(metadata.num_rows)


def read_tables(paths: Sequence[Path], place: str) -> tuple[list[Path], Any, list[BrokenShard]]:
    """Return the readable files, all their rows as one table of `datasets`, and the files that are not readable.

    Raises:
        DataError: If no file is readable, or the readable ones do not fit together.
        StorageError: If the disk is full: `datasets` keeps its own form of the files.
    """
    reasons = {path: reason for path in paths if (reason := _unreadable_footer(path)) is not None}
    good = [path for path in paths if path not in reasons]
    table, problem = _table(good) if good else (None, next(iter(reasons.values())))
    if table is None and len(good) > 1:  # something behind a footer: look into each by itself
        reasons |= {path: reason for path in good if (reason := _table([path])[1]) is not None}
        whole = [path for path in good if path not in reasons]
        if whole and len(whole) < len(good):
            good = whole
            table, problem = _table(good)
    if table is None:
        raise DataError(f"{place} cannot be read as parquet: {problem}")
    return good, table, [BrokenShard(str(path), reasons[path]) for path in paths if path in reasons]


def _unreadable_footer(path: Path) -> str | None:
    try:
        row_count(path)
    except OSError as error:
        return error.strerror or str(error).splitlines()[0]
    except ValueError as error:  # of which pyarrow's own errors are
        return str(error).splitlines()[0]
    return None


def _table(paths: Sequence[Path]) -> tuple[Any, str | None]:
    """Return the rows of some files, or what is wrong with them."""
    import datasets

    datasets.disable_progress_bars()
    try:
        with _quiet_datasets():
            return datasets.Dataset.from_parquet([str(path) for path in paths]), None
    except OSError:
        raise  # of the disk: not the fault of the files
    except Exception as error:  # datasets wraps whatever pyarrow raises
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            raise StorageError(
                f"cannot keep the rows of {paths[0].parent}: {cause.strerror}; free space or choose another folder "
                "with HF_DATASETS_CACHE"
            ) from error
        return None, str(cause).splitlines()[0]


@contextmanager
def _quiet_datasets() -> Generator[None]:
    """Keep `datasets` from logging what is told in an error."""
    from datasets.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
