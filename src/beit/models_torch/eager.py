"""When a model may take passes of its own instead of PyTorch's plain operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def eager_float32(*tensors: Tensor | None) -> bool:
    """Tell whether plain float32 tensors are computed with, here and now.

    Compilers and exporters have passes of their own, autocast has its precision, and transforms of functions, such as
    `torch.func.vmap`, want the plain operations.
    """
    if torch.compiler.is_compiling():
        return False
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return False
    if torch._C._are_functorch_transforms_active():  # pyright: ignore
        return False
    present = [tensor for tensor in tensors if tensor is not None]
    return not torch.is_autocast_enabled(present[0].device.type) and all(
        type(tensor) in (Tensor, nn.Parameter) and tensor.dtype == torch.float32 for tensor in present
    )
