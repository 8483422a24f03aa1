"""Measure a classifier on labelled pictures.

Legend: B batch, K classes, P pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from beit.data import BrokenPicture, Collate, ViewDataset, Views, evaluation_batches
from beit.data.source import ImageSource
from beit.errors import DataError
from beit.image import Preprocessing, to_unit_array
from beit.models_torch import BeitForImageClassification
from beit.models_torch.device import pick_device
from beit.training.broken import BrokenPictures, require_usable
from beit.training.inputs import open_pictures
from beit.training.jobs import EvaluateJob
from beit.training.report import Section, confusion_section, figure, numbers_table, write_report
from beit.training.run_folder import resolved_recipe

_SHOWN_MISTAKES = 24
_TOP = 5


@dataclass(frozen=True)
class Evaluation:
    """What a classifier said about every usable picture.

    Attributes:
        source: The pictures.
        view: How the model saw them.
        classes: Class names.
        indices: Numbers of the pictures in the source, (P,).
        probabilities: (P, K).
        labels: True classes, (P,).
        broken: Pictures that were left out.
    """

    source: ImageSource
    view: Preprocessing
    classes: list[str]
    indices: list[int]
    probabilities: torch.Tensor
    labels: torch.Tensor
    broken: list[BrokenPicture]

    def numbers(self) -> dict[str, float]:
        """Return top-1 and top-5 accuracy (micro average), their mean over classes, the loss in nats, and the count."""
        classes = len(self.classes)

        def accuracy(average: str, top: int) -> float:
            value = multiclass_accuracy(self.probabilities, self.labels, classes, average=average, top_k=top)  # type: ignore[arg-type]
            return float(value)

        return {
            "accuracy": accuracy("micro", 1),
            **({"top5_accuracy": accuracy("micro", _TOP)} if classes > _TOP else {}),
            "mean_class_accuracy": accuracy("macro", 1),
            "loss": float(functional.nll_loss(self.probabilities.clamp(min=1e-12).log(), self.labels)),
            "pictures": len(self.indices),
        }

    def confusion(self) -> NDArray[np.int64]:
        """Return counts (K, K): rows are true classes, columns predicted ones."""
        predicted = self.probabilities.argmax(dim=1)
        return multiclass_confusion_matrix(predicted, self.labels, len(self.classes)).numpy()


@torch.inference_mode()
def evaluate_classifier(
    model: BeitForImageClassification, view: Preprocessing, source: ImageSource, batch_size: int, workers: int = 0
) -> Evaluation:
    """Return what a classifier says about every usable picture of a source.

    Raises:
        DataError: If the pictures have no labels, or none is usable.
    """
    if source.labels is None:
        raise DataError("the pictures to evaluate on have no labels; put them into one folder per class")
    model.eval()
    indices, probabilities, labels, broken = (
        list[int](),
        list[torch.Tensor](),
        list[torch.Tensor](),
        list[BrokenPicture](),
    )
    dataset = ViewDataset(source, Views(view), seed=0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size, workers):
        broken += batch.broken
        if batch.indices:
            logits_BK = model(batch.tensors["pixel_values"].to(model.device), return_dict=True).logits
            probabilities.append(logits_BK.float().softmax(dim=-1).cpu())
            labels.append(batch.tensors["labels"])
            indices += batch.indices
    require_usable(len(indices), len(source), broken)
    return Evaluation(
        source, view, model.config.class_names, indices, torch.cat(probabilities), torch.cat(labels), broken
    )


def evaluate(job: EvaluateJob) -> Evaluation:
    """Evaluate a saved classifier on pictures, and write a report if a path is given.

    Raises:
        DataError: If the classes of model and pictures differ, or too many pictures are broken.
    """
    source = open_pictures(job.data)
    model = BeitForImageClassification.from_pretrained(job.model).to(pick_device(job.device))
    view = Preprocessing.from_pretrained(job.model)
    names = model.config.class_names
    if source.classes is not None and source.classes != names:
        raise DataError(
            f"the model knows the classes {names[:10]} and {job.data.path} has {source.classes[:10]}; "
            "name the class folders as the model does"
        )
    evaluation = evaluate_classifier(model, view, source, job.batch_size, job.data.workers)
    BrokenPictures(None, len(source), job.data.max_broken).add(evaluation.broken)
    if job.report is not None:
        write_report(
            Path(job.report), f"Evaluation of {job.model}", evaluation_sections(evaluation), resolved_recipe(job)
        )
    return evaluation


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Return the numbers, the confusion matrix and the most confident mistakes."""
    return [
        Section("Held-out pictures", table=numbers_table(evaluation.numbers())),
        confusion_section(evaluation.confusion(), evaluation.classes),
        _mistakes_section(evaluation),
    ]


def _mistakes_section(evaluation: Evaluation) -> Section:
    confidence, predicted = evaluation.probabilities.max(dim=1)
    wrong = torch.nonzero(predicted != evaluation.labels).flatten()
    order = wrong[confidence[wrong].argsort(descending=True)][:_SHOWN_MISTAKES].tolist()
    section = Section("Wrong predictions", f"{len(wrong)} of {len(evaluation.indices)}; the most confident first.")
    for place in order:
        picture = evaluation.view.crop(evaluation.source.load(evaluation.indices[place]))
        truth, guess = evaluation.classes[evaluation.labels[place]], evaluation.classes[predicted[place]]
        caption = f"is {truth}, predicted {guess} ({float(confidence[place]):.0%})"
        section.gallery.append([figure(to_unit_array(picture), caption)])
    return section
