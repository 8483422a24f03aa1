"""The training loss of the discrete VAE: reconstruction, and the distance of the token distribution from uniform.

Legend: B batch, C colour channels, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from math import log
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from beit.tokenizer.model import map_pixels

Reconstruction = Literal["logit_laplace", "l1", "l2"]


def reconstruction_loss(kind: Reconstruction, decoded: Tensor, pixels: Tensor) -> Tensor:
    """Return the mean over all pixels and channels of the reconstruction loss.

    Args:
        kind: "logit_laplace" (the published one, a negative log likelihood), "l1" or "l2" of the mapped pixels.
        decoded: Decoder output (B, 2C, H, W).
        pixels: (B, C, H, W) in [0, 1].

    Source: arXiv 2102.12092, appendix A.3, equation 4.
    """
    mapped_BCHW = map_pixels(pixels)
    location_BCHW, log_scale_BCHW = decoded.float().chunk(2, dim=1)
    if kind == "logit_laplace":
        distance_BCHW = (torch.logit(mapped_BCHW) - location_BCHW).abs()
        log_jacobian_BCHW = (2 * mapped_BCHW * (1 - mapped_BCHW)).log()
        return (distance_BCHW * (-log_scale_BCHW).exp() + log_scale_BCHW + log_jacobian_BCHW).mean()
    distance = functional.l1_loss if kind == "l1" else functional.mse_loss
    return distance(location_BCHW.sigmoid(), mapped_BCHW)


def kl_to_uniform(logits_BVhw: Tensor) -> Tensor:
    """Return KL(q || uniform) in nats per token, averaged over batch and positions; 0 to log V."""
    log_q_BVhw = logits_BVhw.float().log_softmax(dim=1)
    return (log_q_BVhw.exp() * log_q_BVhw).sum(dim=1).mean() + log(logits_BVhw.shape[1])


def imbalance(logits_BVhw: Tensor) -> Tensor:
    """Return KL(mean of q || uniform) in nats, q being averaged over batch and positions first; 0 to log V.

    It is 0 when all codes are expected equally often, however certain each single token is: it spreads the tokens over
    the codebook and does not blur them, unlike `kl_to_uniform`.

    Source: the entropy penalty of arXiv 2310.05737 has it, for another kind of codebook.
    """
    mean_V = logits_BVhw.float().softmax(dim=1).mean(dim=(0, 2, 3))
    return torch.special.xlogy(mean_V, mean_V).sum() + log(logits_BVhw.shape[1])
