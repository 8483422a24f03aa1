"""How well a run uses its machine, since the last line of its metrics."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from typing import TypeVar

import torch
from accelerate import Accelerator

from beit.engine.hardware import gemm_rate, peak_memory

Item = TypeVar("Item")
# metrics of the machine, which differ from run to run
MACHINE = ("images_per_second", "data_wait", "memory_gib", "flops_utilisation")


class Throughput:
    """Measures from one line of the metrics to the next.

    Args:
        accelerator: Of the run.
        pictures: Per step, over all processes.
        flops: Operations per picture in a training step of the model, tokenizer not included; None if not known.
    """

    def __init__(self, accelerator: Accelerator, pictures: int, flops: float | None) -> None:
        self._accelerator, self._pictures, self._flops = accelerator, pictures, flops
        dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
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
        self._restart()
        return numbers

    def _restart(self) -> None:
        self._began, self._waited, self._steps = time.perf_counter(), 0.0, 0
