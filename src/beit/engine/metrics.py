"""Numbers of a run: JSON lines and TensorBoard events."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from beit.engine.run_folder import RunFolder
from beit.errors import StorageError
from beit.files import atomic_file

Line = dict[str, Any]


class MetricsLog:
    """Appends to `metrics.jsonl` and `tensorboard/`.

    Args:
        folder: The run folder.
        step: Finished steps; later lines are those of a killed run, and dropped.
        active: False on all processes but one, which write nothing.
        concluding: Whether the conclusion of the run, which counts its pictures, is about to be written, maybe again.
    """

    def __init__(self, folder: RunFolder, step: int, active: bool = True, concluding: bool = False) -> None:
        self._path, self._active = folder.metrics, active
        if active:
            _rewind(self._path, step, concluding)
            self._events = SummaryWriter(str(folder.tensorboard), purge_step=step + 1)

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Append one line: {"step": ..., "split": "train" or "val", ...}.

        Raises:
            StorageError: If the disk is full; no partial line is left.
        """
        if not self._active:
            return
        line = json.dumps({"step": step, "split": split, **values}) + "\n"
        size = self._path.stat().st_size if self._path.exists() else 0
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            if self._path.exists():
                os.truncate(self._path, size)
            raise StorageError(
                f"cannot write {self._path}: {error.strerror}; free space and continue the run"
            ) from error
        for name, value in values.items():
            self._events.add_scalar(f"{split}/{name}", value, step)

    def write_picture(self, step: int, name: str, picture: Image.Image) -> None:
        """Show a picture in TensorBoard."""
        if self._active:
            self._events.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Write out what TensorBoard has buffered."""
        if self._active:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: Path) -> list[Line]:
    """Return the lines of a metrics file; a line that a killed process left unfinished is skipped."""
    if not path.exists():
        return []
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def _rewind(path: Path, step: int, concluding: bool) -> None:
    """Drop the lines after `step`, and an earlier conclusion."""
    if path.exists():
        kept = [
            line
            for line in read_metrics(path)
            if line["step"] <= step and not (concluding and line["split"] == "val" and "pictures" in line)
        ]
        with atomic_file(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
