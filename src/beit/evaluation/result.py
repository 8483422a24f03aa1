"""Result of an evaluation of any kind: its JSON for programs, its CSV with a line per picture.

The JSON holds "schema" (raised when a key changes its meaning or goes), "numbers" (null where there is none), "speed",
"model", "settings", "versions", "classes" (names by index) and "broken"; between them, by "problem_type" of "model",
"per_class" (worst first), "calibration" (bins) and "confusion" (cells that are not empty), or "per_label" (worst
first), or "per_value", or of scenes "per_class" (by index) and "confusion" (pixels; a row per true class).
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

from beit import __version__
from beit.data import BrokenPicture
from beit.files import atomic_file, write_text
from beit.settings.evaluate import EvaluateJob

SCHEMA = 1
_LIBRARIES = ("torch", "torchmetrics", "numpy", "Pillow")


@dataclass(frozen=True)
class Speed:
    """Throughput in pictures per second.

    Attributes:
        model: Through the model alone, without the first batch if there are more: it warms up the device.
        whole: With reading, decoding and waiting, over everything.
    """

    model: float
    whole: float


class Result(Protocol):
    """Interface of the evaluations of classes, labels, numbers and scenes."""

    @property
    def speed(self) -> Speed:
        """Throughput."""
        ...

    @property
    def broken(self) -> list[BrokenPicture]:
        """Pictures that were left out."""
        ...

    def numbers(self) -> Mapping[str, float]:
        """Return the numbers for a run's result; the same pictures and weights always give the same."""
        ...

    def details(self) -> Mapping[str, Any]:
        """Return further results for programs, ready for JSON, "classes" first."""
        ...

    def rows(self) -> Iterable[list[str]]:
        """Return a table of the pictures: the names of the columns, then a line for each."""
        ...


def write_result(path: Path, result: Result, model: Mapping[str, Any], job: EvaluateJob) -> None:
    """Write all results as JSON.

    Args:
        path: The file.
        result: The evaluation.
        model: The model and how it was used, ready for JSON.
        job: Settings of the evaluation.

    Raises:
        StorageError: If it cannot be written; an earlier file is untouched.
    """
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "numbers": {name: value if isfinite(value) else None for name, value in result.numbers().items()},
        "speed": asdict(result.speed),
        "model": model,
        "settings": asdict(job),
        "versions": versions(),
        **result.details(),
        "broken": [picture.to_json() for picture in result.broken],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def versions() -> dict[str, str]:
    """Return the versions of what an evaluation was computed with."""
    return {
        "beit": __version__,
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
    }


def write_predictions(path: Path, result: Result) -> None:
    """Write a line per picture as CSV.

    Raises:
        StorageError: If it cannot be written; an earlier file is untouched.
    """
    with (
        atomic_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        csv.writer(file).writerows(result.rows())
