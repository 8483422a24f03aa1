"""Operations on visual tokens: counts, perplexity, completion of masked pictures.

Legend: B batch, C channels, N patches, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from beit.models_torch import BeitForMaskedImageModeling


@dataclass(frozen=True)
class CodebookUsage:
    """Usage of a codebook over a set of images.

    Attributes:
        used: Codes that occur at least once.
        perplexity: exp of the entropy of the token frequencies: 1 (one code) to V (all equally often).
    """

    used: int
    perplexity: float


def count_tokens(tokens: Tensor, vocab_size: int) -> Tensor:
    """Return how often each code occurs, (V,) int64, where the tokens are."""
    flat = tokens.flatten()
    # whole numbers: their sum does not depend on the order, unlike what bincount's warning on GPUs fears
    return torch.zeros(vocab_size, dtype=torch.int64, device=flat.device).scatter_add_(0, flat, torch.ones_like(flat))


def perplexity(counts_V: Tensor) -> Tensor:
    """Return exp of the entropy of the frequencies, a scalar from 1 to V, from counts per code (V,)."""
    share_V = counts_V.double() / counts_V.sum().clamp(min=1)
    return (-torch.special.xlogy(share_V, share_V).sum()).exp()


def codebook_usage(counts_V: Tensor) -> CodebookUsage:
    """Return used codes and perplexity from counts per code (V,)."""
    return CodebookUsage(used=int((counts_V > 0).sum()), perplexity=float(perplexity(counts_V)))


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
