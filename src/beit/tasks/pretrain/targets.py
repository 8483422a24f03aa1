"""Targets of a pre-training, the visual tokens of pictures: how often each occurs, and whether they can teach anything.

Legend: V codebook size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from beit.data import Collate, ImageSource, ViewDataset, Views, evaluation_batches
from beit.tasks.pretrain.loss import visual_tokens
from beit.tokenizer import TokenEncoder, count_tokens
from beit.tokenizer.encoding import perplexity

_LEAST_PERPLEXITY = 2.0  # of the targets; below, they are nearly always the same
_LEAST_SHARE = 0.1  # of the perplexity above 1 that a codebook can have, where it is smaller


def token_counts(encoder: TokenEncoder, source: ImageSource, views: Views, batch_size: int, workers: int) -> Tensor:
    """Return the number of occurrences of every visual token in the usable pictures of a source, (V,) float64."""
    vocab_size = encoder.tokenizer.vocab_size
    counts_V = torch.zeros(vocab_size, dtype=torch.float64)
    dataset = ViewDataset(source, views, 0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size, workers):
        if batch.indices:
            counts_V += count_tokens(visual_tokens(encoder, batch.tensors), vocab_size).cpu()
    return counts_V


def objection_to(counts_V: Tensor, pictures: int) -> str | None:
    """Return the reason why next to nothing can be learnt from visual tokens, None if something can.

    Their perplexity, exp of the entropy of their frequencies, has to be 2 or more, or of a small codebook a tenth of
    the way from 1 to its size.

    Args:
        counts_V: Occurrences of every token (V,).
        pictures: Number of pictures that they were counted in.
    """
    found = float(perplexity(counts_V))
    if not counts_V.sum() or found >= min(_LEAST_PERPLEXITY, 1 + _LEAST_SHARE * (len(counts_V) - 1)):
        return None
    most = float(counts_V.max() / counts_V.sum())
    return (
        f"the visual tokens of {pictures} training pictures have a perplexity of {found:.2f}, and one of them stands "
        f"for {most:.1%} of all patches, so there is next to nothing to learn; take another tokenizer "
        "(tokenizer.path), or train it longer (tokenizer.train)"
    )
