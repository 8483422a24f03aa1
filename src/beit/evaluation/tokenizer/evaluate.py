"""Evaluation of a tokenizer on pictures: its numbers and report, and a sheet of reconstructions."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from beit.data import BrokenPictures, loading_workers
from beit.errors import ConfigError
from beit.evaluation.tokenizer.drawings import ONE_PER_PATCH, numbers_section, reconstruction_section, sample_pixels
from beit.evaluation.tokenizer.quality import TokenizerQuality, measure_tokenizer, predicted_features
from beit.files import atomic_file, write_json
from beit.geometry import Grid
from beit.image.bands import visible
from beit.models_torch.device import busy_cpus, pick_device
from beit.reports.report import since, write_report
from beit.settings.base import resolved_recipe
from beit.settings.channels import check_channels
from beit.settings.inputs import open_pictures
from beit.settings.tokenizer import EvaluateTokenizerJob, ReconstructJob, TokenizerUse
from beit.tokenizer import VQKD, TokenEncoder, Tokenizer, load_tokenizer
from beit.tokenizer.base import check_side
from beit.tokenizer.teacher import BeitTeacher, feature_size

_COLUMNS = 8
_GAP = 2  # pixels between the pictures of a sheet


def evaluate_tokenizer(job: EvaluateTokenizerJob) -> TokenizerQuality:
    """Measure a tokenizer on pictures; write numbers and a report if their paths are given.

    Raises:
        ConfigError: If a teacher is named for a tokenizer that predicts no features.
        DataError: If no picture, or too few, are usable.
        StorageError: If the disk is full.
    """
    began = time.perf_counter()
    tokenizer, encoder, side = load_encoder(job)
    teacher = None
    if job.teacher is not None:
        tokens = side // tokenizer.stride
        grid = Grid(tokens, tokens)
        teacher = BeitTeacher.from_pretrained(job.teacher, grid).to(encoder.device)
        predicted_features(tokenizer, torch.zeros(1, *grid, dtype=torch.int64, device=encoder.device))
        size = feature_size(teacher, (side, side), grid, encoder.device, job.data.channels)
        if isinstance(tokenizer, VQKD) and size != tokenizer.config.teacher_size:
            raise ConfigError(
                f"{job.teacher} has {size} features per patch, and {job.tokenizer} predicts "
                f"{tokenizer.config.teacher_size}; name the teacher that it was distilled from"
            )
    source = open_pictures(job.data)
    workers = loading_workers(job.data.workers, busy_cpus(encoder.device))
    quality, broken = measure_tokenizer(encoder, source, side, job.batch_size, workers, teacher)
    BrokenPictures(None, len(source), job.data.max_broken).add(broken)
    numbers = quality.numbers()
    if job.output is not None:
        write_json(job.output, numbers)
    if job.report is not None:
        sections = [
            numbers_section("What the tokens keep", ONE_PER_PATCH, numbers),
            reconstruction_section(encoder, source, side),
        ]
        write_report(Path(job.report), f"Evaluation of {job.tokenizer}", sections, resolved_recipe(job), since(began))
    return quality


def load_encoder(job: TokenizerUse) -> tuple[Tokenizer, TokenEncoder, int]:
    """Return the tokenizer of a job, the same ready to encode, and the side of its input in pixels."""
    tokenizer, device = load_tokenizer(job.tokenizer), pick_device(job.device)
    check_channels(job.data, tokenizer.config.channels, job.tokenizer)
    encoder = TokenEncoder(tokenizer, device, job.precision, job.compile, whole=job.batch_size)
    return tokenizer, encoder, encoder_side(encoder, job.image_size)


def encoder_side(encoder: TokenEncoder, wanted: int | None) -> int:
    """Return the side of a tokenizer's input in pixels: what is wanted, else what it was trained on.

    Raises:
        ConfigError: If no whole number of tokens covers it.
    """
    side = wanted or encoder.tokenizer.image_size
    check_side(side, encoder.tokenizer.stride)
    return side


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
