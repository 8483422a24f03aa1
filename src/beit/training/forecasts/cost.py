"""What a training step costs: floating-point operations, memory, and the rate that the machine could reach.

Legend: B batch, N patches, M masked patches of a picture, S = 1 + N tokens, D hidden, I intermediate, V codebook size.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

from beit.config import BeitConfig
from beit.geometry import patch_grid
from beit.models_torch import kernels

_GEMM_SIDE = {"cpu": 1024, "cuda": 8192}
_GEMM_ROUNDS = 5
_BACKWARD = 2  # the backward pass costs two forward passes: gradients of inputs and of weights
_ADAM = 4 * 4  # bytes per trained parameter, in float32: the weight, its gradient, two moments
_KEPT_PER_LAYER = 10  # activations of width D that a layer keeps per token for the backward pass: inputs and outputs of
# norms and projections, queries, keys, values, both branches; and one or two of width I, around the activation
_LOGITS = 3  # the logits, their logarithm of probabilities, and the gradient


def forward_flops(config: BeitConfig, masked: float) -> float:
    """Return the floating-point operations of one picture through a model for masked image modelling.

    Multiplications and additions of matrix products are counted, two for each; the rest is below a per cent.

    Args:
        config: The model.
        masked: Masked patches M, the only ones that pass the head.
    """
    grid = patch_grid(config.image_size, config.patch_size)
    sequence, width = 1 + grid.patches, config.hidden_size
    patch = config.num_channels * config.patch_hw[0] * config.patch_hw[1]
    layer = sequence * (4 * width**2 + 2 * width * config.intermediate_size) + 2 * sequence**2 * width
    products = grid.patches * patch * width + config.num_hidden_layers * layer + masked * width * config.vocab_size
    return 2.0 * products


def training_flops(config: BeitConfig, masked: float) -> float:
    """Return the operations of one picture in a training step: forward and backward."""
    return (1 + _BACKWARD) * forward_flops(config, masked)


def state_bytes(model: nn.Module) -> int:
    """Return the bytes that the weights of a model, their gradients and the moments of AdamW take."""
    return _ADAM * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def memory_estimate(
    model: nn.Module, config: BeitConfig, pictures: int, masked: int, bytes_per_number: int = 4, lean: bool = False
) -> dict[str, float]:
    """Return the bytes that a training step needs, estimated: weights with AdamW, and what the backward pass keeps.

    The tokenizer, the pictures themselves and what Python and the libraries take are not part of it.

    Args:
        model: What is trained.
        config: Its sizes.
        pictures: Pictures that go through at once, on one process.
        masked: Masked patches M of a picture.
        bytes_per_number: Of an activation; 2 under autocast.
        lean: Whether the activations of a feed-forward network are kept once, as on a CPU (`models_torch/kernels`).
    """
    grid = patch_grid(config.image_size, config.patch_size)
    sequence = 1 + grid.patches
    kept = sequence * (_KEPT_PER_LAYER * config.hidden_size + (1 if lean else 2) * config.intermediate_size)
    return {
        "weights and optimiser": float(state_bytes(model)),
        "activations": float(pictures * config.num_hidden_layers * kept * bytes_per_number),
        "logits": 4.0 * _LOGITS * pictures * masked * config.vocab_size,
    }


def gemm_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second that a large matrix product reaches here: the best of a few, within seconds.

    On a CPU both of the ways count that the models take, torch's own and oneDNN.
    """
    side = _GEMM_SIDE["cuda" if device.type == "cuda" else "cpu"]
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds: list[float] = []
    for product in (torch.mm, kernels.product):
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


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
