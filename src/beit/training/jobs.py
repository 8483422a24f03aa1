"""What each job may be told: its groups of settings. A recipe is one of these, written as YAML."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.training.settings import (
    STRICT,
    AugmentSettings,
    CodebookLossSettings,
    CodebookSettings,
    DataSettings,
    MaskSettings,
    ModelSettings,
    OptimSettings,
    PictureSettings,
    RunSettings,
    TrainSettings,
)


@dataclass(frozen=True, config=STRICT)
class TokenizerTraining:
    """How a tokenizer is trained."""

    codebook: CodebookSettings = field(default_factory=CodebookSettings)
    """Tokenizer"""
    loss: CodebookLossSettings = field(default_factory=CodebookLossSettings)
    """Tokenizer loss"""
    optim: OptimSettings = field(
        default_factory=lambda: OptimSettings(lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4, warmup_epochs=0)
    )
    """Tokenizer optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Tokenizer training length"""


@dataclass(frozen=True, config=STRICT)
class PretrainTokenizerSettings(TokenizerTraining):
    """Where the visual tokens come from: a tokenizer folder, or one trained first on the same pictures."""

    path: str | None = None
    """Folder of a trained tokenizer; if null, one is trained first."""


@dataclass(frozen=True, config=STRICT)
class TokenizerJob(TokenizerTraining):
    """Train a tokenizer: the discrete VAE of DALL-E, on your pictures."""

    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/tokenizer"))
    """Run"""
    data: DataSettings = field(default_factory=DataSettings)
    """Data"""
    augment: AugmentSettings = field(default_factory=lambda: AugmentSettings(color_jitter=0.0))
    """Augmentation"""
    image_size: int = Field(default=112, ge=1)
    """Side of the tokenizer's input, in pixels."""


@dataclass(frozen=True, config=STRICT)
class PretrainJob:
    """Pre-train a BEiT: predict the visual tokens of masked patches."""

    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/pretrain"))
    """Run"""
    data: DataSettings = field(default_factory=DataSettings)
    """Data"""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Augmentation"""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Model"""
    mask: MaskSettings = field(default_factory=MaskSettings)
    """Mask"""
    tokenizer: PretrainTokenizerSettings = field(default_factory=PretrainTokenizerSettings)
    """Tokenizer"""
    optim: OptimSettings = field(default_factory=OptimSettings)
    """Optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Length"""


@dataclass(frozen=True, config=STRICT)
class FinetuneJob:
    """Fine-tune a BEiT to classify pictures."""

    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/finetune"))
    """Run"""
    data: DataSettings = field(default_factory=DataSettings)
    """Data"""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Augmentation"""
    checkpoint: str | None = None
    """Pre-trained model folder; null starts from random weights."""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Model; with a checkpoint, sizes that are given must be the checkpoint's"""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target spread over all classes."""
    optim: OptimSettings = field(
        default_factory=lambda: OptimSettings(
            lr=4e-3, min_lr=1e-6, warmup_epochs=20, betas=(0.9, 0.999), clip_grad=None, layer_decay=0.65
        )
    )
    """Optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Length"""


@dataclass(frozen=True, config=STRICT)
class EvaluateJob:
    """Measure a fine-tuned model."""

    model: str
    """Folder of a fine-tuned model."""
    data: PictureSettings = field(default_factory=PictureSettings)
    """Data"""
    batch_size: int = Field(default=64, ge=1)
    """Pictures at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    report: str | None = None
    """Write an HTML report to this path."""


@dataclass(frozen=True, config=STRICT)
class EncodeJob:
    """Turn pictures into visual tokens."""

    tokenizer: str
    """Folder of a trained tokenizer."""
    output: str
    """File to write: NumPy .npz with tokens (pictures, height, width), names and, if there are any, labels."""
    image_size: int = Field(default=112, ge=1)
    """Side of the tokenizer's input, in pixels."""
    data: PictureSettings = field(default_factory=PictureSettings)
    """Data"""
    batch_size: int = Field(default=64, ge=1)
    """Pictures at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""


@dataclass(frozen=True, config=STRICT)
class ReconstructJob:
    """Decode pictures from their visual tokens."""

    tokenizer: str
    """Folder of a trained tokenizer."""
    output: str
    """PNG to write: pictures above their reconstructions."""
    image_size: int = Field(default=112, ge=1)
    """Side of the tokenizer's input, in pixels."""
    count: int = Field(default=16, ge=1)
    """Pictures to show; the error is measured over all."""
    data: PictureSettings = field(default_factory=PictureSettings)
    """Data"""
    batch_size: int = Field(default=64, ge=1)
    """Pictures at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
