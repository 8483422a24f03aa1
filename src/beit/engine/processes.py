"""A job as one run of many processes: what ends one of them ends all, and all say why."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

from accelerate import Accelerator

from beit.engine.failure_detection import News, Peers
from beit.engine.run_folder import RunFolder
from beit.errors import BeitError, RunPaused


class _Run:
    """The run that this process takes part in."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.peers: Peers | None = None

    def describe(self, news: News) -> str:
        """Return what a person has to know of a process that ended the run."""
        world = self.peers.world if self.peers is not None else os.environ["WORLD_SIZE"]
        if not news.lost:
            return f"process {news.process} of {world} ended the run: {news.error}"
        found = sorted(self._folder.checkpoints.glob("step_*"))
        kept = f"checkpoints are sound, the newest is {found[-1]}" if found else "there is no checkpoint yet"
        return (
            f"process {news.process} of {world} was lost; {kept}. The same command continues the run, also with "
            "another number of processes"
        )


_current: list[_Run] = []


def join(accelerator: Accelerator) -> None:
    """Listen to the other processes of the run, if there are any."""
    if _current and _current[0].peers is None and accelerator.num_processes > 1:
        _current[0].peers = Peers(accelerator, _current[0].describe)


@contextmanager
def one_run(output: str) -> Generator[None]:
    """Make what is inside one run of all processes, in the folder `output`; a run inside it is part of the same."""
    if _current:
        yield
        return
    run = _Run(RunFolder(output))
    _current.append(run)
    try:
        yield
    except BaseException as error:
        if run.peers is None:
            raise
        _ignore_sigterm()  # a launcher that stops the others must not stop the reason from being told
        failed = not isinstance(error, BeitError | RunPaused) and isinstance(error, Exception)
        if failed and (reason := run.peers.bad_news()):  # what failed here failed because of another process
            run.peers.leave(reason)
            raise BeitError(reason) from None
        run.peers.leave(None if isinstance(error, RunPaused) else str(error) or type(error).__name__)
        raise
    else:
        if run.peers is not None:
            run.peers.leave()
    finally:
        _current.clear()


def _ignore_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
