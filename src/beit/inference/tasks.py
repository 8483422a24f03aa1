"""What can be asked of a model."""

from __future__ import annotations

from typing import Literal, get_args

from beit.errors import ConfigError
from beit.inference.runner import Runner, TorchRunner

Task = Literal["classify", "segment", "embed", "reconstruct", "attend"]
TASKS: tuple[Task, ...] = get_args(Task)
_TRAINED_BY = {"classify": "beit finetune", "segment": "beit segment"}


def is_pretraining(runner: Runner) -> bool:
    """Tell whether a model predicts visual tokens, so that with a tokenizer it can reconstruct."""
    from beit.models_torch import BeitForMaskedImageModeling  # which an exported model does without

    return isinstance(runner, TorchRunner) and isinstance(runner.model, BeitForMaskedImageModeling)


def possible_tasks(runner: Runner, reconstructs: bool) -> frozenset[Task]:
    """Return what a model can do; `reconstructs` tells whether it has a tokenizer that paints pixels."""
    possible: set[Task] = {runner.task}
    if runner.config.problem_type == "regression":
        possible.discard("classify")
    if isinstance(runner, TorchRunner):
        possible |= {"embed", "attend"}
    if reconstructs:
        possible.add("reconstruct")
    return frozenset(possible)


def check_task(task: str, possible: frozenset[Task], runner: Runner) -> None:
    """Refuse a task that a model cannot do.

    Raises:
        ConfigError: Naming those that it can.
    """
    if task in possible:
        return
    reason = ""
    if task == "classify" and runner.config.problem_type == "regression":
        reason = "it gives numbers, not classes; "
    if task == "reconstruct" and is_pretraining(runner):
        reason = "no tokenizer is given; pass tokenizer=... (--tokenizer) with the one it was trained with; "
    if task in _TRAINED_BY and runner.task == "embed" and isinstance(runner, TorchRunner):
        reason = (
            f"it has no classes yet; fine-tune it ({_TRAINED_BY[task]} --checkpoint MODEL) or choose another --task; "
        )
    named = ", ".join(name for name in TASKS if name in possible) or "none"
    raise ConfigError(f"this model cannot {task}: {reason}expected one of: {named}")
