"""`beit pretrain`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.training.jobs import PretrainJob

DESCRIPTION = (
    "Pre-train a BEiT by masked image modelling: predict the visual tokens of hidden patches. No labels are needed. "
    "Without tokenizer.path a tokenizer is trained first, on the same pictures. The same command continues a run that "
    "was stopped; --force continues it with other settings. --dry-run takes a few steps, writes nothing and tells what "
    "the whole run would cost."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, pre-train, print."""
    dry = "--dry-run" in arguments
    given = ["--run.force=true" if word == "--force" else word for word in arguments if word != "--dry-run"]
    job = parse_job(PretrainJob, "beit pretrain", DESCRIPTION, given)
    from beit.training.run_folder import resolved_recipe

    say(f"recipe:\n{resolved_recipe(job)}")
    return _forecast(job) if dry else _pretrain(job)


def _pretrain(job: PretrainJob) -> int:
    from beit.training.pretrain import pretrain

    folder = pretrain(job)
    result = folder.read_result()
    say(
        f"held-out pictures, masked patches: loss {result['loss']:.4f}, "
        f"always predicting the token frequencies {result['frequency_loss']:.4f}\n"
        f"token accuracy {result['accuracy']:.2%}, always the most frequent token {result['frequency_accuracy']:.2%}\n"
        f"model   {folder.model}"
    )
    if folder.report.exists():
        say(f"report  {folder.report}")
    return 0


def _forecast(job: PretrainJob) -> int:
    from beit.training.dry_run import forecast

    told = forecast(job)
    memory = ", ".join(f"{what} {amount / 2**30:.2f} GiB" for what, amount in told.memory.items())
    say(
        f"parameters   {told.parameters:,}\n"
        f"memory       {memory} (estimated, per process); {told.peak_memory / 2**30:.2f} GiB held in the timed steps\n"
        f"operations   {told.flops_per_picture / 1e9:,.2f} GFLOP per picture, forward and backward, "
        "tokenizer not included\n"
        f"steps        {told.steps:,} of {job.train.batch_size} pictures, out of {told.pictures:,}\n"
        f"speed        {told.seconds_per_step:.3f} s per step, "
        f"{job.train.batch_size / told.seconds_per_step:,.1f} pictures per second, "
        f"{told.flops_utilisation:.0%} of the rate of a matrix product here\n"
        f"whole run    {timedelta(seconds=round(told.seconds))} (h:mm:ss) on one process like this"
    )
    return 0
