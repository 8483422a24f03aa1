"""Encoder and decoder of the discrete VAE (openai/DALL-E).

Legend: B batch, C colour channels, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from beit.tokenizer.dvae import DiscreteVAEConfig


class ResidualBlock(nn.Module):
    """identity(x) + gain * residual(x), the residual being four times (ReLU, convolution) through a bottleneck.

    Encoder blocks use kernels 3, 3, 3, 1 and decoder blocks 1, 3, 3, 3. The gain 1 / blocks ** 2 keeps the sum over all
    blocks bounded.

    Source: openai/DALL-E `EncoderBlock`, `DecoderBlock`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernels: tuple[int, int, int, int], gain: float) -> None:
        super().__init__()
        middle = out_channels // 4
        widths = (in_channels, middle, middle, middle, out_channels)
        self.convolutions = nn.ModuleList(
            convolution(widths[i], widths[i + 1], kernels[i]) for i in range(len(kernels))
        )
        self.identity = convolution(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.gain = gain

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Return (B, out_channels, h, w)."""
        # The output of a convolution is needed by nothing else, nor by its gradient, so it is overwritten: on a CPU,
        # memory never touched before costs more time than the arithmetic on it.
        residual_BChw = x_BChw
        for index, layer in enumerate(self.convolutions):
            residual_BChw = layer(functional.relu(residual_BChw, inplace=index > 0))
        return residual_BChw.mul_(self.gain).add_(self.identity(x_BChw))


def convolution(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    """Return a convolution that keeps height and width, with the original's initialisation: normal, bias 0."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    nn.init.normal_(layer.weight, std=(in_channels * kernel**2) ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


ENCODER_KERNELS = (3, 3, 3, 1)
DECODER_KERNELS = (1, 3, 3, 3)
STEM_KERNEL = 7
_CACHED = 2**19  # numbers of a group's activations that go through at a time on a CPU, one picture's at least


class Encoder(nn.Module):
    """Pixels to logits over the codebook."""

    def __init__(self, config: DiscreteVAEConfig) -> None:
        super().__init__()
        gain = (config.groups * config.blocks_per_group) ** -2
        widths = [config.hidden_size * 2**group for group in range(config.groups)]
        self.stem = convolution(config.channels, config.hidden_size, STEM_KERNEL)
        self.groups = nn.ModuleList(
            _group(before, width, config.blocks_per_group, ENCODER_KERNELS, gain)
            for before, width in zip([config.hidden_size, *widths], widths, strict=False)
        )
        self.head = convolution(widths[-1], config.vocab_size, 1)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return logits (B, V, h, w) of mapped pixels."""
        x = pixels_BCHW
        for index in range(len(self.groups)):
            x = self._stage(index, x)
        return x

    def tokens(self, pixels_BCHW: Tensor) -> Tensor:
        """Return the most likely tokens (B, h, w), int64, of mapped pixels; nothing to differentiate.

        On a CPU the pictures go through in small chunks, which is faster and holds little memory at any batch size.
        """
        if pixels_BCHW.device.type != "cpu" or torch.compiler.is_compiling():
            return self(pixels_BCHW).argmax(dim=1)
        first = max(1, _CACHED // (self.stem.out_channels * pixels_BCHW.shape[2] * pixels_BCHW.shape[3]))
        most = first * 2 ** (len(self.groups) - 1)
        return torch.cat([self._tokens_of_chunk(chunk_BCHW, first) for chunk_BCHW in pixels_BCHW.split(most)])

    def _tokens_of_chunk(self, pixels_BCHW: Tensor, first: int) -> Tensor:
        # A group has half the numbers per picture and four times the weights of the group before it. Twice as many
        # pictures at a time keep its activations as large as before, small enough for a CPU's cache, and read its
        # weights, which outgrow the activations towards the end, less often.
        x, last = pixels_BCHW, len(self.groups) - 1
        for index in range(last):
            x = torch.cat([self._stage(index, part) for part in x.split(first * 2**index)])
        return self._stage(last, x).argmax(dim=1)

    def _stage(self, index: int, x: Tensor) -> Tensor:
        """One group, with the stem before the first; then a pooling, or the head after the last."""
        x = self.groups[index](self.stem(x) if index == 0 else x)
        if index < len(self.groups) - 1:
            return functional.max_pool2d(x, 2)
        return self.head(functional.relu(x))


class Decoder(nn.Module):
    """Token probabilities (one-hot or relaxed) to the location and log scale of every pixel."""

    def __init__(self, config: DiscreteVAEConfig) -> None:
        super().__init__()
        gain = (config.groups * config.blocks_per_group) ** -2
        widths = [config.hidden_size * 2**group for group in reversed(range(config.groups))]
        self.stem = convolution(config.vocab_size, config.decoder_input_size, 1)
        self.groups = nn.ModuleList(
            _group(before, width, config.blocks_per_group, DECODER_KERNELS, gain)
            for before, width in zip([config.decoder_input_size, *widths], widths, strict=False)
        )
        self.head = convolution(widths[-1], 2 * config.channels, 1)

    def forward(self, codes_BVhw: Tensor) -> Tensor:
        """Return (B, 2C, H, W): the location, then the log scale, of each channel."""
        x = self.stem(codes_BVhw)
        for index, group in enumerate(self.groups):
            x = group(x)
            if index < len(self.groups) - 1:
                x = self._doubled(x)
        return self.head(functional.relu(x))

    def _doubled(self, x: Tensor) -> Tensor:
        """Return (B, channels, 2 h, 2 w): every number four times."""
        if not (self.training and torch.compiler.is_compiling()):
            return functional.interpolate(x, scale_factor=2, mode="nearest")
        # a compiler looks the numbers up by index: on a GPU their gradients have no order, and in bf16 and
        # deterministic mode torch 2.13 loses them on a CPU
        batch, channels, height, width = x.shape
        apart = x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)
        return apart.reshape(batch, channels, 2 * height, 2 * width)


def _group(before: int, width: int, blocks: int, kernels: tuple[int, int, int, int], gain: float) -> nn.Sequential:
    return nn.Sequential(
        *(ResidualBlock(before if index == 0 else width, width, kernels, gain) for index in range(blocks))
    )
