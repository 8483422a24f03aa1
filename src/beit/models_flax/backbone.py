"""FlaxBeitBackbone: feature maps for the heads of other frameworks.

Legend: B batch, S = 1 + N tokens, D hidden; h w pixels, y x rows and columns of the patch grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from beit.config import BeitConfig, check_pyramid, check_stages
from beit.geometry import patch_grid
from beit.models_flax.embeddings import Embeddings
from beit.models_flax.encoder import Encoder
from beit.models_flax.feature_pyramid import as_map, feature_pyramid
from beit.models_flax.pretrained import FlaxBeitPreTrainedModel
from beit.outputs import FlaxBackboneOutput


class BackboneModule(nn.Module):
    """The BEiT encoder as a backbone, channels last."""

    config: BeitConfig
    dtype: Any = jnp.float32
    scan_layers: bool = False
    gradient_checkpointing: bool = False

    @nn.compact
    def __call__(
        self,
        pixels_BhwC: Array,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> FlaxBackboneOutput:
        """Return the feature maps of pictures (B, h, w, C)."""
        config, dtype, train = self.config, self.dtype, not deterministic
        own_grid = patch_grid(config.image_size, config.patch_size)
        tokens_BSD, grid = Embeddings.of(config, own_grid, dtype)(pixels_BhwC, None, train)
        encoder = Encoder(config, own_grid, dtype, self.scan_layers, self.gradient_checkpointing, name="encoder")
        encoded = encoder(tokens_BSD, grid, output_attentions, True, train)
        states: Any = encoded.hidden_states
        stages = zip(config.stage_names, states, strict=True)
        chosen = tuple(hidden_BSD for name, hidden_BSD in stages if name in config.out_features)
        if config.reshape_hidden_states:
            chosen = tuple(as_map(hidden_BSD, grid) for hidden_BSD in chosen)
            if config.add_fpn:
                chosen = feature_pyramid(chosen, config.batch_norm_eps, dtype, train)
            chosen = tuple(map_ByxD.transpose(0, 3, 1, 2) for map_ByxD in chosen)
        return FlaxBackboneOutput(
            feature_maps=chosen,
            hidden_states=states if output_hidden_states else None,
            attentions=encoded.attentions,
        )


class FlaxBeitBackbone(FlaxBeitPreTrainedModel):
    """The BEiT encoder as a backbone: the hidden states of the stages in `config.out_features`.

    With `add_fpn` it has a batch norm; see `FlaxBeitForSemanticSegmentation` for its running statistics.

    Raises:
        ConfigError: If a stage is not there, or `add_fpn` is set and there are not four, or they are not reshaped to
            maps.
    """

    module_class = BackboneModule

    @classmethod
    def check_config(cls, config: BeitConfig) -> None:
        """Refuse options that this model cannot have."""
        check_stages(config)
        check_pyramid(config)

    @property
    def stage_names(self) -> list[str]:
        """All stages: "stem" for the embeddings, then one per layer."""
        return self.config.stage_names

    @property
    def out_features(self) -> list[str]:
        """The stages that are returned."""
        return self.config.out_features

    @out_features.setter
    def out_features(self, value: Sequence[str] | None) -> None:
        self.config.out_features = value
        self._use(self.module.clone())  # a compiled call would go on with the stages before

    @property
    def out_indices(self) -> list[int]:
        """The stages that are returned, as indices into `stage_names`."""
        return self.config.out_indices

    @out_indices.setter
    def out_indices(self, value: Sequence[int] | None) -> None:
        self.config.out_indices = value
        self._use(self.module.clone())

    @property
    def num_features(self) -> list[int]:
        """Channels of every stage."""
        return [self.config.hidden_size] * (self.config.num_hidden_layers + 1)

    @property
    def channels(self) -> list[int]:
        """Channels of each returned map."""
        return [self.config.hidden_size] * len(self.config.out_features)

    def __call__(
        self,
        pixel_values: Any,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> FlaxBackboneOutput | tuple[Any, ...]:
        """Return the feature maps of the chosen stages, in the order of the layers.

        Args:
            pixel_values: (B, C, height, width), normalised; any size that the patch size divides.
            params: Use these parameters instead of the model's own.
            dropout_rng: The key that dropout and drop path are drawn from.
            train: Whether they are on, and the batch norm goes by the statistics of the batch.
            output_attentions: Also return attention maps; default: the config's.
            output_hidden_states: Also return all hidden states; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.

        Returns:
            feature_maps: (B, D, y, x) each, scaled by 4, 2, 1 and 1/2 with `add_fpn`; tokens (B, S, D) if
            `reshape_hidden_states` is off.

        Raises:
            ConfigError: If patches do not tile the pictures.
            CheckpointError: If `params` are not of this model.
        """
        output: FlaxBackboneOutput = self._run(
            pixel_values, {}, params, dropout_rng, train,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
        )  # fmt: skip
        return self._as_requested(output, return_dict)
