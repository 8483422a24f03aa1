"""Pre-train a BEiT by masked image modelling."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from beit.data import Collate, MaskPlan, Views
from beit.data.subset import spread
from beit.engine.conclusion import conclude, save_model
from beit.engine.device import make_accelerator
from beit.engine.early_stop import EarlyStop
from beit.engine.loop import train
from beit.engine.metrics import read_metrics
from beit.engine.optimiser import parameter_groups
from beit.engine.plan import Plan
from beit.engine.processes import one_run
from beit.engine.run_folder import RunFolder, open_run_folder
from beit.engine.schedule import total_steps
from beit.engine.shards import note_shards
from beit.evaluation.tokenizer.quality import quality_line, says_little
from beit.geometry import Grid
from beit.models_torch import BeitForMaskedImageModeling, PatchAggregation
from beit.reports.gallery import Gallery
from beit.reports.report import Section, curves_section, numbers_table
from beit.settings.inputs import Sources, open_sources, preprocessing
from beit.settings.pretrain import PretrainJob
from beit.tasks.pretrain.checks import check_lengths, stored_tokens
from beit.tasks.pretrain.cost import training_flops
from beit.tasks.pretrain.hidden_patches import HiddenPatches
from beit.tasks.pretrain.loss import PretrainObjective
from beit.tasks.pretrain.quality import held_out_loss, measure_pretraining, verdict
from beit.tasks.pretrain.start import (
    pretraining_model,
    pretraining_start,
    pretraining_views,
    tokenizer_job,
    training_views,
)
from beit.tasks.tokenizer.dvae import train_tokenizer
from beit.tokenizer import TokenEncoder, VisualTokenizer, load_tokenizer, tokenizer_fingerprint

CURVES = {
    "Loss": ["loss", "held_out_loss", "aggregation_loss"],
    "Masked-token accuracy": ["accuracy"],
    "Perplexity of the predictions in a step": ["prediction_perplexity"],
    "Gradient norm": ["grad_norm"],
    "Learning rate": ["lr"],
    "Weight decay": ["weight_decay"],
    "Images per second": ["images_per_second"],
    "Model FLOP utilisation": ["flops_utilisation"],
    "Share of the time spent waiting for data": ["data_wait"],
    "Memory, GiB": ["memory_gib"],
}
_MOST_MEASURED = 10_000  # held-out pictures in the end, at even distances: one process measures, the others wait
_ROWS = 10  # of the gallery, unless gallery.every says otherwise


class PretrainRun:
    """A model with its objective, for the loop."""

    def __init__(self, model: BeitForMaskedImageModeling, encoder: TokenEncoder, job: PretrainJob) -> None:
        self.model = model
        self._job = job
        settings = job.aggregation
        aggregation = PatchAggregation(model, settings.early_layer, settings.layers) if settings.early_layer else None
        self.module = PretrainObjective(model, encoder, job.mask.count, aggregation)
        layers = model.config.num_hidden_layers
        self.groups = parameter_groups(self.module, job.optim.weight_decay, job.optim.layer_decay, layers)

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return pictures, masks and the visual tokens to predict."""
        return self.module.prepare(tensors)

    def weight(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of masked patches."""
        return tensors["bool_masked_pos"].sum().float()

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another such as its moving average, and its preprocessing into a folder."""
        (model or self.model).save_pretrained(folder)
        preprocessing(self._job.model, self.model.config.image_hw, self._job.checkpoint).save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Fill the model from a folder."""
        self.model.load_weights(folder, strict=True)


@one_run
def pretrain(job: PretrainJob, tokenizer: VisualTokenizer | None = None) -> RunFolder:
    """Pre-train a BEiT and leave model, metrics and report in the run folder, which is returned.

    Without `tokenizer.path` a tokenizer is trained first, on the same pictures, in `tokenizer/` inside the run folder.

    Args:
        job: The settings.
        tokenizer: What makes the visual tokens, instead of what `job.tokenizer.path` names: any `VisualTokenizer`.

    Raises:
        ConfigError: If model, tokenizer, masks and stored tokens do not fit together.
        DataError: If there are no pictures, or too many are broken.
    """
    start = pretraining_start(job, tokenizer)
    grid, mask, tokenizer = start.grid, start.mask, start.tokenizer
    accelerator = make_accelerator(job.run)
    with accelerator.local_main_process_first():  # it leaves the index of the collection to the others
        sources = open_sources(job.data, job.run.seed)
    pictures, world = len(sources.train), accelerator.num_processes
    check_lengths(job, tokenizer, pictures, world)
    stored = stored_tokens(job, tokenizer, grid)
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    note_shards(accelerator, folder.broken, sources.train, sources.val)
    if tokenizer is None:
        tokenizer = load_tokenizer(_train_tokenizer(job, grid, folder, accelerator.is_main_process))
    encoding = job.tokenizer.encoding
    encoder = TokenEncoder(tokenizer, accelerator.device, encoding.precision, encoding.compile)
    run = PretrainRun(pretraining_model(job, start, tokenizer), encoder, job)

    flops = training_flops(run.model.config, mask.count)
    collate, facts = Collate(job.run.seed, mask), {"tokenizer": tokenizer_fingerprint(tokenizer)}
    views = pretraining_views(job, start.config, tokenizer.stride, grid)
    dataset = training_views(job, views, sources.train, stored)
    plain = replace(views, augmentation=None)
    at_once = max(1, job.train.batch_size // world // job.train.accumulate)  # what is known to fit the memory

    def measure() -> float:
        some, workers = spread(sources.val, job.early_stop.pictures), job.data.workers
        with accelerator.autocast():
            return held_out_loss(run.module, some, plain, mask, job.run.seed, at_once, workers)

    early_stop = EarlyStop(job.early_stop, "held_out_loss", measure)

    def scene() -> HiddenPatches:
        return HiddenPatches(run.model, encoder, sources.val, plain, mask, job.run.seed, job.gallery.pictures)

    every = job.gallery.every or -(-total_steps(job.train, pictures) // _ROWS)
    gallery = Gallery(folder.pictures, every, scene) if job.gallery.pictures else None
    plan = Plan(
        "pre-training", job.run, job.data, job.optim, job.train, dataset, collate, early_stop, facts, flops, gallery
    )
    steps = train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        save_model(folder, run.save)
        if gallery is not None and early_stop.keeps_best and early_stop.best_step is not None:
            gallery.add(early_stop.best_step)  # the model that is kept
        with accelerator.autocast():
            _conclude(job, run, encoder, sources, plain, mask, folder, steps, gallery, at_once)
    accelerator.wait_for_everyone()
    return folder


def _train_tokenizer(job: PretrainJob, grid: Grid, folder: RunFolder, main: bool) -> Path:
    """Train a tokenizer on the pictures of the job, inside its run folder; say what it is worth; return its folder."""
    trained = train_tokenizer(tokenizer_job(job, grid, folder.path / "tokenizer"))
    quality = trained.read_result()
    if main:
        print(f"tokenizer: {quality_line(quality)}")  # noqa: T201  # what follows can be no better than this
        if warning := says_little(quality):
            logging.getLogger(__name__).warning(warning)
    return trained.model


def _conclude(
    job: PretrainJob,
    run: PretrainRun,
    encoder: TokenEncoder,
    sources: Sources,
    plain: Views,
    mask: MaskPlan,
    folder: RunFolder,
    steps: int,
    gallery: Gallery | None,
    at_once: int,
) -> None:
    some = Sources(sources.train, spread(sources.val, _MOST_MEASURED))
    quality, broken = measure_pretraining(
        run.module, encoder, some, plain, mask, job.run.seed, at_once, job.data.workers
    )
    numbers, rule = asdict(quality), "the token frequencies"
    levels = {"Loss": (rule, quality.frequency_loss), "Masked-token accuracy": (rule, quality.frequency_accuracy)}
    conclude(
        "Pre-training",
        job,
        folder,
        steps,
        numbers,
        broken,
        lambda: [
            Section("Masked patches of held-out pictures", verdict(numbers) or "", table=numbers_table(numbers)),
            curves_section(read_metrics(folder.metrics), CURVES, levels),
            *([gallery.section()] if gallery is not None else []),
        ],
    )
