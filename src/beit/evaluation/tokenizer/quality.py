"""Quality of a tokenizer: use of its codebook, and reconstruction of pixels or features.

Legend: B batch, C channels, h x w tokens, H x W pixels, N = h * w, T features of a teacher, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10
from typing import Any

import torch
from torch import Tensor

from beit.data import (
    BrokenPicture,
    Collate,
    ImageSource,
    ViewDataset,
    Views,
    evaluation_batches,
    require_usable,
    spread,
)
from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.tokenizer import VQKD, TokenEncoder, codebook_usage, count_tokens
from beit.tokenizer.teacher import Teacher

_BRIGHTEST_MINUS_DARKEST = 1.0
_LEAST_PERPLEXITY, _LEAST_SHARE = 2.0, 0.03  # of the tokens that can teach something; the share is of the codebook
_LEAST_L2 = 1e-12  # a perfect reconstruction counts as 120 dB: JSON has no infinity


@dataclass(frozen=True)
class TokenizerQuality:
    """Measurements of a tokenizer.

    Attributes:
        used_codes: Codes that occur.
        vocab_size: Codes there are.
        perplexity: exp of the entropy of the token frequencies, 1 to vocab_size.
        pictures: Number of pictures measured.
        l1: Mean absolute error of the pixels decoded from one token per patch, in [0, 1]; None where none are decoded.
        l2: Mean squared error of the same.
        psnr: Peak signal-to-noise ratio of that squared error over all pictures, in dB: 10 log10(1 / l2). The mean of
            the ratios of single pictures would be larger.
        similarity: Mean cosine similarity of predicted and true features of the teacher, -1 to 1; None without one.
    """

    used_codes: int
    vocab_size: int
    perplexity: float
    pictures: int
    l1: float | None = None
    l2: float | None = None
    psnr: float | None = None
    similarity: float | None = None

    def numbers(self) -> dict[str, float]:
        """Return the measurements, without those that do not apply."""
        names = ("psnr", "l1", "l2", "similarity", "used_codes", "vocab_size", "perplexity", "pictures")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def tokenizer_views(side: int, channels: int = 1) -> Views:
    """Return the deterministic view of a square tokenizer input; one channel stands for any number of them."""
    half = (0.5,) * channels
    return Views(Preprocessing((side, side), (side, side), half, half), None, (side, side))


@torch.inference_mode()
def measure_tokenizer(
    encoder: TokenEncoder,
    source: ImageSource,
    side: int,
    batch_size: int,
    workers: int = 0,
    teacher: Teacher | None = None,
    most: int | None = None,
) -> tuple[TokenizerQuality, list[BrokenPicture]]:
    """Measure a tokenizer on pictures; return the measurements, and the broken pictures that were left out.

    Args:
        encoder: The tokenizer, ready to encode.
        source: The pictures.
        side: Side of the tokenizer's input, in pixels.
        batch_size: Pictures at once.
        workers: Processes that load pictures.
        teacher: For VQ-KD, also measure how well its features are predicted.
        most: Measure on no more than this many pictures, at even distances.

    Raises:
        ConfigError: If a teacher is given for a tokenizer that predicts no features.
        DataError: If no picture is usable.
    """
    tokenizer, device = encoder.tokenizer, encoder.device
    counts_V = torch.zeros(tokenizer.vocab_size, dtype=torch.int64)
    errors, pictures, broken = _Errors(), 0, list[BrokenPicture]()
    if most is not None:
        source = spread(source, most)
    dataset = ViewDataset(source, tokenizer_views(side), seed=0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size, workers):
        broken += batch.broken
        if not batch.indices:
            continue
        pixels_BCHW = batch.tensors["tokenizer_pixels"].to(device)
        tokens_Bhw = encoder(pixels_BCHW)
        if tokenizer.decodes_pixels:
            errors.add_pixels(tokenizer.decode(tokens_Bhw) - pixels_BCHW)
        if teacher is not None:
            errors.add_features(predicted_features(tokenizer, tokens_Bhw), teacher(pixels_BCHW))
        pictures += len(batch.indices)
        counts_V += count_tokens(tokens_Bhw, tokenizer.vocab_size).cpu()
    require_usable(pictures, len(source), broken)
    usage = codebook_usage(counts_V)
    return TokenizerQuality(usage.used, tokenizer.vocab_size, usage.perplexity, pictures, **errors.means()), broken


def quality_lines(quality: Mapping[str, float]) -> list[str]:
    """Return the numbers of a `TokenizerQuality` as a line of text, and a warning if its tokens say little."""
    warning = says_little(quality)
    return [quality_line(quality), *([] if warning is None else [warning])]


def quality_line(quality: Mapping[str, float]) -> str:
    """Return the numbers of a `TokenizerQuality` as a line of text."""
    parts: list[str] = []
    if "psnr" in quality:
        parts.append(
            f"PSNR {quality['psnr']:.2f} dB (mean absolute error {quality['l1']:.4f}, squared {quality['l2']:.5f})"
        )
    if "similarity" in quality:
        parts.append(f"cosine similarity to the teacher {quality['similarity']:.4f}")
    parts.append(f"{quality['used_codes']:.0f} of {quality['vocab_size']:.0f} codes used")
    parts.append(f"perplexity {quality['perplexity']:.1f}")
    return f"{quality['pictures']:,.0f} pictures: {', '.join(parts)}"


def says_little(quality: Mapping[str, float]) -> str | None:
    """Return a warning if tokens hardly vary, so that there is next to nothing to predict; None if they do."""
    if quality["perplexity"] >= max(_LEAST_PERPLEXITY, _LEAST_SHARE * quality["vocab_size"]):
        return None
    return (
        f"the tokens say little about a picture: perplexity {quality['perplexity']:.1f} of at most "
        f"{quality['vocab_size']:.0f}. What predicts them learns little; train the tokenizer longer, on more pictures "
        "or at a lower rate, or name a published one (tokenizer.path of a pre-training; `beit models`)"
    )


def predicted_features(tokenizer: Any, tokens_Bhw: Tensor) -> Tensor:
    """Return the teacher's features (B, N, T) that a VQ-KD tokenizer predicts from tokens.

    Raises:
        ConfigError: If it is another kind of tokenizer.
    """
    if not isinstance(tokenizer, VQKD):
        raise ConfigError(f"a {type(tokenizer).__name__} predicts no features of a teacher; leave the teacher out")
    return tokenizer.predict_features(tokens_Bhw)


class _Errors:
    """Sums over all pictures."""

    def __init__(self) -> None:
        self._absolute = self._squared = self._similarity = 0.0
        self._values = self._patches = 0

    def add_pixels(self, error_BCHW: Tensor) -> None:
        self._absolute += float(error_BCHW.abs().sum(dtype=torch.float64))
        self._squared += float(error_BCHW.square().sum(dtype=torch.float64))
        self._values += error_BCHW.numel()

    def add_features(self, predicted_BNT: Tensor, features_BNT: Tensor) -> None:
        similarity_BN = torch.cosine_similarity(predicted_BNT.float(), features_BNT.float(), dim=-1)
        self._similarity += float(similarity_BN.sum(dtype=torch.float64))
        self._patches += similarity_BN.numel()

    def means(self) -> dict[str, float]:
        means: dict[str, float] = {}
        if self._values:
            l2 = self._squared / self._values
            psnr = 10 * log10(_BRIGHTEST_MINUS_DARKEST**2 / max(l2, _LEAST_L2))
            means |= {"l1": self._absolute / self._values, "l2": l2, "psnr": psnr}
        if self._patches:
            means["similarity"] = self._similarity / self._patches
        return means
