"""The state of the optimiser in a checkpoint: the moments of AdamW, whole, by the name of their parameter."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from beit.engine.sharding import as_held, gathered
from beit.errors import CheckpointError
from beit.weights import read_safetensors

FILE_NAME = "optimiser.safetensors"


def optimiser_tensors(module: nn.Module, optimiser: torch.optim.Optimizer, keeps: bool = True) -> dict[str, Tensor]:
    """Return the state of every parameter as "name/key"; all processes have to ask, those that do not keep get nothing.

    Args:
        module: What is trained.
        optimiser: Its AdamW.
        keeps: Whether this process wants it.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        state = {f"{name}/{key}": value for key, value in optimiser.state.get(parameter, {}).items()}
        tensors |= gathered(state, keeps)
    return tensors


def restore_optimiser(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Fill the optimiser from a checkpoint; every process takes its part.

    Raises:
        CheckpointError: If the state is missing, damaged, or that of another model.
    """
    tensors = read_safetensors(path / FILE_NAME)
    for name, parameter in module.named_parameters():
        prefix = name + "/"
        moments = {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        if not moments:
            if parameter.requires_grad:
                raise CheckpointError(f"{path / FILE_NAME} has no state for {name}; it belongs to another model")
            continue
        for key, tensor in moments.items():
            if key != "step" and tensor.shape != parameter.shape:
                raise CheckpointError(
                    f"{path / FILE_NAME}: {name}/{key} is {tuple(tensor.shape)}, the model has "
                    f"{tuple(parameter.shape)}; it belongs to another model"
                )
        counts_there = any(optimiser.defaults.get(kind) for kind in ("fused", "capturable"))
        optimiser.state[parameter] = {
            key: (tensor.to(parameter.device) if counts_there else tensor)
            if key == "step"
            else as_held(tensor, parameter)
            for key, tensor in moments.items()
        }
