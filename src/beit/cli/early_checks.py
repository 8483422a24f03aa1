"""Checks that need neither a framework nor the pictures: cheap mistakes end within a second."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from beit.catalog import public_checkpoint
from beit.config import CONFIG_NAME
from beit.engine.recorded import as_before
from beit.engine.run_folder import RunFolder, check_run_folder
from beit.errors import ConfigError, missing_data, missing_picture
from beit.files.patterns import is_pattern
from beit.hub import HubOptions, is_hub_name, is_remote
from beit.image import EXTENSIONS
from beit.inference.exported import EXPORT_NAME
from beit.inference.jobs.frames import FILMS
from beit.settings.groups import OptimSettings, TrainSettings
from beit.weights.arguments import WEIGHT_FILES, locate

_ELSEWHERE = ("hub:", "digits:", "s3://", "gs://")
_SHARDS = {".tar", ".parquet"}
_GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")  # of CUDA, ROCm, and Windows' subsystem


def check_early(job: Any, writes: bool) -> None:
    """Refuse what cannot be, as far as the settings and a look at the disk show it.

    Args:
        job: The settings of a training.
        writes: Whether it is run, rather than forecast.

    Raises:
        ConfigError: If there is no such device, the warm-up is too long, or the run folder holds another run.
        DataError: If there is no such path.
    """
    check_paths(job.data.path, job.data.val_path)
    if job.run.device == "cuda":
        _check_gpu()
    if hasattr(job, "optim"):
        check_warmup(job.optim, job.train)
    if writes:
        check_run_folder(as_before(job), job.run)


def check_warmup(optim: OptimSettings, train: TrainSettings) -> None:
    """Refuse a warm-up that is not shorter than the run, where both are given in steps, or both in epochs.

    Raises:
        ConfigError: Naming both.
    """
    by_steps = (optim.warmup_steps, train.max_steps)
    if by_steps[0] is not None and by_steps[1] is not None:
        warmup, whole, unit = by_steps[0], by_steps[1], "steps"
    elif by_steps == (None, None) and optim.warmup_epochs != "auto":
        warmup, whole, unit = optim.warmup_epochs, train.epochs, "epochs"
    else:  # the number of pictures decides, or the length of the run
        return
    if warmup >= whole > 1:
        raise ConfigError(
            f"the warm-up of {warmup:g} {unit} is not shorter than the run of {whole:g}; lower optim.warmup_{unit} or "
            "train longer"
        )


def check_models(*names: str | None) -> None:
    """Refuse a model that is nowhere; the hub is not asked.

    Raises:
        CheckpointError: If neither this machine nor the catalog has it, and it is no name of a hub repository.
    """
    for name in names:
        if name is not None and not (Path(name).exists() or is_hub_name(name) or public_checkpoint(name)):
            locate(name, HubOptions())  # which says what was expected


def check_paths(*paths: str | None) -> None:
    """Refuse a path of data of this machine that is not there.

    Raises:
        DataError: If it does not exist.
    """
    for path in paths:
        if path is not None and _is_missing(path):
            raise missing_data(path)


def check_pictures(*places: str) -> None:
    """Refuse a picture, or a folder of them, that is not there.

    Raises:
        DataError: If it does not exist.
    """
    for place in places:
        if _is_missing(place):
            raise missing_picture(place)


def are_pictures(place: str) -> bool:
    """Return whether a word names pictures rather than a model: by its ending, or by what a folder holds."""
    path = Path(place)
    if path.is_dir():
        models = (path / name for name in (*WEIGHT_FILES, CONFIG_NAME, EXPORT_NAME))
        return not any(file.is_file() for file in (*models, RunFolder(path).recipe))  # a run is named for its model
    pictures = path.suffix.lower() in EXTENSIONS | FILMS | _SHARDS
    return pictures or place.startswith(_ELSEWHERE) or is_pattern(place)


def _is_missing(path: str) -> bool:
    named = path.startswith(_ELSEWHERE) or is_pattern(path) or (is_remote(path) and Path(path).suffix in _SHARDS)
    return not (named or os.path.exists(path))  # that of pathlib raises for what is no path


def _check_gpu() -> None:
    """Refuse a GPU on a machine that shows none."""
    if sys.platform == "linux" and not any(any(Path("/dev").glob(name)) for name in _GPU_DEVICES):
        raise ConfigError("device is 'cuda' but there is no usable GPU; use 'cpu' or 'auto'")
