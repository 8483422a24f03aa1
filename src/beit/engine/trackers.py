"""Trackers of experiments (Weights & Biases, MLflow, trackio) beside the files of a run, through accelerate's."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from beit.engine.run_folder import RunFolder
from beit.errors import ConfigError, MissingExtraError
from beit.files import read_json, write_json
from beit.settings.base import plain
from beit.settings.groups import RunSettings
from beit.telemetry import keep_telemetry_off

logger = logging.getLogger("beit")

PROJECT = "beit"
_LONGEST = 250  # characters of a setting that MLflow takes


def check_trackers(run: RunSettings) -> None:
    """Refuse a tracker whose library is not installed.

    Raises:
        MissingExtraError: Naming it.
    """
    for name in run.trackers:
        if name != "tensorboard" and find_spec(name) is None:
            raise MissingExtraError(
                f"run.trackers names {name}, whose library is not installed; run: pip install {name}, or leave it out"
            )


class Trackers:
    """The trackers of a run that have begun; one that fails later is given up, and the run goes on.

    Args:
        trackers: By name, those of accelerate.
    """

    def __init__(self, trackers: Mapping[str, Any] | None = None) -> None:
        self._trackers = dict(trackers or {})

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Give numbers to every tracker, as "train/loss" and so on."""
        named = {f"{split}/{name}": value for name, value in values.items()}
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(named, step=step)
            except Exception as error:  # of any library and network
                logger.warning("%s failed and gets no more numbers (%s); metrics.jsonl has them all", name, error)
                del self._trackers[name]

    def finish(self) -> None:
        """End every tracker, which sends what it still holds."""
        for name, tracker in self._trackers.items():
            try:
                tracker.finish()
            except Exception as error:
                logger.warning("%s did not end well (%s); metrics.jsonl has every number", name, error)


@contextmanager
def begun_trackers(
    folder: RunFolder, run: RunSettings, settings: Mapping[str, Any], active: bool
) -> Generator[Trackers]:
    """Begin the trackers that a run names, and end them after the block.

    Args:
        folder: The run folder, whose name is that of the run; its tracker's identity is kept in it, to go on under.
        run: The settings that name them.
        settings: All settings of the run, which every tracker records.
        active: False on all processes but one.

    Raises:
        ConfigError: If one cannot begin.
    """
    names = [name for name in run.trackers if name != "tensorboard"] if active else []
    trackers = Trackers({name: _begun(name, folder, settings) for name in names})
    try:
        yield trackers
    finally:
        trackers.finish()


def _begun(name: str, folder: RunFolder, settings: Mapping[str, Any]) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    keep_telemetry_off()
    try:
        tracker: Any = LOGGER_TYPE_TO_CLASS[name](PROJECT, **_options(name, folder))
        if hasattr(tracker, "start"):  # older versions of accelerate begin at once
            tracker.start()
        tracker.store_init_configuration(_flat(plain(settings)))
    except Exception as error:  # of any library and network
        raise ConfigError(
            f"the tracker {name} cannot begin ({error}); log in to it, or leave it out of run.trackers"
        ) from error
    return tracker


def _options(name: str, folder: RunFolder) -> dict[str, Any]:
    """Return the arguments with which a tracker begins, or goes on with, the run of a folder."""
    title = folder.path.resolve().name
    if name == "mlflow":
        return {"run_name": title}
    identity = {"id": _identity(folder.trackers), "dir": str(folder.path)} if name == "wandb" else {}
    return {"name": title, "resume": "allow", **identity}


def _identity(path: Path) -> str:
    """Return the identity of a run for its trackers, drawn once."""
    if not path.exists():
        write_json(path, {"id": uuid.uuid4().hex})
    return read_json(path, "the identity of a run for its trackers")["id"]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by their dotted names; what is no plain value as text."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, bool | int | float) else str(value)[:_LONGEST]
    return found
