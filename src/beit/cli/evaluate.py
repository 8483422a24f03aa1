"""`beit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.parser import parse_job
from beit.training.jobs import EvaluateJob

DESCRIPTION = "Measure a fine-tuned model on labelled pictures: accuracy, loss, confusion matrix, mistakes."


def run(arguments: Sequence[str]) -> int:
    """Parse, evaluate, print."""
    job = parse_job(EvaluateJob, "beit evaluate", DESCRIPTION, arguments)
    from beit.training.evaluate import evaluate

    numbers = evaluate(job).numbers()
    for name, value in numbers.items():
        print(f"{name:<20}{value:,.0f}" if name == "pictures" else f"{name:<20}{value:.4f}")
    if job.report is not None:
        print(f"report              {job.report}")
    return 0
