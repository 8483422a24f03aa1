"""Task of training a VQ-KD tokenizer, which predicts the features of a teacher (arXiv 2208.06366, section 2.2).

Legend: B batch, C channels, N patches, T features of the teacher, h x w tokens, H x W pixels, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import ClassVar

import torch
from torch import Tensor, nn

from beit.data import ImageSource
from beit.engine.run import run
from beit.engine.run_folder import RunFolder
from beit.geometry import Grid
from beit.settings.channels import band_options, check_channels, check_range
from beit.settings.tokenizer import DistillJob, QuantiserSettings
from beit.tasks.tokenizer.task import CodebookWatch, TokenizerTask
from beit.tokenizer import VQKD, VQKDConfig, distillation_loss
from beit.tokenizer.base import check_side
from beit.tokenizer.loading import tensors_fingerprint
from beit.tokenizer.teacher import BeitTeacher, Teacher, feature_size


class DistillationLoss(nn.Module):
    """1 - cosine similarity of predicted and true features, and the commitment of features to codes (equation 4)."""

    def __init__(self, model: VQKD, teacher: Teacher, settings: QuantiserSettings, parts: int = 1) -> None:
        super().__init__()
        self.model = model
        self.codebook = CodebookWatch(model.vocab_size, settings.dead_after, parts)
        self.register_buffer("revived", torch.zeros((), dtype=torch.int64))  # since the beginning of the run
        self.revived: Tensor
        self._teacher = (teacher,)  # in a tuple: neither trained, nor saved, nor wrapped with the model
        quantiser = model.quantiser
        quantiser.decay, quantiser.commitment = settings.decay, settings.commitment
        quantiser.revive_below = settings.revive_below

    def forward(self, tensors: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return the loss and its parts."""
        pixels_BCHW = tensors["tokenizer_pixels"]
        with torch.no_grad():
            features_BNT = self._teacher[0](pixels_BCHW)
        output = self.model(pixels_BCHW)
        distillation = distillation_loss(output.predicted, features_BNT)
        usage = self.codebook(output.tokens)
        self.revived += output.revived
        return {
            "loss": distillation + output.commitment,
            "distillation": distillation.detach(),
            "commitment": output.commitment.detach(),
            "revived": self.revived.float(),
            **usage,
        }


class VQKDTask(TokenizerTask[DistillJob, DistillationLoss]):
    """Training of a VQ-KD tokenizer.

    Args:
        settings: The settings.
        teacher: See `distill_tokenizer`.

    Raises:
        ConfigError: If no tokenizer can be built from the settings.
        CheckpointError: If the teacher cannot be found or read.
    """

    title = "VQ-KD tokenizer"
    watched = "dissimilarity"
    spreads = "raise quantiser.revive_below or train on more varied pictures"
    curves: ClassVar[Mapping[str, Sequence[str]]] = {
        "Loss": ["loss", "distillation"],
        "Commitment": ["commitment"],
        "Perplexity of the codes in a step": ["perplexity"],
        "Dead and revived codes": ["dead_codes", "revived"],
        "Held-out dissimilarity": ["dissimilarity"],
        "Learning rate": ["lr"],
    }

    def __init__(self, settings: DistillJob, teacher: Teacher | None = None) -> None:
        super().__init__(settings)
        side, patch = settings.image_size, settings.model.patch_size
        check_side(side, patch)
        self._grid = Grid(side // patch, side // patch)
        # what cannot be built fails before any file is opened; the number of features follows from the teacher
        self._config = VQKDConfig(
            **asdict(settings.model), image_size=side, teacher_size=1, channels=settings.data.channels
        )
        if teacher is None:
            teacher = BeitTeacher.from_pretrained(settings.teacher, self._grid)
            check_channels(settings.data, teacher.model.config.num_channels, f"the teacher {settings.teacher}")
            check_range(band_options(settings.data), settings.teacher)
        self.teacher = self._teacher = teacher

    def start(self) -> None:
        """Refuse batches that cannot be, and a teacher that does not give one vector per token."""
        super().start()
        if isinstance(self._teacher, nn.Module):
            self._teacher.to(self.accelerator.device).eval().requires_grad_(requires_grad=False)
        side = self.settings.image_size
        size = feature_size(self._teacher, (side, side), self._grid, self.accelerator.device, self._config.channels)
        self._config = VQKDConfig(**{**asdict(self._config), "teacher_size": size})

    def build(self) -> DistillationLoss:
        """Return the loss over a tokenizer with random weights."""
        settings = self.settings
        return DistillationLoss(VQKD(self._config), self._teacher, settings.quantiser, settings.train.accumulate)

    def held_out(self, source: ImageSource) -> float:
        """Return 1 - the mean cosine similarity of predicted and true features."""
        return 1 - self.measure(self.model, source).numbers["similarity"]

    def identity(self) -> dict[str, str]:
        """Return the teacher's fingerprint, if it is a module, without a random head that its checkpoint lacks."""
        if not isinstance(self._teacher, nn.Module):
            return {}
        report = self._teacher.model.load_report if isinstance(self._teacher, BeitTeacher) else None
        new = {f"model.{name}" for name in report.new} if report is not None else set[str]()
        tensors = {name: tensor for name, tensor in self._teacher.state_dict().items() if name not in new}
        return {"teacher": tensors_fingerprint(tensors)}


def distill_tokenizer(job: DistillJob, teacher: Teacher | None = None) -> RunFolder:
    """Train a VQ-KD tokenizer and leave model, metrics and report in the run folder, which is returned.

    Args:
        job: The settings.
        teacher: The teacher to learn from; it is not loaded then, and `job.teacher` only names it in the recipe. Called
            with pixels (B, C, H, W) in [0, 1] of `job.image_size`, it returns features (B, N, T), row-major, one vector
            per token.

    Raises:
        ConfigError: If the settings do not fit together, or the teacher does not give one vector per token.
        DataError: If there are no pictures, or too many are broken.
    """
    return run(VQKDTask, job, teacher=teacher)
