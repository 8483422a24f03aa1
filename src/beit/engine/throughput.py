"""Throughput and memory of a run, and the rates that the machine can reach."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import nn

from beit.engine.muon import is_hidden_matrix
from beit.engine.processes import precision_of
from beit.models_torch import kernels
from beit.models_torch.device import DTYPES, wait_for

_GEMM_SIDE = {"cpu": 1024, "cuda": 8192}
_GEMM_ROUNDS = 5
# bytes per parameter, in float32: the weight, and where it learns its gradient and two moments, or one
_FROZEN, _ADAMW, _MUON = 4, 4 * 4, 3 * 4


def gemm_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second that a large matrix product reaches here: the best of a few, within seconds.

    On a CPU both of the ways count that the models take, torch's own and oneDNN.
    """
    side = _GEMM_SIDE["cuda" if device.type == "cuda" else "cpu"]
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds: list[float] = []
    for product in (torch.mm, kernels.product):
        for turn in range(1 + _GEMM_ROUNDS):
            wait_for(device)
            began = time.perf_counter()
            with torch.inference_mode():
                product(one, other)
            wait_for(device)
            if turn:  # the first warms up
                seconds.append(time.perf_counter() - began)
    return 2.0 * side**3 / min(seconds)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held, on its GPU if it computes there."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource  # not on Windows, which has no such count

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def state_bytes(module: nn.Module, muon: bool = False) -> int:
    """Return the bytes that the weights of a module, their gradients and the moments of its optimiser take.

    Args:
        module: Any; what is frozen has weights alone.
        muon: Whether its hidden matrices are Muon's, which keeps one moment instead of two.
    """

    def each(name: str, parameter: nn.Parameter) -> int:
        if not parameter.requires_grad:
            return _FROZEN
        return _MUON if muon and is_hidden_matrix(name, parameter) else _ADAMW

    return sum(parameter.numel() * each(name, parameter) for name, parameter in module.named_parameters())


Item = TypeVar("Item")
_MUCH_WAIT, _SLOW_LINES = 0.2, 3  # share of the time, and lines in a row
_LONG_WAIT = 5.0  # seconds; less is nothing to gain
# metrics of the machine, which differ from run to run
MACHINE = ("images_per_second", "data_wait", "memory_gib", "flops_utilisation")


class WaitWatch:
    """Check that steps do not wait for pictures: says once when several lines in a row show much of it.

    The first line is left out, because the loading processes start in it, and so is a wait of a few seconds in all.
    """

    def __init__(self) -> None:
        self._lines, self._slow, self._seconds, self._said = 0, 0, 0.0, False

    def advice(self, data_wait: float, seconds: float, workers: int) -> str | None:
        """Return what to do about a share of time, None while all is well.

        Args:
            data_wait: Of the newest line.
            seconds: That were waited in it.
            workers: Processes that load pictures.
        """
        self._lines += 1
        slow = data_wait > _MUCH_WAIT and self._lines > 1
        self._slow, self._seconds = (self._slow + 1, self._seconds + seconds) if slow else (0, 0.0)
        if self._said or self._slow < _SLOW_LINES or self._seconds < _LONG_WAIT:
            return None
        self._said = True
        return (
            f"{data_wait:.0%} of the time is spent waiting for pictures, which {workers} processes load: raise "
            "data.workers if there are CPUs for them, or store smaller pictures"
        )


class Throughput:
    """Throughput from one line of the metrics to the next.

    Args:
        accelerator: Of the run.
        pictures: Per step, over all processes.
        flops: Operations per picture in a training step, its preparation included; None if not known.

    Attributes:
        waited: Seconds of waiting for data in the line that `numbers` gave last.
    """

    waited = 0.0

    def __init__(self, accelerator: Accelerator, pictures: int, flops: float | None) -> None:
        self._accelerator, self._pictures, self._flops = accelerator, pictures, flops
        dtype = DTYPES[precision_of(accelerator)]
        self._rate = gemm_rate(accelerator.device, dtype) * accelerator.num_processes if flops is not None else None
        self._restart()

    def batches(self, loader: Iterable[Item]) -> Generator[Item]:
        """Yield what a loader yields, and take note of the time spent waiting for it."""
        iterator = iter(loader)
        while True:
            began = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - began
            self._steps += 1
            yield item

    def numbers(self) -> dict[str, float]:
        """Return the numbers since the last call: images per second, share of time waiting for data, memory, MFU."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        rate = self._steps * self._pictures / seconds
        numbers = {
            "images_per_second": round(rate, 1),
            "data_wait": round(self._waited / seconds, 4),
            "memory_gib": round(peak_memory(self._accelerator.device) / 2**30, 3),
        }
        if self._flops is not None and self._rate is not None:
            numbers["flops_utilisation"] = round(rate * self._flops / self._rate, 4)
        self.waited = self._waited
        self._restart()
        return numbers

    def _restart(self) -> None:
        self._began, self._waited, self._steps = time.perf_counter(), 0.0, 0
