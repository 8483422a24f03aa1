"""Store the visual tokens of pictures in a folder, for pre-training or for one's own use.

Legend: R rows of a batch, h x w tokens, V codebook size.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from beit.data import (
    MISSING,
    Collate,
    ImageSource,
    StoredTokens,
    TokenWriter,
    ViewDataset,
    Views,
    fingerprint,
    training_batches,
    write_labels_and_names,
)
from beit.errors import ConfigError
from beit.tokenizer import TokenEncoder, codebook_usage, tokenizer_fingerprint
from beit.training.inputs import augmentation, open_pictures
from beit.training.jobs import EncodeJob
from beit.training.run.broken import BrokenPictures, list_shards, require_usable
from beit.training.settings import AugmentSettings
from beit.training.tokenizers.quality import tokenizer_views
from beit.training.tokenizers.ready import encoder_side, ready_tokenizer


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
    tokenizer, encoder, side = ready_tokenizer(job)
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
