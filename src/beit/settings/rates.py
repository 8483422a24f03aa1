"""Learning rates that `optim.lr: auto` stands for: the published ones, and one rule for other batches.

The rule is the square root: a quarter of the pictures takes half of the rate. So the authors lower theirs (1.5e-3 at
2,048 pictures, half of it at 512: github.com/microsoft/unilm/issues/383), and so the noise of Adam's updates stays what
it was (Malladi et al. 2022, arXiv 2205.10287).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True)
class Rate:
    """A peak learning rate that is known to learn.

    Attributes:
        lr: The rate.
        batch_size: Pictures per step that it is for; None: any, where no rule is known.
        source: What it was published or measured for.
    """

    lr: float
    batch_size: int | None
    source: str

    def at(self, batch_size: int) -> float:
        """Return the rate for a number of pictures per step, to three digits."""
        factor = 1.0 if self.batch_size is None else sqrt(batch_size / self.batch_size)
        return float(f"{self.lr * factor:.3g}")

    def reason(self, batch_size: int) -> str:
        """Return the way from the source to the rate for a number of pictures per step."""
        if self.batch_size is None:
            return f"that of {self.source}"
        known = f"{self.lr:g} at {self.batch_size:,} pictures per step, that of {self.source}"
        return known if batch_size == self.batch_size else f"by the square root of the batch from {known}"


PRETRAINING = Rate(1.5e-3, 2048, "the published pre-training")
PRETRAINING_MUON = Rate(6e-3, None, "recipes/pretrain_cifar10_nano.yaml, measured with Muon")
FINETUNING = Rate(4e-3, 1024, "the published fine-tuning after self-supervised pre-training, base model")
FINETUNING_LARGE = Rate(1e-3, 1024, "the published fine-tuning after self-supervised pre-training, large model")
FINETUNED_BEFORE = Rate(2e-5, 512, "the published fine-tuning of a model that was fine-tuned before")
PROBE = Rate(4e-3, 1024, "the published linear probe")
SCRATCH = Rate(1e-3, 1024, "published trainings from random weights (DeiT)")
SEGMENTATION = Rate(1e-3, 16, "the published segmentation after self-supervised pre-training")
SEGMENTATION_FINETUNED_BEFORE = Rate(3e-5, 16, "the published segmentation of a model that was fine-tuned before")
