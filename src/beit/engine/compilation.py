"""Compilation of a training, layer by layer.

All layers of a kind share one program, so a deep model compiles as fast as a shallow one. Between layers nothing is
compiled: there DistributedDataParallel sends the gradients of one layer while the next one is computed, and FSDP2
gathers parameters. A step is compiled once, since its batches have the same shape; measurements, whose last batch is
smaller, take the plain layers.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import nn

from beit.engine.recorded import Choice
from beit.models_torch.device import why_not_compiled
from beit.models_torch.encoder import EncoderLayer
from beit.tokenizer import coders

COMPILED: tuple[type[nn.Module], ...] = (EncoderLayer, coders.Encoder, coders.Decoder)


def choose_compilation(device: torch.device, exact: bool) -> Choice:
    """Return the choice for `train.compile` on a GPU, with its reason."""
    setting = "train.compile"
    if exact:
        return Choice(setting, False, "run.exact is true, and a compiler may choose other kernels")
    if (reason := why_not_compiled(device)) is not None:
        return Choice(setting, False, reason)
    return Choice(setting, True, "on a GPU, layer by layer; the first step takes a minute")


def compile_layers(module: nn.Module, backend: str = "inductor") -> None:
    """Have the layers of a module computed by compiled programs in training, one per kind of layer.

    Args:
        module: Any; its other parts are left as they are.
        backend: Of `torch.compile`.
    """
    for kind in COMPILED:
        layers = [part for part in module.modules() if isinstance(part, kind)]
        if layers:
            forward = _in_training(kind.forward, backend)
            for layer in layers:
                layer.forward = MethodType(forward, layer)  # bound, so that a copy of a layer calls its own


def _in_training(plain: Callable[..., Any], backend: str) -> Callable[..., Any]:
    """Return a forward function that is compiled in training, and plain otherwise."""
    compiled = torch.compile(plain, dynamic=False, backend=backend)

    def forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return (compiled if layer.training else plain)(layer, *args, **kwargs)

    return forward
