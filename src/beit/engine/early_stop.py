"""Whether a run still gains, told from the measurements in its metrics, so that a continued run decides alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite

from beit.engine.metrics import Line
from beit.settings.groups import EarlyStopSettings


@dataclass
class EarlyStop:
    """Measures every so many steps and counts the measurements without a gain.

    Attributes:
        settings: How often, and for how long without a gain.
        name: What is measured; less is better.
        measure: Measures it on held-out pictures.
        best_step: Finished steps at the best measurement so far.
    """

    settings: EarlyStopSettings
    name: str
    measure: Callable[[], float]
    best_step: int | None = field(default=None, init=False)
    _best: float = field(default=float("inf"), init=False)
    _without_gain: int = field(default=0, init=False)

    @property
    def active(self) -> bool:
        """Whether it measures at all."""
        return self.settings.measure or self.settings.patience is not None

    @property
    def keeps_best(self) -> bool:
        """Whether the run ends with the model that measured best rather than with the last."""
        return self.settings.patience is not None and self.best_step is not None

    @property
    def reached(self) -> bool:
        """Whether the run should stop."""
        return self.settings.patience is not None and self._without_gain >= self.settings.patience

    def due(self, step: int, last: bool = False) -> bool:
        """Tell whether to measure after `step` finished steps; the last step always is."""
        return self.active and (last or (step % self.settings.every == 0 and step > self.settings.after))

    def recall(self, lines: Sequence[Line]) -> None:
        """Take note of the measurements of an earlier part of the run, which know nothing but their value."""
        for line in lines:
            if line["split"] == "val" and line.keys() == {"step", "split", self.name}:
                self.note(line["step"], line[self.name])

    def note(self, step: int, value: float) -> bool:
        """Take note of a measurement and return whether it is a gain; what is not finite never is."""
        gain = value < self._best - self.settings.min_gain * abs(self._best) if self._best < float("inf") else True
        if gain and isfinite(value):
            self._best, self._without_gain, self.best_step = value, 0, step
            return True
        self._without_gain += 1
        return False
