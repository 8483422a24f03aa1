"""The contract of hooks: observers of a run, such as an early stop or a gallery."""

from __future__ import annotations

from beit.engine.metrics import MetricsLog


class Hook:
    """An observer of a run; the loop calls it on all processes, and the task's model has the weights of now."""

    @property
    def stops(self) -> bool:
        """Whether the run should end now."""
        return False

    def begin(self, step: int) -> None:
        """Get ready, after `step` finished steps."""

    def due(self, step: int, last: bool) -> bool:
        """Return whether to look after `step` finished steps."""
        return False

    def look(self, step: int, metrics: MetricsLog) -> None:
        """Look at the model; it may be left in evaluation mode."""

    def end(self) -> None:
        """Finish, after the last step; the task's model has the last weights."""
