"""Use a trained tokenizer on pictures: store their tokens, look at what the tokens keep, measure it.

Legend: P pictures, V views, R rows of a batch, h x w tokens, H x W pixels.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from beit.data import (
    MISSING,
    Collate,
    StoredTokens,
    TokenWriter,
    ViewDataset,
    Views,
    fingerprint,
    training_batches,
    write_labels_and_names,
)
from beit.data.source import ImageSource
from beit.errors import ConfigError
from beit.geometry import Grid
from beit.models_torch.device import pick_device
from beit.tokenizer import VQKD, TokenEncoder, Tokenizer, codebook_usage, load_tokenizer, tokenizer_fingerprint
from beit.tokenizer.checks import check_side
from beit.training.broken import BrokenPictures, list_shards, require_usable
from beit.training.inputs import augmentation, open_pictures
from beit.training.jobs import EncodeJob, EvaluateTokenizerJob, ReconstructJob, TokenizerUse
from beit.training.report import Section, numbers_table, write_report
from beit.training.run_folder import resolved_recipe
from beit.training.settings import AugmentSettings
from beit.training.teacher import BeitTeacher, feature_size
from beit.training.tokenizer_pictures import reconstruction_section, sample_pixels
from beit.training.tokenizer_quality import TokenizerQuality, measure_tokenizer, predicted_features, tokenizer_views
from beit.weights import atomic_file

_COLUMNS = 8
_GAP = 2  # pixels between the pictures of a sheet


@dataclass(frozen=True)
class Encoded:
    """What a token folder holds: pictures as views of height x width tokens, and how much of the codebook they use."""

    pictures: int
    views: int
    height: int
    width: int
    broken: int
    used_codes: int
    vocab_size: int
    perplexity: float


def token_facts(
    tokenizer: str, data: str, image_hw: tuple[int, int], views: int | None, augment: AugmentSettings, seed: int
) -> dict[str, Any]:
    """Return what decides the tokens of a folder; pre-training reads one only if all of it agrees.

    Args:
        tokenizer: Hash of the tokenizer.
        data: Hash of the pictures.
        image_hw: The tokenizer's input in pixels.
        views: Random views per picture, None for the one of evaluation.
        augment: Random changes of the views.
        seed: Of the random views.
    """
    random = (
        None if views is None else {"count": views, "seed": seed, "augment": json.loads(json.dumps(asdict(augment)))}
    )
    return {"tokenizer": tokenizer, "data": data, "image_size": list(image_hw), "random_views": random}


def encode_pictures(job: EncodeJob) -> Encoded:
    """Write the visual tokens of all pictures into a token folder; the same job continues one that was stopped.

    Raises:
        ConfigError: If tokenizer and sizes do not fit, or the folder holds other tokens.
        DataError: If no picture, or too few, are usable.
        StorageError: If the disk is full; the same job then continues.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("beit tokenizer encode runs in one process; start it without torchrun or accelerate")
    tokenizer, encoder, side = _encoder(job)
    if tokenizer.vocab_size > MISSING:
        raise ConfigError(f"the codebook has {tokenizer.vocab_size} codes; at most {MISSING} can be stored as uint16")
    source = open_pictures(job.data)
    facts = token_facts(
        tokenizer_fingerprint(tokenizer), fingerprint(source), (side, side), job.views, job.augment, job.seed
    ) | {"vocab_size": tokenizer.vocab_size, "precision": encoder.precision}
    count, tokens = job.views or 1, side // tokenizer.stride
    writer = TokenWriter(job.output, facts, (len(source), count, tokens, tokens))
    listing = Path(job.output) / "broken.txt"
    list_shards(listing, source)
    broken = BrokenPictures(listing, len(source), job.data.max_broken)
    try:
        _encode_rows(job, encoder, source, writer, broken)
    finally:
        writer.close()
    write_labels_and_names(job.output, [source.name(index) for index in range(len(source))], source.labels)
    return _summary(StoredTokens(job.output), tokenizer.vocab_size)


