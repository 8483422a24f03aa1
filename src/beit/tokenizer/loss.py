"""Training loss of the discrete VAE: reconstruction, and the divergence of the token distribution from uniform.

Legend: B batch, C colour channels, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from math import log
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from beit.tokenizer.dvae import map_pixels

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


def token_divergences(logits_BVhw: Tensor) -> tuple[Tensor, Tensor]:
    """Return the divergence from uniform of the token distribution q, and of its mean, in nats; each 0 to log V.

    The first is KL(q || uniform), averaged over batch and positions: the published one, which keeps tokens uncertain.
    The second is the KL of q averaged first: 0 when all codes are expected equally often, however certain each single
    token is. It spreads the tokens over the codebook and does not blur them.

    Source: arXiv 2102.12092, section 2.1, for the first; the entropy penalty of arXiv 2310.05737 has the second, for
    another kind of codebook.
    """
    log_q_BVhw = logits_BVhw.float().log_softmax(dim=1)
    q_BVhw, most = log_q_BVhw.exp(), log(logits_BVhw.shape[1])
    mean_V = q_BVhw.mean(dim=(0, 2, 3))
    return (q_BVhw * log_q_BVhw).sum(dim=1).mean() + most, torch.special.xlogy(mean_V, mean_V).sum() + most
