"""`beit distill`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.early_checks import check_models
from beit.cli.finetune import say_classifier
from beit.cli.forecast import say_forecast
from beit.cli.training import parse_training
from beit.settings.distill import StudentJob

DESCRIPTION = (
    "Train a small BEiT to classify pictures as a trained one does: by its probabilities and, if weighted, by the "
    "similarities of its patches and its attention. The student starts from a checkpoint or from nothing, and takes "
    "every setting of beit finetune. The same command continues a run that was stopped. --dry-run takes a few steps, "
    "writes nothing and prints the cost of the whole run."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, distill, print."""
    job, dry, processes = parse_training(StudentJob, "beit distill", DESCRIPTION, arguments)
    check_models(job.teacher.path)
    from beit.tasks.distill import DistillTask, distill

    if dry:
        say_forecast(DistillTask, job, processes)
        return 0
    say_classifier(distill(job))
    return 0
