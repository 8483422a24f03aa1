"""Kernels for attention, linear layers and convolutions, chosen by device, type and gradient mode.

| kernel        | computes                         | ways, and when each is taken                                     |
|---------------|----------------------------------|------------------------------------------------------------------|
| `attention`   | softmax(q k' / sqrt(d) + bias) v | explicit where maps or a head mask are asked for; in training on |
|               |                                  | a CPU by head or fused, on a GPU with many tokens with the bias  |
|               |                                  | read from its table or fused, as `FASTEST` timed them; fused     |
| `pair_bias`   | a bias for every pair of tokens  | with a gradient added up offset by offset on a CPU               |
| `linear`      | layer(x)                         | in float32 on a CPU by MKL or oneDNN, as `FASTEST` timed them;   |
|               |                                  | PyTorch's product elsewhere                                      |
| `linear_each` | layers' products of the same x   | each by `linear`; under autocast x is cast once for all          |
| `linear_gelu` | gelu(layer(x))                   | in one pass of oneDNN without gradients                          |
| `gelu_linear` | layer(gelu(x))                   | with a backward pass that keeps x alone                          |
| `add_scaled`  | x + branch * factor              | in one pass                                                      |
| `merge_maps`  | conv(cat(enlarged maps))         | without building the enlarged maps                               |
| `norm_relu`   | relu(norm(x))                    | in place                                                         |
| `resize`      | interpolate(map)                 | by two products off the CPU                                      |
| `average_pool`| adaptive_avg_pool2d(map)         | by two products off the CPU                                      |

All ways give the same numbers. A module that is hooked, wrapped, parametrised or replaced is called as it is
(`is_plain`); compilers, exporters, autocast, tensor subclasses and meta tensors get PyTorch's own operations.
"""

from beit.models_torch.kernels.attention import attention, pair_bias
from beit.models_torch.kernels.choice import autocasts, eager, is_plain, is_untouched, without_autocast
from beit.models_torch.kernels.convolution import average_pool, merge_maps, norm_relu, resize
from beit.models_torch.kernels.fastest import FASTEST
from beit.models_torch.kernels.linear import (
    add_scaled,
    gelu_linear,
    linear,
    linear_each,
    linear_gelu,
    product,
    recomputes_gelu,
)
from beit.models_torch.kernels.table_attention import TableBias, reads_table

__all__ = [
    "FASTEST",
    "TableBias",
    "add_scaled",
    "attention",
    "autocasts",
    "average_pool",
    "eager",
    "gelu_linear",
    "is_plain",
    "is_untouched",
    "linear",
    "linear_each",
    "linear_gelu",
    "merge_maps",
    "norm_relu",
    "pair_bias",
    "product",
    "reads_table",
    "recomputes_gelu",
    "resize",
    "without_autocast",
]
