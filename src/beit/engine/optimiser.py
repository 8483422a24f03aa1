"""Optimiser: its parameter groups, the gradients of a batch in parts, and its state by parameter name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from beit.engine.background import HostCopies
from beit.engine.loss_scale import FILE_NAME as SCALE_NAME
from beit.engine.muon import MuonAdamW, adamw, is_hidden_matrix
from beit.engine.sharding import gathered, placed_like, without_gradient_sync
from beit.errors import CheckpointError
from beit.models_torch.loading import read_safetensors
from beit.settings.groups import OptimSettings, TrainingPrecision

Optimiser = torch.optim.Optimizer | MuonAdamW

# vectors that are no weight matrix although they have more than one axis
_NEVER_DECAYED = ("embeddings.cls_token", "embeddings.mask_token", "position_embeddings", "bias_table")


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float, layers: int) -> list[dict[str, object]]:
    """Return groups of trainable parameters, each with `weight_decay`, `decays`, `lr_scale` and `hidden`.

    `hidden` groups are the weight matrices of encoder layers, which Muon may take.

    Args:
        model: Any module; only the names of its parameters matter.
        weight_decay: For weight matrices; vectors, tokens, absolute positions and bias tables have none.
        layer_decay: The head has scale 1, layer l of L has layer_decay ** (L - l + 1), the embeddings that of l = 0.
        layers: Number of encoder layers L.

    Source: arXiv 2106.08254, appendix (layer-wise decay); `optim_factory.py` of the original implementation.
    """
    groups: dict[tuple[int, bool, bool], dict[str, object]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = _depth(name, layers)
        decays = parameter.dim() > 1 and not name.endswith(_NEVER_DECAYED)
        hidden = is_hidden_matrix(name, parameter)
        group = groups.setdefault(
            (depth, decays, hidden),
            {
                "params": [],
                "weight_decay": weight_decay if decays else 0.0,
                "decays": decays,
                "lr_scale": layer_decay ** (layers + 1 - depth),
                "hidden": hidden,
            },
        )
        members = group["params"]
        assert isinstance(members, list)  # noqa: S101  # for the type checker
        members.append(parameter)
    return list(groups.values())


def build_optimiser(
    groups: Iterable[dict[str, object]], optim: OptimSettings, precision: TrainingPrecision = "fp32"
) -> Optimiser:
    """Return the optimiser that the settings name, over parameter groups.

    Args:
        groups: As `parameter_groups` returns them.
        optim: The settings.
        precision: Of the run.

    Raises:
        ConfigError: If it is Muon and there is nothing for it.
    """
    return MuonAdamW(groups, optim, precision) if optim.name == "muon" else adamw(groups, optim)


def set_learning_rate(optimiser: Optimiser, rate: float) -> None:
    """Give every group its share of the learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]


def set_weight_decay(optimiser: Optimiser, weight_decay: float) -> None:
    """Give the weight decay to every group that has one."""
    for group in optimiser.param_groups:
        if group["decays"]:
            group["weight_decay"] = weight_decay


def _depth(name: str, layers: int) -> int:
    """Return 0 for the embeddings, 1 to L for the layers, L + 1 for everything above them."""
    if name.startswith("decoder."):  # of masked patches
        return layers + 1
    if re.search(r"(^|\.)embeddings\.", name):
        return 0
    if match := re.search(r"(^|\.)encoder\.layer\.(\d+)\.", name):
        return int(match[2]) + 1
    # the shared bias, which feeds every layer, is on top in the original as well
    return layers + 1


FILE_NAME = "optimiser.safetensors"


def optimiser_tensors(
    module: nn.Module, optimiser: Optimiser, keeps: bool = True, copies: HostCopies | None = None
) -> dict[str, Tensor]:
    """Return the state of every parameter as "name/key"; all processes have to ask, those that do not keep get nothing.

    Args:
        module: What is trained.
        optimiser: Its optimiser.
        keeps: Whether this process wants it.
        copies: What makes copies of it; None: what lies in the memory of the host is returned itself.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        state = {f"{name}/{key}": value for key, value in optimiser.state.get(parameter, {}).items()}
        tensors |= gathered(state, keeps, copies)
    return tensors


def restore_optimiser(path: Path, module: nn.Module, optimiser: Optimiser) -> None:
    """Fill the optimiser from a checkpoint; every process takes its part.

    Raises:
        CheckpointError: If the state is missing, damaged, or that of another model or optimiser.
    """
    tensors, wanted = read_safetensors(path / FILE_NAME), _wanted(optimiser)
    if not tensors and (path / SCALE_NAME).exists():
        return  # of scaled losses the first steps may overflow: no update has been made yet
    for name, parameter in module.named_parameters():
        prefix = name + "/"
        moments = {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        if not moments:
            if parameter.requires_grad:
                raise CheckpointError(f"{path / FILE_NAME} has no state for {name}; it belongs to another model")
            continue
        if parameter in wanted and moments.keys() != wanted[parameter]:
            raise CheckpointError(
                f"{path / FILE_NAME} has {sorted(moments)} for {name}; expected {sorted(wanted[parameter])}: it was "
                "made with another optim.name; bring that back, or start again in another run.output"
            )
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
            else placed_like(tensor, parameter)
            for key, tensor in moments.items()
        }


def _wanted(optimiser: Optimiser) -> dict[Tensor, set[str]]:
    """Return the names in the state of every parameter: those of Muon, which has a momentum, or of AdamW."""
    found: dict[Tensor, set[str]] = {}
    for group in optimiser.param_groups:
        names = {"momentum_buffer"} if "momentum" in group else {"step", "exp_avg", "exp_avg_sq"}
        found |= dict.fromkeys(group["params"], names)
    return found


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
