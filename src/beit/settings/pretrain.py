"""Settings of pre-training."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import (
    AugmentSettings,
    DataSettings,
    EarlyStopSettings,
    GallerySettings,
    KeepBestSettings,
    ModelSettings,
    MonitorSettings,
    OptimSettings,
    RunSettings,
    TrainSettings,
    ValidationSettings,
)
from beit.settings.tokenizer import CodebookLossSettings, CodebookSettings, EncodingSettings, dvae_optimiser


@dataclass(frozen=True, config=STRICT)
class MaskSettings(Settings):
    """Block-wise masking (paper, algorithm 1)."""

    kind: Literal["block", "random"] = "block"
    """Blocks, or single patches anywhere, exactly `count` of them; the paper found blocks to learn better."""
    count: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Most masked patches per picture. auto: the paper's share of the grid, 75 of 196."""
    min_block: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Smallest block, in patches. auto: the paper's share of the grid, 16 of 196."""
    min_aspect: float = Field(default=0.3, gt=0, le=1)
    """Smallest height over width of a block; the largest is its inverse."""
    exact: bool = False
    """Mask exactly `count` patches, as BEiT v2 does."""


@dataclass(frozen=True, config=STRICT)
class AggregationSettings(Settings):
    """The patch aggregation of BEiT v2: a second, shallow head that sees early patches and the last [CLS]."""

    early_layer: int | None = Field(default=None, ge=1)
    """Layer whose patches it sees (9 of 12 for base, 21 of 24 for large); null leaves the head out."""
    layers: int = Field(default=2, ge=1)
    """Layers of the head; it is not part of the saved model."""


@dataclass(frozen=True, config=STRICT)
class DecoderSettings(Settings):
    """Encoding of visible patches only (SplitMask, MAE): mask tokens enter a light decoder behind the encoder."""

    layers: int | None = Field(default=None, ge=1)
    """Layers of the decoder, which the saved model is without; null: mask tokens enter the encoder, as published."""


@dataclass(frozen=True, config=STRICT)
class PretrainTokenizerSettings(Settings):
    """Source of the visual tokens: a tokenizer, or one trained first on the same pictures."""

    path: str | None = None
    """Tokenizer: a folder, a published file or name (`beit models`); if null, one is trained first."""
    image_size: int | None = Field(default=None, ge=1)
    """Side of what the tokenizer sees, in pixels; default: what gives one token per patch of the model."""
    tokens: str | None = None
    """Folder that `beit tokenizer encode` wrote for the same tokenizer, data, augment, run.seed and fixed_views."""
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    """Tokenizer: how it encodes"""
    codebook: CodebookSettings = field(default_factory=CodebookSettings)
    """Tokenizer: its size"""
    loss: CodebookLossSettings = field(default_factory=CodebookLossSettings)
    """Tokenizer: its loss"""
    optim: OptimSettings = field(default_factory=dvae_optimiser)
    """Tokenizer: its optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Tokenizer: length of its training"""
    validation: ValidationSettings = field(default_factory=lambda: ValidationSettings(every=0))
    """Tokenizer: its validation"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Tokenizer: its early stop"""


@dataclass(frozen=True, config=STRICT)
class PretrainJob(Settings):
    """Pre-train a BEiT: predict the visual tokens of masked patches."""

    data: DataSettings
    """Data"""
    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/pretrain"))
    """Run"""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Augmentation"""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Model"""
    checkpoint: str | None = None
    """Pre-trained model to continue from: a folder, file or published name; null starts from random weights."""
    fixed_views: int | None = Field(default=None, ge=1)
    """Random views per picture, repeated by the epochs; null draws new ones in every epoch."""
    mask: MaskSettings = field(default_factory=MaskSettings)
    """Mask"""
    aggregation: AggregationSettings = field(default_factory=AggregationSettings)
    """Patch aggregation"""
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    """Decoder of masked patches"""
    optim: OptimSettings = field(default_factory=OptimSettings)
    """Optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Length"""
    validation: ValidationSettings = field(default_factory=lambda: ValidationSettings(every=0))
    """Validation"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Early stop"""
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    """Monitor"""
    keep_best: KeepBestSettings = field(default_factory=KeepBestSettings)
    """Best model"""
    gallery: GallerySettings = field(default_factory=GallerySettings)
    """Gallery"""
    tokenizer: PretrainTokenizerSettings = field(default_factory=PretrainTokenizerSettings)
    """Tokenizer: a ready one; all below is for one that is trained first, but its encoding"""
