"""An evaluation as files: JSON for programs, CSV with a line per picture.

The JSON holds "schema" (raised when a key changes its meaning or goes), "numbers", "speed", "model", "settings",
"versions", "classes" (names by index), "per_class" (worst first), "calibration" (bins), "confusion" (cells that are
not empty) and "broken".
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from beit import __version__
from beit.training.evaluation import Evaluation
from beit.training.jobs import EvaluateJob
from beit.weights import atomic_file

SCHEMA = 1
_LIBRARIES = ("torch", "torchmetrics", "numpy", "Pillow")


@dataclass(frozen=True)
class EvaluatedModel:
    """The model, and how it was used.

    Attributes:
        name: Where it is from.
        matched: How the pictures' classes were found among its own: by "name", "index" or "order".
        view_from: What decided how it sees pictures, in words.
        device: Where it computed.
        precision: "fp32" or "bf16".
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
        "classes": evaluation.classes,
        "per_class": [asdict(result) for result in evaluation.per_class()],
        "calibration": [asdict(each) for each in evaluation.calibration()],
        "confusion": [
            {"label": label, "predicted": predicted, "pictures": count}
            for label, predicted, count in evaluation.confusion_counts()
        ],
        "broken": [asdict(picture) for picture in evaluation.broken],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_predictions(path: Path, evaluation: Evaluation) -> None:
    """Write a line per picture: its name, its class, and the most likely classes with their probabilities.

    Raises:
        StorageError: If it cannot be written; an earlier file is untouched.
    """
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        more = range(2, evaluation.best.shape[1] + 1)
        runners_up = [name for place in more for name in (f"top_{place}", f"probability_{place}")]
        writer.writerow(["name", "label", "predicted", "probability", *runners_up])
        writer.writerows(_rows(evaluation))


def _rows(evaluation: Evaluation) -> Iterable[list[str]]:
    names = evaluation.classes
    for place, index in enumerate(evaluation.indices):
        row = [evaluation.source.name(index), names[evaluation.labels[place]]]
        for best, probability in zip(evaluation.best[place], evaluation.probabilities[place], strict=True):
            row += [names[best], f"{probability:.6g}"]
        yield row
