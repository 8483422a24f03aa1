"""Train a tokenizer, and measure one.

Legend: B batch, C channels, h x w pixels or tokens, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from beit.data import BrokenPicture, Collate, ViewDataset, Views, evaluation_batches
from beit.data.source import ImageSource
from beit.errors import ConfigError
from beit.image import Preprocessing, to_unit_array
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, codebook_usage, count_tokens
from beit.tokenizer.loss import kl_to_uniform, reconstruction_loss
from beit.training.broken import require_usable
from beit.training.conclusion import conclude, save_model
from beit.training.device import make_accelerator
from beit.training.inputs import augmentation, first_pictures, open_sources
from beit.training.jobs import TokenizerJob
from beit.training.loop import Plan, check_length, train
from beit.training.metrics import read_metrics
from beit.training.optimiser import parameter_groups
from beit.training.report import Section, curves_section, figure, numbers_table
from beit.training.run_folder import RunFolder, open_run_folder
from beit.training.schedule import cosine
from beit.training.settings import CodebookLossSettings

_SHOWN = 12  # pictures in the report


class TokenizerObjective(nn.Module):
    """The loss of a discrete VAE (arXiv 2102.12092, section 2.1 and appendix A).

    The whole is divided by the number of pixel values, so that the reconstruction is a mean over them and the KL,
    summed over the tokens of a picture, is weighed against the reconstruction summed over its pixels.
    """

    def __init__(self, model: DiscreteVAE, settings: CodebookLossSettings) -> None:
        super().__init__()
        self.model = model
        self._settings = settings

    def forward(self, tensors: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return the loss and its parts at a point of the run."""
        settings, pixels_BChw = self._settings, tensors["tokenizer_pixels"]
        temperature = cosine(*settings.temperature, progress / settings.anneal_share)
        kl_weight = cosine(
            0.0, settings.kl_weight, progress / settings.kl_ramp_share if settings.kl_ramp_share else 1.0
        )
        decoded, logits_BVhw = self.model(pixels_BChw, temperature)
        reconstruction = reconstruction_loss(settings.reconstruction, decoded, pixels_BChw)
        kl = kl_to_uniform(logits_BVhw)
        tokens_per_value = logits_BVhw[0, 0].numel() / pixels_BChw[0].numel()
        loss = reconstruction + kl_weight * tokens_per_value * kl
        return {"loss": loss, "reconstruction": reconstruction.detach(), "kl": kl.detach()}


