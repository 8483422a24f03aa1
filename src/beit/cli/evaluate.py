"""`beit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.parser import parse_job
from beit.training.jobs import EvaluateJob

DESCRIPTION = (
    "Measure a fine-tuned model on labelled pictures: accuracy, loss, calibration, speed, and where it goes wrong; of "
    "several labels average precision and F1, of numbers the errors. Needs --model and --data.path, and for "
    "several labels or numbers --data.labels. --report writes a page to look at, --output all numbers as JSON, "
    "--predictions a line per picture."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, evaluate, print."""
    given = ["--flips=true" if _is_bare(arguments, place) else word for place, word in enumerate(arguments)]
    job = parse_job(EvaluateJob, "beit evaluate", DESCRIPTION, given, "[--flips]")
    from beit.training.evaluate import evaluate

    evaluation = evaluate(job)
    lines = {
        name: f"{value:,.0f}" if name == "pictures" else f"{value:.4f}" for name, value in evaluation.numbers().items()
    }
    if evaluation.broken:
        lines["broken"] = f"{len(evaluation.broken):,} left out; first: {evaluation.broken[0].reason}"
    lines["parameters"] = f"{evaluation.parameters:,}"
    speed = evaluation.speed
    lines["images_per_second"] = f"{speed.model:,.1f} model alone, {speed.whole:,.1f} with reading them"
    lines |= {name: path for name in ("report", "output", "predictions") if (path := getattr(job, name)) is not None}
    width = max(map(len, lines)) + 1
    for name, said in lines.items():
        print(f"{name:<{width}}{said}")
    return 0


def _is_bare(arguments: Sequence[str], place: int) -> bool:
    """Return whether --flips stands here without a value."""
    following = arguments[place + 1] if place + 1 < len(arguments) else "--"
    return arguments[place] == "--flips" and following.startswith("-")