def _encode_rows(
    job: EncodeJob, encoder: TokenEncoder, source: ImageSource, writer: TokenWriter, broken: BrokenPictures
) -> None:
    """Write the rows that are missing, picture by picture, view by view."""
    count = job.views or 1
    plain = tokenizer_views(encoder_side(encoder, job.image_size))
    views = plain if job.views is None else Views(plain.preprocessing, augmentation(job.augment), plain.tokenizer_hw)
    rows = range(writer.finished, len(source) * count)
    places = [(row % count, row // count) for row in rows]  # (view, picture), which a dataset takes for (epoch, index)
    batches = [places[first : first + job.batch_size] for first in range(0, len(places), job.batch_size)]
    dataset = ViewDataset(source, views, job.seed, replace_broken=False)
    with Progress(transient=True) as progress:
        task = progress.add_task("encoding", completed=writer.finished, total=len(source) * count)
        for places_R, batch in zip(
            batches, training_batches(dataset, batches, Collate(0), job.data.workers), strict=True
        ):
            broken.add(batch.broken)
            shape = (len(places_R), *(side // encoder.tokenizer.stride for side in views.tokenizer_hw or ()))
            tokens_Rhw = np.full(shape, MISSING, dtype=np.int64)
            if batch.indices:
                usable = np.isin([picture for _, picture in places_R], batch.indices)
                tokens_Rhw[usable] = encoder(batch.tensors["tokenizer_pixels"]).cpu().numpy()
            writer.append(tokens_Rhw)
            progress.update(task, completed=writer.finished)


def _summary(stored: StoredTokens, vocab_size: int) -> Encoded:
    pictures, views, height, width = stored.shape
    counts_V, broken = stored.counts(vocab_size)
    require_usable(pictures - broken, pictures, [])
    usage = codebook_usage(torch.from_numpy(counts_V))
    return Encoded(pictures, views, height, width, broken, usage.used, vocab_size, usage.perplexity)


def reconstruct_pictures(job: ReconstructJob) -> TokenizerQuality:
    """Write a sheet of pictures above their reconstructions; return the quality over all pictures.

    Raises:
        ConfigError: If the tokenizer decodes no pixels.
        DataError: If no picture is usable.
        StorageError: If the disk is full.
    """
    tokenizer, encoder, side = _encoder(job)
    if not tokenizer.decodes_pixels:
        raise ConfigError(
            f"{job.tokenizer} has no decoder that paints pixels; use `beit tokenizer evaluate --report` to see what "
            "its tokens stand for, or a discrete VAE saved with its decoder"
        )
    source = open_pictures(job.data)
    shown = sample_pixels(source, side, job.count)
    quality, broken = measure_tokenizer(encoder, source, side, job.batch_size, job.data.workers)
    BrokenPictures(None, len(source), job.data.max_broken).add(broken)
    with torch.no_grad():
        decoded = torch.cat([tokenizer.decode(encoder(some)).cpu() for some in shown.split(job.batch_size)])
    with atomic_file(job.output) as temporary:
        _sheet(shown.numpy(), decoded.numpy()).save(temporary, format="PNG")
    return quality


def evaluate_tokenizer(job: EvaluateTokenizerJob) -> TokenizerQuality:
    """Measure a tokenizer on pictures; write numbers and a report if their paths are given.

    Raises:
        ConfigError: If a teacher is named for a tokenizer that predicts no features.
        DataError: If no picture, or too few, are usable.
        StorageError: If the disk is full.
    """
    tokenizer, encoder, side = _encoder(job)
    teacher = None
    if job.teacher is not None:
        tokens = side // tokenizer.stride
        grid = Grid(tokens, tokens)
        teacher = BeitTeacher.from_pretrained(job.teacher, grid).to(encoder.device)
        predicted_features(tokenizer, torch.zeros(1, *grid, dtype=torch.int64, device=encoder.device))
        size = feature_size(teacher, (side, side), grid, encoder.device)
        if isinstance(tokenizer, VQKD) and size != tokenizer.config.teacher_size:
            raise ConfigError(
                f"{job.teacher} has {size} features per patch, and {job.tokenizer} predicts "
                f"{tokenizer.config.teacher_size}; name the teacher that it was distilled from"
            )
    source = open_pictures(job.data)
    quality, broken = measure_tokenizer(encoder, source, side, job.batch_size, job.data.workers, teacher)
    BrokenPictures(None, len(source), job.data.max_broken).add(broken)
    numbers = quality.numbers()
    if job.output is not None:
        with atomic_file(job.output) as temporary:
            temporary.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    if job.report is not None:
        sections = [
            Section("What the tokens keep", "Measured with hard tokens.", table=numbers_table(numbers)),
            reconstruction_section(encoder, source, side),
        ]
        write_report(Path(job.report), f"Tokenizer {job.tokenizer}", sections, resolved_recipe(job))
    return quality


def _encoder(job: TokenizerUse) -> tuple[Tokenizer, TokenEncoder, int]:
    """Return the tokenizer of a job, the same ready to encode, and the side of its input in pixels."""
    tokenizer, device = load_tokenizer(job.tokenizer), pick_device(job.device)
    encoder = TokenEncoder(tokenizer, device, job.encoding.precision, job.encoding.compile)
    return tokenizer, encoder, encoder_side(encoder, job.image_size)


def encoder_side(encoder: TokenEncoder, wanted: int | None) -> int:
    """Return the side of a tokenizer's input in pixels: what is wanted, else what it was trained on.

    Raises:
        ConfigError: If no whole number of tokens covers it.
    """
    side = wanted or encoder.tokenizer.image_size
    check_side(side, encoder.tokenizer.stride)
    return side


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
