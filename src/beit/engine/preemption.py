"""A cluster wants its machine back, or a person presses Ctrl-C: the run saves what it has before it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import torch
from accelerate import Accelerator

_GPU_STEPS = 16  # between two agreements on GPUs, whose host has to wait for the answer
_PROMISE = b"\nfinishing the step, then saving; Ctrl-C again stops at once\n"


class StopRequest:
    """Whether any process of the run has been asked to stop."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._run = os.getpid()
        self._received = False
        self.interrupted = False  # by a person at this process

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; the step that is running is finished first.

        A process that the run has just forked, and that has not chosen yet what to listen to, ends at SIGTERM: the run
        may wait for it.

        Raises:
            KeyboardInterrupt: At the second Ctrl-C.
        """
        if os.getpid() != self._run and number == signal.SIGTERM:
            os._exit(0)
        self._received = True
        if number != signal.SIGINT:
            return
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        if self._accelerator.is_main_process:
            os.write(2, _PROMISE)  # not print: the signal may have come in the middle of one

    def agreed(self, step: int) -> bool:
        """Tell whether to stop after `step` finished steps; all processes get the same answer."""
        if self._accelerator.num_processes == 1:
            return self._received
        if self._accelerator.device.type == "cuda" and step % _GPU_STEPS:
            return False
        asked = torch.tensor(float(self._received), device=self._accelerator.device)
        return bool(self._accelerator.reduce(asked, "sum") > 0)  # pyright: ignore[reportOperatorIssue]


@contextmanager
def stop_on_request(accelerator: Accelerator) -> Generator[StopRequest]:
    """Catch SIGTERM and Ctrl-C inside; only the main thread of a program may, elsewhere nothing is caught."""
    request = StopRequest(accelerator)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
