"""Devices and precisions to compute in, by the names that users call them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Literal, cast

import torch
from torch.nn import functional

from beit.errors import ConfigError
from beit.models_torch.kernels import FASTEST
from beit.models_torch.kernels.fastest import Ways

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_VOLTA = (7, 0)  # compute capability of the first GPUs with tensor cores, and that Triton knows


def pick_device(wanted: str) -> torch.device:
    """Return the device for "cpu", "cuda" or "auto" (a GPU if there is one).

    Raises:
        ConfigError: If another device is asked for, or a GPU that is not there.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device is {wanted!r}; expected auto, cpu or cuda")
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise ConfigError("device is 'cuda' but there is no usable GPU; use 'cpu' or 'auto'")
    return ready_for_exactness(torch.device("cuda" if has_gpu and wanted != "cpu" else "cpu"))


def ready_for_exactness(device: torch.device) -> torch.device:
    """Return a device of which products can be exact later on in this process.

    PyTorch looks once, at the first product on a GPU, whether cuBLAS shall keep an order, and refuses all exact
    ones after that if it shall not: those of a training after a prediction in the same notebook.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return device


def busy_cpus(device: torch.device) -> int:
    """Return how many CPUs computing on a device keeps busy: all of torch's threads, or the one that feeds a GPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def why_not_compiled(device: torch.device) -> str | None:
    """Return the reason why nothing should be compiled for a device unless it is asked for; None: it should be."""
    if device.type != "cuda":
        return "compilers gain little on a CPU"
    if find_spec("triton") is None:
        return "Triton is not installed"
    if torch.cuda.get_device_capability(device) < _VOLTA:
        return "Triton does not know this GPU"
    if not any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang")):
        return "Triton needs a C compiler, and there is none"
    return None


def pick_precision(wanted: str, device: torch.device) -> Precision:
    """Return the precision for a name of one, or for "auto": bf16 on a GPU that supports it, else fp32.

    Raises:
        ConfigError: If there is none of that name, or the device does not compute in it.
    """
    if wanted == "auto":
        return "bf16" if device.type == "cuda" and _has_bf16(device) else "fp32"
    if wanted not in DTYPES:
        raise ConfigError(f"precision is {wanted!r}; expected one of auto, {', '.join(DTYPES)}")
    if wanted == "fp16" and device.type == "cpu":
        raise ConfigError("precision is 'fp16' on the CPU; expected fp32 or bf16 there, or a GPU")
    return cast(Precision, wanted)


def _has_bf16(device: torch.device) -> bool:
    """Return whether a GPU, which may be another than the current one, computes in bf16."""
    with torch.cuda.device(device):  # PyTorch answers for the current one
        return torch.cuda.is_bf16_supported(including_emulation=False)  # older ones emulate it, slower than fp32


def pick_training_precision(wanted: str, device: torch.device, width: int | None) -> Precision:
    """Return the precision of a training; "auto" is fp16 on Volta and Turing, and on a CPU what is faster there.

    Without its own instructions for bf16 a processor takes ten times as long for it, and small models spend more on
    the changes of type than they gain.

    Args:
        wanted: Name of a precision, or "auto".
        device: Of the training.
        width: Of the model's hidden layers; None where they are none, as in tokenizers: "auto" is fp32 then.

    Raises:
        ConfigError: If there is none of that name, or the device does not compute in it.
    """
    if device.type == "cuda" and wanted == "auto":
        return _training_precision_of(device)
    if device.type != "cpu" or wanted not in ("auto", "bf16") or width is None:
        return pick_precision(wanted, device)
    faster = cast(Precision, FASTEST.way(f"layer of width {width}, by precision", _IN_PRECISION, _layer(width)))
    if wanted == "bf16" and faster == "fp32" and FASTEST.mode == "auto":
        logging.getLogger(__name__).warning("precision is bf16, which is slower than fp32 on this processor; try auto")
    return faster if wanted == "auto" else "bf16"


def _training_precision_of(device: torch.device) -> Precision:
    """Return bf16 on a GPU that has it, fp16 where there are tensor cores for it alone (Volta, Turing), else fp32."""
    if (best := pick_precision("auto", device)) != "fp32":
        return best
    return "fp16" if torch.cuda.get_device_capability(device) >= _VOLTA else "fp32"


def _layer(width: int) -> Callable[[], list[torch.Tensor]]:
    """Return what makes tokens and weights of a feed-forward layer to time."""
    return lambda: [torch.full((512, width), 0.01), torch.full((4 * width, width), 0.01)]


def _in_fp32(tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.gelu(functional.linear(tokens, weight))


def _in_bf16(tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.gelu(functional.linear(tokens.bfloat16(), weight.bfloat16())).float()


_IN_PRECISION: Ways = {"fp32": _in_fp32, "bf16": _in_bf16}


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast to a precision; parameters and what needs it (normalisation, softmax) stay as they are."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the host on a device; a GPU fetches it from page-locked memory, which nothing waits for."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