class TokenizerRun:
    """A tokenizer with its objective, for the loop."""

    def __init__(self, model: DiscreteVAE, job: TokenizerJob) -> None:
        self.model = model
        self.module: nn.Module = TokenizerObjective(model, job.loss)
        self.groups = parameter_groups(model, job.optim.weight_decay, layer_decay=1.0, layers=0)

    def save(self, folder: Path) -> None:
        """Write the tokenizer into a folder."""
        self.model.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Fill the tokenizer from a folder."""
        self.model.load_state_dict(DiscreteVAE.from_pretrained(folder).state_dict())


@dataclass(frozen=True)
class TokenizerQuality:
    """What a tokenizer does to pictures it was not trained on.

    Attributes:
        l1: Mean absolute error of the reconstruction from hard tokens, in [0, 1].
        l2: Mean squared error of the same.
        used_codes: Codes that occur.
        vocab_size: Codes there are.
        perplexity: exp of the entropy of the token frequencies, 1 to vocab_size.
        pictures: Number of pictures measured.
    """

    l1: float
    l2: float
    used_codes: int
    vocab_size: int
    perplexity: float
    pictures: int


def train_tokenizer(job: TokenizerJob) -> RunFolder:
    """Train a discrete VAE and leave model, metrics and report in the run folder, which is returned."""
    config = DiscreteVAEConfig(**asdict(job.codebook))
    side = job.image_size
    if side % config.patch_size:
        raise ConfigError(
            f"image_size {side} is not a multiple of the {config.patch_size} pixels of a token; "
            f"use {side // config.patch_size * config.patch_size or config.patch_size}"
        )
    sources = open_sources(job.data, job.run.seed)
    accelerator = make_accelerator(job.run)
    check_length(job.train, job.optim, len(sources.train), accelerator.num_processes)
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    torch.manual_seed(job.run.seed)
    plain = tokenizer_views(side)
    changing = Views(plain.preprocessing, augmentation(job.augment), plain.tokenizer_hw)
    dataset = ViewDataset(sources.train, changing, job.run.seed, replace_broken=True)
    run = TokenizerRun(DiscreteVAE(config), job)
    plan = Plan("tokenizer", job.run, job.data, job.optim, job.train, dataset, Collate(job.run.seed))
    train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        save_model(folder, run.save)
        _conclude(job, run.model, sources.val, folder, plan.steps, accelerator.device)
    accelerator.wait_for_everyone()
    return folder


def _conclude(
    job: TokenizerJob, model: DiscreteVAE, val: ImageSource, folder: RunFolder, steps: int, device: torch.device
) -> None:
    quality, broken = measure_tokenizer(model, val, job.image_size, job.train.batch_size, device)
    numbers = asdict(quality)
    curves = {"Loss": ["loss", "reconstruction"], "KL to uniform": ["kl"], "Learning rate": ["lr"]}
    conclude(
        "Tokenizer",
        job,
        folder,
        steps,
        numbers,
        broken,
        lambda: [
            Section("Held-out pictures", "Measured with hard tokens.", table=numbers_table(numbers)),
            reconstruction_section(model, val, job.image_size, device),
            curves_section(read_metrics(folder.metrics), curves),
        ],
    )


def tokenizer_views(side: int) -> Views:
    """Return the deterministic view of a square tokenizer input."""
    return Views(Preprocessing((side, side), (side, side)), None, (side, side))


@torch.inference_mode()
def measure_tokenizer(
    model: DiscreteVAE, source: ImageSource, side: int, batch_size: int, device: torch.device
) -> tuple[TokenizerQuality, list[BrokenPicture]]:
    """Measure a tokenizer on pictures; return what was measured, and the broken pictures that were left out.

    Raises:
        DataError: If no picture is usable.
    """
    model = model.to(device).eval()
    counts_V = torch.zeros(model.config.vocab_size, dtype=torch.int64)
    absolute = squared = 0.0
    values = pictures = 0
    broken: list[BrokenPicture] = []
    dataset = ViewDataset(source, tokenizer_views(side), seed=0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size, workers=0):
        broken += batch.broken
        if not batch.indices:
            continue
        pixels_BChw = batch.tensors["tokenizer_pixels"].to(device)
        tokens_Bhw = model.encode(pixels_BChw)
        error_BChw = model.decode(tokens_Bhw) - pixels_BChw
        absolute += float(error_BChw.abs().sum())
        squared += float(error_BChw.square().sum())
        values += error_BChw.numel()
        pictures += len(batch.indices)
        counts_V += count_tokens(tokens_Bhw, model.config.vocab_size)
    usage = codebook_usage(counts_V)
    require_usable(pictures, len(source), broken)
    quality = TokenizerQuality(
        absolute / values, squared / values, usage.used, model.config.vocab_size, usage.perplexity, pictures
    )
    return quality, broken


@torch.inference_mode()
def reconstruction_section(model: DiscreteVAE, source: ImageSource, side: int, device: torch.device) -> Section:
    """Return some pictures above their reconstructions."""
    view = Preprocessing((side, side), (side, side))
    section = Section("Reconstructions", "Above: the picture. Below: decoded from its visual tokens.")
    pixels = [to_unit_array(view.crop(picture)) for _, picture in first_pictures(source, _SHOWN)]
    decoded = model.decode(model.encode(torch.from_numpy(np.stack(pixels)).to(device))).cpu().numpy()
    section.gallery = [[figure(one), figure(other)] for one, other in zip(pixels, decoded, strict=True)]
    return section
