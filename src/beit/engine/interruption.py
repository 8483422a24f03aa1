"""Early ends of a run: divergence (a loss that is not finite, or stays far above that of guessing), and requests."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from torch import Tensor

from beit.engine.run_folder import RunFolder
from beit.errors import BeitError
from beit.files import write_json

FILE_NAME = "not_finite.json"
_HOPELESS_TIMES = 2.0  # of what guessing gives: a loss that stays above will not come back
_HOPELESS_STEPS, _HOPELESS_LOOKS = 50, 4


class Divergence:
    """Records the first step without a finite loss or gradient.

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
        write_json(path, {"step": step + 1, "pictures": pictures}, indent=1)
    raise BeitError(
        f"at step {step + 1} the loss or the norm of its gradient is not finite; lower optim.lr, lengthen the warm-up "
        f"or set optim.clip_grad. The pictures of that step are listed in {path}; earlier checkpoints are sound and in "
        f"{checkpoints}"
    )


class LossWatch:
    """Watch of a loss that stays far above what guessing gives, and above what the run began with.

    Args:
        guessing: Loss of equal probabilities for everything; None where it is not known, and nothing is watched.
    """

    def __init__(self, guessing: float | None) -> None:
        self._guessing, self._first = guessing, 0.0
        self._since: int | None = None
        self._looks = 0

    def note(self, step: int, loss: float) -> str | None:
        """Take note of the loss after `step` finished steps, first the first; return why to stop, if that is so."""
        if self._guessing is None:
            return None
        self._first = self._first or loss
        limit = _HOPELESS_TIMES * max(self._guessing, self._first)
        if loss <= limit:
            self._since, self._looks = None, 0
            return None
        self._since, self._looks = self._since or step, self._looks + 1
        if step - self._since < _HOPELESS_STEPS or self._looks < _HOPELESS_LOOKS:
            return None
        guessing, self._guessing = self._guessing, None  # it is said once
        return (
            f"the loss is {loss:.4g} after step {step}, and has been above {limit:.4g} since step {self._since}; it "
            f"began with {self._first:.4g}, and guessing gives {guessing:.4g}: the run has diverged; lower optim.lr or "
            "lengthen the warm-up, and start again in another run.output"
        )


def stop_itself(reason: str, folder: RunFolder, forced: bool, main: bool = True) -> None:
    """Stop a run that cannot learn, or say why it should not go on where it is forced to.

    Args:
        reason: Why, and the remedy.
        folder: The run folder.
        forced: Whether `run.force` is set.
        main: Whether this process writes and speaks for all.

    Raises:
        BeitError: With the reason, unless the run is forced.
    """
    if forced:
        if main:
            logging.getLogger(__name__).warning("%s", reason)
        return
    if main:
        folder.write_stopped(reason)
    raise BeitError(f"{reason}; --run.force true goes on all the same")


_GPU_STEPS = 16  # between two agreements on GPUs, whose host has to wait for the answer
_PROMISE = b"\nfinishing the step, then saving; Ctrl-C again stops at once\n"


class StopRequest:
    """Request to stop, shared by all processes of a run."""

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
        """Return whether to stop after `step` finished steps; all processes get the same answer."""
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
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not of Python's
