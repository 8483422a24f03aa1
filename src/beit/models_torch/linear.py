"""The linear layer, by the faster of the two libraries that PyTorch has for it on a CPU.

In float32 PyTorch multiplies matrices with MKL. oneDNN, which it brings for convolutions, is as exact and 10 to 25 %
faster at the products of a transformer where the processor is not Intel's (benchmarks/pretrain_step.py).

Legend: I inputs, O outputs, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.models_torch.eager import eager_float32

_LEAST_PRODUCTS = 2**22  # multiplications from which oneDNN's preparations no longer show
_LEAST_WEIGHTS = 2**18  # the same where the number of tokens is open; they are hundreds
_HAS_ONEDNN = torch.backends.mkldnn.is_available()


class Linear(nn.Linear):
    """`torch.nn.Linear` with the product of this module."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the name that torch gave it
        """Return input (..., I) times weight plus bias, (..., O)."""
        return linear(input, self.weight, self.bias)


def linear(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return what `torch.nn.functional.linear` does: inputs (..., I) times weight plus bias, (..., O)."""
    if torch.compiler.is_compiling() and _suits_compiled(inputs, weight_OI, bias_O):
        return _compiled_product(inputs, weight_OI, bias_O, gelu=False)
    if not _suits(inputs, weight_OI, bias_O):
        return functional.linear(inputs, weight_OI, bias_O)
    if torch.is_grad_enabled():
        result: Any = _Linear.apply(inputs, weight_OI, bias_O)
        return result
    return _product(inputs, weight_OI, bias_O)


def gelu_of_linear(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return gelu(linear(inputs)), (..., O); oneDNN computes both in one pass where no gradient is wanted."""
    if torch.compiler.is_compiling() and _suits_compiled(inputs, weight_OI, bias_O):
        return _compiled_product(inputs, weight_OI, bias_O, gelu=True)
    if torch.is_grad_enabled() or not _suits(inputs, weight_OI, bias_O):
        return functional.gelu(linear(inputs, weight_OI, bias_O))
    return _product(inputs, weight_OI, bias_O, gelu=True)


def weight_slope(slope_TO: Tensor, inputs_TI: Tensor) -> Tensor:
    """Return the gradient (O, I) of the weight from that of the outputs (T, O) and the inputs (T, I).

    oneDNN is faster at results that are wider than high, so the other kind is computed transposed; at square ones MKL
    is as fast.
    """
    outputs, inputs = slope_TO.shape[1], inputs_TI.shape[1]
    if torch.is_grad_enabled() or outputs == inputs or not _suits(slope_TO.T, inputs_TI.T, None):
        return slope_TO.T @ inputs_TI
    if outputs < inputs:
        return _product(slope_TO.T, inputs_TI.T)
    return _product(inputs_TI.T, slope_TO.T).T


def _suits(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> bool:
    """Tell whether oneDNN is there, and this product large and plain enough for it."""
    return (
        eager_float32(inputs, weight_OI, bias_O)  # first: what follows would stop a compiler
        and inputs.device.type == "cpu"
        and _HAS_ONEDNN
        and torch.backends.mkldnn.enabled
        and inputs.dim() > 1
        and inputs.numel() * weight_OI.shape[0] >= _LEAST_PRODUCTS
    )


def _suits_compiled(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> bool:
    """Tell the same of a program that is compiled for use, whose number of tokens may be open.

    Exported ones hold PyTorch's operations alone.
    """
    return (
        not torch.compiler.is_exporting()
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore
        and _HAS_ONEDNN
        and inputs.device.type == "cpu"
        and all(tensor.dtype == torch.float32 for tensor in (inputs, weight_OI, bias_O) if tensor is not None)
        and type(weight_OI) in (Tensor, nn.Parameter)
        and weight_OI.numel() >= _LEAST_WEIGHTS
    )


@torch.library.custom_op("beit::linear", mutates_args=())
def _compiled_product(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None, gelu: bool) -> Tensor:
    """Return `_product`, as one operation to compilers: what theirs make of it wants weights that never change."""
    return _product(inputs, weight_OI, bias_O, gelu)


@_compiled_product.register_fake
def _(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None, gelu: bool) -> Tensor:
    return inputs.new_empty((*inputs.shape[:-1], weight_OI.shape[0]))


def _product(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, gelu: bool = False) -> Tensor:
    """Return inputs (..., I) times weight plus bias, (..., O), or the GELU of that, without a gradient."""
    then, formula = ("gelu", "none") if gelu else ("none", "")  # GELU by the error function
    return torch.ops.mkldnn._linear_pointwise(inputs, weight_OI, bias_O, then, [], formula)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight_OI)
        ctx.biased = bias_O is not None
        return _product(inputs, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        (inputs, weight_OI), slope = ctx.saved_tensors, slopes[0]
        of_inputs, of_weight, of_bias = ctx.needs_input_grad
        slope_TO = slope.flatten(0, -2)
        plain = torch.is_grad_enabled()  # somebody wants gradients of the gradients
        return (
            (slope @ weight_OI if plain else _product(slope, weight_OI.T)) if of_inputs else None,
            weight_slope(slope_TO, inputs.flatten(0, -2)) if of_weight else None,
            slope_TO.sum(0) if of_bias else None,
        )
