"""Train a VQ-KD tokenizer: quantise, and predict the features of a teacher (arXiv 2208.06366, section 2.2).

Legend: B batch, C channels, N patches, T features of the teacher, h x w tokens, H x W pixels, V codebook size.
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
from beit.engine.shards import note_shards
from beit.errors import ConfigError
from beit.geometry import Grid
from beit.settings.tokenizer import DistillJob, QuantiserSettings
from beit.tasks.tokenizer.codebook import CodebookWatch
from beit.tasks.tokenizer.run import TokenizerRun
from beit.tasks.tokenizer.wiring import Wording, conclude_tokenizer, opened_inputs, quality_so_far, random_views
from beit.tokenizer import VQKD, VQKDConfig, distillation_loss
from beit.tokenizer.checks import check_side
from beit.tokenizer.fingerprint import tensors_fingerprint
from beit.tokenizer.teacher import BeitTeacher, Teacher, feature_size

_WORDING = Wording(
    "VQ-KD tokenizer",
    "",
    {
        "Loss": ["loss", "distillation"],
        "Commitment": ["commitment"],
        "Perplexity of the codes in a step": ["perplexity"],
        "Dead and revived codes": ["dead_codes", "revived"],
        "Held-out dissimilarity": ["dissimilarity"],
        "Learning rate": ["lr"],
    },
)


class DistillObjective(nn.Module):
    """1 - cosine similarity of predicted and true features, and the commitment of features to codes (equation 4)."""

    def __init__(self, model: VQKD, teacher: Teacher, settings: QuantiserSettings) -> None:
        super().__init__()
        self.model = model
        self.codebook = CodebookWatch(model.vocab_size, settings.dead_after)
        self.register_buffer("revived", torch.zeros((), dtype=torch.int64))  # since the beginning of the run
        self.revived: Tensor
        self._teacher = (teacher,)  # in a tuple: neither trained, nor saved, nor wrapped with the model
        quantiser = model.quantiser
        quantiser.decay, quantiser.commitment = settings.decay, settings.commitment
        quantiser.revive_below = settings.revive_below

    def forward(self, tensors: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return the loss and its parts."""
        pixels_BCHW = tensors["tokenizer_pixels"]
        with torch.no_grad():
            features_BNT = self._teacher[0](pixels_BCHW)
        output = self.model(pixels_BCHW)
        distillation = distillation_loss(output.predicted, features_BNT)
        usage = self.codebook(output.tokens)
        self.revived += output.revived
        return {
            "loss": distillation + output.commitment,
            "distillation": distillation.detach(),
            "commitment": output.commitment.detach(),
            "revived": self.revived.float(),
            **usage,
        }


@one_run
def distill_tokenizer(job: DistillJob, teacher: Teacher | None = None) -> RunFolder:
    """Train a VQ-KD tokenizer and leave model, metrics and report in the run folder, which is returned.

    Args:
        job: The settings.
        teacher: What to learn instead of the features of `job.teacher`: called with pixels (B, C, H, W) in [0, 1] of
            `job.image_size`, it returns features (B, N, T), row-major, one vector per token.

    Raises:
        ConfigError: If the settings do not fit together, or the teacher does not give one vector per token.
        DataError: If there are no pictures, or too many are broken.
    """
    side = job.image_size
    check_side(side, job.model.patch_size)
    grid = Grid(side // job.model.patch_size, side // job.model.patch_size)
    # what cannot be built fails before any file is opened; the teacher tells the number of its features later
    config = VQKDConfig(**asdict(job.model), image_size=side, teacher_size=1)
    if teacher is None:
        if job.teacher is None:
            raise ConfigError("teacher is missing; name a classifier, such as the model folder of a fine-tuning")
        teacher = BeitTeacher.from_pretrained(job.teacher, grid)
    sources, accelerator = opened_inputs(job)
    facts: dict[str, str] = {}
    if isinstance(teacher, nn.Module):
        teacher.to(accelerator.device).eval().requires_grad_(requires_grad=False)
        facts["teacher"] = tensors_fingerprint(teacher.state_dict())
    size = feature_size(teacher, (side, side), grid, accelerator.device)
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    note_shards(accelerator, folder.broken, sources.train, sources.val)
    torch.manual_seed(job.run.seed)
    dataset = random_views(job, sources.train)
    model = VQKD(VQKDConfig(**{**asdict(config), "teacher_size": size}))
    run = TokenizerRun(model, DistillObjective(model, teacher, job.quantiser), job.optim.weight_decay)

    def dissimilarity() -> float:
        quality = quality_so_far(job, model, sources.val, accelerator.device, teacher)
        assert quality.similarity is not None  # noqa: S101  # there is a teacher
        return 1 - quality.similarity

    early_stop = EarlyStop(job.early_stop, "dissimilarity", dissimilarity)
    plan = Plan(
        "VQ-KD tokenizer", job.run, job.data, job.optim, job.train, dataset, Collate(job.run.seed), early_stop, facts
    )
    steps = train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        conclude_tokenizer(job, run, folder, steps, sources.val, accelerator.device, _WORDING, teacher)
    accelerator.wait_for_everyone()
    return folder
