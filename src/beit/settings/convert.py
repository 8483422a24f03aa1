"""Settings of a conversion."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.sizes import ImageSize, read_size


@dataclass(frozen=True, config=STRICT)
class ConvertJob(Settings):
    """Write a checkpoint in another layout."""

    source: str
    """Checkpoint: a folder, a file of weights, a hub repository, or a published name (`beit models`)."""
    destination: str
    """Folder to write; for unilm a file, such as model.pth."""
    to: Literal["hf", "timm", "unilm", "flax"]
    """Layout: that of Hugging Face, of timm, the original .pth, or that of Flax."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the stored weights; auto keeps them as they are."""
    image_size: int | tuple[int, int] | str | None = None
    """Resize positions to this input size in pixels: a side, or HEIGHTxWIDTH."""
    bias_resize: Literal["cubic", "linear", "bilinear"] = "cubic"
    """Method of resizing position biases to another image_size: the authors' method, timm's, or bilinearly."""
    num_attention_heads: int | None = None
    """For original checkpoints without relative positions, which do not hold it."""
    out_indices: tuple[int, ...] | None = None
    """For original segmentation of an unusual depth: the four blocks it reads, counted from 0."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    token: str | None = None
    """Access token for the hub."""

    def __post_init__(self) -> None:
        """Check the size."""
        self.size()

    def size(self) -> ImageSize | None:
        """Return the size of the input, a side or (height, width); None: as it is."""
        return None if self.image_size is None else read_size(self.image_size)
