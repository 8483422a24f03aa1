"""Runners of exported models: the folders that `beit export` writes, by onnxruntime, OpenVINO or torch.

Legend: B batch, C channels, D hidden, K classes; H x W pixels of a picture, h x w places of a map.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from beit.config import BeitConfig
from beit.errors import CheckpointError, ConfigError, shortened
from beit.files import read_json
from beit.inference.exported_engines import ENGINES
from beit.inference.runners.runner import Floats, TaskName

EXPORT_NAME = "export.json"
EXPORT_VERSION = 1
FILES = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin"), "torch": ("model.pt2",)}
TRUST = "BEIT_TRUST_PT2"  # environment variable: "1" loads archives of torch, which can run code


def is_exported(folder: str | Path) -> bool:
    """Return whether a folder is one that `beit export` wrote."""
    return (Path(folder) / EXPORT_NAME).is_file()


class ExportedRunner:
    """An exported model; several threads may call it at once.

    Args:
        description: The content of `export.json`.
        config: The model's options.
        compute: Runs the file on one batch.

    Attributes:
        config: The model's options.
        task: The task that the outputs belong to.
        image_hw: Size of the pictures, (height, width) in pixels.
        any_size: Whether other sizes that patches tile are welcome too.
        batch: Pictures that the file takes at once; None: any number.
        precision: "fp32", "fp16" or "int8".
    """

    def __init__(self, description: dict[str, Any], config: BeitConfig, compute: Callable[[Floats], Floats]) -> None:
        self.config = config
        self.task: TaskName = description["task"]
        self.image_hw = (int(description["image_height"]), int(description["image_width"]))
        self.any_size = bool(description["any_size"])
        self.batch: int | None = description["batch"]
        self.precision: str = description["precision"]
        self._compute = compute

    def __call__(self, pixels_BCHW: Floats) -> Floats:
        """Return logits (B, K), scores (B, K, h, w) of a map, or embeddings (B, D) of normalised pixels.

        A file for batches of one size is run as often as it takes, its last batch filled with black pictures.

        Raises:
            ConfigError: If the pixels have another shape or type than the file takes.
        """
        self._check(pixels_BCHW)
        if self.batch is None or len(pixels_BCHW) == self.batch:
            return self._compute(np.ascontiguousarray(pixels_BCHW))
        missing = -len(pixels_BCHW) % self.batch
        filled = np.concatenate((pixels_BCHW, np.zeros((missing, *pixels_BCHW.shape[1:]), np.float32)))
        parts = [self._compute(filled[first : first + self.batch]) for first in range(0, len(filled), self.batch)]
        return np.concatenate(parts)[: len(pixels_BCHW)]

    def _check(self, pixels_BCHW: Floats) -> None:
        shape, channels = pixels_BCHW.shape, self.config.num_channels
        if pixels_BCHW.dtype != np.float32:
            raise ConfigError(f"pixels have type {pixels_BCHW.dtype}; expected float32, from the preprocessing")
        if len(shape) != 4 or shape[1] != channels or shape[0] < 1:
            raise ConfigError(f"pixels have shape {shape}; expected (pictures, {channels}, height, width)")
        if self.any_size:
            patch = self.config.patch_hw
            if shape[2] < patch[0] or shape[3] < patch[1] or shape[2] % patch[0] or shape[3] % patch[1]:
                raise ConfigError(
                    f"pictures are {shape[2]} x {shape[3]} pixels; expected multiples of the patches, "
                    f"{patch[0]} x {patch[1]}: resize them"
                )
        elif shape[2:] != self.image_hw:
            height, width = self.image_hw
            raise ConfigError(
                f"pictures are {shape[2]} x {shape[3]} pixels, the exported model takes {height} x {width}; resize "
                "them, or export it again with another image_size"
            )


def load_exported(folder: str | Path, threads: int | None = None, trust: bool = False) -> ExportedRunner:
    """Load a folder that `beit export` wrote.

    Args:
        folder: The folder.
        threads: Threads to compute with; None: OMP_NUM_THREADS if it is set, else as many as the library likes. torch
            has one number for the whole process.
        trust: Whether torch's archives, which can run code when they are loaded, may be; also said by the environment
            variable BEIT_TRUST_PT2=1. ONNX and OpenVINO files run no code of their own and need none.

    Raises:
        CheckpointError: If a file is missing or damaged, or is an archive of torch that is not trusted.
        ConfigError: If `export.json` is not understood.
        MissingExtraError: If the library that runs it is not installed.
    """
    place = Path(folder)
    description = read_description(place)
    kind = cast(str, description["format"])
    if kind == "torch" and not (trust or os.environ.get(TRUST) == "1"):
        raise CheckpointError(
            f"{place} holds model.pt2, and loading such an archive can run code that is hidden in it; if you know "
            f"where it is from, pass trust=True or set {TRUST}=1, else export the model to onnx or openvino"
        )
    for name in FILES[kind]:
        _check_file(place / name, description["sha256"].get(name))
    threads = threads if threads is not None else _threads_asked_for()
    try:
        compute = ENGINES[kind](place / FILES[kind][0], threads, description["precision"])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{place} cannot be loaded ({reason}); export the model again") from None
    return ExportedRunner(description, BeitConfig.from_json_file(place / "config.json"), compute)


def _threads_asked_for() -> int:
    """Return OMP_NUM_THREADS, of a list as OpenMP takes it for nested regions the first; 0 if it is no number."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() else 0


def read_description(place: Path) -> dict[str, Any]:
    """Return the content of `export.json`."""
    file, remedy = place / EXPORT_NAME, "export the model again"
    description = read_json(file, "the export.json of a folder that beit export wrote", remedy, CheckpointError)
    known = description.get("export_version") == EXPORT_VERSION and description.get("format") in [*FILES]
    if not known or not all(name in description for name in _NEEDED):
        raise CheckpointError(f"{file} is of another version or incomplete; {remedy}")
    for name, (fits, expected) in _NEEDED.items():
        if not fits(description[name]):
            raise CheckpointError(f"{file} has {name} {shortened(description[name])}; expected {expected}: {remedy}")
    return description


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MOST


_MOST = 2**16  # pixels of a side, and pictures at once
_PRECISIONS = ["fp32", "fp16", "int8"]
_NEEDED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "task": (lambda value: isinstance(value, str), "the name of a task"),
    "image_height": (_is_size, "pixels"),
    "image_width": (_is_size, "pixels"),
    "any_size": (lambda value: isinstance(value, bool), "true or false"),
    "batch": (lambda value: value is None or _is_size(value), "null or a number of pictures"),
    "precision": (lambda value: value in _PRECISIONS, f"one of {', '.join(_PRECISIONS)}"),
    "sha256": (lambda value: isinstance(value, dict), "a mapping of files to sums"),
}


def _check_file(file: Path, digest: str | None) -> None:
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist; the export is incomplete: export the model again")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        raise CheckpointError(f"{file} is damaged: its SHA-256 is not that of export.json; export the model again")
