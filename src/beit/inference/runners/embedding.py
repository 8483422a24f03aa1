"""Embeddings of pictures: what the head of a model reads, or the hidden states of any layer.

Legend: B batch, C channels, N patches, S = 1 + N tokens, D hidden, H heads; h w pixels, y x patches.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from beit.errors import ConfigError
from beit.geometry import Grid, patch_grid
from beit.models_torch import (
    BeitBackbone,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    BeitPreTrainedModel,
)


def pooled_features(model: BeitPreTrainedModel, pixels_BChw: Tensor) -> Tensor:
    """Return one vector per picture, (B, D).

    The pooled features that a classifier sees; of models without a pooler the mean over the patches of the last layer,
    normalised where the model does so before its head.
    """
    asked = {"output_hidden_states": True} if isinstance(model, BeitBackbone) else {}  # it returns no last one
    outputs = model.base_model(pixels_BChw, return_dict=True, **asked)
    pooled_BD = getattr(outputs, "pooler_output", None)
    if pooled_BD is not None:
        return pooled_BD
    tokens_BSD = outputs.last_hidden_state if "last_hidden_state" in outputs else outputs.hidden_states[-1]
    if isinstance(model, BeitForMaskedImageModeling):
        tokens_BSD = model.layernorm(tokens_BSD)
    return tokens_BSD[:, 1:].mean(dim=1)


def layer_features(
    model: BeitPreTrainedModel, pixels_BChw: Tensor, layers: Sequence[int], pooling: str
) -> list[Tensor]:
    """Return features of some layers in float32, each (B, D), or (B, y, x, D) with the pooling "none".

    They are hidden states as `output_hidden_states` returns them, not normalised: what the quality monitor of a
    pre-training and the benchmark of frozen features measure.

    Args:
        model: The model.
        pixels_BChw: Normalised pictures of any size that patches tile.
        layers: Counted from 1, as in `hidden_states`.
        pooling: "mean", "cls", "attentive" or "none".

    Raises:
        ConfigError: If the [CLS] token is asked for that nothing in the model reads.
    """
    if pooling == "cls":
        _check_cls(model, layers)
    weighted = {"output_attentions": True} if pooling == "attentive" else {}
    outputs = model.base_model(pixels_BChw, return_dict=True, output_hidden_states=True, **weighted)
    grid = patch_grid(tuple(pixels_BChw.shape[2:]), model.config.patch_size)
    found: list[Tensor] = []
    for layer in layers:
        tokens_BSD = outputs.hidden_states[layer].float()
        if pooling == "attentive":
            found.append(_attended(tokens_BSD, outputs.attentions[layer - 1]))
        else:
            found.append(_pooled(tokens_BSD, pooling, grid))
    return found


def _pooled(tokens_BSD: Tensor, pooling: str, grid: Grid) -> Tensor:
    """Return [CLS] (B, D), the mean of the patches (B, D), or all of them (B, y, x, D)."""
    if pooling == "cls":
        return tokens_BSD[:, 0]
    patches_BND = tokens_BSD[:, 1:]
    return patches_BND.mean(dim=1) if pooling == "mean" else patches_BND.unflatten(1, tuple(grid))


def _attended(tokens_BSD: Tensor, maps_BHSS: Tensor) -> Tensor:
    """Return the mean of the patches, weighted by the attention that [CLS] pays them, a mean over the heads (B, D)."""
    weights_BN = maps_BHSS.float().mean(dim=1)[:, 0, 1:]
    weights_BN = weights_BN / weights_BN.sum(dim=1, keepdim=True)  # the rest is for [CLS] itself
    return (weights_BN.unsqueeze(-1) * tokens_BSD[:, 1:]).sum(dim=1)


def _check_cls(model: BeitPreTrainedModel, layers: Sequence[int]) -> None:
    """Refuse the last [CLS] token of a model whose head reads patches: no loss has ever reached it."""
    classifier = isinstance(model, BeitForImageClassification) and model.config.use_mean_pooling
    if model.config.num_hidden_layers in layers and (classifier or isinstance(model, BeitForSemanticSegmentation)):
        raise ConfigError(
            f"pooling is 'cls' in the last layer, and the head of this {type(model).__name__} reads the patches, so "
            "that no loss ever reached that token; expected mean, attentive or none there: or name an earlier layer"
        )
