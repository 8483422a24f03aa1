"""Config of the discrete VAE, and checks of sizes, pixels and tokens."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from beit.errors import ConfigError
from beit.tokenizer.files import read_config, save_config


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


MODEL_TYPE = "beit-dvae"


@dataclass(frozen=True)
class DiscreteVAEConfig:
    """Size of a discrete VAE; the defaults are OpenAI's.

    Attributes:
        vocab_size: Codebook size V.
        hidden_size: Channels of the first group; group g has 2 ** g times as many.
        blocks_per_group: Residual blocks in each group.
        groups: Groups of blocks; each but the last halves height and width.
        decoder_input_size: Channels between the one-hot tokens and the first decoder group.
        channels: Colour channels.
        has_decoder: Whether pixels can be decoded; an encoder alone is enough for pre-training.
        image_size: Side in pixels of what it was trained on; it works at any multiple of `patch_size`.

    Source: openai/DALL-E `dall_e/encoder.py`, `dall_e/decoder.py` (arXiv 2102.12092, appendix A).
    """

    vocab_size: int = 8192
    hidden_size: int = 256
    blocks_per_group: int = 2
    groups: int = 4
    decoder_input_size: int = 128
    channels: int = 3
    has_decoder: bool = True
    image_size: int = 112

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        if self.has_decoder not in (True, False):
            raise ConfigError(f"tokenizer has_decoder is {self.has_decoder!r}; expected true or false")
        for field in fields(self):
            if field.name == "has_decoder":
                continue
            value = getattr(self, field.name)
            least = 4 if field.name == "hidden_size" else 2 if field.name == "vocab_size" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"tokenizer {field.name} is {value!r}; expected a whole number of at least {least}")

    @property
    def patch_size(self) -> int:
        """Pixels per visual token, along each side."""
        return int(2 ** (self.groups - 1))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a folder, which is created if needed."""
        save_config(folder, MODEL_TYPE, asdict(self))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read `config.json` of a tokenizer folder.

        Raises:
            ConfigError: If it is missing or describes something else.
        """
        return cls(**read_config(folder, MODEL_TYPE, [field.name for field in fields(cls)]))
