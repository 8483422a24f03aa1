"""`beit segment`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.training.segment_settings import SegmentJob

DESCRIPTION = (
    "Train a BEiT with UperNet to tell the class of every pixel, from a folder of pictures and one of masks. The masks "
    "are read before the first step. The same command continues a run that was stopped."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, train, print."""
    job = parse_job(SegmentJob, "beit segment", DESCRIPTION, arguments)
    from beit.training.run_folder import resolved_recipe
    from beit.training.segment import segment

    say(f"recipe:\n{resolved_recipe(job)}")
    folder = segment(job)
    result = folder.read_result()
    say(
        f"held-out scenes: mean IoU {result['mean_iou']:.2%}, mean accuracy {result['mean_accuracy']:.2%}, "
        f"pixels right {result['pixel_accuracy']:.2%}, outline F1 {result['boundary_f1']:.2%}, "
        f"{result['pictures']:,.0f} scenes\nmodel   {folder.model}"
    )
    if folder.report.exists():
        say(f"report  {folder.report}")
    return 0
