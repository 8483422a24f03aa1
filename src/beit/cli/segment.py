"""`beit segment`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.output import gib, say
from beit.cli.parser import parse_job
from beit.training.segment_settings import SegmentJob

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
    from beit.training.run_folder import resolved_recipe

    say(f"recipe:\n{resolved_recipe(job)}")
    return _forecast(job) if dry else _segment(job)


def _forecast(job: SegmentJob) -> int:
    from beit.training.run_state import duration
    from beit.training.segment_dry_run import forecast_segmentation

    cost = forecast_segmentation(job)
    pictures, side = job.train.batch_size // cost.processes, job.model.image_size or "the checkpoint's"
    say(
        f"parameters   {cost.parameters:,}",
        f"memory       {gib(cost.peak_memory)} held by a process in a step of {pictures} pictures of {side} pixels, "
        f"{gib(cost.state)} of it for weights and optimiser",
        "             train.recompute, train.accumulate and bf16 lower the rest",
        f"steps        {cost.steps:,} of {job.train.batch_size} pictures, out of {cost.scenes:,}",
        f"speed        {cost.seconds_per_step:.3f} s per step, {cost.data_share:.0%} of it waits for pictures",
        f"whole run    about {duration(cost.steps * cost.seconds_per_step)} on {cost.processes} "
        f"process{'es' * (cost.processes > 1)} like this",
    )
    return 0


def _segment(job: SegmentJob) -> int:
    from beit.training.segment import segment

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
