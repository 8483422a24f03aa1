"""BeitForSemanticSegmentation: a class for every pixel.

Legend: B batch, C channels, D hidden, K classes; h w pixels, y x rows and columns of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from beit.config import BeitConfig, tapped_hidden_states
from beit.errors import ConfigError
from beit.models_torch import kernels
from beit.models_torch.feature_pyramid import as_map, feature_pyramid
from beit.models_torch.labels import check_label_shape, class_labels, mean_cross_entropy
from beit.models_torch.model import BeitModel
from beit.models_torch.pretrained import BeitPreTrainedModel
from beit.models_torch.upernet import FCNHead, UperHead
from beit.outputs import SemanticSegmenterOutput


class BeitForSemanticSegmentation(BeitPreTrainedModel):
    """BEiT with UperNet on four of its layers (arXiv 2106.08254, section 3.2).

    Raises:
        ConfigError: If `out_indices` does not name four layers.
    """

    def __init__(self, config: BeitConfig) -> None:
        super().__init__(config)
        tapped_hidden_states(config)  # which refuses what cannot work
        dim, classes = config.hidden_size, config.num_labels
        self.beit = BeitModel(config, add_pooling_layer=False)
        self.fpn1, self.fpn2, self.fpn3, self.fpn4 = feature_pyramid(dim)
        self.decode_head = UperHead(dim, classes, config.pool_scales)
        self.auxiliary_head = (
            FCNHead(
                dim,
                config.auxiliary_channels,
                classes,
                config.auxiliary_num_convs,
                config.auxiliary_concat_input,
            )
            if config.use_auxiliary_head
            else None
        )
        heads: list[nn.Module] = [self.fpn1, self.fpn2, self.decode_head]
        self.initialise_weights(*heads, *([self.auxiliary_head] if self.auxiliary_head is not None else []))

    @property
    def taps(self) -> tuple[int, ...]:
        """The four hidden states that the heads see; they follow the config, which is what is saved."""
        return tapped_hidden_states(self.config)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        head_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = True,
    ) -> SemanticSegmenterOutput | tuple[Any, ...]:
        """Segment images.

        Args:
            pixel_values: (B, C, h, w), normalised; any size that the patch size divides.
            head_mask: (heads,) or (layers, heads); 1 = keep the head.
            labels: (B, h, w) class of every pixel, at the size of the picture or another, to which logits are then
                resized; `config.semantic_loss_ignore_index` has no loss.
            output_attentions: Also return attention maps; default: the config's.
            output_hidden_states: Also return all hidden states; default: the config's.
            return_dict: Return an output object rather than a tuple; default: the config's.
            interpolate_pos_encoding: Whether pictures of another size than the config's are accepted.

        Returns:
            loss (): cross-entropy over the pixels that have a label, plus the auxiliary head's; logits (B, K, 4 y, 4 x)
            for a patch grid of (y, x), which is a quarter of the picture for patches of 16 pixels.

        Raises:
            ConfigError: If an argument is missing or has a shape or value that does not fit.
        """
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        outputs = self.beit(pixel_values, None, head_mask, output_attentions, True, True, interpolate_pos_encoding)
        maps = self._maps(outputs.hidden_states, cast(Tensor, pixel_values))
        logits_BKyx = self.decode_head(maps)
        output = SemanticSegmenterOutput(
            loss=self._loss(logits_BKyx, maps[2], labels) if labels is not None else None,
            logits=logits_BKyx,
            hidden_states=outputs.hidden_states if wanted else None,
            attentions=outputs.attentions,
        )
        return self.as_requested(output, return_dict)

    def both_logits(self, pixel_values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the scores of both heads, as training needs them.

        Args:
            pixel_values: (B, C, h, w), normalised.

        Returns:
            logits (B, K, 4 y, 4 x) as `forward` gives them, and those of the auxiliary head (B, K, y, x) at the patch
            grid, None if the model has none.
        """
        outputs = self.beit(pixel_values, output_hidden_states=True, return_dict=True)
        maps = self._maps(outputs.hidden_states, pixel_values)
        auxiliary = self.auxiliary_head(maps[2]) if self.auxiliary_head is not None else None
        return self.decode_head(maps), auxiliary

    def _maps(self, hidden_states: Sequence[Tensor], pixels_BChw: Tensor) -> list[Tensor]:
        """Return the four maps that the heads see, from fine to coarse."""
        patch_height, patch_width = self.config.patch_hw
        grid = (pixels_BChw.shape[2] // patch_height, pixels_BChw.shape[3] // patch_width)
        pyramid = (self.fpn1, self.fpn2, self.fpn3, self.fpn4)
        return [scale(as_map(hidden_states[tap], grid)) for scale, tap in zip(pyramid, self.taps, strict=True)]

    def _loss(self, logits_BKyx: Tensor, third_map_BDyx: Tensor, labels: Tensor) -> Tensor:
        config = self.config
        if config.num_labels < 2:
            raise ConfigError(f"num_labels is {config.num_labels}; a segmentation loss needs at least 2 classes")
        check_label_shape(labels, (logits_BKyx.shape[0], *labels.shape[1:]), dims=3)
        labels_Bhw = class_labels(labels, config.num_labels, config.semantic_loss_ignore_index)
        loss = _pixel_loss(logits_BKyx, labels_Bhw, config.semantic_loss_ignore_index)
        if self.auxiliary_head is not None:
            auxiliary_BKyx = self.auxiliary_head(third_map_BDyx)
            auxiliary = _pixel_loss(auxiliary_BKyx, labels_Bhw, config.semantic_loss_ignore_index)
            loss = loss + config.auxiliary_loss_weight * auxiliary
        return loss


def _pixel_loss(logits_BKyx: Tensor, labels_Bhw: Tensor, ignored: int) -> Tensor:
    """Mean cross-entropy at the resolution of the labels; 0 if every pixel is ignored."""
    logits_BKhw = kernels.resize(logits_BKyx.float(), (labels_Bhw.shape[1], labels_Bhw.shape[2]))
    return mean_cross_entropy(logits_BKhw, labels_Bhw, ignored)
