"""AdamW: parameter groups with their decay and rate, and its state by parameter name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from beit.engine.sharding import as_held, gathered
from beit.errors import CheckpointError
from beit.models_torch.loading import read_safetensors
from beit.settings.groups import OptimSettings

# vectors that are no weight matrix although they have more than one axis
_NEVER_DECAYED = ("embeddings.cls_token", "embeddings.mask_token", "position_embeddings", "bias_table")


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float, layers: int) -> list[dict[str, object]]:
    """Return groups of trainable parameters for AdamW, each with `weight_decay`, `decays` and `lr_scale`.

    Args:
        model: Any module; only the names of its parameters matter.
        weight_decay: For weight matrices; vectors, tokens, absolute positions and bias tables have none.
        layer_decay: The head has scale 1, layer l of L has layer_decay ** (L - l + 1), the embeddings that of l = 0.
        layers: Number of encoder layers L.

    Source: arXiv 2106.08254, appendix (layer-wise decay); `optim_factory.py` of the original implementation.
    """
    groups: dict[tuple[int, bool], dict[str, object]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = _depth(name, layers)
        decays = parameter.dim() > 1 and not name.endswith(_NEVER_DECAYED)
        group = groups.setdefault(
            (depth, decays),
            {
                "params": [],
                "weight_decay": weight_decay if decays else 0.0,
                "decays": decays,
                "lr_scale": layer_decay ** (layers + 1 - depth),
            },
        )
        members = group["params"]
        assert isinstance(members, list)  # noqa: S101  # for the type checker
        members.append(parameter)
    return list(groups.values())


def build_optimiser(groups: Iterable[dict[str, object]], optim: OptimSettings) -> torch.optim.AdamW:
    """Return AdamW over parameter groups."""
    return torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]


def set_weight_decay(optimiser: torch.optim.Optimizer, weight_decay: float) -> None:
    """Give the weight decay to every group that has one."""
    for group in optimiser.param_groups:
        if group["decays"]:
            group["weight_decay"] = weight_decay


def _depth(name: str, layers: int) -> int:
    """Return 0 for the embeddings, 1 to L for the layers, L + 1 for everything above them."""
    if re.search(r"(^|\.)embeddings\.", name):
        return 0
    if match := re.search(r"(^|\.)encoder\.layer\.(\d+)\.", name):
        return int(match[2]) + 1
    # the shared bias, which feeds every layer, is on top in the original as well
    return layers + 1


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
