"""The gallery of a run: the same held-out pictures, shown again and again while the model learns."""

from __future__ import annotations

from typing import Any

from beit.engine.hooks import Hook
from beit.engine.metrics import MetricsLog
from beit.engine.run_folder import RunFolder
from beit.engine.task import Task
from beit.reports.gallery import Gallery


class GalleryHook(Hook):
    """Adds a row to the gallery every so many steps, on one process for all.

    Args:
        task: A task with a scene.
        folder: The run folder.
        every: Steps between two rows.
    """

    def __init__(self, task: Task[Any, Any], folder: RunFolder, every: int) -> None:
        self._every, self._main = every, task.accelerator.is_main_process
        self.gallery = Gallery(folder.pictures, task.scene)

    def begin(self, step: int) -> None:
        """Draw what never changes, and drop the rows of a stopped run after `step`."""
        if self._main:
            self.gallery.begin(step)

    def due(self, step: int, last: bool) -> bool:
        """Return whether there is a row after `step` finished steps; the last step always has one."""
        return last or step % self._every == 0

    def look(self, step: int, metrics: MetricsLog) -> None:
        """Draw and keep a row."""
        if self._main:
            metrics.write_picture(step, "reconstructions", self.gallery.add(step))
