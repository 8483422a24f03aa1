"""Settings of semantic segmentation."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import (
    DataSettings,
    EarlyStopSettings,
    ModelSettings,
    OptimSettings,
    RunSettings,
    TrainSettings,
    ValidationSettings,
)


@dataclass(frozen=True, config=STRICT)
class LabelMapSettings(Settings):
    """Label maps: files with the class of every pixel of a picture."""

    path: str | None = None
    """Folder of label maps, one for each picture of data.path, of the same name but for the ending."""
    classes: str | None = None
    """Text file with the name of each class, one per line (`name red green blue` for label maps in colours), or ade20k,
    camvid or cityscapes."""
    reduce: bool = False
    """0 stands for no class, and every other number for the class one less, as in ADE20K."""
    mapping: Literal["cityscapes"] | dict[int, int] | None = None
    """Class of each number, 255 too if it is named; others are ignored. cityscapes: of its label ids; null: numbers
    are classes."""
    ignored: tuple[int, ...] = ()
    """Numbers, besides 255, that stand for no class."""
    picture_suffix: str = ""
    """Part that names of pictures have before the ending and those of label maps have not, such as _leftImg8bit."""
    suffix: str = ""
    """Part that names of label maps have before the ending and those of pictures have not, such as _gtFine_labelIds."""
    exif: Literal["auto", "turn", "keep"] = "auto"
    """Turning of label maps by the EXIF orientation of their pictures, which are turned upright; auto: of those that
    have the size of the unturned picture."""


@dataclass(frozen=True, config=STRICT)
class TrainingLabelMapSettings(LabelMapSettings):
    """The label maps of a training, whose path and classes are required."""

    path: str = field()
    """Folder of label maps, one for each picture of data.path, of the same name but for the ending."""
    classes: str = field()
    """Text file with the name of each class, one per line (`name red green blue` for label maps in colours), or ade20k,
    camvid or cityscapes."""
    val_path: str | None = None
    """The same for data.val_path."""
    checked: int | None = Field(default=None, ge=1)
    """Label maps to read before the first step, at even distances; null: all. class_weights: balanced reads all where
    these lack a class."""


@dataclass(frozen=True, config=STRICT)
class SceneSettings(Settings):
    """Random views of scenes."""

    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the factor on a scene's size; what is then cut out has model.image_size."""
    shorter_side: int | None = Field(default=None, ge=1)
    """Length that factor 1 gives a scene's shorter side, in pixels, also in evaluation; null: its own."""
    one_class: float = Field(default=0.75, gt=0, le=1)
    """Largest share that one class should have of what is cut out; ten crops are tried."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    distort: bool = True
    """Change brightness, contrast, saturation and hue, each half of the time."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}; expected 0 < first <= second")


@dataclass(frozen=True, config=STRICT)
class HardPixelSettings(Settings):
    """Learn from hard pixels alone (OHEM, arXiv 1604.03540)."""

    confidence: float | None = Field(default=None, gt=0, lt=1)
    """Leave out pixels whose class has at least this probability already, 0.7 as usual; null keeps all."""
    least: int = Field(default=100_000, ge=1)
    """Keep at least so many pixels of a batch, the hardest."""


@dataclass(frozen=True, config=STRICT)
class InferenceSettings(Settings):
    """Inference on whole pictures."""

    mode: Literal["slide", "whole"] = "slide"
    """Windows that overlap, or the picture at once."""
    window: int | None = Field(default=None, ge=1)
    """Side of a window, in pixels; null: the model's image_size."""
    stride: int | None = Field(default=None, ge=1)
    """Distance between windows, in pixels; null: two thirds of a window, 426 of 640 as published."""
    scales: tuple[float, ...] = (1.0,)
    """Average the probabilities over these factors on the picture's size; published: 0.5 to 1.75 in steps of 0.25."""
    flip: bool = False
    """Average over the mirror image too."""

    def __post_init__(self) -> None:
        """Check the factors."""
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales is {list(self.scales)}; expected one or more numbers above 0")


@dataclass(frozen=True, config=STRICT)
class SceneUseSettings(Settings):
    """Inference of a trained model on scenes."""

    mode: Literal["slide", "whole"] | None = None
    """Windows that overlap, or the picture at once."""
    window: int | None = Field(default=None, ge=1)
    """Side of a window, in pixels."""
    stride: int | None = Field(default=None, ge=1)
    """Distance between windows, in pixels; with a window alone two thirds of it."""
    shorter_side: int | None = Field(default=None, ge=1)
    """Length that a scene's shorter side gets, in pixels."""
    scales: tuple[float, ...] | None = None
    """Average the probabilities over these factors on the picture's size."""


@dataclass(frozen=True, config=STRICT)
class SegmentJob(Settings):
    """Train a BEiT with UperNet to predict the class of every pixel."""

    data: DataSettings
    """Pictures"""
    label_maps: TrainingLabelMapSettings
    """Label maps"""
    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/segment"))
    """Run"""
    scene: SceneSettings = field(default_factory=SceneSettings)
    """Random views"""
    checkpoint: str | None = None
    """Model to start from, of any layout: a folder, file or published name (`beit models`); null: random weights."""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Model; image_size is the side of what is cut from a scene"""
    layers: tuple[int, int, int, int] | None = None
    """Layers whose outputs UperNet sees, 1 the first; null: the checkpoint's, or at a third, a half, two thirds and the
    end of the encoder (4, 6, 8 and 12 of 12), as published."""
    auxiliary_weight: float = Field(default=0.4, ge=0)
    """Factor on the loss of the auxiliary head, which helps training; 0 for none."""
    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    """Factor on the loss of each class, in their order; balanced: by the roots of their pixels; null: 1."""
    hard_pixels: HardPixelSettings = field(default_factory=HardPixelSettings)
    """Hard pixels"""
    optim: OptimSettings = field(
        default_factory=lambda: OptimSettings(
            min_lr=0.0,
            betas=(0.9, 0.999),
            clip_grad=None,
            layer_decay=0.9,
            decline="linear",
        )
    )
    """Optimiser"""
    train: TrainSettings = field(default_factory=lambda: TrainSettings(batch_size=16, max_steps=160_000))
    """Length"""
    validation: ValidationSettings = field(default_factory=lambda: ValidationSettings(pictures=200))
    """Validation"""
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)
    """Early stop"""
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    """Inference on held-out scenes"""
