"""Settings of evaluation."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import Device, InferencePrecision, PictureSettings
from beit.settings.segment import LabelMapSettings, SceneUseSettings


@dataclass(frozen=True, config=STRICT)
class EvaluateJob(Settings):
    """Measure a fine-tuned model."""

    model: str
    """Fine-tuned model: a folder, a file in any layout, a hub repository or a published name (`beit models`)."""
    data: PictureSettings
    """Data"""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    precision: InferencePrecision = "auto"
    """Precision of the computation; auto takes bf16 on a GPU that supports it, else fp32."""
    batch_size: int = Field(default=64, ge=1)
    """Pictures computed together."""
    match: Literal["names", "order"] = "names"
    """Matching of the pictures' classes or labels to the model's: by name (or index, if they are numbers), or all in
    sorted order."""
    limit: int | None = Field(default=None, ge=1)
    """Measure on this many pictures only, spread evenly; null takes all."""
    crop_share: float | None = Field(default=None, gt=0, le=1)
    """Crop this share of a picture's shorter side; null: as the model's preprocessor or timm's config says, else as
    published, 0.875 below 384 pixels and 1.0 from there."""
    flips: bool | None = None
    """Average the scores of each picture and its mirror image; null: not, or with label maps as scene says."""
    label_maps: LabelMapSettings = field(default_factory=LabelMapSettings)
    """Label maps, for models that predict the class of every pixel"""
    scene: SceneUseSettings = field(default_factory=SceneUseSettings)
    """Inference on scenes; null: as the model was measured when it was trained, or as published"""
    output: str | None = None
    """Write all numbers, also per class or label, to this JSON file."""
    predictions: str | None = None
    """Write what was predicted for every picture to this CSV file."""
    report: str | None = None
    """Write an HTML report to this path."""
