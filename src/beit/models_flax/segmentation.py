"""FlaxBeitForSemanticSegmentation: a class for every pixel.

Legend: B batch, C channels, D hidden, K classes; h w pixels, y x rows and columns of a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from beit.config import BeitConfig, check_auxiliary_width, tapped_hidden_states
from beit.errors import ConfigError
from beit.geometry import Grid
from beit.models_flax.checks import check_pixels
from beit.models_flax.feature_pyramid import as_map, feature_pyramid
from beit.models_flax.labels import check_labels, mean_cross_entropy
from beit.models_flax.model import BeitModule
from beit.models_flax.pretrained import FlaxBeitPreTrainedModel
from beit.models_flax.upernet import FCNHead, UperHead, resized
from beit.outputs import FlaxSemanticSegmenterOutput

_BATCH_NORM_EPS = 1e-5  # of all batch norms in the published models


class SegmentationModule(nn.Module):
    """BEiT with UperNet on four of its layers (arXiv 2106.08254, section 3.2), channels last."""

    config: BeitConfig
    dtype: Any = jnp.float32
    scan_layers: bool = False
    gradient_checkpointing: bool = False

    @nn.compact
    def __call__(
        self,
        pixels_BhwC: Array,
        labels_Bhw: Array | None = None,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> FlaxSemanticSegmenterOutput:
        """Segment pictures (B, h, w, C)."""
        config, dtype, train = self.config, self.dtype, not deterministic
        encoder = BeitModule(config, dtype, self.scan_layers, self.gradient_checkpointing, False, name="beit")
        outputs: Any = encoder(pixels_BhwC, None, deterministic, output_attentions, True)
        (height, width), (p, q) = pixels_BhwC.shape[1:3], config.patch_hw
        states = outputs.hidden_states
        tapped = [as_map(states[tap], Grid(height // p, width // q)) for tap in tapped_hidden_states(config)]
        maps = feature_pyramid(tapped, _BATCH_NORM_EPS, dtype, train)
        logits_ByxK = UperHead(config.num_labels, config.pool_scales, dtype, name="decode_head")(maps, train)
        loss = None if labels_Bhw is None else self._loss(logits_ByxK, labels_Bhw)
        if config.use_auxiliary_head and (labels_Bhw is not None or self.is_initializing()):
            auxiliary_ByxK = self._auxiliary_head()(maps[2], train)
            if loss is not None:
                loss = loss + config.auxiliary_loss_weight * self._loss(auxiliary_ByxK, labels_Bhw)
        return FlaxSemanticSegmenterOutput(
            loss=loss,
            logits=logits_ByxK.transpose(0, 3, 1, 2),
            hidden_states=states if output_hidden_states else None,
            attentions=outputs.attentions,
        )

    def _auxiliary_head(self) -> FCNHead:
        config = self.config
        return FCNHead(
            config.auxiliary_channels,
            config.num_labels,
            config.auxiliary_num_convs,
            config.auxiliary_concat_input,
            self.dtype,
            name="auxiliary_head",
        )

    def _loss(self, logits_ByxK: Array, labels_Bhw: Any) -> Array:
        """Mean cross-entropy at the resolution of the labels; 0 if every pixel is ignored."""
        logits_BhwK = resized(logits_ByxK.astype(jnp.float32), labels_Bhw.shape[1:])
        return mean_cross_entropy(logits_BhwK, labels_Bhw, self.config.semantic_loss_ignore_index)


class FlaxBeitForSemanticSegmentation(FlaxBeitPreTrainedModel):
    """BEiT with UperNet on four of its layers, which the published Flax models never had.

    The batch norms of its heads have running statistics, which lie in `params` beside what is learned, as files have
    them. They are not trained: their gradient is 0, and an optimiser should leave them alone (`learned` marks the
    others). In training the output holds the new ones:

        output = model(pixel_values, labels, params=params, dropout_rng=key, train=True)
        params = model.with_batch_stats(params, output.batch_stats)

    Raises:
        ConfigError: If `out_indices` does not name four layers.
    """

    module_class = SegmentationModule

    @classmethod
    def check_config(cls, config: BeitConfig) -> None:
        """Refuse options that this model cannot have."""
        tapped_hidden_states(config)
        if config.use_auxiliary_head:
            check_auxiliary_width(config.hidden_size, config.auxiliary_channels, config.auxiliary_num_convs)

    def __call__(
        self,
        pixel_values: Any,
        labels: Any = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> FlaxSemanticSegmenterOutput | tuple[Any, ...]:
        """Segment images.

        Args:
            pixel_values: (B, C, h, w), normalised; any size that the patch size divides.
            labels: (B, h, w) class of every pixel, at the size of the picture or another, to which logits are then
                resized; `config.semantic_loss_ignore_index` has no loss.
            params: Use these parameters instead of the model's own.
            dropout_rng: The key that dropout and drop path are drawn from.
            train: Whether they are on, and batch norms go by the statistics of the batch.
            output_attentions: Also return attention maps; default: the config's.
            output_hidden_states: Also return all hidden states; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.

        Returns:
            loss (): cross-entropy over the pixels that have a label, plus the auxiliary head's; logits (B, K, 4 y, 4 x)
            for a patch grid of (y, x), which is a quarter of the picture for patches of 16 pixels; in training
            batch_stats.

        Raises:
            ConfigError: If an argument is missing or has a shape or value that does not fit.
            CheckpointError: If `params` are not of this model.
        """
        config = self.config
        if labels is not None:
            if config.num_labels < 2:
                raise ConfigError(f"num_labels is {config.num_labels}; a segmentation loss needs at least 2 classes")
            check_pixels(pixel_values, config)
            shape, (batch, _, *size) = tuple(np.shape(labels)), np.shape(pixel_values)
            expected = (batch, *(shape[1:] if len(shape) == 3 else size))
            check_labels(labels, expected, config.num_labels, config.semantic_loss_ignore_index)
        output: FlaxSemanticSegmenterOutput = self._run(
            pixel_values, {"labels_Bhw": labels}, params, dropout_rng, train,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
        )  # fmt: skip
        return self._as_requested(output, return_dict)
