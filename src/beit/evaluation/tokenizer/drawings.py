"""Drawings of visual tokens: decoded pixels, or the mean patch of every code.

Legend: B batch, C channels, V codebook size, s pixels per token, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from beit.data import Collate, ImageSource, ViewDataset, evaluation_batches, require_usable, spread
from beit.evaluation.tokenizer.quality import says_little, tokenizer_views
from beit.image import COLOURS, to_unit_array
from beit.reports.report import Section, figure, numbers_table, showing
from beit.reports.units import sentence
from beit.settings.inputs import first_pictures
from beit.tokenizer import TokenEncoder

ONE_PER_PATCH = "Measured with one token for each patch, as a pre-training takes them."  # while it learns, a dVAE mixes
_SHOWN = 12
_AVERAGED = 1024  # pictures behind the mean patch of every code
_GREY = 0.5

Painter = Callable[[Tensor], Tensor]  # tokens (B, h, w) -> pixels (B, C, H, W)


def numbers_section(title: str, measured_with: str, numbers: Mapping[str, float]) -> Section:
    """Return the report section of the numbers of a `TokenizerQuality`, which says if its tokens say little."""
    words = (measured_with, sentence(says_little(numbers)))
    return Section(title, " ".join(filter(None, words)), table=numbers_table(numbers))


@torch.inference_mode()
def reconstruction_section(encoder: TokenEncoder, source: ImageSource, side: int) -> Section:
    """Return the report section of some pictures above the drawings of their tokens."""
    decodes = encoder.tokenizer.decodes_pixels
    text = (
        "Above: the picture. Below: decoded from its visual tokens."
        if decodes
        else "Above: the picture. Below: every visual token drawn as the mean of the patches that it stands for; this "
        "tokenizer keeps what its teacher sees, not pixels."
    )
    section = Section("Reconstructions", text)
    with showing(section):
        paint: Painter = encoder.tokenizer.decode if decodes else mean_patches(encoder, source, side)
        pixels, names = sample_pixels(source, side, _SHOWN)
        pairs = zip(pixels, paint(encoder(pixels)).cpu(), strict=True)
        section.names = names
        section.gallery = [[figure(one.numpy()), figure(other.numpy())] for one, other in pairs]
    return section


def sample_pixels(source: ImageSource, side: int, count: int) -> tuple[Tensor, list[str]]:
    """Return some usable pictures, (B, C, H, W) in [0, 1], and their file names: at even distances, or the first ones.

    Raises:
        DataError: If there are none.
    """
    some = spread(source, count)
    if not (found := first_pictures(some, count)):
        some, found = source, first_pictures(source, count)
    require_usable(len(found), len(source), [])
    crop = tokenizer_views(side).preprocessing.crop
    names = [Path(some.name(index)).name for index, _ in found]
    if source.bands is None or source.bands.channels == COLOURS:
        return torch.from_numpy(np.stack([to_unit_array(crop(picture)) for _, picture in found])), names
    bands = [some.open(index).decode().picture.resize((side, side), Image.Resampling.BICUBIC) for index, _ in found]
    return torch.from_numpy(np.stack([to_unit_array(picture) for picture in bands])), names


def mean_patches(encoder: TokenEncoder, source: ImageSource, side: int) -> Painter:
    """Return a painter that draws every token as the mean patch of its code; codes that never occurred are grey."""
    tokenizer = encoder.tokenizer
    stride, vocab = tokenizer.stride, tokenizer.vocab_size
    channels = COLOURS if source.bands is None else source.bands.channels
    sums_VF = torch.zeros(vocab, channels * stride**2)
    counts_V = torch.zeros(vocab, 1)
    dataset = ViewDataset(spread(source, _AVERAGED), tokenizer_views(side), seed=0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size=64, workers=0):
        if batch.indices:
            pixels_BCHW = batch.tensors["tokenizer_pixels"]
            tokens = encoder(pixels_BCHW).cpu().flatten()
            patches = torch.nn.functional.unfold(pixels_BCHW, stride, stride=stride).transpose(1, 2).flatten(0, 1)
            sums_VF.index_add_(0, tokens, patches)
            counts_V.index_add_(0, tokens, torch.ones(len(tokens), 1))
    means_VF = torch.where(counts_V > 0, sums_VF / counts_V.clamp(min=1), torch.full_like(sums_VF, _GREY))

    def paint(tokens_Bhw: Tensor) -> Tensor:
        height, width = tokens_Bhw.shape[1:]
        patches_BFN = means_VF[tokens_Bhw.cpu().flatten(1)].transpose(1, 2)
        return torch.nn.functional.fold(patches_BFN, (height * stride, width * stride), stride, stride=stride)

    return paint
