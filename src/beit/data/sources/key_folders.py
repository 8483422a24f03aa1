"""Folders called `key=value`, as Spark, Hive and pandas divide tables: `split=train/label=cat/part-0.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import numpy as np

from beit.data.sources.source import Labels

_KEYS = ("label", "labels", "class", "class_name", "category", "target")


def place_of_label(folders: Sequence[str]) -> int | None:
    """Return which of the folders around a file names its class, None if none does."""
    return next((at for at, folder in enumerate(folders) if _key(folder) in _KEYS), None)


def value_of(folder: str) -> str:
    """Return the value in the name of a folder, in which "%20" and the like stand for other characters."""
    return unquote(folder.partition("=")[2])


def _key(folder: str) -> str:
    return folder.partition("=")[0].strip().lower() if "=" in folder else ""


def labels_of_files(files: Sequence[str], rows: Sequence[int]) -> tuple[list[str] | None, Labels | None]:
    """Return the classes and the class of every row of files whose folders say it; nothing if some do not.

    Args:
        files: Their paths, with "/" between folders.
        rows: Rows in each.
    """
    folders = [file.split("/")[:-1] for file in files]
    places = [place_of_label(of_file) for of_file in folders]
    names = [value_of(of_file[at]) for of_file, at in zip(folders, places, strict=True) if at is not None]
    if len(names) < len(files):
        return None, None
    classes = sorted({*names})
    return classes, np.repeat([classes.index(name) for name in names], rows).astype(np.int64)
