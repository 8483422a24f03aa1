"""Devices and precisions to compute in, by the names that users call them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, cast

import torch

from beit.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
    return torch.device("cuda" if has_gpu and wanted != "cpu" else "cpu")


def pick_precision(wanted: str, device: torch.device) -> Precision:
    """Return the precision for a name of one, or for "auto": bf16 on a GPU that supports it, else fp32.

    Raises:
        ConfigError: If there is none of that name, or the device does not compute in it.
    """
    if wanted == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if wanted not in DTYPES:
        raise ConfigError(f"precision is {wanted!r}; expected one of auto, {', '.join(DTYPES)}")
    if wanted == "fp16" and device.type == "cpu":
        raise ConfigError("precision is 'fp16' on the CPU; expected fp32 or bf16 there, or a GPU")
    return cast(Precision, wanted)


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast to a precision; parameters and what needs it (normalisation, softmax) stay as they are."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
