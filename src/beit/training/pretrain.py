"""Pre-train a BEiT by masked image modelling.

Legend: B batch, N patches, M masked patches of the batch, S = 1 + N tokens, V codebook size, h x w patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from beit.data import (
    BrokenPicture,
    Collate,
    MaskPlan,
    Purpose,
    Subset,
    ViewDataset,
    Views,
    evaluation_batches,
    generator,
)
from beit.data.source import ImageSource
from beit.geometry import Grid, block_masks, patch_grid
from beit.models_torch import BeitForMaskedImageModeling
from beit.tokenizer import DiscreteVAE, count_tokens
from beit.training.broken import require_usable
from beit.training.conclusion import conclude, save_model
from beit.training.device import make_accelerator
from beit.training.inputs import Sources, augmentation, open_sources, preprocessing
from beit.training.jobs import PretrainJob, TokenizerJob
from beit.training.loop import Plan, check_length, train
from beit.training.metrics import read_metrics
from beit.training.model import model_config
from beit.training.optimiser import parameter_groups
from beit.training.pretrain_pictures import reconstruction_section
from beit.training.report import Section, curves_section, numbers_table
from beit.training.run_folder import RunFolder, open_run_folder
from beit.training.settings import MaskSettings
from beit.training.tokenizer import train_tokenizer

_FREQUENCY_PICTURES = 2048  # training pictures from which the token frequencies are estimated


class PretrainObjective(nn.Module):
    """Cross-entropy of the visual tokens of masked patches (arXiv 2106.08254, section 2.4, equation 1)."""

    def __init__(self, model: BeitForMaskedImageModeling, tokenizer: DiscreteVAE) -> None:
        super().__init__()
        self.model = model
        self._frozen = (tokenizer,)  # in a tuple: neither trained, nor saved, nor wrapped with the model

    def forward(self, tensors: Mapping[str, Tensor], progress: float = 0.0) -> dict[str, Tensor]:
        """Return the loss, and the share of masked patches whose token is predicted right."""
        mask_BN = tensors["bool_masked_pos"]
        labels_M = visual_tokens(self._frozen[0], tensors["tokenizer_pixels"])[mask_BN]
        logits_MV = self.model.masked_logits(tensors["pixel_values"], mask_BN).float()
        count = _patches_per_process(mask_BN)
        loss = functional.cross_entropy(logits_MV, labels_M, reduction="sum") / count
        right_M = logits_MV.detach().argmax(dim=-1) == labels_M
        return {"loss": loss, "accuracy": right_M.sum() / count}


def _patches_per_process(mask_BN: Tensor) -> Tensor:
    """Return the masked patches of the whole batch, per process.

    Masks differ in size. Dividing by this instead of by the own number makes the mean over the processes the mean over
    all masked patches, so that the result does not depend on the number of processes.
    """
    count = mask_BN.sum().float()
    if torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        count = count / distributed.get_world_size()
    return count


class PretrainRun:
    """A model with its objective, for the loop."""

    def __init__(self, model: BeitForMaskedImageModeling, tokenizer: DiscreteVAE, job: PretrainJob) -> None:
        self.model = model
        self._job = job
        self.module: nn.Module = PretrainObjective(model, tokenizer)
        layers = model.config.num_hidden_layers
        self.groups = parameter_groups(model, job.optim.weight_decay, job.optim.layer_decay, layers)

    def save(self, folder: Path) -> None:
        """Write the model and its preprocessing into a folder."""
        self.model.save_pretrained(folder)
        preprocessing(self._job.model, self.model.config.image_hw).save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Fill the model from a folder."""
        self.model.load_weights(folder, strict=True)


@dataclass(frozen=True)
class PretrainQuality:
    """What a pre-trained model predicts for masked patches of held-out pictures.

    Attributes:
        loss: Mean cross-entropy in nats.
        frequency_loss: The same for always predicting the token frequencies of the training pictures.
        accuracy: Share of masked patches whose token is predicted right.
        frequency_accuracy: The same for always predicting the most frequent token.
        pictures: Number of pictures measured.
    """

    loss: float
    frequency_loss: float
    accuracy: float
    frequency_accuracy: float
    pictures: int


@torch.no_grad()
def visual_tokens(tokenizer: DiscreteVAE, pixels_BChw: Tensor) -> Tensor:
    """Return the visual tokens (B, N) of the tokenizer's views, row-major."""
    with torch.autocast(pixels_BChw.device.type, enabled=False):  # tokens are data: the same at every precision
        return tokenizer.encode(pixels_BChw.float()).flatten(1)


def pretrain(job: PretrainJob) -> RunFolder:
    """Pre-train a BEiT and leave model, metrics and report in the run folder, which is returned.

    Without `tokenizer.path` a tokenizer is trained first, on the same pictures, in `tokenizer/` inside the run folder.
    """
    config = model_config(job.model)  # impossible sizes fail before anything is written
    grid = patch_grid(config.image_size, config.patch_size)
    mask = mask_plan(job.mask, grid)
    tokenizer = DiscreteVAE.from_pretrained(job.tokenizer.path) if job.tokenizer.path is not None else None
    sources = open_sources(job.data, job.run.seed)
    accelerator = make_accelerator(job.run)
    pictures, world = len(sources.train), accelerator.num_processes
    check_length(job.train, job.optim, pictures, world)
    if job.tokenizer.path is None:
        check_length(job.tokenizer.train, job.tokenizer.optim, pictures, world, "tokenizer.")
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    if tokenizer is None:
        tokenizer = DiscreteVAE.from_pretrained(_train_tokenizer(job, grid, folder))
    tokenizer = tokenizer.to(accelerator.device).requires_grad_(requires_grad=False)
    torch.manual_seed(job.run.seed)
    model = BeitForMaskedImageModeling(model_config(job.model, vocab_size=tokenizer.config.vocab_size))
    run = PretrainRun(model, tokenizer, job)

    views = pretrain_views(job, tokenizer, grid)
    dataset = ViewDataset(sources.train, views, job.run.seed, replace_broken=True)
    plan = Plan("pre-training", job.run, job.data, job.optim, job.train, dataset, Collate(job.run.seed, mask))
    train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        save_model(folder, run.save)
        _conclude(job, run, tokenizer, sources, mask, folder, plan.steps)
    accelerator.wait_for_everyone()
    return folder


