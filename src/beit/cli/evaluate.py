"""`beit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.parser import parse_job
from beit.training.jobs import EvaluateJob

DESCRIPTION = (
    "Measure a fine-tuned model on labelled pictures: accuracy, loss, calibration, speed, and where it goes wrong. "
    "Needs --model and --data.path. --report writes a page to look at, --output all numbers as JSON, --predictions a "
    "line per picture."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, evaluate, print."""
    given = ["--flips=true" if _is_bare(arguments, place) else word for place, word in enumerate(arguments)]
    job = parse_job(EvaluateJob, "beit evaluate", DESCRIPTION, given, "[--flips]")
    from beit.training.evaluate import evaluate

    evaluation = evaluate(job)
    for name, value in evaluation.numbers().items():
        print(f"{name:<20}{value:,.0f}" if name == "pictures" else f"{name:<20}{value:.4f}")
    if evaluation.broken:
        print(f"{'broken':<20}{len(evaluation.broken):,} left out; first: {evaluation.broken[0].reason}")
    print(f"{'parameters':<20}{evaluation.parameters:,}")
    speed = evaluation.speed
    print(f"{'images_per_second':<20}{speed.model:,.1f} model alone, {speed.whole:,.1f} with reading them")
    for name in ("report", "output", "predictions"):
        if (path := getattr(job, name)) is not None:
            print(f"{name:<20}{path}")
    return 0


def _is_bare(arguments: Sequence[str], place: int) -> bool:
    """Return whether --flips stands here without a value."""
    following = arguments[place + 1] if place + 1 < len(arguments) else "--"
    return arguments[place] == "--flips" and following.startswith("-")
