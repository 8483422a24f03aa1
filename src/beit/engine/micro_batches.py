"""Gradient accumulation: a batch in parts that fit the memory, whose losses add up to the loss of the whole.

Legend: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from beit.engine.sharding import without_gradient_sync

Tensors = Mapping[str, Tensor]


def micro_batches(tensors: Tensors, parts: int) -> list[dict[str, Tensor]]:
    """Return the tensors of a batch in parts along the first axis, as even as possible."""
    if parts == 1:
        return [dict(tensors)]
    cut = {name: tensor.tensor_split(parts) for name, tensor in tensors.items()}
    return [{name: tensors[index] for name, tensors in cut.items()} for index in range(parts)]


def shares(weights: list[Tensor], accelerator: Accelerator) -> list[Tensor]:
    """Return the factor on the mean loss of each part, before the gradients of the processes are averaged.

    The parts differ in what they average over, such as their masked patches. Weighted like this, their sum over the
    parts, averaged over the processes, is the mean over everything: how a batch was divided does not matter.
    """
    total: Any = torch.stack(weights).sum()
    if accelerator.num_processes > 1:
        total = accelerator.reduce(total, "mean")
    return [weight / total for weight in weights]


def add_gradients(
    accelerator: Accelerator,
    module: Any,
    progress: float,
    parts: list[dict[str, Tensor]],
    weights: list[Tensor],
) -> dict[str, Tensor]:
    """Add up the gradients of the parts of a batch, and return its scalars.

    Args:
        accelerator: Of the run.
        module: What is trained, as accelerate wrapped it.
        progress: Of the run, in [0, 1].
        parts: The batch.
        weights: Of each part, the number of terms that its scalars are the mean of.
    """
    totals: dict[str, Tensor] = {}
    for index, (part, share) in enumerate(zip(parts, shares(weights, accelerator), strict=True)):
        last = index == len(parts) - 1
        with nullcontext() if last else without_gradient_sync(module, accelerator):  # gradients travel once per step
            values: dict[str, Tensor] = module(part, progress)
            accelerator.backward(values["loss"] * share)
        for name, value in values.items():
            scaled = value.detach() * share
            totals[name] = totals[name] + scaled if name in totals else scaled
    return totals
