"""Fastest way to compute something on this processor, timed once per kind and shape.

No library is best at everything: at the products of a base model oneDNN computes forward passes up to 1.5 times as fast
as MKL, and on processors without AVX-512 gradients of weights at half its speed. So each way is timed where it is first
needed, in milliseconds, and the choice is kept in a small file per processor, thread count and version of PyTorch.

`BEIT_KERNELS` is auto (the default: timed), torch or onednn (that library wherever it is available). A run keeps its
choices in its checkpoints (`choices`, `obey`), because ways differ in the last bits.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from beit.errors import BeitError, ConfigError
from beit.files import cache_folder, read_json, write_json

MODES = ("auto", "torch", "onednn")
ROUNDS, MOST_ROUNDS = 5, 25
_AGREE = 1.1  # of the two fastest times of a way: then nothing else that ran on the machine made both slower
_FINE = 1e-6  # seconds, of computations that take some thousands of them
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")

Ways = Mapping[str, Callable[..., Any]]


class FastestWays:
    """Choices between ways of computing the same.

    Attributes:
        mode: "auto", or the library that is wanted wherever it is among the ways.
    """

    def __init__(self, mode: str = "auto") -> None:
        if mode not in MODES:
            raise ConfigError(f"BEIT_KERNELS is {mode!r}; expected one of {', '.join(MODES)}; unset it for auto")
        self.mode = mode
        self._chosen: dict[str, str] = {}
        self._seconds: dict[str, dict[str, float]] = {}  # all that was timed here, as it stands in the file
        self._unsettled: dict[str, dict[str, float]] = {}  # by this process alone
        self._read: Path | None = None
        self._lock = threading.RLock()

    def way(self, name: str, ways: Ways, operands: Callable[[], Sequence[Any]]) -> str:
        """Return the name of the fastest way.

        Args:
            name: What is computed, and in which shape.
            ways: Functions by name, of which all compute the same; the first is PyTorch's own.
            operands: Makes arguments to time them with.
        """
        key = f"{name}, {torch.get_num_threads()} threads"
        chosen = self._chosen.get(key)
        return chosen if chosen is not None and chosen in ways else self._choose(key, ways, operands)

    def _choose(self, key: str, ways: Ways, operands: Callable[[], Sequence[Any]]) -> str:
        with self._lock:
            if self.mode == "auto":
                seconds = self._known(key, ways) or self._time(key, ways, operands)
                chosen = min(ways, key=lambda way: seconds[way])
            else:
                chosen = self.mode if self.mode in ways else next(iter(ways))
            self._chosen[key] = chosen
        return chosen

    def _known(self, key: str, ways: Ways) -> dict[str, float] | None:
        """Return the seconds of every way as they were timed before, if they were."""
        file = cache_file()
        if self._read != file:
            self._read, self._seconds = file, _read(file)
        seconds = self._seconds.get(key, {})
        return seconds if seconds.keys() >= ways.keys() else None

    def _time(self, key: str, ways: Ways, operands: Callable[[], Sequence[Any]]) -> dict[str, float]:
        """Time every way in turn, and keep the seconds in the file of this machine, unless they did not settle."""
        found, settled = _fastest_times(ways, operands())
        if not settled:
            self._unsettled[key] = found
            return found
        file = cache_file()
        # another process may have been faster: all on one machine choose alike
        self._seconds = {**self._seconds, key: found, **_read(file)}
        _write(file, self._seconds)
        return self._seconds[key]

    def choices(self) -> dict[str, str]:
        """Return the ways taken so far by what they compute, for `obey`."""
        return dict(self._chosen)

    def obey(self, choices: Mapping[str, str]) -> None:
        """Take these ways from now on; what is not among them is chosen when it is needed."""
        with self._lock:
            self._chosen = dict(choices)

    @contextmanager
    def apart(self) -> Generator[None]:
        """Begin inside without what was chosen or obeyed before, as a new process does; bring it back afterwards."""
        before, self._chosen = self._chosen, {}
        try:
            yield
        finally:
            self._chosen = before

    def timed(self) -> dict[str, dict[str, float]]:
        """Return the seconds of every way by what it computes: all that is known of this machine."""
        return {**self._unsettled, **_read(cache_file())}


def _fastest_times(ways: Ways, given: Sequence[Any]) -> tuple[dict[str, float], bool]:
    """Time the ways in turn until the two least seconds of each agree, after one turn to warm up.

    Returns:
        The least seconds of every way, and whether the two least of all agreed before it took too long.
    """
    times: dict[str, list[float]] = {way: [] for way in ways}
    clock, settled = _clock(given), False
    with torch.no_grad(), unobserved():
        for done in range(-1, MOST_ROUNDS):
            settled = done >= ROUNDS and all(sorted(found)[1] <= _AGREE * min(found) for found in times.values())
            if settled:
                break
            for way, compute in ways.items():
                start = clock()
                compute(*given)
                seconds = clock() - start
                if done >= 0:
                    times[way].append(seconds)
    return {way: min(found) for way, found in times.items()}, settled


@contextmanager
def unobserved() -> Generator[None]:
    """Hide what is only tried from those who watch the model that asks for it.

    Activation checkpointing would miss the tensors of the trial when it computes a layer again, and a counter of
    operations count them.
    """
    with torch.autograd.graph.saved_tensors_hooks(_itself, _itself), _disable_current_modes():
        yield


def _itself(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _clock(given: Sequence[Any]) -> Callable[[], float]:
    """Return a clock, of one thread on a CPU that of its processor time: what else runs on the machine is not in it.

    Of several threads that time says little, as one waits for the other; and clocks of some systems tick too seldom.
    """
    on_cpu = all(operand.device.type == "cpu" for operand in given if isinstance(operand, torch.Tensor))
    fine = time.get_clock_info("thread_time").resolution <= _FINE
    return time.thread_time if on_cpu and fine and torch.get_num_threads() == 1 else time.perf_counter


def cache_file() -> Path:
    """Return the file of what was timed on this processor with this version of PyTorch."""
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if name in os.environ]
    identity = "\n".join((processor(), torch.__version__, *limits))
    return cache_folder("kernels") / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"


def processor() -> str:
    """Return the model and the flags of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0].splitlines()
    except OSError:  # not Linux
        return f"{platform.processor()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    fixed = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features")
    return "\n".join(line for line in lines if line.split("\t")[0].strip() in fixed)


def _read(file: Path) -> dict[str, dict[str, float]]:
    """Return what the file holds; what is missing or damaged is timed again."""
    if not file.is_file():
        return {}
    try:
        stored = read_json(file, "seconds of ways to compute")
        return {key: {way: float(value) for way, value in ways.items()} for key, ways in stored.items()}
    except (BeitError, AttributeError, TypeError, ValueError) as error:
        logging.getLogger(__name__).warning("%s; its products are timed again", error)
        return {}


def _write(file: Path, seconds: Mapping[str, Mapping[str, float]]) -> None:
    try:
        write_json(file, seconds, indent=1)
    except BeitError as error:  # a full or read-only disk: timed again the next time
        logging.getLogger(__name__).debug("%s", error)


FASTEST = FastestWays(os.environ.get("BEIT_KERNELS") or "auto")
