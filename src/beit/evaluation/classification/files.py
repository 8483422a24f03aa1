"""An evaluation as files: JSON for programs, CSV with a line per picture.

The JSON holds "schema" (raised when a key changes its meaning or goes), "numbers", "speed", "model", "settings",
"versions", "classes" (names by index) and "broken"; between them, by "problem_type" of "model", "per_class" (worst
first), "calibration" (bins) and "confusion" (cells that are not empty), or "per_label" (worst first), or "per_value".
"""

from __future__ import annotations

import csv
import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from beit import __version__
from beit.evaluation.classification.evaluation import Evaluation
from beit.files import atomic_file, write_text
from beit.settings.evaluate import EvaluateJob

SCHEMA = 1
_LIBRARIES = ("torch", "torchmetrics", "numpy", "Pillow")


@dataclass(frozen=True)
class EvaluatedModel:
    """The model, and how it was used.

    Attributes:
        name: Where it is from.
        matched: How the pictures' classes or labels were found among its own: by "name", "index" or "order".
        view_from: What decided how it sees pictures, in words.
        device: Where it computed.
        precision: "fp32", "bf16" or "fp16".
    """

    name: str
    matched: str
    view_from: str
    device: str
    precision: str


def write_result(path: Path, evaluation: Evaluation, model: EvaluatedModel, job: EvaluateJob) -> None:
    """Write everything that was measured as JSON.

    Raises:
        StorageError: If it cannot be written; an earlier file is untouched.
    """
    view = evaluation.view
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "numbers": evaluation.numbers(),
        "speed": asdict(evaluation.speed),
        "model": {
            **asdict(model),
            "problem_type": evaluation.problem,
            "parameters": evaluation.parameters,
            "classes": len(evaluation.classes),
            "view": {
                "image_size": list(view.image_hw),
                "resize": view.resize if isinstance(view.resize, int) else list(view.resize),
                "resample": view.resample.name.lower(),
                "mean": list(view.mean),
                "std": list(view.std),
            },
        },
        "settings": asdict(job),
        "versions": {
            "beit": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
        **evaluation.details(),
        "broken": [asdict(picture) for picture in evaluation.broken],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_predictions(path: Path, evaluation: Evaluation) -> None:
    """Write a line per picture: its name, what is true of it, and what was said.

    Raises:
        StorageError: If it cannot be written; an earlier file is untouched.
    """
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(evaluation.rows())
