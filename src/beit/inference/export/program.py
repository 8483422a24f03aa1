"""Program of a model in torch's own operations, of which every target is made.

Legend: B batch, C channels; h w pixels.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch._dynamo.exc import UserError
from torch.export import Dim, ExportedProgram

from beit.errors import ConfigError
from beit.inference.export.prepared import PreparedModel, prepare
from beit.inference.export.subject import Subject
from beit.settings.export import DYNAMIC, ExportJob

INPUT = "pixel_values"  # name of the input
LARGEST_BATCH = 1024
LARGEST_GRID = 256  # patches along a side


def trace(subject: Subject, job: ExportJob) -> ExportedProgram:
    """Return the program of a model for the shapes that a job asks for.

    Args:
        subject: The model.
        job: How it is exported; in fp16 pixels and outputs stay float32.

    Raises:
        ConfigError: If torch finds no program for such shapes.
    """
    hw = subject.view.image_hw
    half = job.precision == "fp16" and job.to != "openvino"  # which stores 16 bits in a way of its own
    prepared = prepare(subject.model, subject.task, None if subject.any_size else hw, half)
    shown_hw = hw
    axes: dict[int, Any] = {}
    if job.batch_size == DYNAMIC:
        axes[0] = Dim("batch", min=1, max=LARGEST_BATCH)
    if subject.any_size:
        patch = subject.config.patch_hw
        axes[2] = patch[0] * Dim("rows", min=1, max=LARGEST_GRID)
        axes[3] = patch[1] * Dim("columns", min=1, max=LARGEST_GRID)
        shown_hw = hw[0] + patch[0], hw[1] + 2 * patch[1]  # not square: axes of equal length would count as one
    pictures = 2 if job.batch_size == DYNAMIC else job.batch_size  # of one picture torch would make a constant
    pixels_BChw = torch.zeros(pictures, subject.config.num_channels, *shown_hw)
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
    """Silence the exporters' remarks on their own insides."""
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
