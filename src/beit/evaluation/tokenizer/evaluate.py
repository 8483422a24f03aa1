"""Evaluation of a tokenizer on pictures, with its files and report."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from beit.data import BrokenPictures, loading_workers
from beit.errors import ConfigError
from beit.evaluation.tokenizer.drawings import ONE_PER_PATCH, reconstruction_section
from beit.evaluation.tokenizer.encoder import load_encoder
from beit.evaluation.tokenizer.quality import TokenizerQuality, measure_tokenizer, predicted_features
from beit.files import write_json
from beit.geometry import Grid
from beit.models_torch.device import busy_cpus
from beit.reports.report import Section, numbers_table, since, write_report
from beit.settings.base import resolved_recipe
from beit.settings.inputs import open_pictures
from beit.settings.tokenizer import EvaluateTokenizerJob
from beit.tokenizer import VQKD
from beit.tokenizer.teacher import BeitTeacher, feature_size


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
            Section("What the tokens keep", ONE_PER_PATCH, table=numbers_table(numbers)),
            reconstruction_section(encoder, source, side),
        ]
        write_report(Path(job.report), f"Evaluation of {job.tokenizer}", sections, resolved_recipe(job), since(began))
    return quality
