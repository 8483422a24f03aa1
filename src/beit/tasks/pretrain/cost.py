"""Floating-point operations and memory of a training step, and the operations of its visual tokens.

Legend: B batch, N patches, M masked patches of a picture, S = 1 + N tokens, D hidden, I intermediate, V codebook size.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from beit.config import BeitConfig
from beit.geometry import patch_grid
from beit.tokenizer.protocol import VisualTokenizer

_BACKWARD = 2  # the backward pass costs two forward passes: gradients of inputs and of weights
_KEPT_PER_LAYER = 10  # activations of width D that a layer keeps per token for the backward pass: inputs and outputs of
# norms and projections, queries, keys, values, both branches; and one or two of width I, around the activation
_LOGITS = 3  # the logits, their logarithm of probabilities, and the gradient


@dataclass(frozen=True)
class Kept:
    """Form in which the activations of a step are kept.

    Attributes:
        bytes_per_number: Of an activation; 2 under autocast.
        gelu_once: Whether the activations of a feed-forward network are kept once, as the kernels of a CPU do.
        recomputed: Whether the inside of the encoder's layers is computed again in the backward pass.
    """

    bytes_per_number: int = 4
    gelu_once: bool = False
    recomputed: bool = False


def forward_flops(config: BeitConfig, masked: float, decoder_layers: int = 0, aggregation_layers: int = 0) -> float:
    """Return the floating-point operations of one picture through a model for masked image modelling.

    Multiplications and additions of matrix products are counted, two for each; the rest is below a per cent.

    Args:
        config: The model.
        masked: Masked patches M, the only ones that pass the head.
        decoder_layers: Layers of the decoder of masked patches, which the encoder then does not see.
        aggregation_layers: Layers of the patch aggregation, whose masked patches pass the head too.
    """
    grid = patch_grid(config.image_size, config.patch_size)
    sequence, width = 1 + grid.patches, config.hidden_size
    patch = config.num_channels * config.patch_hw[0] * config.patch_hw[1]

    def layer(tokens: float) -> float:
        return tokens * (4 * width**2 + 2 * width * config.intermediate_size) + 2 * tokens**2 * width

    encoded = sequence - masked if decoder_layers else sequence
    layers = config.num_hidden_layers * layer(encoded) + (decoder_layers + aggregation_layers) * layer(sequence)
    heads = _heads(aggregation_layers) * masked * width * config.vocab_size
    return 2.0 * (grid.patches * patch * width + layers + heads)


def training_flops(config: BeitConfig, masked: float, decoder_layers: int = 0, aggregation_layers: int = 0) -> float:
    """Return the operations of one picture in a training step: forward and backward."""
    return (1 + _BACKWARD) * forward_flops(config, masked, decoder_layers, aggregation_layers)


def activation_bytes(
    config: BeitConfig,
    pictures: int,
    masked: int,
    kept: Kept | None = None,
    decoder_layers: int = 0,
    aggregation_layers: int = 0,
) -> dict[str, float]:
    """Return the bytes that the backward pass of a training step keeps, estimated.

    The tokenizer, the pictures themselves and what Python and the libraries take are not part of it.

    Args:
        config: Sizes of the model.
        pictures: Pictures that go through at once, on one process.
        masked: Masked patches M of a picture.
        kept: How activations are kept.
        decoder_layers: Layers of the decoder of masked patches, which the encoder then does not see.
        aggregation_layers: Layers of the patch aggregation, which are never computed again.
    """
    grid, kept = patch_grid(config.image_size, config.patch_size), kept or Kept()
    sequence = 1 + grid.patches
    encoded = sequence - masked if decoder_layers else sequence
    layers = config.num_hidden_layers * encoded + decoder_layers * sequence  # tokens of all layers
    whole = _KEPT_PER_LAYER * config.hidden_size + (1 if kept.gelu_once else 2) * config.intermediate_size
    inputs = 0  # of layers, in float32
    if kept.recomputed:  # but for the one whose gradients are computed
        inputs, layers = layers, sequence if decoder_layers else encoded
    numbers = (layers + aggregation_layers * sequence) * whole
    return {
        "activations": float(pictures * (numbers * kept.bytes_per_number + 4 * inputs * config.hidden_size)),
        "logits": 4.0 * _LOGITS * _heads(aggregation_layers) * pictures * masked * config.vocab_size,
    }


def _heads(aggregation_layers: int) -> int:
    """Return how often masked patches pass the head: with patch aggregation twice."""
    return 2 if aggregation_layers else 1


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
