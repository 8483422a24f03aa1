"""Common part of the tokenizer trainings: views, use of the codebook and its collapse, measurement, report.

Legend: V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, distributed, nn

from beit.data import ImageSource, Views
from beit.engine.schedule import Rate, check_batches
from beit.engine.task import M, Measured, Task
from beit.errors import ConfigError
from beit.evaluation.tokenizer.drawings import numbers_section, reconstruction_section
from beit.evaluation.tokenizer.quality import measure_tokenizer, tokenizer_views
from beit.reports.report import Section
from beit.settings.inputs import augmentation
from beit.settings.tokenizer import DistillJob, TokenizerJob
from beit.tokenizer import TokenEncoder, Tokenizer
from beit.tokenizer.encoding import count_tokens, least_perplexity
from beit.tokenizer.teacher import Teacher

_WARM_UP = 0.25  # share of the run in which codes may gather, and part again as the loss changes
_STEPS, _LOOKS = 100, 4  # for which, and at which, a codebook looks collapsed before a run stops


class CodebookWatch(nn.Module):
    """Counter of the calls since each code was last used; part of the checkpoint, so that it survives a kill.

    Args:
        vocab_size: Codebook size V.
        dead_after: Steps without a single use, over all processes, after which a code counts as dead.
        parts: Calls in a step: the parts of its batch.
    """

    def __init__(self, vocab_size: int, dead_after: int, parts: int = 1) -> None:
        super().__init__()
        self._dead_after = dead_after * parts
        self.register_buffer("unused_steps", torch.zeros(vocab_size, dtype=torch.int64))
        self.unused_steps: Tensor

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Take note of tokens; return their frequencies (V,), as which `perplexity` is given, and `dead_codes`."""
        counts_V = count_tokens(tokens, len(self.unused_steps))
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts_V)
        if self.training:
            self.unused_steps.add_(1).masked_fill_(counts_V > 0, 0)
        dead = (self.unused_steps >= self._dead_after).sum()
        return {"perplexity": counts_V / counts_V.sum(), "dead_codes": dead.float()}


Job = TypeVar("Job", TokenizerJob, DistillJob)


class TokenizerTask(Task[Job, M]):
    """Task whose trained model is a tokenizer.

    Attributes:
        measured_with: Words of the report on how its numbers were measured.
        spreads: Settings that spread the tokens over the codebook, for a training whose codebook has collapsed.
        teacher: For VQ-KD, the teacher whose features are predicted.
    """

    measured_with: ClassVar[str] = ""
    spreads: ClassVar[str] = ""
    teacher: Teacher | None = None

    def start(self) -> None:
        """Refuse a layer-wise decay, which tokenizers have not, and batches that cannot be."""
        if self.settings.optim.layer_decay != 1:
            raise ConfigError(
                f"optim.layer_decay is {self.settings.optim.layer_decay}; tokenizers have none: leave it out"
            )
        check_batches(self.schedule.pictures, {"train.batch_size": self.settings.train.batch_size})
        super().start()

    def rate(self) -> Rate:
        """Refuse to choose: the rate of a tokenizer goes with its loss and codebook, and no rule is known.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("optim.lr is auto, and there is no rule for tokenizers; set a number, such as 1e-3")

    def views(self) -> Views:
        """Return the random views of the tokenizer's input."""
        settings, channels = self.settings, self.settings.data.channels
        plain = tokenizer_views(settings.image_size, channels)  # by their number the device of the model knows colours
        return replace(plain, augmentation=augmentation(settings.augment, channels))

    def measure(self, model: nn.Module, source: ImageSource) -> Measured:
        """Measure a copy of the tokenizer, which goes on learning meanwhile."""
        tokenizer: Any = deepcopy(model)
        encoder = TokenEncoder(tokenizer, self.accelerator.device, precision="fp32")
        side, train, workers = self.settings.image_size, self.settings.train, self.workers
        quality, broken = measure_tokenizer(encoder, source, side, train.batch_size, workers, self.teacher)
        numbers = quality.numbers()

        def sections() -> Sequence[Section]:
            return [
                numbers_section("Held-out pictures", self.measured_with, numbers),
                reconstruction_section(encoder, source, side),
            ]

        return Measured(numbers, broken, lambda: list(sections()))

    def hopeless(self, step: int, numbers: Mapping[str, float]) -> str | None:
        """Return the reason to stop where the codebook has collapsed."""
        return self._collapse.note(step, numbers["perplexity"])

    @cached_property
    def _collapse(self) -> CollapseWatch:
        model: Any = self.model
        return CollapseWatch(least_perplexity(model.vocab_size), self.schedule.steps, f"lower optim.lr, {self.spreads}")

    def load(self, folder: Path) -> None:
        """Fill the tokenizer from a folder."""
        model: Any = self.model
        kind: type[Tokenizer] = type(model)
        model.load_state_dict(kind.from_pretrained(folder).state_dict())


class CollapseWatch:
    """Watch of the perplexity of the codes in a step, from a quarter of the run on.

    Args:
        least: Perplexity below which there is next to nothing to predict.
        steps: Steps of the run.
        remedy: What to change, for the reason.
    """

    def __init__(self, least: float, steps: int, remedy: str) -> None:
        self._least, self._begins, self._remedy = least, _WARM_UP * steps, remedy
        self._since: int | None = None
        self._looks = 0
        self._said = False

    def note(self, step: int, perplexity: float) -> str | None:
        """Take note of the perplexity after `step` finished steps; return why to stop, once, if that is so."""
        if self._said or step < self._begins or perplexity >= self._least:
            self._since, self._looks = None, 0
            return None
        self._since, self._looks = self._since or step, self._looks + 1
        if step - self._since < _STEPS or self._looks < _LOOKS:
            return None
        self._said = True
        return (
            f"the codes of a step have a perplexity of {perplexity:.2f} after step {step}, and have been below "
            f"{self._least:.2f} since step {self._since}: nearly every patch gets the same one, so the codebook has "
            f"collapsed; {self._remedy}, and start again in another run.output"
        )
