"""What each job may be told: its groups of settings. A recipe is one of these, written as YAML."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.training.finetuning.settings import (
    LoraSettings,
    MixingSettings,
    ProbeSettings,
    RandAugmentSettings,
)
from beit.training.segmentation.settings import LabelMapSettings, SceneUseSettings
from beit.training.settings import (
    STRICT,
    AggregationSettings,
    AugmentSettings,
    DataSettings,
    EarlyStopSettings,
    GallerySettings,
    MaskSettings,
    ModelSettings,
    OptimSettings,
    PictureSettings,
    RunSettings,
    TrainSettings,
)
from beit.training.tokenizers.settings import (
    CodebookLossSettings,
    CodebookSettings,
    DistilledTokenizerSettings,
    EncodingSettings,
    QuantiserSettings,
)


@dataclass(frozen=True, config=STRICT)
class TokenizerTraining:
    """How a tokenizer is trained."""

    codebook: CodebookSettings = field(default_factory=CodebookSettings)
    """Tokenizer: its size"""
    loss: CodebookLossSettings = field(default_factory=CodebookLossSettings)
    """Tokenizer: its loss"""
    optim: OptimSettings = field(
        default_factory=lambda: OptimSettings(lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4, warmup_epochs=0)
    )
    """Tokenizer: its optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Tokenizer: length of its training"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Tokenizer: its early stop"""


@dataclass(frozen=True, config=STRICT)
class PretrainTokenizerSettings(TokenizerTraining):
    """Where the visual tokens come from: a tokenizer, or one trained first on the same pictures."""

    path: str | None = None
    """Tokenizer: a folder, a published file or name (`beit models`); if null, one is trained first."""
    image_size: int | None = Field(default=None, ge=1)
    """Side of what the tokenizer sees, in pixels; default: what gives one token per patch of the model."""
    tokens: str | None = None
    """Folder that `beit tokenizer encode` wrote for the same tokenizer, data, augment, run.seed and fixed_views."""
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    """Tokenizer: how it encodes"""


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
    checkpoint: str | None = None
    """Pre-trained model to continue from: a folder, file or published name; null starts from random weights."""
    fixed_views: int | None = Field(default=None, ge=1)
    """Random views per picture, repeated by the epochs; null draws new ones in every epoch."""
    mask: MaskSettings = field(default_factory=MaskSettings)
    """Mask"""
    aggregation: AggregationSettings = field(default_factory=AggregationSettings)
    """Patch aggregation"""
    optim: OptimSettings = field(default_factory=OptimSettings)
    """Optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Length"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Early stop"""
    gallery: GallerySettings = field(default_factory=GallerySettings)
    """Gallery"""
    tokenizer: PretrainTokenizerSettings = field(default_factory=PretrainTokenizerSettings)
    """Tokenizer: a ready one; all below is for one that is trained first, but its encoding"""


@dataclass(frozen=True, config=STRICT)
class FinetuneJob:
    """Fine-tune a BEiT to classify pictures."""

    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/finetune"))
    """Run"""
    data: DataSettings = field(default_factory=DataSettings)
    """Data"""
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
    """What the head reads: the mean of the patches, as published, or the [CLS] token; null: as the checkpoint does."""
    bias_resize: Literal["cubic", "linear", "bilinear"] = "cubic"
    """How position biases are resized to another image_size: the authors' method, timm's, or bilinearly."""
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
        default_factory=lambda: OptimSettings(
            lr=4e-3, min_lr=1e-6, warmup_epochs=20, betas=(0.9, 0.999), clip_grad=None, layer_decay=0.65
        )
    )
    """Optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Length"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Early stop"""
    stop_on: Literal["loss", "accuracy"] = "loss"
    """What an early stop looks at on held-out pictures."""


