"""Metrics of a run: JSON lines, TensorBoard events, and the progress line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from beit.engine.run_folder import RunFolder
from beit.engine.trackers import Trackers
from beit.errors import StorageError, printable
from beit.files import AppendedFile, storage_error, strict_json, write_text

Line = dict[str, Any]
_REMEDY = "free space and continue the run"


class MetricsLog:
    """Appends to `metrics.jsonl` and `tensorboard/`, and gives the numbers to trackers of experiments.

    Args:
        folder: The run folder.
        step: Finished steps; later lines are those of a killed run, and dropped.
        active: False on all processes but one, which write nothing.
        concluding: Whether the conclusion of the run, which counts its pictures, is about to be written, maybe again.
        events: Whether TensorBoard gets the numbers.
        trackers: What else does.
    """

    def __init__(
        self,
        folder: RunFolder,
        step: int,
        active: bool = True,
        concluding: bool = False,
        events: bool = True,
        trackers: Trackers | None = None,
    ) -> None:
        self._path, self._folder, self._active = folder.metrics, folder, active
        self._trackers = trackers or Trackers()
        self._events: SummaryWriter | None = None
        if active:
            _rewind(self._path, step, concluding)
            if events:
                self._open_events(step)

    def _open_events(self, step: int) -> None:
        """Begin a file of TensorBoard's, whose thread writes its head at once.

        Raises:
            StorageError: If the disk is full.
        """
        self._excepthook, threading.excepthook = threading.excepthook, self._leave_to_the_later_call
        try:
            with self._explained():
                self._events = SummaryWriter(str(self._folder.tensorboard), purge_step=step + 1 if step else 0)
        except StorageError:
            threading.excepthook = self._excepthook
            raise

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Append one line: {"step": ..., "split": "train" or "val", ...}.

        Raises:
            StorageError: If the disk is full, or the run folder gone; no partial line is left.
        """
        if not self._active:
            return
        self._folder.check_present()
        line = json.dumps({"step": step, "split": split, **values}) + "\n"
        with AppendedFile(self._path, remedy=_REMEDY) as file:
            file.append(line.encode())
        if self._events is not None:
            with self._explained():
                for name, value in values.items():
                    self._events.add_scalar(printable(f"{split}/{name}"), value, step)
        self._trackers.write(step, split, values)

    def write_picture(self, step: int, name: str, picture: Image.Image) -> None:
        """Show a picture in TensorBoard.

        Raises:
            StorageError: If the disk is full.
        """
        if self._events is not None:
            with self._explained():
                self._events.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Write out what TensorBoard has buffered.

        Raises:
            StorageError: If the disk is full.
        """
        if self._events is not None:
            try:
                with self._explained():
                    self._events.close()
            finally:
                threading.excepthook = self._excepthook

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Explain the errors of TensorBoard's writer, a thread whose errors come out of a later call."""
        try:
            yield
        except OSError as error:
            raise storage_error(self._folder.tensorboard, error, _REMEDY) from error

    def _leave_to_the_later_call(self, failed: threading.ExceptHookArgs) -> None:
        """Print no traceback for TensorBoard's thread, whose error is explained where it comes out."""
        explained_later = issubclass(failed.exc_type, OSError) and type(failed.thread).__module__.startswith(
            "tensorboard"
        )
        if not explained_later:
            self._excepthook(failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:  # else it would hide the first error
                raise


def read_metrics(path: Path) -> list[Line]:
    """Return the lines of a metrics file; what is none, as a killed process or a damaged disk leaves it, is skipped."""
    if not path.exists():
        return []
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            line = strict_json(text, finite=False)
        except (ValueError, RecursionError):
            continue
        if _is_line(line):
            lines.append(line)
    return lines


def _is_line(line: Any) -> bool:
    """Return whether a value has a step, a split, and else numbers alone."""
    if not isinstance(line, dict) or type(line.get("step")) is not int or not isinstance(line.get("split"), str):
        return False
    return all(isinstance(value, int | float) for name, value in line.items() if name != "split")


def _rewind(path: Path, step: int, concluding: bool) -> None:
    """Drop the lines after `step`, and an earlier conclusion."""
    if path.exists():
        kept = [
            line
            for line in read_metrics(path)
            if 0 < step >= line["step"] and not (concluding and line["split"] == "val" and "pictures" in line)
        ]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))


_SECONDS_BETWEEN_LINES = 10.0


class RunProgress:
    """Progress of a run's steps: a bar on a terminal, elsewhere a line every ten seconds."""

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

    def advance(self, step: int, images: int, loss: float | None, headline: str = "") -> None:
        """Show that `step` steps are finished, the last with some images; `loss` if it is known, and a result."""
        self._images += images
        self._loss = self._loss if loss is None else loss
        numbers = f"{self.images_per_second:,.{1 if self.images_per_second < 10 else 0}f} images/s"
        if self._loss is not None:
            numbers = f"loss {self._loss:.4f}  {numbers}"
        if headline:
            numbers = f"{headline}  {numbers}"
        self._bar.update(self._task, completed=step, numbers=numbers)
        if not self._console.is_terminal and self._line_is_due(step):
            self._write_line(step, numbers)

    def _line_is_due(self, step: int) -> bool:
        """Return whether a log gets a line: after the first step and the last, and in between from time to time."""
        return (
            self._last_line is None
            or step >= self._total
            or time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES
        )

    def _write_line(self, step: int, numbers: str) -> None:
        now = self._last_line = time.monotonic()
        seconds_left = (now - self._began) / max(1, step - self._first) * (self._total - step)
        line = f"{self._title}: step {step}/{self._total}  {numbers}  {duration(seconds_left)} left"
        self._console.print(line, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes, hours or days, for reading."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
