"""Run folder: its layout, and the checks before a run starts or continues in it.

.lock               the process that is writing here, while one is
recipe.yaml         the resolved settings
metrics.jsonl       one JSON object per line
tensorboard/        the same numbers as TensorBoard events
pictures/           what a pre-training makes of the same held-out pictures while it learns: step_00000500.png ...
checkpoints/        step_00000500/ ...: everything needed to continue
model/              the trained model
model_average/      the moving average of its weights, if one is kept
best/               the model that measured best, if the run keeps it
monitor.json        how often the quality monitor measures, and the times that it chose this by
trackers.json       the identity of the run for trackers of experiments, if it has some
stopped.json        why the run stopped itself, if it did
not_finite.json     the pictures of the step that diverged, if one did
result.json         what the finished run measured
broken.txt          pictures that were skipped, and why
report.html         curves and pictures
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from beit.errors import ConfigError, StorageError, shortened
from beit.files import (
    check_apart,
    discard_leftovers,
    identity_of,
    locked,
    read_json,
    read_yaml,
    write_json,
    write_text,
)
from beit.settings.base import defaults, plain, resolved_recipe
from beit.settings.groups import FolderSettings

if TYPE_CHECKING:
    from accelerate import Accelerator  # imports torch, and what is wrong with a folder is said before that

_SEEN_WITHIN = 10.0  # seconds
_STEP = re.compile(r"step_([0-9]{8,})")

# Settings that do not change the numbers, so that a run may continue under others.
_FREE = {
    ("run", "output"),
    ("run", "resume"),
    ("run", "force"),
    ("run", "save_every"),
    ("run", "keep_checkpoints"),
    ("run", "log_every"),
    ("gallery", "every"),
    ("gallery", "pictures"),
    ("run", "report"),
    ("run", "trackers"),
    ("monitor", "every"),
    ("monitor", "share"),
    ("run", "sharding"),
    ("run", "failure_detection"),
    ("data", "workers"),
    ("data", "keep_decoded"),
    # what these name may move: the checkpoints know its content
    ("teacher",),
    ("tokenizer", "path"),
    ("tokenizer", "tokens"),
    ("tokenizer", "encoding", "compile"),
    ("data", "max_broken"),
    ("data", "max_pixels"),
}


def saved_steps(checkpoints: Path) -> list[Path]:
    """Return the checkpoints in their folder, the oldest first; a copy of one that has another name is nobody's."""
    found = [(int(match[1]), path) for path in checkpoints.glob("step_*") if (match := _STEP.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


class RunFolder:
    """A folder that holds one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lock = self.path / ".lock"
        self.recipe = self.path / "recipe.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.pictures = self.path / "pictures"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self.best = self.path / "best"
        self.average = self.path / "model_average"
        self.monitor = self.path / "monitor.json"
        self.trackers = self.path / "trackers.json"
        self.stopped = self.path / "stopped.json"
        self.result = self.path / "result.json"
        self.broken = self.path / "broken.txt"
        self.report = self.path / "report.html"
        self._seen: tuple[int, int] | None = None

    @property
    def finished(self) -> bool:
        """Return whether the run reached its end."""
        return self.result.exists()

    @property
    def begun(self) -> bool:
        """Return whether there is something to continue; before that there is nothing to lose."""
        return self.recipe.exists() and (self.finished or bool(saved_steps(self.checkpoints)))

    @property
    def last_step(self) -> int | None:
        """Finished steps at the newest checkpoint, by its name; None if there is none."""
        saved = saved_steps(self.checkpoints)
        return int(saved[-1].name.removeprefix("step_")) if saved else None

    def check_present(self) -> None:
        """Refuse to write where a run folder was: half of one would take the name of the one that was moved.

        Raises:
            StorageError: If it has gone, or is another one than when this was first asked.
        """
        seen = identity_of(self.path)
        if seen is None or seen != (self._seen or seen):
            first = "" if seen is None else "remove what has its name now, "
            raise StorageError(
                f"the run folder {self.path} has gone while the run wrote it; {first}give it back its name, and the "
                "same command continues the run"
            )
        self._seen = seen

    def reopen(self) -> None:
        """Take back that the run is finished, before it is trained on."""
        for mark in (self.stopped, self.result):
            mark.unlink(missing_ok=True)

    def read_recipe(self) -> dict[str, Any]:
        """Return the resolved settings.

        Raises:
            ConfigError: If the file is damaged.
        """
        return read_yaml(self.recipe, "the recipe of a run", "restore it, or choose another run.output")

    def read_result(self) -> dict[str, float]:
        """Return the measurements of the finished run.

        Raises:
            ConfigError: If the file is damaged.
        """
        remedy = "remove it, and the same command ends the run"
        result = read_json(self.result, "what a finished run measured", remedy, finite=False)
        for name, value in result.items():
            if not isinstance(value, int | float):
                raise ConfigError(f"{self.result} has {shortened(value)} for {name}; expected a number; {remedy}")
        return result

    def write_stopped(self, reason: str) -> None:
        """Record why the run stops itself, for who looks at it later."""
        write_json(self.stopped, {"reason": reason})

    def write_result(self, result: Mapping[str, float]) -> None:
        """Mark the run as finished."""
        write_json(self.result, result)


@contextmanager
def hold_run_folder(job: Any, run: FolderSettings) -> Generator[None]:
    """Keep other processes from writing the folder of a run for the block.

    Raises:
        ConfigError: If one is writing it, or the folder holds another run, or one that may not be continued.
    """
    folder = check_run_folder(job, run)  # first: where it is refused, not even a lock is left behind
    with locked(folder.lock, folder.path, "stop it, or choose another run.output"):
        yield


def open_run_folder(job: Any, run: FolderSettings, accelerator: Accelerator, trains_on: bool = False) -> RunFolder:
    """Return the folder of a run, new or to be continued, with its recipe written; one process writes.

    Args:
        job: The settings.
        run: Its folder, and how it may be continued.
        accelerator: The processes.
        trains_on: Whether a finished run is taken up again.

    Raises:
        ConfigError: If the folder holds another run, or one that may not be continued, or not all processes see it.
        StorageError: If the recipe cannot be written.
    """
    folder = RunFolder(run.output)
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            prepare_run_folder(job, run, trains_on)
        elif not _appears(folder.recipe):
            raise ConfigError(
                f"process {accelerator.process_index} does not see {folder.recipe.absolute()}, which process 0 has "
                "written; run.output has to be a folder that all processes share, best given from the root"
            )
    folder.check_present()
    return folder


def _appears(path: Path) -> bool:
    """Return whether a file is there; over a network it may take some seconds to be seen."""
    deadline = time.monotonic() + _SEEN_WITHIN
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def prepare_run_folder(job: Any, run: FolderSettings, trains_on: bool = False) -> RunFolder:
    """Return the folder of a run of one process, new or to be continued, with its recipe written.

    That of a finished run stays as it is, unless the run is taken up again.

    Raises:
        ConfigError: If the folder holds another run, or one that may not be continued.
        StorageError: If the recipe cannot be written.
    """
    folder = check_run_folder(job, run)
    if folder.finished and not trains_on:
        if changed := changed_since(folder, job):
            raise ConfigError(
                f"{folder.path} holds a finished run with other settings: {'; '.join(changed)}. Nothing would be "
                "trained again; choose another run.output"
            )
        return folder
    folder.reopen()
    if not folder.begun:  # those of an attempt that reached no checkpoint, maybe with other pictures
        folder.broken.unlink(missing_ok=True)
    discard_leftovers(folder.path)
    discard_leftovers(folder.checkpoints)
    write_text(folder.recipe, resolved_recipe(job))
    return folder


def check_run_folder(job: Any, run: FolderSettings) -> RunFolder:
    """Return the folder of a run, in which nothing is written yet.

    Raises:
        ConfigError: If the folder holds another run, or one that may not be continued, or lies inside the pictures.
    """
    check_apart(run.output, "run.output", (job.data.path, job.data.val_path))
    folder = RunFolder(run.output)
    if folder.recipe.exists():
        if not run.resume:
            raise ConfigError(f"{folder.path} holds a run already; set run.resume to true or choose another run.output")
        if folder.begun:
            _check_same(folder, job, run.force)
    elif folder.path.is_dir() and not all(map(_is_no_run_yet, folder.path.iterdir())):
        raise ConfigError(f"{folder.path} is not empty and holds no run; choose another run.output")
    return folder


def _is_no_run_yet(path: Path) -> bool:
    """Return whether a file is all that is there of a run before its recipe is written."""
    return path.match(".recipe.yaml.*.tmp") or path.match(".lock*")


def _check_same(folder: RunFolder, job: Any, force: bool) -> None:
    recipe = folder.read_recipe()
    if unknown := _unknown(recipe, job):
        raise ConfigError(
            f"{folder.recipe} has unknown settings ({', '.join(unknown)}): another command or version of beit "
            "wrote it, whose runs this one does not continue; choose another run.output; its models load as ever"
        )
    changed = changed_since(folder, job)
    if changed and not hasattr(job, "train"):  # a fit without steps is finished, and has none to go on with
        raise ConfigError(
            f"{folder.path} holds a finished run with other settings: {'; '.join(changed)}. Use the same settings, or "
            "choose another run.output"
        )
    if changed and force:
        logging.getLogger(__name__).warning("%s continues with other settings: %s", folder.path, "; ".join(changed))
    elif changed:
        raise ConfigError(
            f"{folder.path} holds a run with other settings: {'; '.join(changed)}. Use the same settings to continue "
            "it, --run.force true to continue all the same, or to train a finished run on with more steps, or choose "
            "another run.output"
        )


def decisive_settings(job: Any) -> dict[str, Any]:
    """Return the settings of a job that may change its numbers, by their dotted names; runs of others are others."""
    flat = _flat(yaml.safe_load(resolved_recipe(job)))
    return {".".join(key): _meaning(value) for key, value in flat.items() if key not in _FREE}


def changed_since(folder: RunFolder, job: Any) -> list[str]:
    """Return the settings that differ from those of the run in a folder, and may change its numbers.

    Raises:
        ConfigError: If its recipe is damaged.
    """
    now = _flat(yaml.safe_load(resolved_recipe(job)))
    # a setting that is not in the recipe had its default
    before = _flat(plain(defaults(job))) | _flat(folder.read_recipe())
    return [
        f"{'.'.join(key)} was {before.get(key)!r} and is now {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if _meaning(before.get(key)) != _meaning(now.get(key)) and key not in _FREE
    ]


def _unknown(recipe: Mapping[str, Any], settings: Any, prefix: str = "") -> list[str]:
    """Return the names in a recipe that are no settings of a job."""
    names: list[str] = []
    for name, value in recipe.items():
        group = getattr(settings, name, None)
        if name not in type(settings).__pydantic_fields__:
            names.append(f"{prefix}{name}")
        elif is_dataclass(group) and isinstance(value, dict):
            names += _unknown(value, group, f"{prefix}{name}.")
    return names


def _meaning(value: Any) -> Any:
    """Return a setting without the parts of a path that make no difference: "./" before it, a slash after it."""
    return (value.removeprefix("./").rstrip("/") or value) if isinstance(value, str) else value


def _flat(tree: dict[str, Any], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    flat: dict[tuple[str, ...], Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, (*prefix, key)) if isinstance(value, dict) else {(*prefix, key): value})
    return flat
