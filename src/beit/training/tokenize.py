"""Use a trained tokenizer on pictures: write their tokens, or look at what the tokens keep.

Legend: B batch, P pictures, h x w tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from beit.data import BrokenPicture, Collate, ViewDataset, evaluation_batches
from beit.image import to_unit_array
from beit.models_torch.device import pick_device
from beit.tokenizer import DiscreteVAE, codebook_usage, count_tokens
from beit.training.broken import BrokenPictures, require_usable
from beit.training.inputs import first_pictures, open_pictures
from beit.training.jobs import EncodeJob, ReconstructJob
from beit.training.tokenizer import measure_tokenizer, tokenizer_views
from beit.weights import atomic_file

_COLUMNS = 8
_GAP = 2  # pixels between the pictures of a sheet


@dataclass(frozen=True)
class Encoded:
    """What was written: pictures as height x width tokens, and how much of the codebook they use."""

    pictures: int
    height: int
    width: int
    used_codes: int
    vocab_size: int
    perplexity: float


@torch.inference_mode()
def encode_pictures(job: EncodeJob) -> Encoded:
    """Write the visual tokens of all usable pictures to a NumPy file.

    Raises:
        DataError: If no picture, or too few, are usable.
        StorageError: If the disk is full.
    """
    device = pick_device(job.device)
    tokenizer = DiscreteVAE.from_pretrained(job.tokenizer).to(device)
    source = open_pictures(job.data)
    dataset = ViewDataset(source, tokenizer_views(job.image_size), seed=0, replace_broken=False)
    tokens, indices, broken = list[NDArray[np.int32]](), list[int](), list[BrokenPicture]()
    for batch in evaluation_batches(dataset, Collate(0), job.batch_size, job.data.workers):
        broken += batch.broken
        if batch.indices:
            tokens_Bhw = tokenizer.encode(batch.tensors["tokenizer_pixels"].to(device))
            tokens.append(tokens_Bhw.to(torch.int32).cpu().numpy())
            indices += batch.indices
    BrokenPictures(None, len(source), job.data.max_broken).add(broken)
    require_usable(len(indices), len(source), broken)
    tokens_Phw = np.concatenate(tokens)
    arrays = {"tokens": tokens_Phw, "names": np.array([source.name(index) for index in indices])}
    if source.labels is not None:
        arrays["labels"] = source.labels[indices]
    with atomic_file(job.output) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    vocab_size = tokenizer.config.vocab_size
    usage = codebook_usage(count_tokens(torch.from_numpy(tokens_Phw.astype(np.int64)), vocab_size))
    pictures, height, width = tokens_Phw.shape
    return Encoded(pictures, height, width, usage.used, vocab_size, usage.perplexity)


@torch.inference_mode()
def reconstruct_pictures(job: ReconstructJob) -> dict[str, float]:
    """Write a sheet of pictures above their reconstructions; return the quality over all pictures.

    Raises:
        DataError: If no picture is usable.
        StorageError: If the disk is full.
    """
    device = pick_device(job.device)
    tokenizer = DiscreteVAE.from_pretrained(job.tokenizer).to(device)
    source = open_pictures(job.data)
    crop = tokenizer_views(job.image_size).preprocessing.crop
    shown = [to_unit_array(crop(picture)) for _, picture in first_pictures(source, job.count)]
    quality, broken = measure_tokenizer(tokenizer, source, job.image_size, job.batch_size, device)
    BrokenPictures(None, len(source), job.data.max_broken).add(broken)
    decoded = tokenizer.decode(tokenizer.encode(torch.from_numpy(np.stack(shown)).to(device))).cpu().numpy()
    with atomic_file(job.output) as temporary:
        _sheet(np.stack(shown), decoded).save(temporary, format="PNG")
    return asdict(quality)


def _sheet(above: NDArray[np.float32], below: NDArray[np.float32]) -> Image.Image:
    """Return pairs of pictures, one above the other, in rows of eight."""
    count, _, height, width = above.shape
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    cell_height, cell_width = 2 * height + 3 * _GAP, width + _GAP
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height), "white")
    for index in range(count):
        left = index % columns * cell_width + _GAP
        top = index // columns * cell_height + _GAP
        for offset, picture in ((0, above[index]), (height + _GAP, below[index])):
            pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
            sheet.paste(Image.fromarray(pixels), (left, top + offset))
    return sheet
