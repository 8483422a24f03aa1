"""Batches of a run: samples stacked and masked, loaded by worker processes, their shards prefetched.

Legend: B batch, C channels, H x W pixels, N patches.
"""

from __future__ import annotations

import multiprocessing.queues
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from beit.data.broken import BrokenPicture, require_usable
from beit.data.dataset import Sample, ViewDataset
from beit.data.sampler import Position, Purpose, generator
from beit.data.sources.source import ImageSource
from beit.errors import BeitError, DataError, printable
from beit.geometry import MaskPlan
from beit.image.cpus import cpu_share

MOST_WORKERS = 16  # beyond it memory grows, and hardly the speed


@dataclass
class Batch:
    """Samples, stacked.

    Attributes:
        tensors: pixel_values (B, C, H, W), and what the job asked for of tokenizer_pixels (B, C, h, w),
            visual_tokens (B, rows, columns), bool_masked_pos (B, N) and labels (B,) or (B, K).
        indices: Numbers of the pictures in their source.
        broken: Broken pictures met.
        lacking: Number of pictures that are asked for and not there, because no other one could take their place.
    """

    tensors: dict[str, Tensor]
    indices: list[int]
    broken: list[BrokenPicture] = field(default_factory=list[BrokenPicture])
    lacking: int = 0

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on a device."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()}
        return replace(self, tensors=moved)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which alone a copy to a GPU goes on beside the computing.

        torch's loader asks for it by this name, and hands out a batch without it as it is.
        """
        pinned = {name: tensor.pin_memory() for name, tensor in self.tensors.items()}
        return replace(self, tensors=pinned)


def require_whole(batch: Batch) -> None:
    """Refuse to train on a batch that has become smaller: a part of it would count for the whole.

    Raises:
        DataError: If it has.
    """
    require_usable(len(batch.indices), len(batch.broken), batch.broken)
    if batch.lacking:
        total = len(batch.indices) + batch.lacking
        raise DataError(
            f"{batch.lacking} of the {total} pictures of a batch cannot be used, nor can others take their place; "
            f"first: {batch.broken[0].reason}. Put them back or repair them, and the same command continues"
        )


class Collate:
    """Stack samples; draw their masks together, each from its own (seed, epoch, index)."""

    def __init__(self, seed: int, mask: MaskPlan | None = None) -> None:
        self._seed, self._mask = seed, mask

    def __call__(self, items: Sequence[Sample | BrokenPicture]) -> Batch:
        """Return the batch of some samples; broken pictures are listed, not stacked."""
        samples = [item for item in items if isinstance(item, Sample)]
        broken = [item for item in items if isinstance(item, BrokenPicture)]
        broken += [picture for sample in samples for picture in sample.broken]
        tensors: dict[str, Tensor] = {}
        for name in samples[0].views if samples else ():
            tensors[name] = torch.from_numpy(np.stack([sample.views[name] for sample in samples]))
        labels = [sample.label for sample in samples if sample.label is not None]
        if labels:
            tensors["labels"] = torch.from_numpy(np.stack(labels))
        if self._mask is not None and samples:
            tensors["bool_masked_pos"] = self._masks(self._mask, samples)
        indices = [sample.position[1] for sample in samples]
        return Batch(tensors, indices, broken, lacking=len(items) - len(samples))

    def _masks(self, plan: MaskPlan, samples: Sequence[Sample]) -> Tensor:
        rngs = [generator(self._seed, Purpose.MASK, *sample.position) for sample in samples]
        return torch.from_numpy(plan.draw(rngs)).flatten(1)


def training_batches(
    dataset: ViewDataset, order: Iterable[list[Position]], collate: Collate, workers: int, pin: bool = False
) -> DataLoader[Batch]:
    """Return the batches of a run, loaded by some worker processes."""
    loader: Any = _Loader(
        dataset,
        batch_sampler=Prefetch(order, dataset.source) if dataset.source.look_ahead else order,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=ignore_stop_signals,
        multiprocessing_context=_start_method(workers),
    )
    return loader


class _Loader(DataLoader[Any]):
    """torch's loader, whose processes have SIGTERM blocked from their first moment.

    They may start threads before `ignore_stop_signals` is called, and a signal to a process goes to any thread that
    does not block it.
    """

    def __iter__(self) -> Any:
        with _sigterm_blocked(), _lost_in_turn():
            batches = super().__iter__()
        return _explained(batches)


def _explained(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield batches; that a process which loads them was lost, as one is that takes too much memory, is one line.

    Raises:
        BeitError: Naming what helps.
    """
    try:
        yield from batches
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise BeitError(
            f"a process that loads pictures was lost ({str(error).splitlines()[0]}), most likely for want of memory; "
            "lower data.workers or the batch size, or give more (docker run --shm-size), and the same command continues"
        ) from None


