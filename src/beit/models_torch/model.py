"""BeitModel: the encoder, without a head for any task.

Legend: B batch, C channels, N patches, S = 1 + N tokens, D hidden, H heads, L layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.geometry import patch_grid
from beit.models_torch.embeddings import Embeddings
from beit.models_torch.encoder import Encoder
from beit.models_torch.pretrained import BeitPreTrainedModel
from beit.outputs import BeitModelOutputWithPooling


class Pooler(nn.Module):
    """One vector per image: the normalised mean of the patch tokens, or the [CLS] token."""

    def __init__(self, dim: int, eps: float, mean_pooling: bool) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(dim, eps=eps) if mean_pooling else None

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return (B, D) for tokens (B, S, D)."""
        if self.layernorm is None:
            return hidden_states[:, 0]
        return self.layernorm(hidden_states[:, 1:].mean(dim=1))


class BeitModel(BeitPreTrainedModel):
    """The BEiT encoder (arXiv 2106.08254, section 2).

    Args:
        config: All options.
        add_pooling_layer: Whether to return `pooler_output`.
    """

    def __init__(self, config: BeitConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        grid = patch_grid(config.image_size, config.patch_size)
        dim, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = Embeddings.of(config, grid)
        self.encoder = Encoder(config, grid)
        # with mean pooling the pooler normalises; without it, every token is normalised here
        self.layernorm = nn.Identity() if config.use_mean_pooling else nn.LayerNorm(dim, eps=eps)
        self.pooler = Pooler(dim, eps, config.use_mean_pooling) if add_pooling_layer else None
        self.initialise_weights()

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        head_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = True,
    ) -> BeitModelOutputWithPooling | tuple[Any, ...]:
        """Encode images.

        Args:
            pixel_values: (B, C, height, width), normalised; any size that the patch size divides.
            bool_masked_pos: (B, N); True = hidden from the model, replaced by the mask token.
            head_mask: (H,) or (L, H); 1 = keep the head.
            output_attentions: Also return attention maps; default: the config's.
            output_hidden_states: Also return all hidden states; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.
            interpolate_pos_encoding: Whether pictures of another size than the config's are accepted; positions are
                resampled for them.

        Returns:
            last_hidden_state (B, S, D), pooler_output (B, D), and what was asked for.

        Raises:
            ConfigError: If an argument has a shape that does not fit the model.
        """
        config = self.config
        tokens_BSD, grid = self.embeddings(pixel_values, bool_masked_pos, interpolate_pos_encoding)
        encoded = self.encoder(
            tokens_BSD,
            _per_layer(head_mask, config.num_hidden_layers, config.num_attention_heads, tokens_BSD),
            config.output_attentions if output_attentions is None else output_attentions,
            config.output_hidden_states if output_hidden_states is None else output_hidden_states,
            grid=grid,
        )
        tokens_BSD = self.layernorm(encoded.last_hidden_state)
        output = BeitModelOutputWithPooling(
            last_hidden_state=tokens_BSD,
            pooler_output=self.pooler(tokens_BSD) if self.pooler is not None else None,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.as_requested(output, return_dict)


def _per_layer(head_mask: Tensor | None, layers: int, heads: int, like: Tensor) -> Tensor | None:
    """Return a head mask as (L, H), in the type of the tokens."""
    if head_mask is None:
        return None
    if tuple(head_mask.shape) not in ((heads,), (layers, heads)):
        raise ConfigError(f"head_mask has shape {tuple(head_mask.shape)}; expected ({heads},) or ({layers}, {heads})")
    return torch.broadcast_to(head_mask.to(like), (layers, heads))
