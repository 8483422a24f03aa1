"""Watch a codebook while it is trained: how evenly its codes are used, and which are no longer used at all.

Legend: V codebook size.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from beit.tokenizer.usage import count_tokens, perplexity


class CodebookWatch(nn.Module):
    """Counts for how many steps every code has not been used; part of the checkpoint, so that it survives a kill.

    Args:
        vocab_size: Codebook size V.
        dead_after: Steps without a single use, over all processes, after which a code counts as dead.
    """

    def __init__(self, vocab_size: int, dead_after: int) -> None:
        super().__init__()
        self._dead_after = dead_after
        self.register_buffer("unused_steps", torch.zeros(vocab_size, dtype=torch.int64))
        self.unused_steps: Tensor

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Take note of the tokens of a step; return `perplexity` (1 to V, of this step) and `dead_codes` (0 to V)."""
        counts_V = count_tokens(tokens, len(self.unused_steps))
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts_V)
        if self.training:
            self.unused_steps.add_(1).masked_fill_(counts_V > 0, 0)
        dead = (self.unused_steps >= self._dead_after).sum()
        return {"perplexity": perplexity(counts_V).float(), "dead_codes": dead.float()}
