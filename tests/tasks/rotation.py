"""A training task in one file: predict by how many quarter turns a picture was rotated (Gidaris et al. 2018)."""

from dataclasses import field

import torch
from pydantic.dataclasses import dataclass
from torch import nn
from torch.nn import functional

from beit.cli.forecast import say_forecast
from beit.cli.training import parse_training, say_results
from beit.data import Collate, ViewDataset, Views, evaluation_batches
from beit.engine.run import run
from beit.engine.task import Measured, Task
from beit.models_torch import BeitForImageClassification
from beit.settings import groups
from beit.settings.base import STRICT, Settings
from beit.settings.inputs import augmentation, preprocessing
from beit.settings.model import model_config, task_options


@dataclass(frozen=True, config=STRICT)
class RotationJob(Settings):
    data: groups.DataSettings
    run: groups.RunSettings = field(default_factory=groups.RunSettings)
    augment: groups.AugmentSettings = field(default_factory=groups.AugmentSettings)
    model: groups.ModelSettings = field(default_factory=groups.ModelSettings)
    optim: groups.OptimSettings = field(default_factory=groups.OptimSettings)
    train: groups.TrainSettings = field(default_factory=groups.TrainSettings)
    validation: groups.ValidationSettings = field(default_factory=groups.ValidationSettings)
    early_stop: groups.EarlyStopSettings = field(default_factory=groups.EarlyStopSettings)


class RotationLoss(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tensors, progress=0.0):
        logits = self.model(tensors["pixel_values"], return_dict=True).logits
        right = logits.argmax(1) == tensors["turns"]
        return {"loss": functional.cross_entropy(logits, tensors["turns"]), "accuracy": right.float().mean()}


class RotationTask(Task[RotationJob, RotationLoss]):
    title = "rotation"

    def build(self):
        config = model_config(self.settings.model, **task_options(["0", "90", "180", "270"]))
        self.view = preprocessing(self.settings.model, config.image_hw)
        return RotationLoss(BeitForImageClassification(config))

    def views(self):
        return Views(self.view, augmentation(self.settings.augment))

    def prepare(self, tensors, step):
        turns = (tensors["pixel_values"].flatten(1).abs().sum(1) * 1000).long() % 4  # the same on every process
        pixels = [
            picture.rot90(int(turn), (1, 2)) for picture, turn in zip(tensors["pixel_values"], turns, strict=True)
        ]
        return {"pixel_values": torch.stack(pixels), "turns": turns}

    @torch.inference_mode()
    def measure(self, model, source):
        module, values = RotationLoss(model).eval(), []
        dataset = ViewDataset(source, Views(self.view), seed=0, replace_broken=False)
        for batch in evaluation_batches(dataset, Collate(0), 32, workers=0):
            values.append(module(self.prepare(batch.tensors, 0)))
        loss, accuracy = (float(torch.stack([v[name] for v in values]).mean()) for name in ("loss", "accuracy"))
        return Measured({"held_out_loss": loss, "accuracy": accuracy, "pictures": len(source)})


def main(arguments):
    job, dry, machines = parse_training(RotationJob, "rotation", "Predict rotations.", arguments)
    say_forecast(RotationTask, job, machines) if dry else say_results(run(RotationTask, job))
    return 0
