"""Fine-tune a BEiT for classification, or train one from scratch the same way.

Legend: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.config import BeitConfig
from beit.data import Collate, ViewDataset, Views
from beit.errors import CheckpointError, DataError
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.training.broken import note_shards
from beit.training.conclusion import conclude, save_model
from beit.training.device import make_accelerator
from beit.training.evaluate import Evaluation, evaluate_classifier, evaluation_sections
from beit.training.inputs import augmentation, open_sources, preprocessing
from beit.training.jobs import FinetuneJob
from beit.training.loop import train
from beit.training.metrics import read_metrics
from beit.training.model import check_same_shape, model_config, training_options
from beit.training.optimiser import parameter_groups
from beit.training.plan import Plan, check_length
from beit.training.report import curves_section
from beit.training.run_folder import RunFolder, open_run_folder
from beit.training.sharding import check_sharding
from beit.training.together import one_run


class FinetuneObjective(nn.Module):
    """Cross-entropy with label smoothing."""

    def __init__(self, model: BeitForImageClassification, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self._label_smoothing = label_smoothing

    def forward(self, tensors: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return the loss and the training accuracy of the batch."""
        logits_BK = self.model(tensors["pixel_values"], return_dict=True).logits.float()
        loss = functional.cross_entropy(logits_BK, tensors["labels"], label_smoothing=self._label_smoothing)
        right_B = logits_BK.detach().argmax(dim=-1) == tensors["labels"]
        return {"loss": loss, "accuracy": right_B.float().mean()}


class FinetuneRun:
    """A classifier with its objective, for the loop."""

    def __init__(self, model: BeitForImageClassification, view: Preprocessing, job: FinetuneJob) -> None:
        self.model = model
        self._view = view
        self.module: nn.Module = FinetuneObjective(model, job.label_smoothing)
        layers = model.config.num_hidden_layers
        self.groups = parameter_groups(model, job.optim.weight_decay, job.optim.layer_decay, layers)

    def prepare(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors of a batch as they are."""
        return tensors

    def weight(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of pictures."""
        return torch.tensor(float(len(tensors["labels"])), device=tensors["labels"].device)

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another such as its moving average, and its preprocessing into a folder."""
        (model or self.model).save_pretrained(folder)
        self._view.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Fill the model from a folder."""
        self.model.load_weights(folder, strict=True)


@one_run
def finetune(job: FinetuneJob) -> RunFolder:
    """Fine-tune a classifier and leave model, metrics and report in the run folder, which is returned."""
    check_sharding(job.run, job.train)
    sources = open_sources(job.data, job.run.seed, stratified=True)
    classes = sources.train.classes
    if classes is None or sources.val.classes is None:
        place = job.data.path if classes is None else job.data.val_path
        raise DataError(f"{place} has no labels; put every picture into the folder of its class, and none beside them")
    accelerator = make_accelerator(job.run)
    check_length(job.train, job.optim, len(sources.train), accelerator.num_processes)
    torch.manual_seed(job.run.seed)
    model = new_classifier(job, classes)
    view = preprocessing(job.model, model.config.image_hw, job.checkpoint)
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    note_shards(accelerator, folder.broken, sources.train, sources.val)
    run = FinetuneRun(model, view, job)
    dataset = ViewDataset(sources.train, Views(view, augmentation(job.augment)), job.run.seed, replace_broken=True)
    plan = Plan("fine-tuning", job.run, job.data, job.optim, job.train, dataset, Collate(job.run.seed))
    train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        save_model(folder, run.save)
        _conclude(job, evaluate_classifier(model, view, sources.val, job.train.batch_size), folder, plan.steps)
    accelerator.wait_for_everyone()
    return folder


def new_classifier(job: FinetuneJob, classes: list[str]) -> BeitForImageClassification:
    """Return a classifier with a new head: from a pre-trained checkpoint, or with random weights.

    The shared relative position bias of pre-training becomes one bias per layer, as in the original scripts.
    """
    options: dict[str, Any] = {
        "id2label": dict(enumerate(classes)),
        "label2id": {name: index for index, name in enumerate(classes)},
        "use_relative_position_bias": True,
        "use_shared_relative_position_bias": False,
        "use_mask_token": False,
        "problem_type": "single_label_classification",
    }
    if job.checkpoint is None:
        return BeitForImageClassification(model_config(job.model, **options))
    if not Path(job.checkpoint).is_dir():
        raise CheckpointError(f"checkpoint {job.checkpoint!r} is no folder; expected that of a pre-trained model")
    before = BeitConfig.from_pretrained(job.checkpoint)
    if not before.use_shared_relative_position_bias:
        options["use_relative_position_bias"] = before.use_relative_position_bias
    config = BeitConfig.from_dict(before.to_dict(), **training_options(job.model), **options)
    check_same_shape(job.model, config, job.checkpoint)
    return BeitForImageClassification.from_pretrained(job.checkpoint, config=config)


def _conclude(job: FinetuneJob, evaluation: Evaluation, folder: RunFolder, steps: int) -> None:
    curves = {"Loss": ["loss"], "Accuracy": ["accuracy"], "Learning rate": ["lr"]}
    conclude(
        "Fine-tuning",
        job,
        folder,
        steps,
        evaluation.numbers(),
        evaluation.broken,
        lambda: [*evaluation_sections(evaluation), curves_section(read_metrics(folder.metrics), curves)],
    )
