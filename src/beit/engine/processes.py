"""Processes of a run: device and precision, agreement on what is run, and an end of all when one fails."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, is_initialized
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object

from beit.data import ImageSource, list_shards
from beit.engine.failure_detection import Outcome, Peers
from beit.engine.run_folder import RunFolder, saved_steps
from beit.engine.surroundings import own_surroundings
from beit.errors import BeitError, ConfigError, DataError, RunPaused
from beit.image.cpus import cpu_share
from beit.models_torch.device import Precision, pick_device, pick_training_precision
from beit.settings.groups import RunSettings


class _Run:
    """The run that this process takes part in."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder, self.thread = folder, threading.get_ident()
        self.peers: Peers | None = None

    def describe(self, outcome: Outcome) -> str:
        """Return the message about a process that ended the run."""
        world = self.peers.world if self.peers is not None else os.environ["WORLD_SIZE"]
        if not outcome.lost:
            return f"process {outcome.process} of {world} ended the run: {outcome.error}"
        found = saved_steps(self._folder.checkpoints)
        kept = f"checkpoints are sound, the newest is {found[-1]}" if found else "there is no checkpoint yet"
        return (
            f"process {outcome.process} of {world} was lost; {kept}. The same command continues the run, also with "
            "another number of processes"
        )


_current: list[_Run] = []


def join(accelerator: Accelerator, detects: bool | Literal["auto"] = "auto") -> None:
    """Listen to the other processes of the run, if there are any and `run.failure_detection` is on."""
    if not _current or _current[0].peers is not None or accelerator.num_processes == 1:
        return
    if detects == "auto":
        detects = len(set(gather_object([socket.gethostname()]))) == 1
    if detects:
        _current[0].peers = Peers(accelerator, _current[0].describe)


@contextmanager
def one_run(output: str) -> Generator[None]:
    """Join all processes into one run in the folder `output` for the block; a run inside the block is part of it.

    Raises:
        ConfigError: If another thread trains: both would draw from the same random stream.
    """
    if _is_part():
        yield
        return
    run = _Run(RunFolder(output))
    _current.append(run)
    try:
        with own_surroundings():
            yield
    except BaseException as error:
        if run.peers is None:
            raise
        _ignore_sigterm()  # a launcher that stops the others must not keep the reason from being printed
        failed = not isinstance(error, BeitError | RunPaused) and isinstance(error, Exception)
        if failed and (reason := run.peers.failure()):  # what failed here failed because of another process
            run.peers.leave(reason)
            raise BeitError(reason) from None
        run.peers.leave(None if isinstance(error, RunPaused) else str(error) or type(error).__name__)
        raise
    else:
        if run.peers is not None:
            run.peers.leave()
    finally:
        _current.clear()


def _is_part() -> bool:
    """Return whether a run that begins now is part of another one.

    Raises:
        ConfigError: If a run of another thread is at work.
    """
    if _current and _current[0].thread != threading.get_ident():
        raise ConfigError(
            "another thread of this program trains already, and both would draw from the same random stream; train "
            "after it, or in a process of its own"
        )
    return bool(_current)


def _ignore_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


_ACCELERATE: dict[Precision, str] = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # as accelerate calls them


def precision_of(accelerator: Accelerator | AcceleratorState) -> Precision:
    """Return the precision that a run computes in."""
    return next(name for name, theirs in _ACCELERATE.items() if theirs == accelerator.mixed_precision)


_LONGEST_WAIT = timedelta(hours=2)  # the others wait while the first process measures


def make_accelerator(run: RunSettings, width: int | None) -> Accelerator:
    """Return the accelerator for a run; `torchrun` or `accelerate launch` decide the number of processes.

    Args:
        run: The settings.
        width: Of the model's hidden layers, for the precision "auto" on a CPU; None: fp32.

    Raises:
        ConfigError: If a GPU or precision is asked for that is not there, or processes cannot reach each other.
    """
    device = pick_device(run.device)
    on_cpu, precision = device.type == "cpu", pick_training_precision(run.precision, device, width)
    patience = InitProcessGroupKwargs(timeout=_LONGEST_WAIT)
    made = partial(Accelerator, cpu=on_cpu, mixed_precision=_ACCELERATE[precision], kwargs_handlers=[patience])
    try:
        accelerator = made()
    except ValueError as error:  # accelerate keeps one state, of which the run that this one is part of had another
        if not is_initialized() or AcceleratorState().num_processes > 1:
            raise ConfigError(f"run.device and run.precision cannot change within one process ({error})") from None
        AcceleratorState._reset_state(reset_partial_state=True)  # pyright: ignore[reportPrivateUsage]
        accelerator = made()
    if accelerator.device.type != device.type:  # processes that have found each other keep to what they met on
        raise ConfigError(
            f"run.device is {run.device}, which is {device.type} here, and an earlier run of these processes had "
            f"{accelerator.device.type}; start them anew for another device"
        )
    expected = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != expected:  # accelerate then lets every process train alone, silently
        raise ConfigError(f"started as one of {expected} processes but {accelerator.num_processes} found each other")
    join(accelerator, run.failure_detection)
    torch.set_num_threads(min(torch.get_num_threads(), cpu_share()))  # several processes would fight for the CPUs
    return accelerator


Found = TypeVar("Found")


def found_by_first(accelerator: Accelerator, find: Callable[[], Found]) -> Found:
    """Return what the first process finds, which reads for all; the others wait for it.

    Raises:
        BeitError: What the first process cannot find it for, in all of them.
    """
    if accelerator.num_processes == 1:
        return find()
    answer: list[Any] = [None, None]  # what was found, and the reason why nothing was
    if accelerator.is_main_process:
        try:
            answer[0] = find()
        except BeitError as error:  # the others would wait
            answer[1] = error
    broadcast_object_list(answer)
    found, reason = answer
    if reason is not None:
        raise reason
    return found


def note_shards(accelerator: Accelerator, listing: Path, *sources: ImageSource) -> None:
    """List the unreadable shards of a run, once it is sure that all its processes mean the same pictures.

    Raises:
        DataError: If a process can read other shards than the first.
    """
    if accelerator.num_processes > 1:
        found = gather_object([[_seen(source) for source in sources]])
        strange = next((rank for rank, seen in enumerate(found) if seen != found[0]), None)
        if strange is not None:
            counts = [[one["pictures"] for one in found[rank]] for rank in (strange, 0)]
            same = " in other shards" if counts[0] == counts[1] else ""
            raise DataError(
                f"process {strange} finds {counts[0]} pictures and process 0 {counts[1]}{same}, so they would not "
                "share the same batches; make all files readable on every machine"
            )
    if accelerator.is_main_process:
        list_shards(listing, *sources)


def _seen(source: ImageSource) -> dict[str, object]:
    """Return the values that have to be equal on all processes that open a collection."""
    sizes, broken = source.shard_sizes, source.broken_shards
    return {
        "pictures": len(source),
        "shards": [int(size) for size in sizes] if sizes is not None else None,
        "broken": [shard.name for shard in broken],
    }
