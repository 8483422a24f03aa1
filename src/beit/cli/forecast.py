"""`--dry-run` of the commands that train on labelled pictures or masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beit.cli.output import gib, say

if TYPE_CHECKING:
    from beit.engine.forecast import TrainingCost
    from beit.settings.groups import TrainSettings


def say_cost(cost: TrainingCost, train: TrainSettings, side: int | str) -> None:
    """Print what a training would cost.

    Args:
        cost: What its first steps took.
        train: Its settings.
        side: Of the pictures that the model sees, in pixels, or whose it is.
    """
    from beit.engine.run_state import duration

    pictures = train.batch_size // cost.processes
    say(
        f"parameters   {cost.parameters:,}",
        f"memory       {gib(cost.peak_memory)} held by a process in a step of {pictures} pictures of {side} pixels, "
        f"{gib(cost.state)} of it for weights and optimiser",
        "             train.recompute, train.accumulate and bf16 lower the rest",
        f"steps        {cost.steps:,} of {train.batch_size} pictures, out of {cost.pictures:,}",
        f"speed        {cost.seconds_per_step:.3f} s per step, {cost.data_share:.0%} of it waits for pictures",
        f"whole run    about {duration(cost.steps * cost.seconds_per_step)} on {cost.processes} "
        f"process{'es' * (cost.processes > 1)} like this",
    )
