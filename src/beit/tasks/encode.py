"""Encoding of pictures: their visual tokens are stored in a folder, for pre-training or other uses.

Legend: R rows of a batch, h x w tokens, V codebook size.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from beit.data import (
    LOCK_NAME,
    MISSING,
    BrokenPictures,
    Collate,
    ImageSource,
    StoredTokens,
    TokenWriter,
    ViewDataset,
    fingerprint,
    list_shards,
    loading_workers,
    require_usable,
    training_batches,
    write_labels_and_names,
)
from beit.errors import ConfigError
from beit.evaluation.tokenizer.evaluate import encoder_side, load_encoder
from beit.evaluation.tokenizer.quality import tokenizer_views
from beit.files import locked
from beit.models_torch.device import busy_cpus
from beit.settings.inputs import augmentation, check_device, open_to_train
from beit.settings.tokenizer import EncodeJob
from beit.tasks.tokenizer.token_identity import token_identity
from beit.tokenizer import TokenEncoder, codebook_usage, tokenizer_fingerprint


@dataclass(frozen=True)
class Encoded:
    """Contents of a token folder: pictures as views of height x width tokens, and the codes that they use."""

    pictures: int
    views: int
    height: int
    width: int
    broken: int
    used_codes: int
    vocab_size: int
    perplexity: float


def encode_pictures(job: EncodeJob) -> Encoded:
    """Write the visual tokens of all pictures into a token folder; the same job continues one that was stopped.

    Raises:
        ConfigError: If tokenizer and sizes do not fit, or the folder holds other tokens.
        DataError: If no picture, or too few, are usable.
        StorageError: If the disk is full; the same job then continues.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("beit tokenizer encode runs in one process; start it without torchrun or accelerate")
    check_device(job.augment)
    tokenizer, encoder, side = load_encoder(job)
    if tokenizer.vocab_size > MISSING:
        raise ConfigError(f"the codebook has {tokenizer.vocab_size} codes; at most {MISSING} can be stored as uint16")
    source = open_to_train(job.data)
    identity = token_identity(
        tokenizer_fingerprint(tokenizer), fingerprint(source), (side, side), job.views, job.augment, job.seed
    ) | {"vocab_size": tokenizer.vocab_size, "precision": encoder.precision}
    count, tokens = job.views or 1, side // tokenizer.stride
    with locked(Path(job.output) / LOCK_NAME, job.output, "or choose another output"):
        writer = TokenWriter(job.output, identity, (len(source), count, tokens, tokens))
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
    views = plain
    if job.views is not None:
        views = replace(plain, augmentation=augmentation(job.augment, job.data.channels))
    rows = range(writer.finished, len(source) * count)
    places = [(row % count, row // count) for row in rows]  # (view, picture), which a dataset takes for (epoch, index)
    batches = [places[first : first + job.batch_size] for first in range(0, len(places), job.batch_size)]
    dataset = ViewDataset(source, views, job.seed, replace_broken=False)
    workers = loading_workers(job.data.workers, busy_cpus(encoder.device))
    with Progress(transient=True) as progress:
        task = progress.add_task("encoding", completed=writer.finished, total=len(source) * count)
        for places_R, batch in zip(batches, training_batches(dataset, batches, Collate(0), workers), strict=True):
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
