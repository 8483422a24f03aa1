"""Training on after the end of a run: more steps or epochs, from its last checkpoint."""

from __future__ import annotations

from typing import Any

from beit.engine.hooks import Patience
from beit.engine.metrics import read_metrics
from beit.engine.run_folder import RunFolder, changed_since
from beit.engine.task import Task
from beit.errors import ConfigError


def trains_on(task: Task[Any, Any], folder: RunFolder) -> bool:
    """Return whether a finished run has other settings now, with which it is longer, and print its schedule.

    Raises:
        ConfigError: If its settings differ and leave nothing to train.
    """
    if not folder.begun:
        return False
    done, schedule = folder.last_step, task.schedule
    changed = changed_since(folder, task.settings)
    if not changed or done is None:
        return False
    if schedule.steps <= done:
        raise ConfigError(
            f"{folder.path} has taken {done} steps already, and with the settings of now a run has {schedule.steps}, "
            f"so nothing is left to train ({'; '.join(changed)}): raise train.max_steps or train.epochs, or choose "
            "another run.output"
        )
    if not folder.finished:
        return False
    patience = Patience(task.settings.early_stop, task.watched)
    patience.recall([line for line in read_metrics(folder.metrics) if line["step"] <= done])
    if patience.reached:
        raise ConfigError(
            f"{folder.path} stopped itself after step {done}, for early_stop.patience is {patience.settings.patience}, "
            "and its measurements brought no gain; raise it too, or set it to null, to train on"
        )
    if task.accelerator.is_main_process:
        print(  # noqa: T201
            f"training on after step {done}, the end of the run so far, to step {schedule.steps}: the learning rate "
            f"goes on at {schedule.rate(done):.3g}, where a run of {schedule.steps} steps has it, and ends at "
            f"{schedule.rate(schedule.steps - 1):.3g}"
        )
    return True
