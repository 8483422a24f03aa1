"""Tracing of a model to a program of torch operations, from which every target is made, and torch's archive of it.

Legend: B batch, C channels; h w pixels.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.exc import UserError
from torch.export import Dim, ExportedProgram

from beit.errors import ConfigError
from beit.files import atomic_stream
from beit.inference.export.model import ExportModel
from beit.inference.export.prepared import PreparedModel, prepare
from beit.settings.export import DYNAMIC, ExportJob

INPUT = "pixel_values"  # name of the input
LARGEST_BATCH = 1024
LARGEST_GRID = 256  # patches along a side


def trace(model: ExportModel, job: ExportJob) -> ExportedProgram:
    """Return the program of a model for the shapes that a job asks for.

    Args:
        model: The model.
        job: How it is exported; in fp16 pixels and outputs stay float32.

    Raises:
        ConfigError: If torch finds no program for such shapes.
    """
    hw = model.view.image_hw
    half = job.precision == "fp16" and job.to != "openvino"  # which stores 16 bits in a way of its own
    prepared = prepare(model.torch_model, model.task, None if model.any_size else hw, half)
    shown_hw = hw
    axes: dict[int, Any] = {}
    if job.batch_size == DYNAMIC:
        axes[0] = Dim("batch", min=1, max=LARGEST_BATCH)
    if model.any_size:
        patch = model.config.patch_hw
        axes[2] = patch[0] * Dim("rows", min=1, max=LARGEST_GRID)
        axes[3] = patch[1] * Dim("columns", min=1, max=LARGEST_GRID)
        shown_hw = hw[0] + patch[0], hw[1] + 2 * patch[1]  # not square: axes of equal length would count as one
    pictures = 2 if job.batch_size == DYNAMIC else job.batch_size  # of one picture torch would make a constant
    pixels_BChw = torch.zeros(pictures, model.config.num_channels, *shown_hw)
    return _traced(prepared, pixels_BChw, axes)


def _traced(prepared: PreparedModel, pixels_BChw: torch.Tensor, axes: dict[int, Any]) -> ExportedProgram:
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(prepared, (pixels_BChw,), dynamic_shapes={INPUT: axes or None})
    except (UserError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"torch finds no program for pictures of {tuple(pixels_BChw.shape)} with {sorted(axes) or 'no'} free axes "
            f"({str(error).splitlines()[0]}); export with a fixed batch and image_size"
        ) from None


@contextmanager
def quiet() -> Generator[None]:
    """Silence warnings of the exporters about their internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "nncf", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def write_torch(program: ExportedProgram, file: Path) -> None:
    """Write a program as torch's own archive."""
    with quiet(), atomic_stream(file) as stream:
        torch.export.save(program, stream)
