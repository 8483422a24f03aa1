"""Pictures with hidden patches, and their decoding from the tokens that a model predicts.

Legend: B batch, N patches, V codebook size, h x w patches, C channels, H x W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from beit.data import (
    Collate,
    ImageSource,
    MaskPlan,
    Subset,
    ViewDataset,
    Views,
    evaluation_batches,
    require_usable,
    spread,
)
from beit.evaluation.tokenizer.pictures import Painter, mean_patches
from beit.models_torch import BeitForMaskedImageModeling
from beit.settings.inputs import first_pictures
from beit.tokenizer import TokenEncoder, completed_tokens, hide_patches


class HiddenPatches:
    """The same pictures with the same masks, for every look at a model. True tokens and painter are made once.

    Args:
        model: What predicts the tokens; it may go on learning between two looks.
        encoder: The tokenizer.
        source: Held-out pictures; some at even distances are shown, or the first usable ones if those are broken.
        views: What evaluation sees of a picture, for model and tokenizer.
        mask: How to mask.
        seed: Of the masks.
        count: Pictures to show.

    Raises:
        DataError: If no picture is usable.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: BeitForMaskedImageModeling,
        encoder: TokenEncoder,
        source: ImageSource,
        views: Views,
        mask: MaskPlan,
        seed: int,
        count: int,
    ) -> None:
        self._model = model
        dataset = ViewDataset(_usable(source, count), views, seed, replace_broken=False)
        batch = next(iter(evaluation_batches(dataset, Collate(seed, mask), count, workers=0)))
        require_usable(len(batch.indices), len(source), batch.broken)
        tensors = batch.to(encoder.device).tensors
        self._pixel_values, self._mask_BN = tensors["pixel_values"], tensors["bool_masked_pos"]
        pixels_BCHW = tensors["tokenizer_pixels"]
        self._tokens_Bhw = encoder(pixels_BCHW)
        tokenizer = encoder.tokenizer
        self._decode: Painter = (
            tokenizer.decode if tokenizer.decodes_pixels else mean_patches(encoder, source, pixels_BCHW.shape[2])
        )
        self.fixed = {
            "picture": pixels_BCHW,
            "seen": hide_patches(pixels_BCHW, self._mask_BN.view(self._tokens_Bhw.shape)),
            "true_tokens": self._decode(self._tokens_Bhw),
        }

    @torch.inference_mode()
    def predicted(self) -> Tensor:
        """Return the decoding of what the model predicts for hidden patches, and of the true tokens of visible ones."""
        self._model.eval()
        # a divided model is elsewhere between two looks, and takes the pictures there
        return self._decode(completed_tokens(self._model, self._pixel_values, self._mask_BN, self._tokens_Bhw))


def _usable(source: ImageSource, count: int) -> ImageSource:
    """Return some usable pictures: folders are sorted by class, so at even distances if those are sound."""
    even = spread(source, count)
    some = even if first_pictures(even, 1) else source
    found = [index for index, _ in first_pictures(some, count)]
    return Subset(some, np.array(found, dtype=np.int64)) if found else source
