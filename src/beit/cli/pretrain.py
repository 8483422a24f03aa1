"""`beit pretrain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from beit.cli.output import gib, say, say_settings
from beit.cli.parser import parse_job
from beit.errors import ConfigError
from beit.settings.pretrain import PretrainJob

if TYPE_CHECKING:
    from beit.tasks.pretrain.dry_run import Cost, Speed

DESCRIPTION = (
    "Pre-train a BEiT by masked image modelling: predict the visual tokens of hidden patches. No labels are needed, "
    "and no setting but data.path. Without tokenizer.path a tokenizer is trained first, on the same pictures. The same "
    "command continues a run that was stopped; --force continues it with other settings. --dry-run takes a few steps, "
    "writes nothing and tells what the whole run would cost; with --processes N, that of N processes like this one."
)
_LONG = 24 * 3600.0  # seconds of a run that is worth another hint
_SHORTER = "smaller pictures, models and tokenizers take hours instead: see recipes/pretrain_cifar10_tiny.yaml"
_MUCH = 0.3  # share of a step worth a hint


def run(arguments: Sequence[str]) -> int:
    """Parse, pre-train, print."""
    words, processes = _processes(arguments)
    dry = "--dry-run" in words
    if processes is not None and not dry:
        raise ConfigError("--processes belongs to --dry-run; a launcher such as torchrun starts the processes of a run")
    given = ["--run.force=true" if word == "--force" else word for word in words if word != "--dry-run"]
    job = parse_job(PretrainJob, "beit pretrain", DESCRIPTION, given, "[--dry-run [--processes N]] [--force]")
    say_settings(job)
    return _forecast(job, processes) if dry else _pretrain(job)


def _pretrain(job: PretrainJob) -> int:
    from beit.tasks.pretrain.quality import verdict
    from beit.tasks.pretrain.task import pretrain

    folder = pretrain(job)
    result = folder.read_result()
    say(
        f"held-out pictures, masked patches: loss {result['loss']:.4f}, "
        f"always predicting the token frequencies {result['frequency_loss']:.4f}\n"
        f"token accuracy {result['accuracy']:.2%}, always the most frequent token {result['frequency_accuracy']:.2%}"
    )
    if warning := verdict(result):
        say(warning)
    say(f"model   {folder.model}")
    if folder.report.exists():
        say(f"report  {folder.report}")
    return 0


def _processes(arguments: Sequence[str]) -> tuple[list[str], int | None]:
    """Return the arguments without `--processes N` or `--processes=N`, and the number."""
    words = [part for word in arguments for part in (word.split("=") if word.startswith("--processes=") else [word])]
    if "--processes" not in words:
        return words, None
    place = words.index("--processes")
    number = words[place + 1] if len(words) > place + 1 else "missing"
    if not number.isdecimal() or number == "0":
        raise ConfigError(f"the number after --processes is {number}; expected 1 or more")
    return words[:place] + words[place + 2 :], int(number)


def _forecast(job: PretrainJob, processes: int | None) -> int:
    from beit.tasks.pretrain.dry_run import forecast

    known: list[Cost] = []

    def tell(cost: Cost) -> None:
        known.append(cost)
        say(*_cost_lines(job, cost), "timing       some steps, which may take minutes ...")

    speed = forecast(job, tell, processes)
    say(*_speed_lines(job, known[0], speed))
    return 0


def _cost_lines(job: PretrainJob, cost: Cost) -> list[str]:
    """Return what is known before the first step."""
    memory = ", ".join(f"{what} {gib(amount)}" for what, amount in cost.memory.items())
    flops = cost.flops_per_picture / 1e9
    each = f", {job.train.batch_size // cost.processes} on each of {cost.processes} processes"
    return [
        f"parameters   {cost.parameters:,}",
        f"memory       {gib(sum(cost.memory.values()))} estimated per process: {memory}",
        "             activations and logits grow with train.batch_size; train.accumulate and more processes "
        "divide them",
        f"operations   {flops:,.2f} GFLOP per picture, forward and backward, without the tokenizer",
        f"steps        {cost.steps:,} of {job.train.batch_size} pictures{each if cost.processes > 1 else ''}, out "
        f"of {cost.pictures:,}",
    ]


def _speed_lines(job: PretrainJob, cost: Cost, speed: Speed) -> list[str]:
    """Return what the timed steps told, and what it means for the whole run."""
    from beit.engine.run_state import duration

    world, seconds, own = cost.processes, speed.seconds_per_step, speed.tokenizer_seconds
    alone = world > 1 and not speed.communicates
    return [
        f"speed        {seconds:.3f} s per step, {job.train.batch_size / seconds:,.1f} "
        f"pictures per second; the model reaches {speed.flops_utilisation:.0%} of the rate of a matrix product here",
        *([f"             as one of {world} processes like this; their communication is not counted"] * alone),
        f"             {speed.tokenizer_share:.0%} of the time makes visual tokens, "
        f"{speed.data_share:.0%} waits for pictures",
        f"             {gib(speed.peak_memory)} held in the timed steps: tokenizer, libraries and what the allocator "
        "keeps included",
        *_hints(job, speed.tokenizer_share, speed.data_share),
        f"whole run    about {duration(cost.steps * seconds)} on "
        + (f"{world} processes" if world > 1 else "one process like this")
        + (f", and {duration(own)} before for its tokenizer" if own is not None else ""),
        *([f"             {_SHORTER}"] if cost.steps * seconds + (own or 0.0) > _LONG else []),
    ]


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
