"""State of a run, read from its folder by another process than the one that trains."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beit.data import BrokenPictures
from beit.engine.interruption import FILE_NAME as NOT_FINITE
from beit.engine.metrics import Line, duration, read_metrics
from beit.engine.run_folder import RunFolder, saved_steps
from beit.errors import ConfigError
from beit.files import is_held, killed_holder, read_json

_QUIET_SECONDS = 60.0  # a run that has written nothing for so long, and for ten lines' time, is not at work
_QUIET_LINES = 10
_FIRST_LINE_SECONDS = 600.0  # pictures are listed, a step is compiled, or tokens are encoded before the first line,
# and held-out pictures are measured after the last


@dataclass(frozen=True)
class RunState:
    """State of a run at one moment.

    Attributes:
        folder: Where it is.
        lines: Its metrics.
        step: Finished steps, as far as metrics and checkpoints show them.
        steps: Steps of the whole run, None as long as no line of the metrics shows how many pictures there are.
        quiet: Seconds since anything was written.
        checkpoint: Step of the newest checkpoint, None if there is none.
        checkpoint_age: Seconds since it was written.
        broken: Broken pictures met so far.
        doing: What the run does now, or why it does not run.
        working: Whether it does something; if not, it stays as it is until it is started again.
        seconds_left: Expected, None if it is not at work or its speed is not known.
    """

    folder: RunFolder
    lines: list[Line]
    step: int
    steps: int | None
    quiet: float
    checkpoint: int | None
    checkpoint_age: float
    broken: int
    doing: str
    working: bool
    seconds_left: float | None


def open_run(path: str | Path) -> RunFolder:
    """Return the folder of a run.

    Raises:
        ConfigError: If there is none.
    """
    folder = RunFolder(path)
    if folder.recipe.exists():
        if "train" not in folder.read_recipe():
            raise ConfigError(
                f"{path} holds a k-means tokenizer, which takes no steps to watch; look at its report.html"
            )
        return folder
    if not folder.path.exists():
        raise ConfigError(f"{path} does not exist; name a run folder, the run.output of a training")
    if not folder.path.is_dir():
        raise ConfigError(f"{path} is a file; name a run folder, the run.output of a training")
    runs = sorted(str(found.parent) for found in folder.path.glob("*/recipe.yaml"))
    found = f"; there are runs in it: {', '.join(runs[:5])}" if runs else ""
    raise ConfigError(f"{path} holds no run (no {folder.recipe.name}); name the run.output of a training{found}")


def current(folder: RunFolder) -> RunFolder:
    """Return the run that is at work: that of the tokenizer, as long as a pre-training still trains its own."""
    first = RunFolder(folder.path / "tokenizer")
    return first if first.recipe.exists() and not folder.metrics.exists() and not folder.finished else folder


def read_state(folder: RunFolder) -> RunState:
    """Return the state of a run.

    Raises:
        ConfigError: If its recipe, or another file that says what it does, is damaged.
    """
    try:
        return _read_state(folder, folder.read_recipe())
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"a file of the run in {folder.path} is damaged ({error!r}), most likely {folder.recipe.name}; restore it, "
            "or choose another run.output"
        ) from None


def _read_state(folder: RunFolder, recipe: Any) -> RunState:
    lines = read_metrics(folder.metrics)
    step = max((line["step"] for line in lines), default=0)
    writes = (folder.recipe, folder.metrics, folder.checkpoints, folder.result)
    quiet = _since(max(_written(path) for path in writes))
    saved = saved_steps(folder.checkpoints)
    checkpoint = int(saved[-1].name.removeprefix("step_")) if saved else None
    step, steps = max(step, checkpoint or 0), _steps(recipe, lines)
    rate = next((line["images_per_second"] for line in reversed(lines) if line.get("images_per_second")), None)
    step_seconds = recipe["train"]["batch_size"] / rate if rate else None
    doing = _stopped(folder, lines, recipe, step, steps, checkpoint, quiet, step_seconds)
    working = doing is None
    if doing is None:
        doing = "at work" if step else "at work, no finished steps yet"
        if steps is not None and step >= steps:
            doing = "at its end: measuring on held-out pictures, then the report"
    left = (steps - step) * step_seconds if working and steps is not None and step_seconds is not None else None
    broken = len(BrokenPictures(folder.broken, 0, max_share=1.0))  # the list has shards as well
    age = _since(_written(saved[-1])) if saved else 0.0
    return RunState(folder, lines, step, steps, quiet, checkpoint, age, broken, doing, working, left)


def state_now(folder: RunFolder) -> RunState:
    """Return the state of the run that is at work; after its tokenizer, a pre-training begins by itself."""
    at_work = current(folder)
    state = read_state(at_work)
    if at_work is folder or not at_work.finished:
        return state
    if not folder.lock.exists():
        why = "was stopped, or ended in an error that its output has"
    elif (holder := killed_holder(folder.lock)) is not None:
        why = f"is not at work: its process ({holder.process}) was killed"
    elif state.quiet > _FIRST_LINE_SECONDS:
        why = f"is not at work, as it seems: nothing new for {duration(state.quiet)}"
    else:
        return replace(state, doing=f"{state.doing}; the pre-training begins", working=True)
    return replace(state, doing=f"{state.doing}; the pre-training {why}; the same command starts it")


def _stopped(
    folder: RunFolder,
    lines: list[Line],
    recipe: Any,
    step: int,
    steps: int | None,
    checkpoint: int | None,
    quiet: float,
    step_seconds: float | None,
) -> str | None:
    """Return why a run is not at work, None if it is."""
    released = not folder.lock.exists()  # asked first: the result is written before the lock is released
    if folder.finished:
        early, patience = steps is not None and step < steps, recipe.get("early_stop", {}).get("patience")
        return f"finished by its early stop: no gain in the last {patience} measurements" if early else "finished"
    started = _written(folder.recipe) - 1.0  # every start writes it; clocks of file systems are coarse
    if folder.stopped.exists():  # every start removes it
        return f"stopped itself: {read_json(folder.stopped, 'why a run stopped', 'remove it')['reason']}"
    held = is_held(folder.lock)  # then it goes on, whatever times files have: clocks are set back, too
    if not held and (listing := folder.path / NOT_FINITE).exists() and _written(listing) >= started:
        diverged = read_json(listing, "the pictures of a step", "remove it")["step"]
        if diverged > max((line["step"] for line in lines), default=0):
            return f"stopped: the loss was not finite at step {diverged:,}; its pictures are in {listing}"
    again = (
        f"the same command continues it after step {checkpoint:,}" if checkpoint else "the same command starts it again"
    )
    stopped_there = (
        not held and checkpoint is not None and checkpoint == step and _written(folder.checkpoints) >= started
    )
    if stopped_there and step % recipe["run"]["save_every"] and step != steps:
        return f"paused; {again}"  # only a run that is asked to stop saves at such a step
    if (holder := killed_holder(folder.lock)) is not None:
        return f"not at work: its process ({holder.process}) was killed; {again}"
    if released:
        return f"not at work: it was stopped, or ended in an error that its output has; {again}"
    line_seconds = step_seconds * recipe["run"]["log_every"] if step_seconds is not None else 0.0
    allowed = max(_QUIET_SECONDS, _QUIET_LINES * line_seconds)
    if _written(folder.metrics) <= started + 1.0 or step == steps:
        allowed = max(allowed, _FIRST_LINE_SECONDS)
    return f"not at work, as it seems: nothing new for {duration(quiet)}; {again}" if quiet > allowed else None


def _steps(recipe: Any, lines: list[Line]) -> int | None:
    """Return the steps of the whole run; the length of an epoch is known from the lines of the metrics."""
    train = recipe["train"]
    if train.get("max_steps"):
        return train["max_steps"]
    newest = next((line for line in reversed(lines) if line.get("epoch")), None)
    if newest is None:
        return None
    pictures = round(newest["step"] * train["batch_size"] / newest["epoch"])
    return max(1, round(train["epochs"] * pictures / train["batch_size"]))  # as the schedule does, halves included


def _since(moment: float) -> float:
    """Return the seconds since a moment, by a clock that may have been set back since."""
    return max(0.0, time.time() - moment)


def _written(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
