"""A small convolutional network on pictures of 32 pixels, trained exactly as `beit finetune` trains a BEiT.

    python benchmarks/convnet.py RECIPE [--SETTING VALUE ...]

Six times convolution, batch norm and ReLU, with a pooling after every second: 0.29 million parameters. It takes the
recipes of `beit finetune` and shares its data, augmentation, mixing and loop; only the model differs.

Legend: B batch, C channels, H x W pixels, K classes.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from beit.cli.parser import parse_job
from beit.data import ViewDataset, Views, evaluation_batches
from beit.engine.run import run
from beit.engine.task import Measured
from beit.models_torch.loading import read_safetensors, write_safetensors
from beit.settings.finetune import FinetuneJob
from beit.tasks.finetune.task import FinetuneTask

WIDTHS = (32, 32, 64, 64, 128, 128)
CLASSES = 10
FILE = "convnet.safetensors"


class ConvNet(nn.Module):
    """The network: pictures (B, 3, H, W) to scores (B, K)."""

    def __init__(self):
        super().__init__()
        blocks = []
        for number, (inside, outside) in enumerate(zip((3, *WIDTHS), WIDTHS, strict=False)):
            blocks += [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
            blocks += [nn.MaxPool2d(2)] if number % 2 else []
        # channels side by side: 1.3 to 1.7 times as many pictures a second on a processor
        self.body = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
        self.head = nn.Linear(WIDTHS[-1], CLASSES)

    def forward(self, pixels_BCHW):
        return self.head(self.body(pixels_BCHW.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3)))


def training_flops(side=32):
    """Return the operations of one picture in a training step, counted as those of a BEiT are.

    Multiplications and additions of convolutions and of the head, two for each; the backward pass costs two forward
    passes.
    """
    products = WIDTHS[-1] * CLASSES
    for number, (inside, outside) in enumerate(zip((3, *WIDTHS), WIDTHS, strict=False)):
        products += (side // 2 ** (number // 2)) ** 2 * 9 * inside * outside
    return 3 * 2.0 * products


def load(folder):
    """Return a trained network, for evaluation."""
    model = ConvNet()
    model.load_state_dict(read_safetensors(Path(folder) / FILE))
    return model.eval()


class ConvLoss(nn.Module):
    """Cross-entropy with soft targets."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tensors, progress=0.0):
        return {"loss": functional.cross_entropy(self.model(tensors["pixel_values"]).float(), tensors["targets"])}


class ConvTask(FinetuneTask):
    """Fine-tuning without a BEiT."""

    title = "convolutional network"

    def build(self):
        return ConvLoss(ConvNet())

    @torch.inference_mode()
    def measure(self, model, source):
        model.eval()
        dataset = ViewDataset(source, Views(self.view), seed=0, replace_broken=False)
        scores, labels = [], []
        for batch in evaluation_batches(dataset, self.collate, 250, workers=0):
            scores.append(model(batch.tensors["pixel_values"]))
            labels.append(batch.tensors["labels"])
        scores_BK, labels_B = torch.cat(scores), torch.cat(labels)
        numbers = {
            "accuracy": float((scores_BK.argmax(dim=1) == labels_B).float().mean()),
            "loss": float(functional.cross_entropy(scores_BK, labels_B)),
            "pictures": len(labels_B),
        }
        return Measured(numbers)

    def flops(self):
        return training_flops()

    def save(self, folder, model=None):
        write_safetensors(folder / FILE, (self.model if model is None else model).state_dict())

    def load(self, folder):
        self.model.load_state_dict(read_safetensors(folder / FILE))


def main():
    run(ConvTask, parse_job(FinetuneJob, "convnet.py", __doc__.splitlines()[0], sys.argv[1:]))


if __name__ == "__main__":
    main()
