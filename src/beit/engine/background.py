"""Checkpoints written while the next steps run: values are copied into the host's memory, and a thread writes them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor


class HostCopies:
    """Copies of tensors in the memory of the host, which the next steps do not change.

    Those of a GPU go into page-locked memory, which is kept for the next checkpoint: the device fills it without the
    host, and allocating it is slow. Whoever reads them has to wait for the device first.
    """

    def __init__(self) -> None:
        self._pinned: dict[str, Tensor] = {}

    def take(self, name: str, tensor: Tensor) -> Tensor:
        """Return a copy, which is overwritten when the same name is taken again."""
        tensor = tensor.detach()
        if tensor.device.type != "cuda":
            return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
        held = self._pinned.get(name)
        if held is None or held.shape != tensor.shape or held.dtype != tensor.dtype:
            held = self._pinned[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return held.copy_(tensor, non_blocking=True)


class BackgroundWriter:
    """A thread that writes one checkpoint at a time.

    A process that ends meanwhile leaves the earlier checkpoints, as one does that is killed while it writes by itself.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Begin to write, after what is being written.

        Raises:
            StorageError: If that could not be written.
        """
        self.wait()
        self._thread = self._thread or ThreadPoolExecutor(1, "checkpoint")
        self._writing = self._thread.submit(write)

    def check(self) -> None:
        """Raise what the last checkpoint failed with, if it is known already."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is being written.

        Raises:
            StorageError: If the disk is full.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
