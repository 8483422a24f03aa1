"""A cluster that wants its machine back sends SIGTERM; the run saves what it has and says that it can continue."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import torch
from accelerate import Accelerator

_GPU_STEPS = 16  # between two agreements on GPUs, whose host has to wait for the answer


class StopRequest:
    """Whether any process of the run has been asked to stop."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._received = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; the step that is running is finished first."""
        self._received = True

    def agreed(self, step: int) -> bool:
        """Tell whether to stop after `step` finished steps; all processes get the same answer."""
        if self._accelerator.num_processes == 1:
            return self._received
        if self._accelerator.device.type == "cuda" and step % _GPU_STEPS:
            return False
        asked = torch.tensor(float(self._received), device=self._accelerator.device)
        return bool(self._accelerator.reduce(asked, "sum") > 0)  # pyright: ignore[reportOperatorIssue]


@contextmanager
def stop_on_sigterm(accelerator: Accelerator) -> Generator[StopRequest]:
    """Catch SIGTERM inside; only the main thread of a program may, elsewhere nothing is caught."""
    request = StopRequest(accelerator)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
