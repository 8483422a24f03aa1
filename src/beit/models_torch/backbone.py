"""BeitBackbone: feature maps for the heads of other frameworks.

Legend: B batch, S = 1 + N tokens, D hidden; y x rows and columns of the patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from beit.config import BeitConfig, check_pyramid, check_stages
from beit.geometry import patch_grid
from beit.models_torch.embeddings import Embeddings
from beit.models_torch.encoder import Encoder
from beit.models_torch.feature_pyramid import as_map, feature_pyramid
from beit.models_torch.pretrained import BeitPreTrainedModel
from beit.outputs import BackboneOutput


class BeitBackbone(BeitPreTrainedModel):
    """The BEiT encoder as a backbone: the hidden states of the stages in `config.out_features`.

    Raises:
        ConfigError: If a stage is not there, or `add_fpn` is set and there are not four, or they are not reshaped to
            maps.
    """

    backbone_type: ClassVar[str] = "transformers"  # whose interface it has, rather than timm's

    def __init__(self, config: BeitConfig) -> None:
        super().__init__(config)
        check_stages(config)
        check_pyramid(config)
        grid = patch_grid(config.image_size, config.patch_size)
        self.num_features = [config.hidden_size] * (config.num_hidden_layers + 1)
        self.embeddings = Embeddings.of(config, grid)
        self.encoder = Encoder(config, grid)
        if config.add_fpn:
            self.fpn1, self.fpn2, self.fpn3, self.fpn4 = feature_pyramid(config.hidden_size, config.batch_norm_eps)
        self.initialise_weights()

    @property
    def stage_names(self) -> list[str]:
        """All stages: "stem" for the embeddings, then one per layer."""
        return self.config.stage_names

    @property
    def out_features(self) -> list[str]:
        """The stages that are returned; they and `out_indices` are aligned with one another when one is set."""
        return self.config.out_features

    @out_features.setter
    def out_features(self, value: Sequence[str] | None) -> None:
        self.config.out_features = value

    @property
    def out_indices(self) -> list[int]:
        """The stages that are returned, as indices into `stage_names`."""
        return self.config.out_indices

    @out_indices.setter
    def out_indices(self, value: Sequence[int] | None) -> None:
        self.config.out_indices = value

    @property
    def out_feature_channels(self) -> dict[str, int]:
        """Channels of every stage, returned or not."""
        return dict(zip(self.stage_names, self.num_features, strict=True))

    def forward_with_filtered_kwargs(self, *args: Any, **kwargs: Any) -> BackboneOutput | tuple[Any, ...]:
        """Return the call itself: it takes every argument of the published backbones."""
        return self(*args, **kwargs)

    @property
    def channels(self) -> list[int]:
        """Channels of each returned map."""
        return [self.config.hidden_size] * len(self.config.out_features)

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = True,
    ) -> BackboneOutput | tuple[Any, ...]:
        """Return the feature maps of the chosen stages, in the order of the layers.

        Args:
            pixel_values: (B, C, height, width), normalised; any size that the patch size divides.
            output_hidden_states: Also return all hidden states; default: the config's.
            output_attentions: Also return attention maps; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.
            interpolate_pos_encoding: Whether pictures of another size than the config's are accepted.

        Returns:
            feature_maps: (B, D, y, x) each, scaled by 4, 2, 1 and 1/2 with `add_fpn`; tokens (B, S, D) if
            `reshape_hidden_states` is off.

        Raises:
            ConfigError: If patches do not tile the pictures.
        """
        config = self.config
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        tokens_BSD, grid = self.embeddings(pixel_values, None, interpolate_pos_encoding)
        maps = config.output_attentions if output_attentions is None else output_attentions
        encoded = self.encoder(tokens_BSD, None, maps, output_hidden_states=True, grid=grid)
        chosen = [
            hidden_BSD
            for name, hidden_BSD in zip(self.stage_names, encoded.hidden_states, strict=True)
            if name in config.out_features
        ]
        if config.reshape_hidden_states:
            chosen = [as_map(hidden_BSD, tuple(grid)) for hidden_BSD in chosen]
        if config.add_fpn:
            pyramid = (self.fpn1, self.fpn2, self.fpn3, self.fpn4)
            chosen = [scale(stage) for scale, stage in zip(pyramid, chosen, strict=True)]
        output = BackboneOutput(
            feature_maps=tuple(chosen),
            hidden_states=encoded.hidden_states if wanted else None,
            attentions=encoded.attentions,
        )
        return self.as_requested(output, return_dict)
