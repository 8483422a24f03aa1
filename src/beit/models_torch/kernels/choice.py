"""Conditions under which a kernel may stand in for PyTorch's plain operations, and its double backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as modules

Kind = TypeVar("Kind", bound=nn.Module)
HAS_ONEDNN = torch.backends.mkldnn.is_available()
LEAST_PRODUCTS = 2**22  # multiplications from which the preparations of oneDNN no longer show
_PLAIN_TENSORS = (Tensor, nn.Parameter)


def is_plain(module: nn.Module, kind: type[Kind]) -> TypeGuard[Kind]:
    """Return whether calling a module runs the forward function of its class alone, so that a kernel may replace it.

    It does more where a hook waits for the call, where an adapter, a parametrisation or a quantised layer is in its
    place, and where its forward function was replaced, as offloading does.
    """
    return is_untouched(module, kind) and not _hooks_on_all_modules()


def is_untouched(module: nn.Module, kind: type[Kind]) -> TypeGuard[Kind]:
    """Return `is_plain`, whatever hooks there are on all modules."""
    return (
        type(module) is kind
        and not (module._forward_hooks or module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
        and not (module._backward_hooks or module._backward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
        and "forward" not in module.__dict__
    )


def _hooks_on_all_modules() -> bool:
    """Return whether hooks are registered for every module, as profilers and operation counters do."""
    return bool(
        modules._global_forward_hooks  # pyright: ignore[reportPrivateUsage]
        or modules._global_forward_pre_hooks  # pyright: ignore[reportPrivateUsage]
        or modules._global_backward_hooks  # pyright: ignore[reportPrivateUsage]
        or modules._global_backward_pre_hooks  # pyright: ignore[reportPrivateUsage]
    )


def eager_float32(*tensors: Tensor | None) -> bool:
    """Return whether `eager` holds, all tensors are float32 and autocast, which has its own precision, is off."""
    if not eager(*tensors):  # first: what follows would stop a compiler
        return False
    present = [tensor for tensor in tensors if tensor is not None]
    for tensor in present:
        if tensor.dtype != torch.float32:
            return False
    return not autocasts(present[0].device)


def suits_onednn(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> bool:
    """Return whether a product of matrices is one that oneDNN may compute, and large enough for it."""
    return (
        eager_float32(inputs, weight_OI, bias_O)  # first: what follows would stop a compiler
        and inputs.device.type == "cpu"
        and HAS_ONEDNN
        and torch.backends.mkldnn.enabled
        and inputs.dim() > 1
        and inputs.numel() * weight_OI.shape[0] >= LEAST_PRODUCTS
    )


def eager(*tensors: Tensor | None) -> bool:
    """Return whether all tensors are plain ones with values, and execution is eager.

    Compilers and exporters have passes of their own, and transforms of functions, such as `torch.func.vmap`, and
    derivatives in forward mode want the plain operations.
    """
    if torch.compiler.is_compiling():
        return False
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return False
    if torch._C._are_functorch_transforms_active() or in_forward_mode():  # pyright: ignore
        return False
    for tensor in tensors:  # a loop: this is asked for every product, and a generator takes twice as long
        if tensor is not None and (type(tensor) not in _PLAIN_TENSORS or tensor.is_meta):
            return False
    return True


def in_forward_mode() -> bool:
    """Return whether derivatives are carried along (`torch.func.jvp`, `jacfwd`), which fused kernels do not have."""
    return not torch.compiler.is_compiling() and forward_ad._current_level >= 0  # pyright: ignore


def hides_gradients() -> bool:
    """Return whether a transform of functions (`torch.func.vmap`) may hide from a kernel which gradients are wanted."""
    if torch.compiler.is_compiling():
        return False
    return torch.is_grad_enabled() and torch._C._are_functorch_transforms_active()  # pyright: ignore


# asked here, since a compiler cannot trace the question, and would make a new program in every call instead
_WITH_AUTOCAST = frozenset(
    kind for kind in ("cpu", "cuda", "hpu", "mps", "mtia", "xla", "xpu") if torch.amp.is_autocast_available(kind)
)


def autocasts(device: torch.device) -> bool:
    """Return whether autocast is on for a device; torch refuses to answer for those that have none, such as "meta"."""
    return device.type in _WITH_AUTOCAST and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which results have the types of their operands."""
    return torch.autocast(device.type, enabled=False) if autocasts(device) else nullcontext()


def plain_gradients(
    plain: Callable[..., Tensor], inputs: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a plain formulation, which have gradients themselves.

    Args:
        plain: The formulation, in PyTorch's operations.
        inputs: Its arguments.
        needed: Which of them need a gradient.
        grad: The gradient of its result.
    """
    wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need and tensor is not None]
    found = iter(torch.autograd.grad(plain(*inputs), wanted, grad, create_graph=True))
    return tuple(next(found) if need else None for need in needed)