@dataclass(frozen=True, config=STRICT)
class EvaluateJob:
    """Measure a fine-tuned model."""

    model: str
    """Fine-tuned model: a folder, a file in any layout, a hub repository or a published name (`beit models`)."""
    data: PictureSettings = field(default_factory=PictureSettings)
    """Data"""
    match: Literal["names", "order"] = "names"
    """How the pictures' classes or labels are the model's: by name (or index, if they are numbers), or all in sorted
    order."""
    limit: int | None = Field(default=None, ge=1)
    """Measure on this many pictures only, spread evenly; null takes all."""
    crop_share: float | None = Field(default=None, gt=0, le=1)
    """Crop this share of a picture's shorter side; null: as the model's preprocessor or timm's config says, else as
    published, 0.875 below 384 pixels and 1.0 from there."""
    flips: bool = False
    """Average the scores of each picture and its mirror image."""
    masks: LabelMapSettings = field(default_factory=LabelMapSettings)
    """Masks, for models that tell the class of every pixel"""
    scene: SceneUseSettings = field(default_factory=SceneUseSettings)
    """How scenes are segmented; null: as the model was measured when it was trained, or as published"""
    batch_size: int = Field(default=64, ge=1)
    """Pictures at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Autocast; auto takes bf16 on a GPU that supports it, else fp32."""
    output: str | None = None
    """Write all numbers, also per class or label, to this JSON file."""
    predictions: str | None = None
    """Write what was predicted for every picture to this CSV file."""
    report: str | None = None
    """Write an HTML report to this path."""


@dataclass(frozen=True, config=STRICT)
class DistillJob:
    """Train a VQ-KD tokenizer: its tokens keep what a teacher sees in a picture, not its pixels."""

    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/vq_kd"))
    """Run"""
    data: DataSettings = field(default_factory=DataSettings)
    """Data"""
    augment: AugmentSettings = field(default_factory=lambda: AugmentSettings(color_jitter=0.0))
    """Augmentation"""
    teacher: str | None = None
    """Classifier whose patch features are learnt: a folder, a file, or a published name. Needed."""
    image_size: int = Field(default=224, ge=1)
    """Side of the tokenizer's input, in pixels."""
    model: DistilledTokenizerSettings = field(default_factory=DistilledTokenizerSettings)
    """Tokenizer"""
    quantiser: QuantiserSettings = field(default_factory=QuantiserSettings)
    """Codebook"""
    optim: OptimSettings = field(
        default_factory=lambda: OptimSettings(lr=2e-4, betas=(0.9, 0.99), weight_decay=1e-4, clip_grad=None)
    )
    """Optimiser"""
    train: TrainSettings = field(default_factory=lambda: TrainSettings(batch_size=512))
    """Length"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Early stop"""


@dataclass(frozen=True, config=STRICT)
class TokenizerUse:
    """A trained tokenizer, and the pictures it is used on."""

    tokenizer: str
    """Tokenizer: a folder, a published file or name (`beit models`)."""
    image_size: int | None = Field(default=None, ge=1)
    """Side of the tokenizer's input, in pixels; default: what it was trained on."""
    data: PictureSettings = field(default_factory=PictureSettings)
    """Data"""
    batch_size: int = Field(default=64, ge=1)
    """Pictures at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    """Encoding"""


@dataclass(frozen=True, config=STRICT)
class EncodeJob(TokenizerUse):
    """Turn pictures into visual tokens."""

    output: str = "runs/tokens"
    """Folder to write: tokens.npy (pictures, views, height, width), names and, if there are any, labels."""
    views: int | None = Field(default=None, ge=1)
    """Random views per picture, the fixed_views of a pre-training; null encodes what evaluation sees of a picture."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random views: run.seed of the pre-training."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Random views: augment of the pre-training"""


@dataclass(frozen=True, config=STRICT)
class ReconstructJob(TokenizerUse):
    """Decode pictures from their visual tokens."""

    output: str = "runs/reconstructions.png"
    """PNG to write: pictures above their reconstructions."""
    count: int = Field(default=16, ge=1)
    """Pictures to show; the error is measured over all."""


@dataclass(frozen=True, config=STRICT)
class EvaluateTokenizerJob(TokenizerUse):
    """Measure a tokenizer on pictures."""

    teacher: str | None = None
    """For VQ-KD, the classifier it was distilled from: also measure how well its features are predicted."""
    output: str | None = None
    """Write the numbers to this JSON file."""
    report: str | None = None
    """Write an HTML report with reconstructions to this path."""
