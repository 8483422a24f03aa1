"""One pass of a model over labelled pictures.

Legend: B batch, C channels, H x W pixels, K classes, labels or numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from beit.data import (
    Batch,
    BrokenPicture,
    Collate,
    ExactView,
    ImageSource,
    ViewDataset,
    evaluation_batches,
    require_usable,
)
from beit.errors import CheckpointError
from beit.evaluation.result import Speed
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.models_torch.device import Precision, computing_in, wait_for

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class PassOptions:
    """Options of the pass of pictures through a model.

    Attributes:
        batch_size: Pictures at once.
        workers: Processes that load pictures.
        flips: Whether the scores of a picture and its mirror image are averaged.
        precision: What to compute in.
        bar: Whether to show a progress bar, if there is a terminal.
    """

    batch_size: int
    workers: int = 0
    flips: bool = False
    precision: Precision = "fp32"
    bar: bool = False


@dataclass(frozen=True)
class PassResult(Generic[Kept]):
    """Results of a pass.

    Attributes:
        indices: Numbers of the usable pictures in their source.
        kept: What was kept of each batch of them.
        speed: Throughput.
        broken: Pictures that were left out.
    """

    indices: list[int]
    kept: list[Kept]
    speed: Speed
    broken: list[BrokenPicture]


@torch.inference_mode()
def pass_over(
    model: BeitForImageClassification,
    view: Preprocessing,
    source: ImageSource,
    options: PassOptions,
    keep: Callable[[Tensor, Tensor], Kept],
) -> PassResult[Kept]:
    """Show every usable picture of a source to a model.

    Args:
        model: The model.
        view: What it sees of a picture.
        source: The pictures.
        options: How they pass: batches, mirror images, precision.
        keep: Gets the float32 scores (B, K) of a batch, on the model's device, and its labels, on the CPU.

    Raises:
        DataError: If no picture is usable.
        CheckpointError: If the model's scores are not finite.
    """
    model.eval()
    dataset = ViewDataset(source, ExactView(view), seed=0, replace_broken=False)
    batches = evaluation_batches(dataset, Collate(0), options.batch_size, options.workers)
    kept, indices, broken, seconds = list[Kept](), list[int](), list[BrokenPicture](), list[tuple[int, float]]()
    began = time.perf_counter()
    for batch in _with_bar(iter(batches), len(source), options.bar):
        broken += batch.broken
        if not batch.indices:
            continue
        pixels_BCHW = batch.tensors["pixel_values"].to(model.device)
        wait_for(model.device)
        model_began = time.perf_counter()
        logits_BK = _logits(model, pixels_BCHW, options)
        wait_for(model.device)
        seconds.append((len(batch.indices), time.perf_counter() - model_began))
        _require_finite(logits_BK, source.name(batch.indices[0]))
        kept.append(keep(logits_BK, batch.tensors["labels"]))
        indices += batch.indices
    whole = time.perf_counter() - began
    require_usable(len(indices), len(source), broken)
    return PassResult(indices, kept, Speed(_rate(seconds), len(indices) / max(whole, 1e-9)), broken)


def _logits(model: BeitForImageClassification, pixels_BCHW: Tensor, options: PassOptions) -> Tensor:
    """Return scores in float32, of a picture or of it and its mirror image on average."""
    with computing_in(options.precision, pixels_BCHW.device):
        logits_BK = model(pixels_BCHW, return_dict=True).logits.float()
        if options.flips:
            mirrored_BK = model(pixels_BCHW.flip(-1), return_dict=True).logits.float()
            logits_BK = (logits_BK + mirrored_BK) / 2
    return logits_BK


def _require_finite(logits_BK: Tensor, name: str) -> None:
    if not bool(logits_BK.isfinite().all()):
        raise CheckpointError(
            f"the model gives scores that are not finite in the batch of {name}; its weights are damaged or have "
            "diverged, or the precision is too narrow for them: try --precision fp32, or name another checkpoint"
        )


def _rate(seconds: list[tuple[int, float]]) -> float:
    measured = seconds[1:] or seconds
    return sum(count for count, _ in measured) / max(sum(each for _, each in measured), 1e-9)


def _with_bar(batches: Iterator[Batch], total: int, visible: bool) -> Iterator[Batch]:
    """Yield batches, with a bar of pictures on the terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TextColumn("time left"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not (visible and console.is_terminal)
    ) as progress:
        task = progress.add_task("evaluating", total=total)
        for batch in batches:
            yield batch
            progress.advance(task, len(batch.indices) + len(batch.broken))
