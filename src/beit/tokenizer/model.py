"""DiscreteVAE: images to visual tokens and back.

Legend: B batch, C colour channels, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from beit.errors import ConfigError
from beit.tokenizer.coders import Decoder, Encoder
from beit.tokenizer.config import DiscreteVAEConfig
from beit.weights import (
    ENCODER_NAME,
    WEIGHTS_NAME,
    atomic_file,
    check_fit,
    dalle_options,
    open_dalle,
    read_safetensors,
)

# Pixels in [0, 1] are moved into [0.1, 0.9], where logit-Laplace has no infinite likelihood (arXiv 2102.12092, A.3).
LOGIT_LAPLACE_EPS = 0.1


def map_pixels(pixels: Tensor) -> Tensor:
    """Map pixels from [0, 1] to [0.1, 0.9]."""
    return (1 - 2 * LOGIT_LAPLACE_EPS) * pixels + LOGIT_LAPLACE_EPS


def unmap_pixels(pixels: Tensor) -> Tensor:
    """Map pixels from [0.1, 0.9] back to [0, 1]; values outside are clipped."""
    return ((pixels - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS)).clamp(0, 1)


class DiscreteVAE(nn.Module):
    """The discrete VAE of DALL-E, at any size (arXiv 2102.12092, section 2.1)."""

    def __init__(self, config: DiscreteVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return codebook logits (B, V, h, w) of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit: channels, or sides that are no multiple of `config.patch_size`.
        """
        self._check(pixels)
        return self.encoder(map_pixels(pixels))

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the visual tokens (B, h, w), int64 in [0, V), of pixels (B, C, H, W) in [0, 1]."""
        return self.logits(pixels).argmax(dim=1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Return pixels (B, C, H, W) in [0, 1] for visual tokens (B, h, w)."""
        one_hot_BVhw = functional.one_hot(tokens, self.config.vocab_size).movedim(-1, 1)
        return self.pixels(self.decoder(one_hot_BVhw.to(self.decoder.stem.weight.dtype)))

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
        return self.decoder(functional.gumbel_softmax(logits_BVhw.float(), tau=temperature, dim=1)), logits_BVhw

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder, which is created if needed."""
        tensors = {name: parameter.detach().contiguous() for name, parameter in self.named_parameters()}
        with atomic_file(Path(folder) / WEIGHTS_NAME) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
        self.config.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load a tokenizer folder, in evaluation mode.

        Args:
            folder: What `save_pretrained` wrote, or OpenAI's released `encoder.pkl` and `decoder.pkl`, which are read
                without executing them.

        Raises:
            ConfigError: If `config.json` is missing or not a tokenizer's.
            CheckpointError: If the weights are missing, damaged, unsafe, or do not fit.
        """
        if (Path(folder) / ENCODER_NAME).is_file() and not (Path(folder) / WEIGHTS_NAME).exists():
            return cls._from_openai(folder)
        model = cls(DiscreteVAEConfig.from_pretrained(folder))
        path = Path(folder) / WEIGHTS_NAME
        tensors, own = read_safetensors(path), dict(model.named_parameters())
        shapes = [{name: tuple(t.shape) for name, t in named.items()} for named in (tensors, own)]
        check_fit(str(path), *shapes, may_be_new=(), may_be_left_out=())
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(tensors[name])
        return model.eval()

    @classmethod
    def _from_openai(cls, folder: str | Path) -> Self:
        entries = open_dalle(folder)
        shapes = {name: entry.shape for name, entry in entries.items()}
        model = cls(DiscreteVAEConfig(**dalle_options(str(folder), shapes)))
        own = dict(model.named_parameters())
        check_fit(str(folder), shapes, {name: tuple(parameter.shape) for name, parameter in own.items()})
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(torch.from_numpy(entries[name].read()))
        return model.eval()

    def _check(self, pixels: Tensor) -> None:
        patch, channels = self.config.patch_size, self.config.channels
        if pixels.dim() != 4 or pixels.shape[1] != channels or pixels.shape[2] % patch or pixels.shape[3] % patch:
            raise ConfigError(
                f"tokenizer pixels have shape {tuple(pixels.shape)}; expected (batch, {channels}, height, width) "
                f"with sides that are multiples of {patch}"
            )
