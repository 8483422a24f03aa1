"""Config of the k-means tokenizer: windows and codebook."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from beit.errors import ConfigError
from beit.tokenizer.config import check_side
from beit.tokenizer.files import read_config, save_config

MODEL_TYPE = "beit-kmeans"
_MOST = {"window": 256, "channels": 16}  # a config.json from somewhere may say anything, and whitening is quadratic
_MOST_OTHERS = 2**20


@dataclass(frozen=True)
class KMeansConfig:
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

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for field in fields(self):
            value, least = getattr(self, field.name), 2 if field.name == "vocab_size" else 1
            most = _MOST.get(field.name, _MOST_OTHERS)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(
                    f"tokenizer {field.name} is {value!r}; expected a whole number of at least {least} and at most "
                    f"{most}"
                )
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
