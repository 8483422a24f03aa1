"""The groups of settings that only fine-tuning has; without a framework, as those of `settings.py`."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.training.settings import STRICT


@dataclass(frozen=True, config=STRICT)
class RandAugmentSettings:
    """RandAugment with timm's "increasing" operations; the published runs use 2 of magnitude 9 and deviation 0.5."""

    operations: int = Field(default=0, ge=0)
    """Operations drawn per picture, each applied with probability 0.5; 0 for none. They replace the colour jitter."""
    magnitude: float = Field(default=9.0, ge=0, le=10)
    """Mean magnitude, of 10."""
    magnitude_std: float = Field(default=0.5, ge=0)
    """Standard deviation of the magnitude."""


@dataclass(frozen=True, config=STRICT)
class MixingSettings:
    """Mixup and cutmix of pairs of pictures, drawn once per batch; the published runs use 0.8 and 1.0."""

    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup's Beta distribution; 0 for no mixup."""
    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of cutmix's Beta distribution; 0 for no cutmix."""
    probability: float = Field(default=1.0, ge=0, le=1)
    """Probability of mixing a batch at all."""
    switch: float = Field(default=0.5, ge=0, le=1)
    """Probability of cutmix rather than mixup, where both are on."""


@dataclass(frozen=True, config=STRICT)
class ProbeSettings:
    """Where a linear probe reads; meant for freeze: encoder."""

    layer: int | None = Field(default=None, ge=1)
    """Layer whose features the head reads, 1 the first; those above are left out of the model. null: the last."""


@dataclass(frozen=True, config=STRICT)
class LoraSettings:
    """Low-rank adaptation (arXiv 2106.09685): the encoder stays, products of two thin matrices are learnt beside it."""

    rank: int | None = Field(default=None, ge=1)
    """Rank of what is added to each weight matrix; null for no adaptation. The saved model is an ordinary one."""
    alpha: float = Field(default=16.0, gt=0)
    """What is added is scaled by alpha / rank."""
    feed_forward: bool = False
    """Adapt the feed-forward networks too, not the attention alone."""
