"""Task of training a discrete VAE, the tokenizer of DALL-E.

Legend: B batch, C channels, h x w tokens, H x W pixels, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import ClassVar

import torch
from torch import Tensor, nn

from beit.engine.run import run
from beit.engine.run_folder import RunFolder
from beit.engine.schedule import cosine
from beit.errors import ConfigError
from beit.evaluation.tokenizer.drawings import ONE_PER_PATCH
from beit.settings.groups import OptimSettings
from beit.settings.tokenizer import CodebookLossSettings, TokenizerJob
from beit.tasks.tokenizer.task import CodebookWatch, TokenizerTask
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from beit.tokenizer.base import check_side
from beit.tokenizer.loss import reconstruction_loss, token_divergences


class DiscreteVAELoss(nn.Module):
    """The loss of a discrete VAE (arXiv 2102.12092, section 2.1 and appendix A).

    The whole is divided by the number of pixel values, so that the reconstruction is a mean over them and the KL,
    summed over the tokens of a picture, is weighed against the reconstruction summed over its pixels.
    """

    def __init__(self, model: DiscreteVAE, settings: CodebookLossSettings, parts: int = 1) -> None:
        super().__init__()
        self.model = model
        self.codebook = CodebookWatch(model.vocab_size, settings.dead_after, parts)
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


class DiscreteVAETask(TokenizerTask[TokenizerJob, DiscreteVAELoss]):
    """Training of a discrete VAE with random weights."""

    title = "tokenizer"
    watched = "l2"
    measured_with = ONE_PER_PATCH
    spreads = "raise loss.balance_weight or train on more varied pictures"
    curves: ClassVar[Mapping[str, Sequence[str]]] = {
        "Loss": ["loss", "reconstruction"],
        "KL to uniform": ["kl"],
        "Perplexity of the codes in a step": ["perplexity"],
        "Dead codes": ["dead_codes"],
        "Held-out squared error": ["l2"],
        "Learning rate": ["lr"],
    }

    def __init__(self, settings: TokenizerJob) -> None:
        super().__init__(settings)
        self._config = dvae_config(settings)
        check_side(settings.image_size, self._config.patch_size)
        check_optimiser(settings.optim)

    def build(self) -> DiscreteVAELoss:
        """Return the loss over a tokenizer with random weights."""
        model = DiscreteVAE(self._config)
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # its stubs forget it
        return DiscreteVAELoss(model, self.settings.loss, self.settings.train.accumulate)


def dvae_config(job: TokenizerJob) -> DiscreteVAEConfig:
    """Return the size of the tokenizer that a job trains."""
    return DiscreteVAEConfig(**asdict(job.codebook), image_size=job.image_size, channels=job.data.channels)


def check_optimiser(optim: OptimSettings, prefix: str = "") -> None:
    """Refuse Muon, which is for matrices: the weights of a discrete VAE are kernels of convolutions; and no rate.

    Raises:
        ConfigError: Naming the setting; `prefix` stands before it.
    """
    if optim.lr == "auto":
        raise ConfigError(f"{prefix}optim.lr is auto, and there is no rule for tokenizers; set a number, such as 1e-3")
    if optim.name == "muon":
        raise ConfigError(
            f"{prefix}optim.name is muon, and a discrete VAE has convolutions only; set {prefix}optim.name to adamw"
        )


def train_tokenizer(job: TokenizerJob) -> RunFolder:
    """Train a discrete VAE and leave model, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures, or too many are broken.
    """
    return run(DiscreteVAETask, job)
