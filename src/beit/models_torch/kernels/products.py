"""Products of matrices on a CPU in float32, each by the fastest library that PyTorch has there: MKL or oneDNN.

Legend: T tokens, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from beit.models_torch.kernels.choice import suits_onednn
from beit.models_torch.kernels.fastest import FASTEST, Ways

_MOST_ROWS = 1024  # that are timed: more take longer, and the same way


def onednn(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None, gelu: bool = False) -> Tensor:
    """Return inputs (..., I) times weight plus bias, (..., O), or the GELU of that, without a gradient."""
    then, formula = ("gelu", "none") if gelu else ("none", "")  # GELU by the error function
    return torch.ops.mkldnn._linear_pointwise(inputs, weight_OI, bias_O, then, [], formula)


def _linear(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    return functional.linear(inputs, weight_OI, bias_O)


def _gelu(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    return torch.ops.aten.gelu_(functional.linear(inputs, weight_OI, bias_O))  # in place: a second result takes longer


def _gelu_by_onednn(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    return onednn(inputs, weight_OI, bias_O, gelu=True)


def _input_gradient(grad: Tensor, weight_OI: Tensor) -> Tensor:
    return grad @ weight_OI


def _input_gradient_by_onednn(grad: Tensor, weight_OI: Tensor) -> Tensor:
    return onednn(grad, weight_OI.T)


def _weight_gradient(grad_TO: Tensor, inputs_TI: Tensor) -> Tensor:
    return grad_TO.T @ inputs_TI


def _weight_gradient_by_onednn(grad_TO: Tensor, inputs_TI: Tensor) -> Tensor:
    return onednn(grad_TO.T, inputs_TI.T)


def _transposed_weight_gradient_by_onednn(grad_TO: Tensor, inputs_TI: Tensor) -> Tensor:
    return onednn(inputs_TI.T, grad_TO.T).T  # it prefers results that are wider than high


_OUTPUTS: Ways = {"torch": _linear, "onednn": onednn}
_GELU: Ways = {"torch": _gelu, "onednn": _gelu_by_onednn}
_INPUT_GRADIENT: Ways = {"torch": _input_gradient, "onednn": _input_gradient_by_onednn}
_WEIGHT_GRADIENT: Ways = {
    "torch": _weight_gradient,
    "onednn": _weight_gradient_by_onednn,
    "onednn transposed": _transposed_weight_gradient_by_onednn,
}


def outputs(inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None, gelu: bool = False) -> Tensor:
    """Return inputs (..., I) times weight plus bias, (..., O), or the GELU of that."""
    ways = _GELU if gelu else _OUTPUTS
    name = "linear and GELU" if gelu else "linear"
    way = _fastest(name, ways, _rows(inputs), *weight_OI.shape, with_bias=bias_O is not None)
    return way(inputs, weight_OI, bias_O)


def input_gradient(grad: Tensor, weight_OI: Tensor) -> Tensor:
    """Return the gradient (..., I) of the inputs from that of the outputs (..., O)."""
    if torch.is_grad_enabled() or not suits_onednn(grad, weight_OI.T, None):  # a double backward was asked for
        return grad @ weight_OI
    return _fastest("gradient of inputs", _INPUT_GRADIENT, _rows(grad), *weight_OI.shape)(grad, weight_OI)


def weight_gradient(grad_TO: Tensor, inputs_TI: Tensor) -> Tensor:
    """Return the gradient (O, I) of the weight from that of the outputs (T, O) and the inputs (T, I)."""
    if torch.is_grad_enabled() or not suits_onednn(grad_TO.T, inputs_TI.T, None):
        return grad_TO.T @ inputs_TI
    rows, high, wide = len(grad_TO), grad_TO.shape[1], inputs_TI.shape[1]
    return _fastest("gradient of weights", _WEIGHT_GRADIENT, rows, high, wide)(grad_TO, inputs_TI)


def _rows(inputs: Tensor) -> int:
    return inputs.numel() // inputs.shape[-1]


def _fastest(kind: str, ways: Ways, rows: int, high: int, wide: int, *, with_bias: bool = False) -> Any:
    """Return the way that is fastest for this kind of product, number of rows (to a power of two) and weight.

    A bias counts: MKL adds to what stands in the result, so that PyTorch writes the bias there in a pass before.
    """
    rows = min(1 << (rows - 1).bit_length(), _MOST_ROWS)

    def operands() -> list[Tensor | None]:
        shapes = ((rows, high), (rows, wide), (high, wide))
        grad_TO, inputs_TI, weight_OI = (torch.full(shape, 0.01) for shape in shapes)
        if ways is _INPUT_GRADIENT:
            return [grad_TO, weight_OI]
        if ways is _WEIGHT_GRADIENT:
            return [grad_TO, inputs_TI]
        return [inputs_TI, weight_OI, torch.full((high,), 0.01) if with_bias else None]

    bias = ", with a bias" if with_bias else ""
    return ways[FASTEST.way(f"{kind} {rows} x {wide} -> {high}{bias}", ways, operands)]
