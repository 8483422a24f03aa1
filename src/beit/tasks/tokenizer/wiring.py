"""What the trainings of both kinds of tokenizer have in common: how they begin, measure and end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from beit.data import ImageSource, ViewDataset, Views
from beit.engine.conclusion import conclude, save_model
from beit.engine.device import make_accelerator
from beit.engine.metrics import read_metrics
from beit.engine.plan import check_no_layer_decay
from beit.engine.run_folder import RunFolder
from beit.engine.schedule import check_length
from beit.engine.sharding import check_sharding
from beit.evaluation.tokenizer.pictures import reconstruction_section
from beit.evaluation.tokenizer.quality import TokenizerQuality, measure_tokenizer, tokenizer_views
from beit.reports.report import Section, curves_section, numbers_table
from beit.settings.inputs import Sources, augmentation, open_sources
from beit.settings.tokenizer import DistillJob, TokenizerJob
from beit.tasks.pretrain.checks import check_batches
from beit.tasks.tokenizer.run import TokenizerRun
from beit.tokenizer import TokenEncoder, Tokenizer
from beit.tokenizer.teacher import Teacher

Job = TokenizerJob | DistillJob


@dataclass(frozen=True)
class Wording:
    """What the report of a tokenizer says beside its numbers.

    Attributes:
        title: Its heading, before the run's name.
        measured: How the numbers were measured, if that needs a word.
        curves: Titles of its curves, and the metrics in each.
    """

    title: str
    measured: str
    curves: Mapping[str, Sequence[str]]


def opened_inputs(job: Job) -> tuple[Sources, Accelerator]:
    """Return the pictures of a job and the accelerator, after checking the settings against them.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures.
    """
    check_no_layer_decay(job.optim)
    check_sharding(job.run, job.train)
    sources = open_sources(job.data, job.run.seed)
    accelerator = make_accelerator(job.run)
    check_batches(len(sources.train), {"train.batch_size": job.train.batch_size})
    check_length(job.train, job.optim, len(sources.train), accelerator.num_processes)
    return sources, accelerator


def random_views(job: Job, source: ImageSource) -> ViewDataset:
    """Return the random views to train on."""
    plain = tokenizer_views(job.image_size)
    views = Views(plain.preprocessing, augmentation(job.augment), plain.tokenizer_hw)
    return ViewDataset(source, views, job.run.seed, replace_broken=True)


def quality_so_far(
    job: Job, model: Tokenizer, source: ImageSource, device: torch.device, teacher: Teacher | None = None
) -> TokenizerQuality:
    """Return what a tokenizer is worth on held-out pictures; a copy is measured, and the tokenizer goes on learning."""
    encoder = TokenEncoder(deepcopy(model), device, precision="fp32")
    side, batch_size, workers = job.image_size, job.train.batch_size, job.data.workers
    return measure_tokenizer(encoder, source, side, batch_size, workers, teacher, job.early_stop.pictures)[0]


def conclude_tokenizer(
    job: Job,
    run: TokenizerRun,
    folder: RunFolder,
    steps: int,
    source: ImageSource,
    device: torch.device,
    wording: Wording,
    teacher: Teacher | None = None,
) -> None:
    """Write the trained tokenizer, what it is worth on held-out pictures, and the report.

    Args:
        job: The settings.
        run: What was trained.
        folder: The run folder.
        steps: Finished steps.
        source: Held-out pictures.
        device: Where to compute.
        wording: What the report says.
        teacher: For VQ-KD, whose features are predicted.
    """
    save_model(folder, run.save)
    encoder, side = TokenEncoder(run.model, device, precision="fp32"), job.image_size
    quality, broken = measure_tokenizer(encoder, source, side, job.train.batch_size, job.data.workers, teacher)
    numbers = quality.numbers()

    def sections() -> list[Section]:
        return [
            Section("Held-out pictures", wording.measured, table=numbers_table(numbers)),
            reconstruction_section(encoder, source, side),
            curves_section(read_metrics(folder.metrics), wording.curves),
        ]

    conclude(wording.title, job, folder, steps, numbers, broken, sections)
