"""Surroundings of a run: modes of PyTorch and accelerate that a program has set, apart from those of a run inside it.

A run that begins in the middle of a program, as in a notebook, computes as it would in a process of its own, whatever
ran there before it, and leaves these modes as they were.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState

from beit.models_torch.kernels import FASTEST

_DEVICES = ("cpu", "cuda")  # that have an autocast


@contextmanager
def own_surroundings() -> Generator[None]:
    """Begin with the modes of a new process inside, and bring back those of the program afterwards."""
    with ExitStack() as inside:
        inside.enter_context(torch.inference_mode(False))  # first: it decides about gradients as well
        inside.enter_context(torch.enable_grad())
        inside.enter_context(_no_autocast())
        inside.enter_context(_defaults())
        inside.enter_context(_random_streams())
        inside.enter_context(_accelerate())
        inside.enter_context(FASTEST.apart())
        yield


@contextmanager
def _no_autocast() -> Generator[None]:
    """Leave all autocasts of the program, and enter them again afterwards.

    One more inside them would not do: weights that were cast are kept until the outermost ends, and would be those of
    the first step in every other.
    """
    depth = torch.autocast_increment_nesting() - 1
    for _ in range(depth + 1):
        torch.autocast_decrement_nesting()
    before = {device: torch.is_autocast_enabled(device) for device in _DEVICES}
    for device in _DEVICES:
        torch.set_autocast_enabled(device, False)
    torch.clear_autocast_cache()
    try:
        yield
    finally:
        for device, enabled in before.items():
            torch.set_autocast_enabled(device, enabled)
        for _ in range(depth):
            torch.autocast_increment_nesting()


@contextmanager
def _defaults() -> Generator[None]:
    """Have new tensors in float32 on the CPU, and bring back the number of threads, which a run may lower."""
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    elsewhere = device.type != "cpu"  # a default device costs every call a little, also where it is the CPU
    torch.set_default_dtype(torch.float32)
    if elsewhere:
        torch.set_default_device(None)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if elsewhere:
            torch.set_default_device(device)
        torch.set_num_threads(threads)


@contextmanager
def _random_streams() -> Generator[None]:
    """Bring back the random streams of the program: a run seeds them, and the next draws would be equal after each."""
    before = torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        torch.set_rng_state(before)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)


@contextmanager
def _accelerate() -> Generator[None]:
    """Set aside what accelerate keeps of an earlier accelerator, such as its precision, which it lets nobody change.

    Processes that have found each other stay together.
    """
    kept: list[dict[str, Any]] = [AcceleratorState._shared_state]  # pyright: ignore[reportPrivateUsage]
    if not torch.distributed.is_initialized():
        kept.append(PartialState._shared_state)  # pyright: ignore[reportPrivateUsage]
    before = [dict(state) for state in kept]
    for state in kept:
        state.clear()
    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            kept = kept[:1]  # the processes that the run has brought together
        for state, values in zip(kept, before, strict=False):
            state.clear()
            state.update(values)
