"""`beit evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beit.cli.early_checks import check_models, check_paths
from beit.cli.output import prepare_outputs
from beit.cli.parser import parse_job
from beit.errors import printable
from beit.reports.units import percent, shown
from beit.settings.evaluate import EvaluateJob

if TYPE_CHECKING:
    from beit.data import BrokenPicture

DESCRIPTION = (
    "Measure a fine-tuned model on labelled pictures: accuracy, loss, calibration, speed, and where it goes wrong; of "
    "several labels (data.labels) average precision and F1, of numbers the errors, of pixels (label_maps.path) "
    "intersection over union. --report writes a page to look at, --output all numbers as JSON, --predictions a line "
    "per picture."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, evaluate, print."""
    job = parse_job(EvaluateJob, "beit evaluate", DESCRIPTION, arguments)
    check_models(job.model)
    check_paths(job.data.path)
    prepare_outputs(job, "output", "report", "predictions")
    if job.label_maps.path is not None:
        return _scenes(job)
    from beit.evaluation.classification.evaluate import evaluate

    evaluation = evaluate(job)
    lines = _numbers(evaluation.numbers())
    lines |= _model(evaluation.broken, evaluation.parameters)
    speed = evaluation.speed
    lines["images_per_second"] = f"{speed.model:,.1f} model alone, {speed.whole:,.1f} with reading them"
    _say(lines, job)
    return 0


def _scenes(job: EvaluateJob) -> int:
    """Evaluate a model that predicts the class of every pixel."""
    from beit.evaluation.segmentation.evaluate import evaluate_scenes

    evaluation = evaluate_scenes(job)
    lines = _numbers({**evaluation.numbers(), "images_per_second": evaluation.speed.model})
    for row in evaluation.per_class():
        lines[f"  {row['name']}"] = "not there" if row["iou"] is None else f"IoU {percent(row['iou'], digits=2)}"
    lines |= _model(evaluation.broken, evaluation.parameters)
    _say(lines, job)
    return 0


def _numbers(numbers: Mapping[str, float]) -> dict[str, str]:
    return {
        name: f"{value:,.0f}" if name == "pictures" else shown(name, float(value)) for name, value in numbers.items()
    }


def _model(broken: Sequence[BrokenPicture], parameters: int) -> dict[str, str]:
    """Return what was left out, if anything was, and the size of the model."""
    left_out = {"broken": f"{len(broken):,} left out; first: {broken[0].reason}"} if broken else {}
    return {**left_out, "parameters": f"{parameters:,}"}


def _say(lines: dict[str, str], job: EvaluateJob) -> None:
    """Print names with their values, and the files that were written."""
    lines |= {name: path for name in ("report", "output", "predictions") if (path := getattr(job, name)) is not None}
    width = max(map(len, lines)) + 1
    for name, said in lines.items():
        print(printable(f"{name:<{width}}{said}"))
