"""Sheet of pictures above their reconstructions from visual tokens."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from beit.data import BrokenPictures, loading_workers
from beit.errors import ConfigError
from beit.evaluation.tokenizer.drawings import sample_pixels
from beit.evaluation.tokenizer.encoder import load_encoder
from beit.evaluation.tokenizer.quality import TokenizerQuality, measure_tokenizer
from beit.files import atomic_file
from beit.image.bands import visible
from beit.models_torch.device import busy_cpus
from beit.settings.inputs import open_pictures
from beit.settings.tokenizer import ReconstructJob

_COLUMNS = 8
_GAP = 2  # pixels between the pictures of a sheet


def reconstruct_pictures(job: ReconstructJob) -> TokenizerQuality:
    """Write a sheet of pictures above their reconstructions; return the quality over all pictures.

    Raises:
        ConfigError: If the tokenizer decodes no pixels.
        DataError: If no picture is usable.
        StorageError: If the disk is full.
    """
    tokenizer, encoder, side = load_encoder(job)
    if not tokenizer.decodes_pixels:
        raise ConfigError(
            f"{job.tokenizer} has no decoder that paints pixels; use `beit tokenizer evaluate --report` to see what "
            "its tokens stand for, or a discrete VAE saved with its decoder"
        )
    source = open_pictures(job.data)
    shown, _ = sample_pixels(source, side, job.count)
    workers = loading_workers(job.data.workers, busy_cpus(encoder.device))
    quality, broken = measure_tokenizer(encoder, source, side, job.batch_size, workers)
    BrokenPictures(None, len(source), job.data.max_broken).add(broken)
    with torch.no_grad():
        decoded = torch.cat([tokenizer.decode(encoder(some)).cpu() for some in shown.split(job.batch_size)])
    with atomic_file(job.output) as temporary:
        _sheet(shown.numpy(), decoded.numpy()).save(temporary, format="PNG")
    return quality


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
            pixels = np.rint(np.clip(visible(picture), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
            sheet.paste(Image.fromarray(pixels), (left, top + offset))
    return sheet