def mask_plan(settings: MaskSettings, grid: Grid) -> MaskPlan:
    """Return how to mask, after trying it so that impossible settings fail before the run."""
    plan = MaskPlan(grid, settings.count, settings.min_block, settings.min_aspect, settings.exact)
    rng = np.random.default_rng(0)
    block_masks(grid, plan.count, rng, batch=256, min_block=plan.min_block, min_aspect=plan.min_aspect)
    return plan


def pretrain_views(job: PretrainJob, tokenizer: DiscreteVAE, grid: Grid) -> Views:
    """Return the random views of pre-training: one crop for the model and for the tokenizer."""
    patch = tokenizer.config.patch_size
    tokenizer_hw = (grid.height * patch, grid.width * patch)
    view = preprocessing(job.model, model_config(job.model).image_hw)
    return Views(view, augmentation(job.augment), tokenizer_hw)


def _train_tokenizer(job: PretrainJob, grid: Grid, folder: RunFolder) -> Path:
    """Train a tokenizer on the pictures of the job, inside its run folder; return the tokenizer's folder."""
    settings = job.tokenizer
    own = TokenizerJob(
        run=replace(job.run, output=str(folder.path / "tokenizer")),
        data=job.data,
        augment=replace(job.augment, color_jitter=0.0),
        image_size=grid.height * 2 ** (settings.codebook.groups - 1),
        codebook=settings.codebook,
        loss=settings.loss,
        optim=settings.optim,
        train=settings.train,
    )
    return train_tokenizer(own).model


def _conclude(
    job: PretrainJob,
    run: PretrainRun,
    tokenizer: DiscreteVAE,
    sources: Sources,
    mask: MaskPlan,
    folder: RunFolder,
    steps: int,
) -> None:
    plain = replace(pretrain_views(job, tokenizer, mask.grid), augmentation=None)
    seed, batch_size = job.run.seed, job.train.batch_size
    quality, broken = measure_pretraining(run, tokenizer, sources, plain, mask, seed, batch_size)
    numbers = asdict(quality)
    curves = {
        "Loss": ["loss"],
        "Masked-token accuracy": ["accuracy"],
        "Learning rate": ["lr"],
        "Gradient norm": ["grad_norm"],
    }
    conclude(
        "Pre-training",
        job,
        folder,
        steps,
        numbers,
        broken,
        lambda: [
            Section("Masked patches of held-out pictures", table=numbers_table(numbers)),
            reconstruction_section(run.model, tokenizer, sources.val, plain, mask, seed),
            curves_section(read_metrics(folder.metrics), curves),
        ],
    )


@torch.inference_mode()
def measure_pretraining(
    run: PretrainRun,
    tokenizer: DiscreteVAE,
    sources: Sources,
    views: Views,
    mask: MaskPlan,
    seed: int,
    batch_size: int,
) -> tuple[PretrainQuality, list[BrokenPicture]]:
    """Measure masked-token prediction on validation pictures, beside predicting the token frequencies.

    Raises:
        DataError: If no validation picture is usable.
    """
    run.module.eval()
    log_share_V = _token_frequencies(tokenizer, sources.train, views, batch_size).log()
    dataset = ViewDataset(sources.val, views, seed, replace_broken=False)
    totals, masked, pictures = torch.zeros(4, dtype=torch.float64), 0, 0
    broken: list[BrokenPicture] = []
    for batch in evaluation_batches(dataset, Collate(seed, mask), batch_size, workers=0):
        broken += batch.broken
        if not batch.indices:
            continue
        tensors = batch.to(run.model.device).tensors
        count = int(tensors["bool_masked_pos"].sum())
        values = run.module(tensors)
        labels_M = visual_tokens(tokenizer, tensors["tokenizer_pixels"])[tensors["bool_masked_pos"]].cpu()
        guessed_M = labels_M == log_share_V.argmax()
        totals += torch.tensor([
            float(values["loss"]) * count,
            float(-log_share_V[labels_M].sum()),
            float(values["accuracy"]) * count,
            float(guessed_M.sum()),
        ])  # fmt: skip
        masked += count
        pictures += len(batch.indices)
    require_usable(pictures, len(sources.val), broken)
    loss, frequency_loss, accuracy, frequency_accuracy = (totals / masked).tolist()
    return PretrainQuality(loss, frequency_loss, accuracy, frequency_accuracy, pictures), broken


def _token_frequencies(tokenizer: DiscreteVAE, source: ImageSource, views: Views, batch_size: int) -> Tensor:
    """Return the share of each visual token (V,) in training pictures, none zero (add-one smoothing)."""
    counts_V = torch.ones(tokenizer.config.vocab_size, dtype=torch.float64)
    device = next(tokenizer.parameters()).device
    some = generator(0, Purpose.SPLIT).permutation(len(source))[:_FREQUENCY_PICTURES]  # folders are sorted by class
    dataset = ViewDataset(Subset(source, some), views, 0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size, workers=0):
        if batch.indices:
            tokens_BN = visual_tokens(tokenizer, batch.tensors["tokenizer_pixels"].to(device))
            counts_V += count_tokens(tokens_BN, tokenizer.config.vocab_size)
    return counts_V / counts_V.sum()
