"""Linear layers, alone and fused with GELU, by the faster of the two libraries that PyTorch has on a CPU.

In float32 PyTorch multiplies matrices with MKL. oneDNN, which it brings for convolutions, is as exact and 10 to 25 %
faster at the products of a transformer where the processor is not Intel's (benchmarks/pretrain_step.py).

Legend: I inputs, O outputs, T tokens, E hidden of the feed-forward network, D hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.models_torch.kernels.choice import eager_float32, is_plain
from beit.models_torch.kernels.gradients import plain_gradients

_LEAST_PRODUCTS = 2**22  # multiplications from which oneDNN's preparations no longer show
_LEAST_WEIGHTS = 2**18  # the same where the number of tokens is open; they are hundreds
_HAS_ONEDNN = torch.backends.mkldnn.is_available()


def linear(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return layer(inputs): (..., I) to (..., O)."""
    return product(inputs, layer.weight, layer.bias) if is_plain(layer, nn.Linear) else layer(inputs)


def linear_gelu(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return gelu(layer(inputs)): (..., I) to (..., O)."""
    if is_plain(layer, nn.Linear):
        return gelu_of_product(inputs, layer.weight, layer.bias)
    return functional.gelu(layer(inputs))


def gelu_linear(layer: nn.Module, hidden_BSE: Tensor) -> Tensor:
    """Return layer(gelu(hidden)): (B, S, E) to (B, S, D).

    Autograd keeps the activations of a feed-forward network twice, before and after GELU; this keeps `hidden` alone.
    """
    if is_plain(layer, nn.Linear) and recomputes_gelu(layer, hidden_BSE):
        return product_of_gelu(hidden_BSE, layer.weight, layer.bias)
    return linear(layer, functional.gelu(hidden_BSE))


def recomputes_gelu(layer: nn.Module, inputs: Tensor) -> bool:
    """Return whether `gelu_linear` of such inputs keeps less for the backward pass."""
    if not torch.is_grad_enabled() or not is_plain(layer, nn.Linear):
        return False
    return eager_float32(inputs, layer.weight, layer.bias)


def product(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return inputs (..., I) times weight plus bias, (..., O), as `torch.nn.functional.linear` does."""
    if torch.compiler.is_compiling() and _suits_compiled(inputs, weight_OI, bias_O):
        return _compiled_product(inputs, weight_OI, bias_O, gelu=False)
    if not _suits(inputs, weight_OI, bias_O):
        return functional.linear(inputs, weight_OI, bias_O)
    if torch.is_grad_enabled():
        result: Any = _Product.apply(inputs, weight_OI, bias_O)
        return result
    return _onednn(inputs, weight_OI, bias_O)


def gelu_of_product(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return gelu(product(inputs)), (..., O); oneDNN computes both in one pass where no gradient is wanted."""
    if torch.compiler.is_compiling() and _suits_compiled(inputs, weight_OI, bias_O):
        return _compiled_product(inputs, weight_OI, bias_O, gelu=True)
    if torch.is_grad_enabled() or not _suits(inputs, weight_OI, bias_O):
        return functional.gelu(product(inputs, weight_OI, bias_O))
    return _onednn(inputs, weight_OI, bias_O, gelu=True)


def product_of_gelu(hidden_BSE: Tensor, weight_DE: Tensor, bias_D: Tensor | None = None) -> Tensor:
    """Return product(gelu(hidden)), (B, S, D), with a backward pass that computes GELU again."""
    result: Any = _ProductOfGelu.apply(hidden_BSE, weight_DE, bias_D)
    return result


def weight_gradient(grad_TO: Tensor, inputs_TI: Tensor) -> Tensor:
    """Return the gradient (O, I) of the weight from that of the outputs (T, O) and the inputs (T, I).

    oneDNN is faster at results that are wider than high, so the other kind is computed transposed; at square ones MKL
    is as fast.
    """
    outputs, inputs = grad_TO.shape[1], inputs_TI.shape[1]
    if torch.is_grad_enabled() or outputs == inputs or not _suits(grad_TO.T, inputs_TI.T, None):
        return grad_TO.T @ inputs_TI
    if outputs < inputs:
        return _onednn(grad_TO.T, inputs_TI.T)
    return _onednn(inputs_TI.T, grad_TO.T).T


def _suits(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> bool:
    """Return whether oneDNN is available and faster at this product."""
    return (
        eager_float32(inputs, weight_OI, bias_O)  # first: what follows would stop a compiler
        and inputs.device.type == "cpu"
        and _HAS_ONEDNN
        and torch.backends.mkldnn.enabled
        and inputs.dim() > 1
        and inputs.numel() * weight_OI.shape[0] >= _LEAST_PRODUCTS
    )


def _suits_compiled(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> bool:
    """Return whether oneDNN is faster in a compiled program, whose number of tokens may be open.

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
    """Return `_onednn` as one operation that compilers keep: their own form of it wants constant weights."""
    return _onednn(inputs, weight_OI, bias_O, gelu)


@_compiled_product.register_fake
def _(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None, gelu: bool) -> Tensor:
    return inputs.new_empty((*inputs.shape[:-1], weight_OI.shape[0]))


def _onednn(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, gelu: bool = False) -> Tensor:
    """Return inputs (..., I) times weight plus bias, (..., O), or the GELU of that, without a gradient."""
    then, formula = ("gelu", "none") if gelu else ("none", "")  # GELU by the error function
    return torch.ops.mkldnn._linear_pointwise(inputs, weight_OI, bias_O, then, [], formula)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight_OI)
        return _onednn(inputs, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (inputs, weight_OI), grad = ctx.saved_tensors, grads[0]
        of_inputs, of_weight, of_bias = ctx.needs_input_grad
        grad_TO = grad.flatten(0, -2)
        plain = torch.is_grad_enabled()  # a double backward was asked for
        return (
            (grad @ weight_OI if plain else _onednn(grad, weight_OI.T)) if of_inputs else None,
            weight_gradient(grad_TO, inputs.flatten(0, -2)) if of_weight else None,
            grad_TO.sum(0) if of_bias else None,
        )


class _ProductOfGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_BSE: Tensor, weight_DE: Tensor, bias_D: Tensor | None) -> Tensor:
        ctx.save_for_backward(hidden_BSE, weight_DE, bias_D)
        return product(functional.gelu(hidden_BSE), weight_DE, bias_D)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        hidden_BSE, weight_DE, _ = ctx.saved_tensors
        if torch.is_grad_enabled():
            return plain_gradients(_plain_product_of_gelu, ctx.saved_tensors, ctx.needs_input_grad, grads[0])
        of_hidden, of_weight, of_bias = ctx.needs_input_grad
        grad_TD = grads[0].flatten(0, -2)
        grad_BSE: Tensor | None = None
        if of_hidden:
            grad_BSE = product(grads[0], weight_DE.T)
            torch.ops.aten.gelu_backward.grad_input(grad_BSE, hidden_BSE, grad_input=grad_BSE)
        return (
            grad_BSE,
            weight_gradient(grad_TD, functional.gelu(hidden_BSE).flatten(0, -2)) if of_weight else None,
            grad_TD.sum(0) if of_bias else None,
        )


def _plain_product_of_gelu(hidden_BSE: Tensor, weight_DE: Tensor, bias_D: Tensor | None) -> Tensor:
    return functional.linear(functional.gelu(hidden_BSE), weight_DE, bias_D)
