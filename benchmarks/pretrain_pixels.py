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
from beit.engine.run import run
from beit.engine.task import Measured, Task
from beit.geometry import patch_grid
from beit.models_torch import BeitForMaskedImageModeling, MaskedPatchDecoder
from beit.settings.inputs import augmentation, preprocessing
from beit.settings.model import model_config
from beit.settings.pretrain import PretrainJob
from beit.tasks.pretrain.masks import mask_plan
from beit.tasks.pretrain.start import check_decoder


class PixelLoss(nn.Module):
    """Mean squared error of the normalised pixels of masked patches."""

    def __init__(self, model, decoder=None):
        super().__init__()
        self.model, self.decoder = model, decoder

    def forward(self, tensors, progress=0.0):
        inputs = tensors["pixel_values"], tensors["bool_masked_pos"]
        side = self.model.config.patch_hw[0]
        patches_BPN = functional.unfold(inputs[0], side, stride=side)
        predicted_MP = self.model.masked_logits(*inputs) if self.decoder is None else self.decoder(self.model, *inputs)
        return {"loss": functional.mse_loss(predicted_MP.float(), patches_BPN.transpose(1, 2)[inputs[1]])}


class PixelTask(Task[PretrainJob, PixelLoss]):
    """Masked image modelling whose targets are pixels."""

    title = "pixels"

    def start(self):
        super().start()
        self.config = model_config(self.settings.model)
        self.mask = mask_plan(self.settings.mask, patch_grid(self.config.image_size, self.config.patch_size))
        check_decoder(self.settings, self.config, self.mask)
        self.view = preprocessing(self.settings.model, self.config.image_hw)

    def build(self):
        height, width = self.config.patch_hw
        numbers = self.config.num_channels * height * width
        model = BeitForMaskedImageModeling(model_config(self.settings.model, vocab_size=numbers))
        layers = self.settings.decoder.layers
        return PixelLoss(model, MaskedPatchDecoder(model, layers) if layers else None)

    def views(self):
        return Views(self.view, augmentation(self.settings.augment))

    @property
    def collate(self):
        return Collate(self.settings.run.seed, self.mask)

    def prepare(self, tensors, step):
        return {name: tensors[name] for name in ("pixel_values", "bool_masked_pos")}

    def count(self, tensors):
        return tensors["bool_masked_pos"].sum().float()

    @torch.inference_mode()
    def measure(self, model, source):
        """Return the loss on held-out pictures, beside that of predicting the mean colour, 0, of no picture at all."""
        module = PixelLoss(model, self.module.decoder).eval()
        dataset = ViewDataset(source, Views(self.view), seed=0, replace_broken=False)
        losses, levels = [], []
        for batch in evaluation_batches(dataset, self.collate, self.settings.train.batch_size, workers=0):
            losses.append(module(batch.tensors)["loss"])
            levels.append(batch.tensors["pixel_values"].square().mean())
        numbers = {"loss": float(torch.stack(losses).mean()), "grey_loss": float(torch.stack(levels).mean())}
        return Measured(numbers)

    def save(self, folder, model=None):
        super().save(folder, model)
        self.view.save_pretrained(folder)


def main():
    run(PixelTask, parse_job(PretrainJob, "pretrain_pixels.py", __doc__.splitlines()[0], sys.argv[1:]))


if __name__ == "__main__":
    main()
