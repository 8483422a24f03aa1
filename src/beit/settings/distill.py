"""Settings of a distillation: a small classifier that learns from a trained one."""

from __future__ import annotations

from dataclasses import field, fields, replace
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import RunSettings


@dataclass(frozen=True, config=STRICT)
class TeacherSettings(Settings):
    """Classifier to learn from, and what of it."""

    path: str
    """Trained classifier: a folder, file or published name. Its classes are those of the pictures, in any order."""
    logits: float = Field(default=1.0, ge=0)
    """Weight of the divergence from the teacher's probabilities (arXiv 1503.02531); that of the labels is 1."""
    temperature: float = Field(default=2.0, gt=0)
    """Both distributions are softened by it."""
    features: float = Field(default=0.0, ge=0)
    """Weight of the squared error between the similarities of all pairs of patches (arXiv 1907.09682), last layer."""
    attention: float = Field(default=0.0, ge=0)
    """Weight of the divergence between the last layers' attention (arXiv 2002.10957), mean over the heads."""


@dataclass(frozen=True, config=STRICT)
class StudentJob(FinetuneJob):
    """Train a small BEiT to classify pictures as a trained one does."""

    teacher: TeacherSettings = field(kw_only=True)
    """Teacher"""
    run: RunSettings = field(default_factory=lambda: RunSettings(output="runs/distill"))
    """Run"""

    def without_teacher(self) -> FinetuneJob:
        """Return the training of the same student by the labels alone, in a run folder beside its own."""
        shared: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(FinetuneJob)}
        shared["run"] = replace(self.run, output=f"{self.run.output}_without_teacher")
        return FinetuneJob(**shared)
