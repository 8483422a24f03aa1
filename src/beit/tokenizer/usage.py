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
    """Return how often each code occurs, (V,) int64, on the CPU."""
    return torch.bincount(tokens.flatten().cpu(), minlength=vocab_size)


def codebook_usage(counts_V: Tensor) -> CodebookUsage:
    """Return used codes and perplexity from counts per code (V,)."""
    share_V = counts_V.double() / counts_V.sum().clamp(min=1)
    entropy = -torch.special.xlogy(share_V, share_V).sum()
    return CodebookUsage(used=int((counts_V > 0).sum()), perplexity=float(entropy.exp()))
