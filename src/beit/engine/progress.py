"""What a person sees while a run works: a bar with images per second and time left, or lines in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


class RunProgress:
    """Shows a run's steps; on a terminal as a bar, elsewhere as a line every ten seconds."""

    def __init__(self, title: str, start: int, total: int, visible: bool = True) -> None:
        self._console = Console(quiet=not visible)
        self._title, self._first, self._total = title, start, total
        self._began = time.monotonic()
        self._last_line: float | None = None
        self._images = 0
        self._loss: float | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TextColumn("time left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (visible and self._console.is_terminal),
        )
        self._task = self._bar.add_task(title, completed=start, total=total, numbers="")

    @property
    def images_per_second(self) -> float:
        """Pictures per second since the start."""
        return self._images / max(time.monotonic() - self._began, 1e-9)

    def advance(self, step: int, images: int, loss: float | None) -> None:
        """Show that `step` steps are finished, the last with some images; `loss` if it is known."""
        self._images += images
        self._loss = self._loss if loss is None else loss
        numbers = f"{self.images_per_second:,.{1 if self.images_per_second < 10 else 0}f} images/s"
        if self._loss is not None:
            numbers = f"loss {self._loss:.4f}  {numbers}"
        self._bar.update(self._task, completed=step, numbers=numbers)
        if not self._console.is_terminal and self._line_is_due(step):
            self._write_line(step, numbers)

    def _line_is_due(self, step: int) -> bool:
        """Tell whether a log gets a line: after the first step and the last, and in between from time to time."""
        return (
            self._last_line is None
            or step >= self._total
            or time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES
        )

    def _write_line(self, step: int, numbers: str) -> None:
        now = self._last_line = time.monotonic()
        seconds_left = (now - self._began) / max(1, step - self._first) * (self._total - step)
        line = f"{self._title}: step {step}/{self._total}  {numbers}  {seconds_left:,.0f} s left"
        self._console.print(line, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
