"""Settings of tokenizers: training, distillation, encoding, reconstruction, evaluation."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import (
    AugmentSettings,
    DataSettings,
    Device,
    EarlyStopSettings,
    FolderSettings,
    OptimSettings,
    PictureSettings,
    RunSettings,
    TrainingPrecision,
    TrainSettings,
    ValidationSettings,
)


@dataclass(frozen=True, config=STRICT)
class EncodingSettings(Settings):
    """Computation of tokens by a trained tokenizer."""

    precision: TrainingPrecision = "auto"
    """Precision of the computation; auto takes bf16 on a GPU that supports it, else fp32. bf16 changes a few tokens
    in a hundred."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the encoder: seconds or minutes at the start, faster afterwards. auto: on a GPU that Triton knows."""


@dataclass(frozen=True, config=STRICT)
class CodebookSettings(Settings):
    """The size of the discrete VAE; the defaults are OpenAI's."""

    vocab_size: int = Field(default=8192, ge=2)
    """Visual tokens in the codebook."""
    hidden_size: int = Field(default=256, ge=4)
    """Channels of the first group of blocks."""
    blocks_per_group: int = Field(default=2, ge=1)
    """Residual blocks per group."""
    groups: int = Field(default=4, ge=1)
    """Groups; a token stands for 2 ** (groups - 1) pixels on each side."""
    decoder_input_size: int = Field(default=128, ge=1)
    """Channels at the decoder's entrance."""


@dataclass(frozen=True, config=STRICT)
class CodebookLossSettings(Settings):
    """The loss of the discrete VAE, and how it changes over the run."""

    reconstruction: Literal["logit_laplace", "l1", "l2"] = "logit_laplace"
    """Reconstruction loss."""
    temperature: tuple[float, float] = (1.0, 0.0625)
    """Gumbel-softmax temperature, at the start and after annealing (cosine)."""
    anneal_share: float = Field(default=0.75, gt=0, le=1)
    """Share of the run after which the temperature has reached its end."""
    kl_weight: tuple[float, float] = (0.0, 6.6)
    """Weight of the KL to uniform, per token, relative to the reconstruction summed over the picture: at the start and
    after its ramp (cosine). A falling one spreads the tokens over the codebook first and sharpens them later."""
    kl_ramp_share: float = Field(default=0.1, gt=0, le=1)
    """Share of the run after which that weight has reached its end."""
    balance_weight: float = Field(default=0.0, ge=0)
    """Weight, per token too, of the KL to uniform of a batch's mean token: evens out the codes, blurs no token."""
    dead_after: int = Field(default=200, ge=1)
    """Steps without a single use after which a code counts as dead."""

    def __post_init__(self) -> None:
        """Check the temperatures."""
        if min(self.temperature) <= 0:
            raise ValueError(f"temperature is {list(self.temperature)}; expected numbers above 0")
        if min(self.kl_weight) < 0:
            raise ValueError(f"kl_weight is {list(self.kl_weight)}; expected numbers of at least 0")


@dataclass(frozen=True, config=STRICT)
class DistilledTokenizerSettings(Settings):
    """The size of VQ-KD; the defaults are those of BEiT v2."""

    vocab_size: int = Field(default=8192, ge=2)
    """Visual tokens in the codebook."""
    code_size: int = Field(default=32, ge=1)
    """Numbers per code."""
    patch_size: int = Field(default=16, ge=1)
    """Side of the patch that a token stands for, in pixels."""
    hidden_size: int = Field(default=768, ge=1)
    """Width of encoder and decoder."""
    num_hidden_layers: int = Field(default=12, ge=1)
    """Layers of the encoder."""
    num_attention_heads: int = Field(default=12, ge=1)
    """Attention heads per layer."""
    intermediate_size: int = Field(default=3072, ge=1)
    """Width of the feed-forward networks."""
    decoder_layers: int = Field(default=3, ge=1)
    """Layers of the decoder, which predicts the teacher's features."""


@dataclass(frozen=True, config=STRICT)
class QuantiserSettings(Settings):
    """Training of the codebook of VQ-KD, which follows the features."""

    decay: float = Field(default=0.99, gt=0, lt=1)
    """Share of a code that one step keeps."""
    commitment: float = Field(default=1.0, ge=0)
    """Weight of pulling features to their codes."""
    revive_below: float = Field(default=0.01, ge=0, lt=1)
    """A code used less than this share of an even share is put where features are; 0 never does."""
    dead_after: int = Field(default=200, ge=1)
    """Steps without a single use after which a code counts as dead in the metrics."""


def dvae_optimiser() -> OptimSettings:
    """Return the optimiser of a discrete VAE."""
    return OptimSettings(lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4, warmup_epochs=0)


