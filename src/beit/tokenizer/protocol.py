"""Interface of every tokenizer.

Legend: B batch, C colour channels, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class VisualTokenizer(Protocol):
    """Pictures to visual tokens, and back where its decoder paints pixels."""

    @property
    def vocab_size(self) -> int:
        """Codebook size V."""
        ...

    @property
    def stride(self) -> int:
        """Pixels per token, along each side."""
        ...

    @property
    def image_size(self) -> int:
        """Side in pixels of the pictures it was trained on; other multiples of the stride work too."""
        ...

    @property
    def decodes_pixels(self) -> bool:
        """Return whether `decode` can be called: VQ-KD predicts features instead, and some have no decoder."""
        ...

    def map_pixels(self, pixels: Tensor) -> Tensor:
        """Map pixels from [0, 1] to the range that the encoder was trained on; any shape."""
        ...

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the visual tokens (B, h, w), int64 in [0, V), of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the sides are no multiples of the stride.
        """
        ...

    def decode(self, tokens: Tensor) -> Tensor:
        """Return pixels (B, C, H, W) in [0, 1] for visual tokens (B, h, w).

        Raises:
            ConfigError: If this tokenizer paints no pixels, or the tokens are not its own.
        """
        ...
