"""KMeansTokenizer: the token of a patch is the cluster that its whitened window is nearest to.

Legend: B batch, C colour channels, V codebook size, F numbers in a window, R windows, h x w tokens, H x W pixels,
p pixels of a patch along each side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from beit.errors import ConfigError
from beit.models_torch import kernels
from beit.tokenizer.base import MOST, TokenizerBase, TokenizerConfig, check_side, load_tensors
from beit.tokenizer.encoding import check_pixels, check_tokens

_WHITE = 255.0  # the scale on which the variance of a window is regularised
_LEAST_VARIANCE = 10.0
_AT_ONCE = 4096  # windows whose distances to all clusters are in memory


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


class Normalised(NamedTuple):
    """Windows without brightness and contrast.

    Attributes:
        values: (R, F), mean 0 and variance below 1 in each window.
        brightness: The means that were taken away, (R, 1), in [0, 255].
        contrast: The numbers that the rest was divided by, (R, 1): sqrt(variance + 10).
    """

    values: Tensor
    brightness: Tensor
    contrast: Tensor


def normalised(windows: Tensor) -> Normalised:
    """Return windows (R, F) in [0, 255] without brightness and contrast, each by itself.

    Source: Coates and Ng 2012, "Learning feature representations with k-means", section 2.1.
    """
    brightness_R1 = windows.mean(dim=1, keepdim=True)
    centred_RF = windows - brightness_R1
    contrast_R1 = (centred_RF.square().mean(dim=1, keepdim=True) + _LEAST_VARIANCE).sqrt()
    return Normalised(centred_RF / contrast_R1, brightness_R1, contrast_R1)


def picture_windows(pixels: Tensor, config: KMeansConfig) -> Tensor:
    """Return the windows (B, h * w, F) in [0, 255] of pixels (B, C, H, W) in [0, 1], row-major.

    A window is centred on its patch; beyond the edges of the picture its pixels are reflected.

    Raises:
        ConfigError: If the pixels do not fit: channels, sides that are no multiple of the patch, or that are too short
            to be reflected.
    """
    check_pixels(pixels, config.channels, config.patch_size)
    shortest = min(pixels.shape[2:])
    if config.margin >= shortest:
        raise ConfigError(
            f"tokenizer pixels have shape {tuple(pixels.shape)}; windows of {config.window} pixels reach "
            f"{config.margin} beyond a patch, and expected are sides above that: take larger pictures"
        )
    padded_BCHW = functional.pad(pixels.float() * _WHITE, [config.margin] * 4, mode="reflect")
    return functional.unfold(padded_BCHW, config.window, stride=config.patch_size).transpose(1, 2)


class KMeansTokenizer(TokenizerBase[KMeansConfig]):
    """k-means over whitened windows (Coates and Ng 2012); a `VisualTokenizer` without a network.

    `fit_kmeans` fits it. Brightness and contrast of a window are not part of its token; to be seen, every code is drawn
    with those of the mean window.

    Attributes:
        mean: Of the normalised windows, (F,).
        whitening: Makes their values uncorrelated, (F, F).
        centroids: The clusters' means, whitened, (V, F).
        patches: What the middle of each centroid looks like, (V, C, p, p), in [0, 1].
    """

    mean: Tensor
    whitening: Tensor
    centroids: Tensor
    patches: Tensor

    def __init__(self, config: KMeansConfig) -> None:
        super().__init__(config, config.patch_size)
        values, patch, codes = config.window_values, config.patch_size, config.vocab_size
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("whitening", torch.zeros(values, values))
        self.register_buffer("centroids", torch.zeros(codes, values))
        self.register_buffer("patches", torch.zeros(codes, config.channels, patch, patch))

    @property
    def decodes_pixels(self) -> bool:
        """True: every code has a patch."""
        return True

    def map_pixels(self, pixels: Tensor) -> Tensor:
        """Return pixels as they are, in [0, 1]."""
        return pixels

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the visual tokens (B, h, w), int64 in [0, V), of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit: channels, sides that are no multiple of `stride`, or that are too
                short for a window.
        """
        with kernels.without_autocast(pixels.device):  # near ties between codes are decided here
            windows_RF = picture_windows(pixels, self.config).flatten(0, 1)
            tokens_R = torch.cat([self._nearest(self.whitened(some_RF)) for some_RF in windows_RF.split(_AT_ONCE)])
        return tokens_R.view(len(pixels), pixels.shape[2] // self.stride, pixels.shape[3] // self.stride)

    def decode(self, tokens: Tensor) -> Tensor:
        """Return pixels (B, C, H, W) in [0, 1] for visual tokens (B, h, w): the patches of their codes, side by side.

        Raises:
            ConfigError: If the tokens are not (B, h, w) whole numbers in [0, V).
        """
        check_tokens(tokens, self.vocab_size)
        patches_BhwCpp = self.patches[tokens.long()]
        return patches_BhwCpp.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def whitened(self, windows: Tensor) -> Tensor:
        """Return windows (R, F) in [0, 255], normalised and whitened in float32: what is clustered."""
        return (normalised(windows).values - self.mean) @ self.whitening.float()

    def _nearest(self, whitened_RF: Tensor) -> Tensor:
        """Return the nearest centroid of each window, (R,): the largest of x c - |c|^2 / 2."""
        centroids_VF = self.centroids.float()  # whatever type the tokenizer was cast to
        half_V = centroids_VF.square().sum(dim=1) / 2
        return torch.addmm(-half_V, whitened_RF, centroids_VF.T).argmax(dim=1)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Self:
        """Load a tokenizer from a folder that `save_pretrained` wrote, in evaluation mode.

        Raises:
            ConfigError: If `config.json` is missing or not that of such a tokenizer.
            CheckpointError: If the weights are missing, damaged, or do not fit.
        """
        config = KMeansConfig.from_pretrained(source)
        with torch.device("meta"):
            model = cls(config)
        load_tensors(source, model)
        return model.eval()
