"""Floating-point operations of making visual tokens."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from beit.tokenizer.protocol import VisualTokenizer


def encoding_flops(tokenizer: VisualTokenizer, channels: int, height: int, width: int) -> float:
    """Return the operations of the visual tokens of one picture, those of convolutions and matrix products.

    They are counted on tensors without values. A tokenizer that is no torch module, or that looks at values, has none
    that could be counted: 0.

    Args:
        tokenizer: Any.
        channels: Of the picture.
        height: In pixels.
        width: In pixels.
    """
    if not isinstance(tokenizer, nn.Module):
        return 0.0
    shapes = deepcopy(tokenizer).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        try:
            shapes.encode(torch.empty(1, channels, height, width, device="meta"))
        except (NotImplementedError, RuntimeError):
            return 0.0
    return float(counter.get_total_flops())
