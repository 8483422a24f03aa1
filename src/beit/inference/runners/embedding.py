"""Embeddings of pictures: the pooled features of a model.

Legend: B batch, C channels, S = 1 + N tokens, D hidden; h w pixels.
"""

from __future__ import annotations

from torch import Tensor

from beit.models_torch import BeitBackbone, BeitForMaskedImageModeling, BeitPreTrainedModel


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
