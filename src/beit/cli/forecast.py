"""`--dry-run` of every training command: the cost of the run, from its settings and a few of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beit.cli.output import gib, say
from beit.cli.training import HERE, Machines

if TYPE_CHECKING:
    from beit.engine.forecast import Cost, Speed
    from beit.engine.paper import Paper
    from beit.engine.task import Task

_LONG = 24 * 3600.0  # seconds of a run that is worth another hint
_SHORTER = "smaller pictures, models and tokenizers take hours instead: see recipes/pretrain_cifar10_tiny.yaml"
_MUCH, _MUCH_PREPARING = 0.3, 0.2  # shares of a step that are worth a hint: of waiting, and of the tokenizer
_SMALLER = "raise train.accumulate, set train.recompute, or run.sharding to fsdp"
_SHORT = 0.01  # seconds of a step on paper, about what the kernels of a small model take to start
_INDENT = " " * 13


def say_forecast(kind: type[Task[Any, Any]], job: Any, machines: Machines = HERE) -> None:
    """Print the cost of a training, then take some of its steps and print their speed, or estimate it for other GPUs.

    Args:
        kind: The task.
        job: Its settings.
        machines: What it would run on.

    Raises:
        ConfigError: If the GPU is not in the table.
    """
    if machines.device is not None:
        from beit.engine.paper import gpu_named, on_paper

        paper = on_paper(kind, job, gpu_named(machines.device), machines.processes or 1)
        say(*_cost_lines(job, paper.cost, operations=False), *_paper_lines(job, paper, machines))
        return
    from beit.engine.forecast import forecast

    known: list[Cost] = []

    def announce(cost: Cost) -> None:
        known.append(cost)
        say(*_cost_lines(job, cost), "timing       some steps, which may take minutes ...")

    speed = forecast(kind, job, announce, machines.processes)
    say(*_speed_lines(kind, job, known[0], speed))


def _cost_lines(job: Any, cost: Cost, operations: bool = True) -> list[str]:
    """Return the lines on what is known before the first step."""
    memory = ", ".join(f"{use} {gib(amount)}" for use, amount in cost.memory.items())
    each = f", {job.train.batch_size // cost.processes} on each of {cost.processes} processes"
    known = "" if "activations" in cost.memory else "are not in it, and "
    flops = cost.flops_per_picture
    tokens = f", and {cost.preparing_flops / 1e9:,.2f} of its visual tokens" if cost.preparing_flops else ""
    counted = f"operations   {(flops or 0) / 1e9:,.2f} GFLOP per picture, forward and backward{tokens}"
    return [
        f"parameters   {cost.parameters:,}",
        f"memory       {gib(sum(cost.memory.values()))} estimated per process: {memory}",
        f"{_INDENT}activations {known}grow with train.batch_size; train.accumulate and train.recompute lower them",
        *([counted] if flops is not None and operations else []),
        f"steps        {cost.steps:,} of {job.train.batch_size} pictures{each if cost.processes > 1 else ''}, out "
        f"of {cost.pictures:,}",
    ]


def _paper_lines(job: Any, paper: Paper, machines: Machines) -> list[str]:
    """Return the lines on GPUs that are not here."""
    from beit.engine.metrics import duration
    from beit.engine.paper import ON_A_MACHINE, SHARE

    world, gpu, steps = paper.cost.processes, paper.gpu, paper.cost.steps
    hours = steps * paper.step * world / 3600
    price = "" if machines.price is None else f", about ${hours * machines.price:,.2f} at ${machines.price:g} an hour"
    way = "links inside the machine" if world <= ON_A_MACHINE else "a network between machines"
    rate = job.train.batch_size / paper.step
    return [
        f"operations   {paper.model_flops / 1e9:,.2f} GFLOP per picture counted, forward and backward, and "
        f"{paper.preparing_flops / 1e9:,.2f} to prepare it",
        f"device       {machines.device}: {getattr(gpu, paper.precision) / 1e12:,.0f} TFLOP/s in {paper.precision}, "
        f"{gib(gpu.memory)}; {gpu.source}",
        *([f"{_INDENT}the estimate does not fit its memory; {_SMALLER}"] if paper.memory > gpu.memory else []),
        f"on paper     {paper.step:.4f} s per step, {rate:,.0f} pictures per second, "
        f"{rate / world:,.0f} to be loaded for each GPU",
        f"{_INDENT}computing {paper.computing:.4f} s if {SHARE:.0%} of the peak is reached, beside it gradients "
        f"{paper.communicating:.4f} s over {way}, then the optimiser {paper.updating:.4f} s",
        *(
            [f"{_INDENT}kernels that do so little take longer to start: expect up to {_SHORT} s"]
            * (paper.step < _SHORT)
        ),
        *([f"{_INDENT}the training of the tokenizer, which comes first, is not in it"] * paper.comes_first),
        f"whole run    about {duration(steps * paper.step)} on {world} x {machines.device}: {hours:,.1f} GPU hours"
        + price,
        *_validation(paper.cost),
    ]


def _speed_lines(kind: type[Task[Any, Any]], job: Any, cost: Cost, speed: Speed) -> list[str]:
    """Return the lines on the timed steps, and on the whole run."""
    from beit.engine.metrics import duration

    world, seconds, first = cost.processes, speed.seconds_per_step, speed.first_seconds
    whole = cost.steps * seconds * (1 + speed.monitor_share)
    monitor = f"; {speed.monitor_share:.0%} for the quality monitor are in it" if speed.monitor_share else ""
    alone = world > 1 and not speed.communicates
    reached = f"; a step reaches {speed.flops_utilisation or 0:.0%} of the rate of a matrix product here"
    return [
        f"speed        {seconds:.3f} s per step, {job.train.batch_size / seconds:,.1f} pictures per second"
        + (reached if speed.flops_utilisation is not None else ""),
        *([f"{_INDENT}as one of {world} processes like this; their communication is not counted"] * alone),
        f"{_INDENT}{speed.preparing_share:.0%} of the time {kind.preparing}, {speed.data_share:.0%} waits for pictures",
        f"{_INDENT}{gib(speed.peak_memory)} held in the timed steps, libraries and what the allocator keeps included",
        *_hints(kind, speed),
        f"whole run    about {duration(whole)} on "
        + (f"{world} processes" if world > 1 else "one process like this")
        + (f", and {duration(first)} before for its tokenizer" if first is not None else "")
        + monitor,
        *_validation(cost),
        *([f"{_INDENT}{_SHORTER}"] if whole + (first or 0.0) > _LONG else []),
    ]


def _validation(cost: Cost) -> list[str]:
    """Return the line on the measurements of held-out pictures, which may take longer than the steps between them."""
    if not cost.validations:
        return []
    times = f"{cost.validations:,} measurement{'s' * (cost.validations != 1)}"
    pictures = f"{cost.validated:,} held-out picture{'s' * (cost.validated != 1)}"
    return [f"{_INDENT}{times} of {pictures} (validation) not counted"]


def _hints(kind: type[Task[Any, Any]], speed: Speed) -> list[str]:
    """Return hints that would make the run faster, where much is to be gained."""
    hints: list[str] = []
    if speed.preparing_share > _MUCH_PREPARING and kind.preparing_hint:
        hints.append(f"{_INDENT}{kind.preparing_hint}")
    if speed.data_share > _MUCH:
        hints.append(f"{_INDENT}more data.workers load pictures faster, if there are cores for them")
    return hints
