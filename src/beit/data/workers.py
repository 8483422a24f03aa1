"""Worker processes that load pictures, and the signals that they listen to."""

from __future__ import annotations

import os
import signal
import threading


def leave_the_end_to_the_run(worker: int) -> None:
    """Ignore, in a worker, the signals that ask a run to stop; a `worker_init_fn` of torch's loader.

    A terminal and many schedulers send them to every process of a job. The run still needs this worker to finish its
    step; a worker ends when the run tells it to, and by itself a few seconds after the run is gone. SIGTERM is how the
    run tells it, so who sent it decides. Where a system does not name the sender (macOS, Windows), it ends a worker.

    Args:
        worker: Number of the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # threads started from here on block it too
        threading.Thread(target=_end_when_told_by, args=(os.getppid(),), daemon=True).start()


def _end_when_told_by(run: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
        pass
    os._exit(0)
