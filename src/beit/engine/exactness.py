"""Exactness of a training on a GPU: the same bits in every run, or the fastest kernels.

A CPU computes the same bits whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.utils.deterministic
from torch import nn
from torch.backends import cudnn
from torch.nn.attention import SDPBackend, sdpa_kernel

from beit.models_torch.device import ready_for_exactness
from beit.settings.groups import RunSettings

_debugging: Any = torch.utils.deterministic
# with a bias that learns, the backward pass of the efficient kernel adds up in any order
_REPEATABLE = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]


def is_exact(run: RunSettings, device: torch.device) -> bool:
    """Return whether a run has the same bits every time: on a GPU it has to be asked for."""
    return device.type != "cuda" if run.exact == "auto" else run.exact


class _Modes(NamedTuple):
    """Modes of PyTorch that decide which kernels it takes.

    Attributes:
        deterministic: Whether kernels without a fixed order are refused.
        warns: Whether they are warned of instead.
        filled: Whether new memory is filled, a debugging aid of deterministic mode that costs time.
        precision: Of float32 products: "highest" is float32, "high" TF32.
        rounded: Whether convolutions of float32 are computed in TF32.
        timed: Whether convolutions are timed before one is chosen.
    """

    deterministic: bool
    warns: bool
    filled: bool
    precision: str
    rounded: bool
    timed: bool

    @classmethod
    def now(cls) -> _Modes:
        """Return those that are set."""
        return cls(
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            _debugging.fill_uninitialized_memory,
            torch.get_float32_matmul_precision(),
            cudnn.allow_tf32,
            cudnn.benchmark,
        )

    def set(self) -> None:
        """Set them."""
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warns)
        _debugging.fill_uninitialized_memory = self.filled
        torch.set_float32_matmul_precision(self.precision)
        cudnn.allow_tf32 = self.rounded
        cudnn.benchmark = self.timed


_EXACT = _Modes(deterministic=True, warns=False, filled=False, precision="highest", rounded=False, timed=False)
_FAST = _Modes(deterministic=False, warns=False, filled=False, precision="high", rounded=True, timed=True)
FAST = "fast on a GPU: float32 in TF32, convolutions timed first and channels last"  # as a run says it


def placed(module: nn.Module, exact: bool, device: torch.device) -> nn.Module:
    """Move a module to the device of a run; where it is to be fast on a GPU, convolutions work channels last.

    Kernels for tensor cores want the channels of a pixel side by side, and copy maps of any other order.
    """
    module = module.to(device)
    if not exact and device.type == "cuda":
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # its stubs forget it
    return module


@contextmanager
def computing(exact: bool, device: torch.device) -> Generator[None]:
    """Compute exactly inside, or fast; afterwards PyTorch is set as before.

    Exact: an operation without a deterministic kernel is an error; attention is flash or, with a bias, plain products.
    Fast, on a GPU: float32 products in TF32, convolutions timed before one is chosen.

    Args:
        exact: Whether every run has to have the same bits.
        device: Of the run.
    """
    on_gpu = ready_for_exactness(device).type == "cuda"
    if not exact and not on_gpu:
        yield
        return
    with _without_newer_settings():
        before = _Modes.now()
        (_EXACT if exact else _FAST).set()
        try:
            with sdpa_kernel(_REPEATABLE) if exact and on_gpu else nullcontext():
                yield
        finally:
            before.set()


@contextmanager
def _without_newer_settings() -> Generator[None]:
    """Put PyTorch's newer settings of float32 (`torch.backends.fp32_precision`) aside where a program has used them.

    Beside them it refuses to answer for the older ones, which every version has.
    """
    backends: Any = torch.backends
    for_all: list[Any] = [backends, cudnn, backends.mkldnn]
    if _older_settings_suffice(for_all):
        yield
        return
    newer = [*for_all, backends.cuda.matmul, backends.mkldnn.matmul, backends.mkldnn.conv, cudnn.conv, cudnn.rnn]  # pyright: ignore
    before = [backend.fp32_precision for backend in newer]
    _set_newer(for_all, ["none"] * len(for_all))
    torch.set_float32_matmul_precision("highest")  # the defaults; each sets the newer ones of its own too
    cudnn.allow_tf32 = True
    try:
        yield
    finally:
        _set_newer(newer, before)


def _older_settings_suffice(for_all: Sequence[Any]) -> bool:
    """Return whether PyTorch answers for its older settings, and no newer ones reach kernels beside them."""
    try:
        _Modes.now()
    except RuntimeError:
        return False
    return all(getattr(backend, "fp32_precision", "none") == "none" for backend in for_all)


def _set_newer(backends: Sequence[Any], precisions: Sequence[str]) -> None:
    for backend, precision in zip(backends, precisions, strict=True):  # those for all first, which others may inherit
        if backend.fp32_precision != precision:
            backend.fp32_precision = precision
