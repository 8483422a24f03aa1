"""Config of the k-means tokenizer: windows and codebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from beit.errors import ConfigError
from beit.tokenizer.base import MOST, TokenizerConfig, check_side


@dataclass(frozen=True)
class KMeansConfig(TokenizerConfig):
    """Size of a k-means tokenizer.

    Attributes:
        vocab_size: Codebook size V, the number of clusters.
        patch_size: Pixels per visual token, along each side.
        window: Side in pixels of what a token is computed from: at least the patch, on which it is centred.
        image_size: Side in pixels of what it was fitted on; it works at any multiple of `patch_size`.
        channels: Colour channels.

    Raises:
        ConfigError: If an option has a value that no tokenizer can be built from.
    """

    vocab_size: int = 8192
    patch_size: int = 16
    window: int = 16
    image_size: int = 224
    channels: int = 3

    model_type: ClassVar[str] = "beit-kmeans"
    limits: ClassVar[Mapping[str, tuple[int, int]]] = {
        "vocab_size": (2, MOST), "window": (1, 256), "channels": (1, 16),  # whitening is quadratic in their product
    }  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built, or do not fit together."""
        super().__post_init__()
        if self.window < self.patch_size or (self.window - self.patch_size) % 2:
            raise ConfigError(
                f"tokenizer window is {self.window} and patch_size {self.patch_size}; expected a window that is not "
                f"smaller and leaves equal margins, such as {self.patch_size} or {self.patch_size + 8}"
            )
        check_side(self.image_size, self.patch_size)
        if self.margin >= self.image_size:
            raise ConfigError(
                f"tokenizer window is {self.window} and reaches {self.margin} pixels beyond a patch; expected fewer "
                f"than the image_size {self.image_size}: lower window"
            )

    @property
    def margin(self) -> int:
        """Pixels of the window on each side of its patch."""
        return (self.window - self.patch_size) // 2

    @property
    def window_values(self) -> int:
        """Numbers F in a window."""
        return self.channels * self.window**2
