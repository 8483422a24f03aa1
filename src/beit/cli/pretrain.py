"""`beit pretrain`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.training.jobs import PretrainJob

DESCRIPTION = (
    "Pre-train a BEiT by masked image modelling: predict the visual tokens of hidden patches. No labels are needed, "
    "and no setting but data.path. Without tokenizer.path a tokenizer is trained first, on the same pictures. The same "
    "command continues a run that was stopped; --force continues it with other settings. --dry-run takes a few steps, "
    "writes nothing and tells what the whole run would cost."
)
_MUCH = 0.3  # share of a step worth a hint


def run(arguments: Sequence[str]) -> int:
    """Parse, pre-train, print."""
    dry = "--dry-run" in arguments
    given = ["--run.force=true" if word == "--force" else word for word in arguments if word != "--dry-run"]
    job = parse_job(PretrainJob, "beit pretrain", DESCRIPTION, given, "[--dry-run] [--force]")
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
    from beit.training.run_state import duration

    told = forecast(job)
    memory = ", ".join(f"{what} {_gib(amount)}" for what, amount in told.memory.items())
    flops = told.flops_per_picture / 1e9
    speed = job.train.batch_size / told.seconds_per_step
    say(
        f"parameters   {told.parameters:,}",
        f"memory       {_gib(sum(told.memory.values()))} estimated per process: {memory}",
        f"             {_gib(told.peak_memory)} held in the timed steps: tokenizer, libraries and what the allocator "
        "keeps included",
        "             activations and logits grow with train.batch_size; train.accumulate divides them",
        f"operations   {flops:,.2f} GFLOP per picture, forward and backward, without the tokenizer",
        f"steps        {told.steps:,} of {job.train.batch_size} pictures, out of {told.pictures:,}",
        f"speed        {told.seconds_per_step:.3f} s per step, {speed:,.1f} pictures per second; the model reaches "
        f"{told.flops_utilisation:.0%} of the rate of a matrix product here",
        f"             {told.tokenizer_share:.0%} of the time makes visual tokens, "
        f"{told.data_share:.0%} waits for pictures",
        *_hints(job, told.tokenizer_share, told.data_share),
        f"whole run    about {duration(told.seconds)} on one process like this"
        + (", after the training of its tokenizer" if job.tokenizer.path is None else ""),
    )
    return 0


def _hints(job: PretrainJob, tokenizer: float, data: float) -> list[str]:
    """Return what would make the run faster, where much is to be gained."""
    hints: list[str] = []
    if tokenizer > _MUCH and job.tokenizer.tokens is None:
        hints.append(
            "             `beit tokenizer encode` makes the tokens once for all epochs (tokenizer.tokens, fixed_views)"
        )
    if data > _MUCH:
        hints.append("             more data.workers load pictures faster, if there are cores for them")
    return hints


def _gib(amount: float) -> str:
    return f"{amount / 2**30:.2f} GiB"
