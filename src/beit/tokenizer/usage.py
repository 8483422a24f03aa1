"""How much of its codebook a tokenizer uses.

Legend: V codebook size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
