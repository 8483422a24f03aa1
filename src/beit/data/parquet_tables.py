"""A parquet file as a table of `datasets`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beit.errors import DataError, StorageError
from beit.hub import DISK_FULL


def read_table(path: Path) -> Any:
    """Return the rows of a file, which `datasets` keeps in a form of its own that it maps into memory.

    Raises:
        DataError: If it is not readable.
        StorageError: If the disk is full.
    """
    import datasets

    if (reason := _unreadable_footer(path)) is not None:
        raise DataError(f"{path} cannot be read as parquet: {reason}")
    datasets.disable_progress_bars()
    try:
        with _quiet_datasets():
            return datasets.Dataset.from_parquet(str(path))
    except OSError:
        raise  # of the disk: not the fault of the file
    except Exception as error:  # datasets wraps whatever pyarrow raises
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            raise StorageError(
                f"cannot keep the rows of {path}: {cause.strerror}; free space or choose another folder with "
                "HF_DATASETS_CACHE"
            ) from error
        raise DataError(f"{path} cannot be read as parquet: {str(cause).splitlines()[0]}") from None


def _unreadable_footer(path: Path) -> str | None:
    import pyarrow.parquet as pq

    untyped: Any = pq
    try:
        untyped.read_metadata(path)
    except OSError as error:
        return error.strerror or str(error).splitlines()[0]
    except ValueError as error:  # of which pyarrow's own errors are
        return str(error).splitlines()[0]
    return None


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
