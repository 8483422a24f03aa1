"""`beit distill`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from beit.cli.early_checks import check_early, check_models
from beit.cli.finetune import say_classifier
from beit.cli.forecast import say_forecast
from beit.cli.output import say
from beit.cli.training import FLAGS, parse_training
from beit.settings.distill import StudentJob

if TYPE_CHECKING:
    from beit.engine.run_folder import RunFolder

DESCRIPTION = (
    "Train a small BEiT to classify pictures as a trained one does: by its probabilities and, if weighted, by the "
    "similarities of its patches and its attention. The student starts from a checkpoint or from nothing, and takes "
    "every setting of beit finetune. --compare trains the same student without the teacher too, in a run folder beside "
    "its own, and prints what both reached. The same command continues a run that was stopped. --dry-run takes a few "
    "steps, writes nothing and prints the cost of the whole run."
)
_COMPARE = "--compare"
_MEASURES = {"accuracy": ".2%", "mean_class_accuracy": ".2%", "loss": ".4f"}


def run(arguments: Sequence[str]) -> int:
    """Parse, distill, print."""
    words = [word for word in arguments if word != _COMPARE]
    compare = len(words) < len(arguments)
    job, dry, machines = parse_training(StudentJob, "beit distill", DESCRIPTION, words, f"{FLAGS} [{_COMPARE}]")
    check_models(job.teacher.path)
    alone = job.without_teacher()
    if compare:
        check_early(alone, writes=not dry)
    from beit.tasks.distill import DistillTask, distill

    if dry:
        say_forecast(DistillTask, job, machines)
        if compare:
            from beit.tasks.finetune.task import FinetuneTask

            say("", "the same student without its teacher, which --compare trains after it:")
            say_forecast(FinetuneTask, alone, machines)
        return 0
    student = distill(job)
    say_classifier(student)
    if compare:
        from beit.tasks.finetune.task import finetune

        _say_both(student, finetune(alone))
    return 0


def _say_both(student: RunFolder, alone: RunFolder) -> None:
    """Print what a student reached on held-out pictures, and what the same one did without its teacher."""
    rows = {"with the teacher": student.read_result(), "without it": alone.read_result()}
    cells = [["held-out pictures", *(name.replace("_", " ") for name in _MEASURES), "run"]]
    for (name, result), folder in zip(rows.items(), (student, alone), strict=True):
        cells.append([name, *(f"{result[measure]:{form}}" for measure, form in _MEASURES.items()), str(folder.path)])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    say(*("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells))
