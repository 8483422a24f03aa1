"""A run whose loss is no longer finite stops, and tells which pictures it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from beit.errors import BeitError
from beit.files import atomic_file

FILE_NAME = "not_finite.json"


class Divergence:
    """Remembers the first step without a finite loss or gradient.

    It is kept on the device: to look at every step would make the host wait for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._first = torch.full((), -1, device=device)

    def note(self, step: int, *values: Tensor) -> None:
        """Take note of the scalars of a step."""
        finite = torch.stack([torch.isfinite(value.detach()).to(self._first.device) for value in values]).all()
        self._first = torch.where(~finite & (self._first < 0), step, self._first)

    @property
    def step(self) -> int | None:
        """The first such step, counted from 0; None as long as there is none. Waits for the device."""
        first = int(self._first)
        return first if first >= 0 else None


def stop_diverged(
    step: int, pictures: Sequence[dict[str, Any]], run: Path, checkpoints: Path, writes: bool
) -> NoReturn:
    """Store the pictures of the step that diverged, and stop.

    Args:
        step: The step, counted from 0.
        pictures: Epoch, index and name of each of its pictures.
        run: The run folder.
        checkpoints: Where its checkpoints are.
        writes: Whether this process writes for all.

    Raises:
        BeitError: Always.
    """
    path = run / FILE_NAME
    if writes:
        with atomic_file(path) as temporary:
            temporary.write_text(
                json.dumps({"step": step + 1, "pictures": pictures}, indent=1) + "\n", encoding="utf-8"
            )
    raise BeitError(
        f"at step {step + 1} the loss or the norm of its gradient is not finite; lower optim.lr, lengthen the warm-up "
        f"or set optim.clip_grad. The pictures of that step are listed in {path}; earlier checkpoints are sound and in "
        f"{checkpoints}"
    )
