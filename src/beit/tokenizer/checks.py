"""What goes into a tokenizer, and comes back into its decoder, is checked before any work is done.

Legend: B batch, C colour channels, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from beit.errors import ConfigError


def check_pixels(pixels: Tensor, channels: int, stride: int) -> None:
    """Refuse pixels that are not (B, C, H, W) with sides of at least one token.

    Raises:
        ConfigError: Naming the shape and what is expected.
    """
    if pixels.dim() != 4 or pixels.shape[1] != channels or pixels.shape[2] % stride or pixels.shape[3] % stride:
        raise ConfigError(
            f"tokenizer pixels have shape {tuple(pixels.shape)}; expected (batch, {channels}, height, width) "
            f"with sides that are multiples of {stride}: resize them"
        )
    if not pixels.shape[2] or not pixels.shape[3]:
        raise ConfigError(f"tokenizer pixels have shape {tuple(pixels.shape)}; expected sides of at least {stride}")
    if not pixels.is_floating_point():
        raise ConfigError(f"tokenizer pixels have dtype {pixels.dtype}; expected floats in [0, 1]: divide by 255")


def check_tokens(tokens: Tensor, vocab_size: int) -> None:
    """Refuse tokens that are not (B, h, w) whole numbers in [0, V).

    Raises:
        ConfigError: Naming what they are and what is expected.
    """
    if tokens.dim() != 3 or tokens.dtype not in (torch.int64, torch.int32):
        raise ConfigError(
            f"tokens have shape {tuple(tokens.shape)} and dtype {tokens.dtype}; expected (batch, height, width), int64"
        )
    if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < vocab_size):
        raise ConfigError(
            f"tokens lie between {int(tokens.min())} and {int(tokens.max())}; expected 0 to {vocab_size - 1}: they "
            "come from another tokenizer"
        )


def check_side(side: int, stride: int, name: str = "image_size") -> None:
    """Refuse a side in pixels that no whole number of tokens covers.

    Raises:
        ConfigError: Naming the nearest sides that work.
    """
    if side < stride:
        raise ConfigError(f"{name} {side} is smaller than the {stride} pixels of one token; use {stride} or more")
    if side % stride:
        below = side // stride * stride
        raise ConfigError(
            f"{name} {side} is not a multiple of the {stride} pixels of a token; use {below} or {below + stride}"
        )
