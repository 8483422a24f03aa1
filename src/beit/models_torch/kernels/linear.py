"""Linear layers, alone and fused with GELU, and the scaled sum of a residual branch, with backward passes of their own.

Legend: B batch, S = 1 + N tokens, T tokens of all pictures, I inputs, O outputs, E hidden of the feed-forward network,
D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.models_torch.kernels.choice import (
    HAS_ONEDNN,
    autocasts,
    eager,
    eager_float32,
    is_plain,
    plain_gradients,
    suits_onednn,
)
from beit.models_torch.kernels.products import input_gradient, outputs, weight_gradient

_LEAST_WEIGHTS = 2**18  # of a compiled product of an open number of tokens; they are hundreds
_LEAST_RECOMPUTED = 512  # outputs: below, GELU takes as long as a tenth of the products around it, and keeps little


def linear(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return layer(inputs): (..., I) to (..., O)."""
    return product(inputs, layer.weight, layer.bias) if is_plain(layer, nn.Linear) else layer(inputs)


def linear_each(layers: Sequence[nn.Module], inputs: Tensor) -> list[Tensor]:
    """Return layer(inputs) for each layer; under autocast the inputs are cast once for all of them."""
    cast = inputs.dtype == torch.float32 and autocasts(inputs.device) and eager(inputs)
    if cast and all(is_plain(layer, nn.Linear) for layer in layers):
        inputs = inputs.to(torch.get_autocast_dtype(inputs.device.type))
    return [linear(layer, inputs) for layer in layers]


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
    """Return whether `gelu_linear` of such inputs keeps less for the backward pass, and takes a little longer."""
    if not torch.is_grad_enabled() or not is_plain(layer, nn.Linear) or layer.out_features < _LEAST_RECOMPUTED:
        return False
    return eager_float32(inputs, layer.weight, layer.bias)


def add_scaled(tokens_BSD: Tensor, branch_BSD: Tensor, factor: Tensor) -> Tensor:
    """Return tokens + branch * factor, (B, S, D).

    Args:
        tokens_BSD: The residual stream.
        branch_BSD: What is added, of any floating type.
        factor: Of each channel (D), or of each channel of a sample (B, 1, D).
    """
    if torch.is_grad_enabled() and eager(tokens_BSD, branch_BSD, factor):
        result: Any = _AddScaled.apply(tokens_BSD, branch_BSD, factor)
        return result
    return torch.addcmul(tokens_BSD, branch_BSD, factor)


def product(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return inputs (..., I) times weight plus bias, (..., O), as `torch.nn.functional.linear` does."""
    if torch.compiler.is_compiling() and _suits_compiled(inputs, weight_OI, bias_O):
        return _compiled_product(inputs, weight_OI, bias_O, gelu=False)
    if not suits_onednn(inputs, weight_OI, bias_O):
        return functional.linear(inputs, weight_OI, bias_O)
    if torch.is_grad_enabled():
        result: Any = _Product.apply(inputs, weight_OI, bias_O)
        return result
    return outputs(inputs, weight_OI, bias_O)


def gelu_of_product(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Return gelu(product(inputs)), (..., O); oneDNN computes both in one pass where no gradient is wanted."""
    if torch.compiler.is_compiling() and _suits_compiled(inputs, weight_OI, bias_O):
        return _compiled_product(inputs, weight_OI, bias_O, gelu=True)
    if torch.is_grad_enabled() or not suits_onednn(inputs, weight_OI, bias_O):
        return functional.gelu(product(inputs, weight_OI, bias_O))
    return outputs(inputs, weight_OI, bias_O, gelu=True)


def product_of_gelu(hidden_BSE: Tensor, weight_DE: Tensor, bias_D: Tensor | None = None) -> Tensor:
    """Return product(gelu(hidden)), (B, S, D), with a backward pass that computes GELU again."""
    result: Any = _ProductOfGelu.apply(hidden_BSE, weight_DE, bias_D)
    return result


def _suits_compiled(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> bool:
    """Return whether a compiled program, whose number of tokens may be open, shall choose the library.

    Exported ones hold PyTorch's operations alone.
    """
    return (
        not torch.compiler.is_exporting()
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore
        and HAS_ONEDNN
        and inputs.device.type == "cpu"
        and all(tensor.dtype == torch.float32 for tensor in (inputs, weight_OI, bias_O) if tensor is not None)
        and type(weight_OI) in (Tensor, nn.Parameter)
        and weight_OI.numel() >= _LEAST_WEIGHTS
    )


@torch.library.custom_op("beit::linear", mutates_args=())
def _compiled_product(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None, gelu: bool) -> Tensor:
    """Return `outputs` as one operation that compilers keep: their own form of oneDNN wants constant weights."""
    return outputs(inputs, weight_OI, bias_O, gelu)


@_compiled_product.register_fake
def _(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None, gelu: bool) -> Tensor:
    return inputs.new_empty((*inputs.shape[:-1], weight_OI.shape[0]))


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight_OI)
        return outputs(inputs, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (inputs, weight_OI), grad = ctx.saved_tensors, grads[0]
        of_inputs, of_weight, of_bias = ctx.needs_input_grad
        grad_TO = grad.flatten(0, -2)
        return (
            input_gradient(grad, weight_OI) if of_inputs else None,
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
            grad_BSE = input_gradient(grads[0], weight_DE)
            torch.ops.aten.gelu_backward.grad_input(grad_BSE, hidden_BSE, grad_input=grad_BSE)
        return (
            grad_BSE,
            weight_gradient(grad_TD, functional.gelu(hidden_BSE).flatten(0, -2)) if of_weight else None,
            grad_TD.sum(0) if of_bias else None,
        )


def _plain_product_of_gelu(hidden_BSE: Tensor, weight_DE: Tensor, bias_D: Tensor | None) -> Tensor:
    return functional.linear(functional.gelu(hidden_BSE), weight_DE, bias_D)


class _AddScaled(torch.autograd.Function):
    """Autograd's own backward pass of addcmul multiplies the branch by 1, a pass more."""

    @staticmethod
    def forward(ctx: Any, tokens_BSD: Tensor, branch_BSD: Tensor, factor: Tensor) -> Tensor:
        ctx.dtype = tokens_BSD.dtype
        ctx.save_for_backward(branch_BSD, factor)
        return torch.addcmul(tokens_BSD, branch_BSD, factor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (branch_BSD, factor), grad_BSD = ctx.saved_tensors, grads[0]
        of_tokens, of_branch, of_factor = ctx.needs_input_grad
        return (
            grad_BSD.to(ctx.dtype) if of_tokens else None,
            (grad_BSD * factor).to(branch_BSD.dtype) if of_branch else None,
            (grad_BSD * branch_BSD).sum_to_size(factor.shape).to(factor.dtype) if of_factor else None,
        )
