"""Config of the discrete VAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from beit.tokenizer.base import MOST, TokenizerConfig


@dataclass(frozen=True)
class DiscreteVAEConfig(TokenizerConfig):
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

    model_type: ClassVar[str] = "beit-dvae"
    limits: ClassVar[Mapping[str, tuple[int, int]]] = {"vocab_size": (2, MOST), "hidden_size": (4, MOST)}

    @property
    def patch_size(self) -> int:
        """Pixels per visual token, along each side."""
        return int(2 ** (self.groups - 1))
