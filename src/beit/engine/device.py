"""Where a run computes: one process or many, which device, which precision."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.utils.deterministic
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from beit.engine.processes import join
from beit.errors import ConfigError
from beit.models_torch.device import pick_device, pick_precision
from beit.settings.groups import RunSettings

_LONGEST_WAIT = timedelta(hours=2)  # the others wait while the first process measures


def make_accelerator(run: RunSettings) -> Accelerator:
    """Return the accelerator for a run; `torchrun` or `accelerate launch` decide the number of processes.

    Raises:
        ConfigError: If a GPU or precision is asked for that is not there, or processes cannot reach each other.
    """
    device = pick_device(run.device)
    on_cpu, bf16 = device.type == "cpu", pick_precision(run.precision, device) == "bf16"
    try:
        patience = InitProcessGroupKwargs(timeout=_LONGEST_WAIT)
        accelerator = Accelerator(cpu=on_cpu, mixed_precision="bf16" if bf16 else "no", kwargs_handlers=[patience])
    except ValueError as error:  # accelerate keeps one state per process
        raise ConfigError(f"run.device and run.precision cannot change within one process ({error})") from None
    expected = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != expected:  # accelerate then lets every process train alone, without a word
        raise ConfigError(f"started as one of {expected} processes but {accelerator.num_processes} found each other")
    join(accelerator)
    return accelerator


@contextmanager
def reproducible() -> Generator[None]:
    """Use deterministic kernels inside, wherever there are any; a warning names those without."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    debugging: Any = torch.utils.deterministic
    fill = debugging.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    debugging.fill_uninitialized_memory = False  # a debugging aid that costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        debugging.fill_uninitialized_memory = fill
