"""`beit segment`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.forecast import say_cost
from beit.cli.output import say, say_settings
from beit.cli.parser import parse_job
from beit.settings.segment import SegmentJob

DESCRIPTION = (
    "Train a BEiT with UperNet to tell the class of every pixel, from a folder of pictures and one of masks. The masks "
    "are read before the first step. The same command continues a run that was stopped. --dry-run takes a few steps, "
    "writes nothing and tells what the whole run would cost."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, train, print."""
    dry = "--dry-run" in arguments
    given = [word for word in arguments if word != "--dry-run"]
    job = parse_job(SegmentJob, "beit segment", DESCRIPTION, given, "[--dry-run]")
    say_settings(job)
    return _forecast(job) if dry else _segment(job)


def _forecast(job: SegmentJob) -> int:
    from beit.tasks.segment.dry_run import forecast_segmentation

    say_cost(forecast_segmentation(job), job.train, job.model.image_size or "the checkpoint's")
    return 0


def _segment(job: SegmentJob) -> int:
    from beit.tasks.segment.task import segment

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
