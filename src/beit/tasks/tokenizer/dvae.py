"""Train a discrete VAE.

Legend: B batch, C channels, h x w tokens, H x W pixels, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor, nn

from beit.data import Collate
from beit.engine.early_stop import EarlyStop
from beit.engine.loop import train
from beit.engine.plan import Plan
from beit.engine.processes import one_run
from beit.engine.run_folder import RunFolder, open_run_folder
from beit.engine.schedule import cosine
from beit.engine.shards import note_shards
from beit.settings.tokenizer import CodebookLossSettings, TokenizerJob
from beit.tasks.tokenizer.codebook import CodebookWatch
from beit.tasks.tokenizer.run import TokenizerRun
from beit.tasks.tokenizer.wiring import Wording, conclude_tokenizer, opened_inputs, quality_so_far, random_views
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from beit.tokenizer.checks import check_side
from beit.tokenizer.loss import reconstruction_loss, token_divergences

_WORDING = Wording(
    "Tokenizer",
    "Measured with hard tokens.",
    {
        "Loss": ["loss", "reconstruction"],
        "KL to uniform": ["kl"],
        "Perplexity of the codes in a step": ["perplexity"],
        "Dead codes": ["dead_codes"],
        "Held-out squared error": ["l2"],
        "Learning rate": ["lr"],
    },
)


class TokenizerObjective(nn.Module):
    """The loss of a discrete VAE (arXiv 2102.12092, section 2.1 and appendix A).

    The whole is divided by the number of pixel values, so that the reconstruction is a mean over them and the KL,
    summed over the tokens of a picture, is weighed against the reconstruction summed over its pixels.
    """

    def __init__(self, model: DiscreteVAE, settings: CodebookLossSettings) -> None:
        super().__init__()
        self.model = model
        self.codebook = CodebookWatch(model.vocab_size, settings.dead_after)
        self._settings = settings

    def forward(self, tensors: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return the loss and its parts at a point of the run."""
        settings, pixels_BCHW = self._settings, tensors["tokenizer_pixels"]
        temperature = cosine(*settings.temperature, progress / settings.anneal_share)
        kl_weight = cosine(*settings.kl_weight, progress / settings.kl_ramp_share)
        decoded, logits_BVhw = self.model(pixels_BCHW, temperature)
        reconstruction = reconstruction_loss(settings.reconstruction, decoded, pixels_BCHW)
        kl, imbalance = token_divergences(logits_BVhw)
        tokens_per_value = logits_BVhw[0, 0].numel() / pixels_BCHW[0].numel()
        loss = reconstruction + tokens_per_value * (kl_weight * kl + settings.balance_weight * imbalance)
        usage = self.codebook(logits_BVhw.detach().argmax(dim=1))
        return {"loss": loss, "reconstruction": reconstruction.detach(), "kl": kl.detach(), **usage}


def tokenizer_run(job: TokenizerJob) -> TokenizerRun:
    """Return what the loop trains: a tokenizer with random weights, and its objective."""
    model = DiscreteVAE(DiscreteVAEConfig(**asdict(job.codebook), image_size=job.image_size))
    return TokenizerRun(model, TokenizerObjective(model, job.loss), job.optim.weight_decay)


@one_run
def train_tokenizer(job: TokenizerJob) -> RunFolder:
    """Train a discrete VAE and leave model, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures, or too many are broken.
    """
    config = DiscreteVAEConfig(**asdict(job.codebook), image_size=job.image_size)
    check_side(job.image_size, config.patch_size)
    sources, accelerator = opened_inputs(job)
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    note_shards(accelerator, folder.broken, sources.train, sources.val)
    torch.manual_seed(job.run.seed)
    dataset, run = random_views(job, sources.train), tokenizer_run(job)

    def held_out_error() -> float:
        quality = quality_so_far(job, run.model, sources.val, accelerator.device)
        assert quality.l2 is not None  # noqa: S101  # a discrete VAE in training has its decoder
        return quality.l2

    early_stop = EarlyStop(job.early_stop, "l2", held_out_error)
    plan = Plan("tokenizer", job.run, job.data, job.optim, job.train, dataset, Collate(job.run.seed), early_stop)
    steps = train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        conclude_tokenizer(job, run, folder, steps, sources.val, accelerator.device, _WORDING)
    accelerator.wait_for_everyone()
    return folder
