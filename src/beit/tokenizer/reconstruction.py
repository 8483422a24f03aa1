"""Pictures with hidden patches, and the tokens that a model predicts for these.

Legend: B batch, N patches, V codebook size, h x w patches, C channels, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from beit.models_torch import BeitForMaskedImageModeling

_GREY = 0.5


@torch.inference_mode()
def completed_tokens(
    model: BeitForMaskedImageModeling, pixel_values: Tensor, mask_BN: Tensor, tokens_Bhw: Tensor
) -> Tensor:
    """Return the visual tokens (B, h, w) that a model predicts for hidden patches, and the true ones of the others.

    Args:
        model: In evaluation mode.
        pixel_values: What it sees, (B, C, H, W), normalised.
        mask_BN: True = hidden from it.
        tokens_Bhw: The tokenizer's, on any device; the result is on the same.
    """
    device = model.device
    logits_BNV = model(pixel_values.to(device), mask_BN.to(device), return_dict=True).logits
    predicted_BN = logits_BNV.argmax(dim=-1).to(tokens_Bhw.device)
    return torch.where(mask_BN.to(tokens_Bhw.device), predicted_BN, tokens_Bhw.flatten(1)).view(tokens_Bhw.shape)


def hide_patches(pixels_BCHW: Tensor, mask_Bhw: Tensor) -> Tensor:
    """Return pictures in [0, 1] with their masked patches in grey."""
    patch = [pixels_BCHW.shape[axis] // mask_Bhw.shape[axis - 1] for axis in (2, 3)]
    mask_B1HW = mask_Bhw.repeat_interleave(patch[0], 1).repeat_interleave(patch[1], 2).unsqueeze(1)
    return torch.where(mask_B1HW, torch.full_like(pixels_BCHW, _GREY), pixels_BCHW)
