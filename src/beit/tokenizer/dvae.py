"""DiscreteVAE: images to visual tokens and back.

Legend: B batch, C colour channels, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from beit.errors import ConfigError
from beit.hub import HubOptions
from beit.models_torch.loading import fill
from beit.tokenizer.base import MOST, TokenizerBase, TokenizerConfig, load_tensors
from beit.tokenizer.coders import Decoder, Encoder
from beit.tokenizer.encoding import check_pixels, check_tokens
from beit.weights import WEIGHTS_NAME, check_shapes, dalle_options, locate_dalle, open_dalle

# Pixels in [0, 1] are moved into [0.1, 0.9], where logit-Laplace has no infinite likelihood (arXiv 2102.12092, A.3).
LOGIT_LAPLACE_EPS = 0.1


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


def map_pixels(pixels: Tensor) -> Tensor:
    """Map pixels from [0, 1] to [0.1, 0.9]."""
    return (1 - 2 * LOGIT_LAPLACE_EPS) * pixels + LOGIT_LAPLACE_EPS


def unmap_pixels(pixels: Tensor) -> Tensor:
    """Map pixels from [0.1, 0.9] back to [0, 1]; values outside are clipped."""
    return ((pixels - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS)).clamp(0, 1)


class DiscreteVAE(TokenizerBase[DiscreteVAEConfig]):
    """The discrete VAE of DALL-E, at any size (arXiv 2102.12092, section 2.1); a `VisualTokenizer`."""

    def __init__(self, config: DiscreteVAEConfig) -> None:
        super().__init__(config, config.patch_size)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config) if config.has_decoder else None

    @property
    def decodes_pixels(self) -> bool:
        """Return whether there is a decoder."""
        return self.decoder is not None

    def map_pixels(self, pixels: Tensor) -> Tensor:
        """Map pixels from [0, 1] to [0.1, 0.9], what the encoder takes."""
        return map_pixels(pixels)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return codebook logits (B, V, h, w) of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit: channels, or sides that are no multiple of `stride`.
        """
        check_pixels(pixels, self.config.channels, self.stride)
        return self.encoder(self.map_pixels(pixels))

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the visual tokens (B, h, w), int64 in [0, V), of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit: channels, or sides that are no multiple of `stride`.
        """
        check_pixels(pixels, self.config.channels, self.stride)
        return self.encoder.tokens(self.map_pixels(pixels))

    def decode(self, tokens: Tensor) -> Tensor:
        """Return pixels (B, C, H, W) in [0, 1] for visual tokens (B, h, w).

        Raises:
            ConfigError: If there is no decoder, or the tokens are not of this codebook.
        """
        decoder = self._need_decoder()
        check_tokens(tokens, self.vocab_size)
        one_hot_BVhw = functional.one_hot(tokens.long(), self.vocab_size).movedim(-1, 1)
        return self.pixels(decoder(one_hot_BVhw.to(decoder.stem.weight.dtype)))

    def pixels(self, decoded: Tensor) -> Tensor:
        """Return the most likely pixels (B, C, H, W) in [0, 1] of a decoder output (B, 2C, H, W)."""
        return unmap_pixels(decoded[:, : self.config.channels].sigmoid())

    def forward(self, pixels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Return the decoder output of relaxed tokens, and the codebook logits: what training needs.

        Args:
            pixels: (B, C, H, W) in [0, 1].
            temperature: Of the Gumbel-softmax, above 0; near 0 the relaxed tokens are one-hot (arXiv 1611.01144).
        """
        logits_BVhw = self.logits(pixels)
        relaxed_BVhw = functional.gumbel_softmax(logits_BVhw.float(), tau=temperature, dim=1)
        return self._need_decoder()(relaxed_BVhw), logits_BVhw

    @classmethod
    def from_pretrained(cls, source: str | Path, hub: HubOptions | None = None) -> Self:
        """Load a tokenizer, in evaluation mode.

        Args:
            source: A folder that `save_pretrained` wrote, else one that holds OpenAI's released `encoder.pkl` and
                `decoder.pkl` (the encoder alone is enough for encoding), or "openai/DALL-E", which downloads them.
                The pickles are read without executing them; `save_pretrained` then keeps them as safetensors.
            hub: Cache folder and network options of that download.

        Raises:
            ConfigError: If `config.json` is missing or not a tokenizer's.
            CheckpointError: If the weights are missing, damaged, unsafe, or do not fit.
        """
        released = None if (Path(source) / WEIGHTS_NAME).exists() else locate_dalle(source, hub or HubOptions())
        if released is not None:
            return cls._from_openai(str(source), released)
        config = DiscreteVAEConfig.from_pretrained(source)
        with torch.device("meta"):
            model = cls(config)
        load_tensors(source, model)
        return model.eval()

    @classmethod
    def _from_openai(cls, source: str, files: dict[str, Path]) -> Self:
        entries = open_dalle(files)
        shapes = {name: entry.shape for name, entry in entries.items()}
        model = cls(DiscreteVAEConfig(**dalle_options(source, shapes)))
        own = dict(model.named_parameters())
        report = check_shapes(source, shapes, {name: tuple(parameter.shape) for name, parameter in own.items()})
        fill(own, entries, report, source)
        return model.eval()

    def _need_decoder(self) -> Decoder:
        if self.decoder is None:
            raise ConfigError(
                "this tokenizer is an encoder without its decoder, which paints no pixels; put decoder.pkl beside "
                "encoder.pkl, or use a tokenizer that was saved whole"
            )
        return self.decoder
