"""Patch aggregation: the second pre-training head of BEiT v2, which trains [CLS] to summarise the picture.

Legend: B batch, C channels, N patches, M masked patches of the batch, S = 1 + N tokens, D hidden, V codebook size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.models_torch.encoder import EncoderLayer
from beit.models_torch.initialisation import initialise, rescale_outputs
from beit.models_torch.masked_image_modeling import BeitForMaskedImageModeling, chosen_patches


class PatchAggregation(nn.Module):
    """Second head: layers on the patches of an early layer and the [CLS] of the last one, with the same targets.

    What the early patches lack has to come through [CLS]. The prediction shares norm and head with the model, and the
    layers are thrown away after pre-training.

    Args:
        model: The model that is pre-trained.
        early_layer: Layer l whose patches are seen, 1 to the model's depth.
        layers: Layers of the head.

    Raises:
        ConfigError: If the model has no such layer.

    Source: arXiv 2208.06366, section 2.3; `cls_pt_layers` in microsoft/unilm `beit2/modeling_pretrain.py`.
    """

    def __init__(self, model: BeitForMaskedImageModeling, early_layer: int, layers: int = 2) -> None:
        super().__init__()
        config = model.config
        depth = config.num_hidden_layers
        if not 1 <= early_layer <= depth:
            raise ConfigError(f"early_layer is {early_layer}; expected 1 to {depth}, a layer of the model")
        if layers < 1:
            raise ConfigError(f"patch aggregation has {layers} layers; expected at least 1")
        self.early_layer = early_layer
        rates = torch.linspace(0, config.drop_path_rate, max(depth, early_layer + layers), device="cpu").tolist()
        grid = model.beit.embeddings.grid
        self.layers = nn.ModuleList(
            EncoderLayer(config, grid, rate) for rate in rates[early_layer : early_layer + layers]
        )
        initialise(self, config.initializer_range)
        rescale_outputs(self.layers, first=early_layer + 1)

    def forward(
        self,
        model: BeitForMaskedImageModeling,
        pixel_values: Tensor,
        bool_masked_pos: Tensor,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of masked patches, (M, V) each: the model's own, and those of the aggregated patches.

        Args:
            model: The model that is pre-trained.
            pixel_values: (B, C, height, width), normalised.
            bool_masked_pos: (B, N); True = hidden from the model.
            places: (B, m), the patches to predict; default: the masked ones.
        """
        encoder = model.beit.encoder
        tokens_BSD, grid = model.beit.embeddings(pixel_values, bool_masked_pos)
        encoded = encoder(tokens_BSD, output_hidden_states=True, grid=grid)
        last_BSD, early_BSD = encoded.last_hidden_state, encoded.hidden_states[self.early_layer]
        aggregated_BSD = torch.cat((last_BSD[:, :1], early_BSD[:, 1:]), dim=1)
        positions, shared_bias_1HSS = encoder.relative_positions(grid, tokens_BSD.device)
        for layer in self.layers:
            aggregated_BSD, _ = layer(aggregated_BSD, None, False, shared_bias_1HSS, positions)
        logits_MV, aggregated_MV = (
            model.token_logits(chosen_patches(model.beit.layernorm(tokens_BSD), bool_masked_pos, places))
            for tokens_BSD in (last_BSD, aggregated_BSD)
        )
        return logits_MV, aggregated_MV
