"""What a trained model is worth on held-out pictures, for one class per picture, several labels, or numbers.

Legend: B batch, K classes, labels or numbers, P pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import binary_average_precision

from beit.data import BrokenPicture, Collate, ImageSource, ViewDataset, Views, evaluation_batches
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.training.broken import require_usable
from beit.training.evaluate import evaluate_classifier, evaluation_sections
from beit.training.report import Section, numbers_table


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        numbers: By name; "loss" among them.
        broken: Pictures that were left out.
        sections: Of the report.
    """

    numbers: dict[str, float]
    broken: list[BrokenPicture]
    sections: list[Section] = field(default_factory=list[Section])


def measure(
    model: BeitForImageClassification,
    view: Preprocessing,
    source: ImageSource,
    batch_size: int,
    report: bool = False,
) -> Measured:
    """Measure a model on every usable picture of a source; `report` makes the sections of a report too."""
    if model.config.problem_type == "single_label_classification":
        evaluation = evaluate_classifier(model, view, source, batch_size)
        sections = evaluation_sections(evaluation) if report else []
        return Measured(evaluation.numbers(), evaluation.broken, sections)
    outputs_PK, targets_PK, broken = _outputs(model, view, source, batch_size)
    several = model.config.problem_type == "multi_label_classification"
    numbers = label_numbers(outputs_PK, targets_PK) if several else value_numbers(outputs_PK, targets_PK)
    numbers["pictures"] = len(outputs_PK)
    return Measured(numbers, broken, [Section("Held-out pictures", table=numbers_table(numbers))])


@torch.inference_mode()
def _outputs(
    model: BeitForImageClassification, view: Preprocessing, source: ImageSource, batch_size: int
) -> tuple[Tensor, Tensor, list[BrokenPicture]]:
    """Return what the model gives (P, K), what is true (P, K), and broken pictures."""
    model.eval()
    outputs, targets, broken = list[Tensor](), list[Tensor](), list[BrokenPicture]()
    dataset = ViewDataset(source, Views(view), seed=0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size, workers=0):
        broken += batch.broken
        if batch.indices:
            pixels_BCHW = batch.tensors["pixel_values"].to(model.device)
            outputs.append(model(pixels_BCHW, return_dict=True).logits.float().cpu())
            targets.append(batch.tensors["labels"])
    require_usable(sum(map(len, outputs)), len(source), broken)
    return torch.cat(outputs), torch.cat(targets), broken


def label_numbers(logits_PK: Tensor, targets_PK: Tensor) -> dict[str, float]:
    """Return the loss, mean average precision over the labels that occur, and F1 at a probability of one half."""
    true_PK, said_PK = targets_PK.bool(), logits_PK > 0
    right_K, both_K = (true_PK & said_PK).sum(dim=0), true_PK.sum(dim=0) + said_PK.sum(dim=0)
    occurring = [label for label in range(targets_PK.shape[1]) if true_PK[:, label].any()]
    precisions = [float(binary_average_precision(logits_PK[:, k].sigmoid(), true_PK[:, k].long())) for k in occurring]
    return {
        "loss": float(functional.binary_cross_entropy_with_logits(logits_PK, targets_PK)),
        "mean_average_precision": sum(precisions) / max(1, len(precisions)),
        "f1": float(2 * right_K.sum() / both_K.sum().clamp(min=1)),
        "mean_label_f1": float((2 * right_K / both_K.clamp(min=1)).mean()),
    }


def value_numbers(values_PK: Tensor, targets_PK: Tensor) -> dict[str, float]:
    """Return the mean squared error, as "loss" too, the mean absolute error, and the share of variance explained."""
    squared = (values_PK - targets_PK).square().mean()
    variance = (targets_PK - targets_PK.mean(dim=0)).square().mean()
    numbers = {
        "loss": float(squared),
        "mean_squared_error": float(squared),
        "mean_absolute_error": float((values_PK - targets_PK).abs().mean()),
    }
    # of pictures that all have the same value there is no variance to explain
    return numbers if variance == 0 else {**numbers, "r2": float(1 - squared / variance)}
