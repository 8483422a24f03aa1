"""Rates and memory of the machine that a run computes on."""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

from beit.models_torch.device import wait_for
from beit.models_torch.linear import linear

_GEMM_SIDE = {"cpu": 1024, "cuda": 8192}
_GEMM_ROUNDS = 5
_ADAM = 4 * 4  # bytes per trained parameter, in float32: the weight, its gradient, two moments


def gemm_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second that a large matrix product reaches here: the best of a few, within seconds.

    On a CPU both of the ways count that the models take, torch's own and oneDNN.
    """
    side = _GEMM_SIDE["cuda" if device.type == "cuda" else "cpu"]
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds: list[float] = []
    for product in (torch.mm, linear):
        for turn in range(1 + _GEMM_ROUNDS):
            wait_for(device)
            began = time.perf_counter()
            with torch.inference_mode():
                product(one, other)
            wait_for(device)
            if turn:  # the first warms up
                seconds.append(time.perf_counter() - began)
    return 2.0 * side**3 / min(seconds)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held, on its GPU if it computes there."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource  # not on Windows, which has no such count

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def state_bytes(model: nn.Module) -> int:
    """Return the bytes that the weights of a model, their gradients and the moments of AdamW take."""
    return _ADAM * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