@contextmanager
def _sigterm_blocked() -> Generator[None]:
    """Block SIGTERM in this thread, and in processes and threads that it starts; one that comes meanwhile waits."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _lost_in_turn() -> Generator[None]:
    """Have the next batch say that a loading process was lost: torch's handler raises it wherever a program is then."""
    chosen = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    yield
    if chosen is not None and signal.getsignal(signal.SIGCHLD) is not chosen:
        signal.signal(signal.SIGCHLD, chosen)


def _start_method(workers: int) -> str | None:
    """Return how loading processes begin; None: as Python has it, or there are none.

    Forked ones share the paths of a collection, and the pictures that are kept decoded. Python 3.14 would send a copy
    of them to each instead.
    """
    return "fork" if workers and sys.platform == "linux" else None


def evaluation_batches(dataset: ViewDataset, collate: Collate, batch_size: int, workers: int) -> DataLoader[Batch]:
    """Return every picture once, in order."""
    positions = [(0, index) for index in range(len(dataset))]
    batches = [positions[first : first + batch_size] for first in range(0, len(positions), batch_size)]
    return training_batches(dataset, batches, collate, workers)


class Prefetch:
    """Prefetch of shards: the batches of an order, each given out once the shards of its pictures are at hand.

    The order is taken up a while before it is given out, to begin to fetch what comes next. All of it happens in the
    process that gives out the batches: what goes wrong stops the run there, and no two workers fetch the same.
    """

    def __init__(self, order: Iterable[list[Position]], source: ImageSource) -> None:
        self._order, self._source = order, source

    def __iter__(self) -> Iterator[list[Position]]:
        waiting: deque[list[Position]] = deque()
        pictures = 0
        for batch in self._order:
            waiting.append(batch)
            pictures += len(batch)
            self._source.fetch((), _pictures(batch))
            while pictures - len(waiting[0]) >= self._source.look_ahead:
                pictures -= len(waiting[0])
                yield self._at_hand(waiting.popleft())
        while waiting:
            yield self._at_hand(waiting.popleft())

    def _at_hand(self, batch: list[Position]) -> list[Position]:
        self._source.fetch(_pictures(batch), ())
        return batch


def _pictures(batch: list[Position]) -> list[int]:
    return [index for _, index in batch]


def ignore_stop_signals(worker: int) -> None:
    """Ignore, in a worker, the signals that ask a run to stop; a `worker_init_fn` of torch's loader.

    A terminal and many schedulers send them to every process of a job. The run still needs this worker to finish its
    step; a worker ends when the run asks it to, and by itself a few seconds after the run is gone. SIGTERM is how the
    run asks, so the sender decides. Where a system does not name the sender (macOS, Windows), it ends a worker.

    Args:
        worker: Number of the worker.
    """
    _end_where_a_batch_is_lost()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # threads started from here on block it too
        threading.Thread(target=_end_on_signal_from, args=(os.getppid(),), daemon=True).start()


def _end_where_a_batch_is_lost() -> None:
    """End this worker where its batch cannot be handed over: Python only prints why, and the run would wait forever."""

    def end(error: Exception, item: Any) -> None:
        reason = printable(" ".join(str(error).split()))
        advice = "give /dev/shm more room (docker run --shm-size), or lower train.batch_size or data.workers"
        os.write(2, f"a loading process cannot hand over its batch: {reason}; {advice}\n".encode())
        os._exit(1)

    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(end)  # pyright: ignore


def _end_on_signal_from(run: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
        pass
    os._exit(0)


def loading_workers(wanted: int | Literal["auto"], busy: int) -> int:
    """Return the processes that load pictures; "auto": one for each CPU that is left, at least one.

    Args:
        wanted: Their number, or "auto".
        busy: CPUs that this process keeps busy itself.
    """
    return min(max(1, cpu_share() - busy), MOST_WORKERS) if wanted == "auto" else wanted
