"""Original, masked and reconstructed pictures for the report of a pre-training run.

Legend: B batch, N patches, V codebook size, h x w patches, C channels, H x W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from beit.data import Collate, MaskPlan, ViewDataset, Views, evaluation_batches
from beit.data.source import ImageSource
from beit.data.subset import Subset
from beit.models_torch import BeitForMaskedImageModeling
from beit.tokenizer import TokenEncoder
from beit.training.inputs import first_pictures
from beit.training.report import Section, figure
from beit.training.tokenizer_pictures import Painter, mean_patches

_SHOWN = 12
_GREY = 0.5


@torch.inference_mode()
def reconstruction_section(
    model: BeitForMaskedImageModeling,
    encoder: TokenEncoder,
    source: ImageSource,
    views: Views,
    mask: MaskPlan,
    seed: int,
) -> Section:
    """Return a gallery: picture, what the model saw, and what the tokenizer's decoder makes of its predictions."""
    some = Subset(source, np.array([index for index, _ in first_pictures(source, _SHOWN)], dtype=np.int64))
    dataset = ViewDataset(some, views, seed, replace_broken=False)
    batch = next(iter(evaluation_batches(dataset, Collate(seed, mask), _SHOWN, workers=0)))
    tensors = batch.to(model.device).tensors
    pixels_BCHW, mask_BN = tensors["tokenizer_pixels"], tensors["bool_masked_pos"]
    tokens_Bhw = encoder(pixels_BCHW)
    tokenizer = encoder.tokenizer
    decode: Painter = (
        tokenizer.decode if tokenizer.decodes_pixels else mean_patches(encoder, source, pixels_BCHW.shape[2])
    )
    logits_BNV = model(tensors["pixel_values"], mask_BN, return_dict=True).logits
    predicted_BN = torch.where(mask_BN, logits_BNV.argmax(dim=-1), tokens_Bhw.flatten(1))
    rows = {
        "picture": pixels_BCHW,
        "seen by the model": _hidden(pixels_BCHW, mask_BN.view(tokens_Bhw.shape)),
        "predicted": decode(predicted_BN.view(tokens_Bhw.shape)),
        "decoded from its true tokens": decode(tokens_Bhw),
    }
    section = Section(
        "Reconstructions",
        "From top to bottom: the picture as the tokenizer sees it; what the model saw of it; the decoding of the "
        "tokens that the model predicts for the hidden patches, beside the true tokens of the visible ones; and the "
        "decoding of all true tokens, the best that a prediction can look.",
    )
    for index in range(len(tokens_Bhw)):
        section.gallery.append([figure(shown[index].cpu().numpy(), caption) for caption, shown in rows.items()])
    return section


def _hidden(pixels_BCHW: Tensor, mask_Bhw: Tensor) -> Tensor:
    """Return the pictures with masked patches in grey."""
    patch = pixels_BCHW.shape[-1] // mask_Bhw.shape[-1]
    mask_B1HW = mask_Bhw.repeat_interleave(patch, 1).repeat_interleave(patch, 2).unsqueeze(1)
    return torch.where(mask_B1HW, torch.full_like(pixels_BCHW, _GREY), pixels_BCHW)
