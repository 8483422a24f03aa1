"""Pre-train a BEiT to predict the pixels of masked patches instead of their visual tokens: the paper's ablation.

    python benchmarks/pretrain_pixels.py RECIPE [--SETTING VALUE ...]

Takes the recipes of `beit pretrain`, whose data, masks, model and loop it shares; only the target differs, and with it
the head, which has an output for every number of a patch (arXiv 2106.08254, section 3.3).

Legend: B batch, N patches, m masked patches per picture, M = B * m, P numbers in a patch.
"""

import sys

import torch
from torch import nn
from torch.nn import functional

from beit.cli.parser import parse_job
from beit.data import Collate, ViewDataset, Views, evaluation_batches
from beit.engine.conclusion import conclude, save_model
from beit.engine.device import make_accelerator
from beit.engine.loop import train
from beit.engine.metrics import read_metrics
from beit.engine.optimiser import parameter_groups
from beit.engine.plan import Plan
from beit.engine.run_folder import open_run_folder
from beit.models_torch import BeitForMaskedImageModeling
from beit.reports.report import curves_section
from beit.settings.inputs import augmentation, open_sources, preprocessing
from beit.settings.model import model_config
from beit.settings.pretrain import PretrainJob
from beit.tasks.pretrain.start import pretraining_start


class PixelObjective(nn.Module):
    """The mean squared error of the normalised pixels of masked patches."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tensors, progress=0.0):
        mask_BN = tensors["bool_masked_pos"]
        side = self.model.config.patch_hw[0]
        patches_BPN = functional.unfold(tensors["pixel_values"], side, stride=side)
        predicted_MP = self.model.masked_logits(tensors["pixel_values"], mask_BN).float()
        return {"loss": functional.mse_loss(predicted_MP, patches_BPN.transpose(1, 2)[mask_BN])}


class PixelRun:
    """A model with this objective, for the loop."""

    def __init__(self, job, start):
        torch.manual_seed(job.run.seed)
        height, width = start.config.patch_hw
        numbers = start.config.num_channels * height * width
        self.model = BeitForMaskedImageModeling(model_config(job.model, vocab_size=numbers))
        self.module = PixelObjective(self.model)
        layers = self.model.config.num_hidden_layers
        self.groups = parameter_groups(self.module, job.optim.weight_decay, job.optim.layer_decay, layers)
        self.view = preprocessing(job.model, self.model.config.image_hw)

    def prepare(self, tensors, step):
        return {name: tensors[name] for name in ("pixel_values", "bool_masked_pos")}

    def weight(self, tensors):
        return tensors["bool_masked_pos"].sum().float()

    def save(self, folder, model=None):
        (model or self.model).save_pretrained(folder)
        self.view.save_pretrained(folder)

    def load(self, folder):
        self.model.load_weights(folder, strict=True)


@torch.inference_mode()
def measured(run, sources, collate, batch_size):
    """Return the loss on held-out pictures, beside that of predicting the mean colour, 0, of no picture at all."""
    run.module.eval()
    dataset = ViewDataset(sources.val, Views(run.view), seed=0, replace_broken=False)
    losses, levels = [], []
    for batch in evaluation_batches(dataset, collate, batch_size, workers=0):
        losses.append(run.module(batch.tensors)["loss"])
        levels.append(batch.tensors["pixel_values"].square().mean())
    return {"loss": float(torch.stack(losses).mean()), "grey_loss": float(torch.stack(levels).mean())}


def main():
    job = parse_job(PretrainJob, "pretrain_pixels.py", __doc__.splitlines()[0], sys.argv[1:])
    start = pretraining_start(job)
    accelerator = make_accelerator(job.run)
    sources = open_sources(job.data, job.run.seed)
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return
    run, collate = PixelRun(job, start), Collate(job.run.seed, start.mask)
    dataset = ViewDataset(sources.train, Views(run.view, augmentation(job.augment)), job.run.seed, replace_broken=True)
    steps = train(Plan("pixels", job.run, job.data, job.optim, job.train, dataset, collate), run, folder, accelerator)
    save_model(folder, run.save)
    numbers = measured(run, sources, collate, job.train.batch_size)
    conclude("Pixels", job, folder, steps, numbers, [],
             lambda: [curves_section(read_metrics(folder.metrics), {"Loss": ["loss"]})])  # fmt: skip


if __name__ == "__main__":
    main()
