"""Settings of a benchmark of frozen features."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import DataSettings, Device, InferencePrecision, ModelSettings
from beit.settings.segment import LabelMapSettings

RANDOM = "random"  # the word for a model of random weights
_LEAST_ATTENTIVE = 8  # pictures
_LARGEST_SHARE = 0.5  # of the labels, since a quarter of the pictures is held out to choose with


@dataclass(frozen=True, config=STRICT)
class BenchmarkLabelMapSettings(LabelMapSettings):
    """Label maps of a benchmark, which then is one of patches."""

    val_path: str | None = None
    """The same for data.val_path."""


@dataclass(frozen=True, config=STRICT)
class BenchmarkFinetuneSettings(Settings):
    """Fine-tuning in a benchmark, with the defaults of `beit finetune` for what is not here."""

    steps: int | None = Field(default=None, ge=2)
    """Steps of a fine-tuning of every model with each share of the labels (label_shares), and with all; null: none.
    Each is a training of its own."""
    batch_size: int = Field(default=64, ge=1)
    """Pictures per step, no more than there are."""
    lr: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Peak learning rate; auto: the one that `beit finetune` takes for the model."""


@dataclass(frozen=True, config=STRICT)
class BenchmarkJob(Settings):
    """Compare the frozen features of models on labelled pictures, or on the patches of pictures with label maps."""

    models: tuple[str, ...]
    """Models: folders, files in any layout, hub repositories, published names (`beit models`), or the word random. Each
    is compared with random weights of its own architecture."""
    data: DataSettings
    """Data"""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Model: the architecture of random, where no other model is named"""
    label_maps: BenchmarkLabelMapSettings = field(default_factory=BenchmarkLabelMapSettings)
    """Label maps: with them patches are classified, each being of the class that most of its pixels have"""
    pictures: int = Field(default=10_000, ge=8)
    """Most training pictures, drawn by the seed."""
    val_pictures: int | None = Field(default=None, ge=1)
    """Most validation pictures, drawn by the seed; null takes all."""
    patches: int = Field(default=10_000, ge=8)
    """With label maps: most patches with a class of the training pictures, and most of the validation pictures, as many
    of each picture, drawn by the seed."""
    k: tuple[int, ...] | None = None
    """Numbers of nearest training pictures (or patches) that may vote, one of which is chosen; null: those of 1, 5, 10,
    20 and 50 that there are enough for."""
    shots: tuple[int, ...] | None = None
    """Pictures of each class to learn from in the few-shot measurements, such as [1, 5]; [] for none. null: those of
    1, 5 and 10 that every class has."""
    label_shares: tuple[float, ...] | None = None
    """Shares of the training labels that ridge also learns from, such as [0.01, 0.1]; [] for none. null: those of 0.01
    and 0.1 that leave every class a picture."""
    draws: int = Field(default=5, ge=1)
    """Random choices of these few pictures, over which mean and spread are given."""
    attentive_pictures: int = Field(default=2000, ge=0)
    """Most training pictures of the attentive probe, whose patch features of one layer are kept in memory; 0 leaves it
    out."""
    finetune: BenchmarkFinetuneSettings = field(default_factory=BenchmarkFinetuneSettings)
    """Fine-tuning: with steps, of every model, beside the probes of its frozen features"""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of everything random: the pictures, the random weights, the draws of few labels."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    precision: InferencePrecision = "auto"
    """Precision of the models; auto takes bf16 on a GPU that supports it, else fp32."""
    batch_size: int = Field(default=64, ge=1)
    """Pictures computed together."""
    output: str | None = None
    """Folder for result.json, report.html and the features, which are not computed again; null writes nothing."""
    json: bool = False
    """Print the result as JSON, for other programs."""

    def __post_init__(self) -> None:
        """Check the lists, which no single bound can."""
        if not self.models:
            raise ValueError(f"models is empty; expected at least one model, or the word {RANDOM}")
        if self.k is not None and not self.k:
            raise ValueError("k is empty; expected at least one number of neighbours, such as [10]")
        for name, numbers in (("models", self.models), ("k", self.k or ()), ("shots", self.shots or ())):
            if len(set(numbers)) < len(numbers):
                raise ValueError(f"{name} is {list(numbers)}; expected each only once")
            if any(isinstance(number, int) and number < 1 for number in numbers):
                raise ValueError(f"{name} is {list(numbers)}; expected numbers from 1")
        shares = self.label_shares or ()
        if len(set(shares)) < len(shares) or not all(0 < share <= _LARGEST_SHARE for share in shares):
            raise ValueError(
                f"label_shares is {list(shares)}; expected different shares above 0 and up to {_LARGEST_SHARE}: all "
                "labels have their columns in any case"
            )
        if 0 < self.attentive_pictures < _LEAST_ATTENTIVE:
            raise ValueError(
                f"attentive_pictures is {self.attentive_pictures}; expected {_LEAST_ATTENTIVE} or more, a quarter of "
                "which are held out, or 0 for no attentive probe"
            )
