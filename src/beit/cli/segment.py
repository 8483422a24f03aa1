"""`beit segment`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.forecast import say_forecast
from beit.cli.output import say
from beit.cli.training import parse_training, say_results
from beit.settings.segment import SegmentJob

DESCRIPTION = (
    "Train a BEiT with UperNet to predict the class of every pixel, from a folder of pictures and one of label maps, "
    "which are read before the first step. The same command continues a run that was stopped. --dry-run takes a few "
    "steps, writes nothing and prints the cost of the whole run."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, train, print."""
    job, dry, machines = parse_training(SegmentJob, "beit segment", DESCRIPTION, arguments)
    from beit.tasks.segment.task import SegmentTask, segment

    if dry:
        say_forecast(SegmentTask, job, machines)
        return 0
    folder = segment(job)
    result = folder.read_result()
    say(
        f"held-out scenes: mean IoU {result['mean_iou']:.2%}, mean accuracy {result['mean_accuracy']:.2%}, "
        f"pixels right {result['pixel_accuracy']:.2%}, outline F1 {result['boundary_f1']:.2%}, "
        f"{result['pictures']:,.0f} scenes"
    )
    say_results(folder)
    return 0
