"""Initialisation of every parameter, as one table.

| parameter                               | value                                         | source              |
|-----------------------------------------|-----------------------------------------------|---------------------|
| weights of linear and convolution layers| truncated normal, std `initializer_range`,    | original code       |
|                                         | cut at one standard deviation                 |                     |
| [CLS], mask token, absolute positions   | the same                                      | original code       |
| their biases                            | 0                                             | original code       |
| relative position bias tables           | 0                                             | original code       |
| layer norms, batch norms                | weight 1, bias 0; running mean 0, variance 1  | original code       |
| layer scale                             | `layer_scale_init_value`                      | paper, section 3.1  |
| attention output and second feed-forward| divided by sqrt(2 l) in layer l = 1, 2, ...   | paper, section 2.5  |
| classification head                     | weight and bias multiplied by 0.001           | original code       |

"original code" is `modeling_pretrain.py` and `modeling_finetune.py` of microsoft/unilm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from beit.models_torch.attention import RelativePositionBias, SelfAttention
from beit.models_torch.embeddings import Embeddings
from beit.models_torch.encoder import Encoder, EncoderLayer

CLASSIFIER_SCALE = 0.001
_WITHIN_ONE = math.erf(math.sqrt(0.5))  # share of a normal distribution within one standard deviation


def initialise(model: nn.Module, std: float) -> None:
    """Initialise every parameter below `model` from torch's global random generator."""
    drawn: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, SelfAttention):
            drawn.update(_initialise_projections(module, std))
        elif module not in drawn:
            initialise_module(module, std)
    for module in model.modules():
        if isinstance(module, Encoder):
            rescale_outputs(module.layer)


def _initialise_projections(attention: SelfAttention, std: float) -> tuple[nn.Module, ...]:
    """Draw the weights of queries, keys and values as one matrix, as the original code keeps them."""
    layers = (attention.query, attention.key, attention.value)
    size, dim = attention.query.weight.shape
    whole_ED = attention.query.weight.new_empty(len(layers) * size, dim)
    _truncated_normal(whole_ED, std)
    with torch.no_grad():
        for layer, weight_ED in zip(layers, whole_ED.chunk(len(layers)), strict=True):
            layer.weight.copy_(weight_ED)
        attention.query.bias.zero_()
        attention.value.bias.zero_()  # keys have none
    return layers


def initialise_module(module: nn.Module, std: float) -> None:
    """Initialise the parameters that one module holds itself."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        _truncated_normal(module.weight, std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, RelativePositionBias):
        nn.init.zeros_(module.relative_position_bias_table)
    elif isinstance(module, EncoderLayer):
        for parameter in (module.lambda_1, module.lambda_2):
            if parameter is not None:
                nn.init.constant_(parameter, module.layer_scale)
    elif isinstance(module, Embeddings):
        for parameter in (module.cls_token, module.mask_token, module.position_embeddings):
            if parameter is not None:
                _truncated_normal(parameter, std)


def shrink(classifier: nn.Module) -> None:
    """Scale a classification head down, so that it starts near zero."""
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.mul_(CLASSIFIER_SCALE)


@torch.no_grad()
def _truncated_normal(tensor: Tensor, std: float) -> None:
    """Draw from a normal distribution that is cut at one standard deviation, by its inverse distribution function.

    `nn.init.trunc_normal_` draws again until nothing lies outside, which takes twenty times as long: ten seconds for a
    base model.
    """
    drawn = torch.empty_like(tensor, dtype=torch.float32).uniform_(-_WITHIN_ONE, _WITHIN_ONE).erfinv_()
    tensor.copy_(drawn.mul_(math.sqrt(2) * std).clamp_(-std, std))


def rescale_outputs(layers: nn.ModuleList, first: int = 1) -> None:
    """Divide the output projections of layers l = first, first + 1, ... by sqrt(2 l)."""
    with torch.no_grad():
        for number, layer in enumerate(layers, start=first):
            layer.get_parameter("attention.output.dense.weight").div_((2 * number) ** 0.5)
            layer.get_parameter("output.dense.weight").div_((2 * number) ** 0.5)