@dataclass(frozen=True, config=STRICT)
class TokenizerJob(Settings):
    """Train a tokenizer: the discrete VAE of DALL-E, on your pictures."""

    data: DataSettings
    """Data"""
    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/tokenizer"))
    """Run"""
    augment: AugmentSettings = field(default_factory=lambda: AugmentSettings(color_jitter=0.0))
    """Augmentation"""
    image_size: int = Field(default=112, ge=1)
    """Side of the tokenizer's input, in pixels."""
    codebook: CodebookSettings = field(default_factory=CodebookSettings)
    """Size"""
    loss: CodebookLossSettings = field(default_factory=CodebookLossSettings)
    """Loss"""
    optim: OptimSettings = field(default_factory=dvae_optimiser)
    """Optimiser"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Length"""
    validation: ValidationSettings = field(default_factory=lambda: ValidationSettings(every=0))
    """Validation"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Early stop"""


@dataclass(frozen=True, config=STRICT)
class DistillJob(Settings):
    """Train a VQ-KD tokenizer: its tokens keep what a teacher sees in a picture, not its pixels."""

    teacher: str
    """Classifier whose patch features are learnt: a folder, a file, or a published name."""
    data: DataSettings
    """Data"""
    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/vq_kd"))
    """Run"""
    augment: AugmentSettings = field(default_factory=lambda: AugmentSettings(color_jitter=0.0))
    """Augmentation"""
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
    validation: ValidationSettings = field(default_factory=lambda: ValidationSettings(every=0))
    """Validation"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Early stop"""


@dataclass(frozen=True, config=STRICT)
class ClusteringRunSettings(FolderSettings):
    """Run folder, seed and device."""

    device: Device = "auto"
    """Device to measure on; auto takes a GPU if there is one. The clusters are fitted on the CPU."""
    report: bool = True
    """Write report.html at the end."""


@dataclass(frozen=True, config=STRICT)
class ClusteredTokenizerSettings(Settings):
    """The size of a k-means tokenizer."""

    vocab_size: int = Field(default=8192, ge=2)
    """Visual tokens in the codebook: clusters."""
    patch_size: int = Field(default=16, ge=1)
    """Side of the patch that a token stands for, in pixels."""
    window: int | None = Field(default=None, ge=1)
    """Side of what a token is computed from, in pixels, with the patch in its middle; null: the patch alone."""


@dataclass(frozen=True, config=STRICT)
class ClusteringSettings(Settings):
    """Windows to cluster, and the clustering."""

    windows: int = Field(default=200_000, ge=2)
    """Most windows, drawn evenly from the pictures; they lie in memory three times."""
    whitening_eps: float = Field(default=0.1, gt=0)
    """Regulariser of the whitening: more of it smooths the codes."""
    epochs: int = Field(default=10, ge=1)
    """Most passes over the windows; it stops before when batches no longer gain."""
    batch_size: int = Field(default=4096, ge=1)
    """Windows per step."""


@dataclass(frozen=True, config=STRICT)
class ClusterJob(Settings):
    """Fit a k-means tokenizer: its tokens are clusters of whitened patches, found without a network."""

    data: DataSettings
    """Data"""
    run: ClusteringRunSettings = field(default_factory=lambda: ClusteringRunSettings(output="runs/kmeans"))
    """Run"""
    augment: AugmentSettings = field(default_factory=lambda: AugmentSettings(color_jitter=0.0))
    """Augmentation"""
    image_size: int = Field(default=224, ge=1)
    """Side of the tokenizer's input, in pixels."""
    model: ClusteredTokenizerSettings = field(default_factory=ClusteredTokenizerSettings)
    """Tokenizer"""
    clustering: ClusteringSettings = field(default_factory=ClusteringSettings)
    """Clustering"""


@dataclass(frozen=True, config=STRICT)
class TokenizerUse(Settings):
    """A trained tokenizer, and the pictures it is used on."""

    tokenizer: str
    """Tokenizer: a folder, a published file or name (`beit models`)."""
    data: PictureSettings
    """Data"""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    precision: TrainingPrecision = "auto"
    """Precision of the computation; auto takes bf16 on a GPU that supports it, else fp32. bf16 changes a few tokens
    in a hundred."""
    batch_size: int = Field(default=64, ge=1)
    """Pictures computed together."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the encoder: seconds or minutes at the start, faster afterwards. auto: on a GPU that Triton knows."""
    image_size: int | None = Field(default=None, ge=1)
    """Side of the tokenizer's input, in pixels; default: what it was trained on."""


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

    def __post_init__(self) -> None:
        """Check that random views are asked for where something is said of them."""
        if self.views is None and (self.seed != 0 or self.augment != AugmentSettings()):
            name = "seed" if self.seed != 0 else "augment"
            raise ValueError(
                f"{name} is set without views, and what evaluation sees of a picture has nothing random; set views to "
                f"the fixed_views of the pre-training, or leave {name} out"
            )


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


@dataclass(frozen=True, config=STRICT)
class ConvertTokenizerJob(Settings):
    """Write a published tokenizer as a folder of safetensors."""

    source: str
    """Published name (`beit models`), file, or folder of files."""
    destination: str
    """Folder to write; it must be new or empty."""
