"""Devices and precisions to compute in, by the names that users call them."""

from __future__ import annotations

import torch

from beit.errors import ConfigError


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


def computes_in_bf16(precision: str, device: torch.device) -> bool:
    """Return whether autocast to bf16 is asked for, or with "auto" a GPU supports it."""
    return precision == "bf16" or (precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
