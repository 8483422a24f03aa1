"""Settings of fine-tuning."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import (
    AugmentSettings,
    DataSettings,
    EarlyStopSettings,
    ModelSettings,
    OptimSettings,
    RunSettings,
    TrainSettings,
    ValidationSettings,
)


@dataclass(frozen=True, config=STRICT)
class RandAugmentSettings(Settings):
    """RandAugment with timm's "increasing" operations; the published runs use 2 of magnitude 9 and deviation 0.5."""

    operations: int = Field(default=0, ge=0)
    """Operations drawn per picture, each applied with probability 0.5; 0 for none. They replace the colour jitter."""
    magnitude: float = Field(default=9.0, ge=0, le=10)
    """Mean magnitude, of 10."""
    magnitude_std: float = Field(default=0.5, ge=0)
    """Standard deviation of the magnitude."""


@dataclass(frozen=True, config=STRICT)
class MixingSettings(Settings):
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
class ProbeSettings(Settings):
    """Layer that a linear probe reads; meant for freeze: encoder."""

    layer: int | None = Field(default=None, ge=1)
    """Layer whose features the head reads, 1 the first; those above are left out of the model. null: the last."""


@dataclass(frozen=True, config=STRICT)
class LoraSettings(Settings):
    """Low-rank adaptation (arXiv 2106.09685): the encoder stays, products of two thin matrices are learnt beside it."""

    rank: int | None = Field(default=None, ge=1)
    """Rank of what is added to each weight matrix; null for no adaptation. The saved model is an ordinary one."""
    alpha: float = Field(default=16.0, gt=0)
    """The product is scaled by alpha / rank."""
    feed_forward: bool = False
    """Adapt the feed-forward networks too, not the attention alone."""


@dataclass(frozen=True, config=STRICT)
class FinetuneJob(Settings):
    """Fine-tune a BEiT to classify pictures."""

    data: DataSettings
    """Data"""
    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/finetune"))
    """Run"""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Augmentation"""
    rand_augment: RandAugmentSettings = field(default_factory=RandAugmentSettings)
    """RandAugment"""
    erase: float = Field(default=0.0, ge=0, le=1)
    """Probability that a random box of a picture becomes noise; the published runs use 0.25."""
    mixing: MixingSettings = field(default_factory=MixingSettings)
    """Mixing"""
    checkpoint: str | None = None
    """Model to start from, of any layout: a folder, file or published name (`beit models`); null: random weights."""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Model; with a checkpoint, sizes that are given must be its own, but for image_size, to which it is resized"""
    pooling: Literal["mean", "cls"] | None = None
    """Input of the head: the mean of the patches, as published, or the [CLS] token; null: as the checkpoint does."""
    bias_resize: Literal["cubic", "linear", "bilinear"] = "cubic"
    """Method of resizing position biases to another image_size: the authors' method, timm's, or bilinearly."""
    head: Literal["auto", "keep", "new"] = "auto"
    """Head of a checkpoint that has one: auto keeps it for classes of the same names; keep goes by the number alone."""
    freeze: Literal["none", "encoder"] = "none"
    """encoder trains the head alone, a linear probe: the rest computes as in evaluation."""
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    """Probe"""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Low-rank adaptation"""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target spread over all classes (of several labels: towards one half); numbers have none."""
    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    """Factor on the loss of each class, in the order of their names; balanced: every class counts alike; null: 1."""
    optim: OptimSettings = field(
        default_factory=lambda: OptimSettings(min_lr=1e-6, betas=(0.9, 0.999), clip_grad=None, layer_decay=0.65)
    )
    """Optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Length"""
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    """Validation"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Early stop"""
    stop_on: Literal["loss", "accuracy"] = "loss"
    """Held-out metric that an early stop watches."""
