"""Measurement of a model by its problem type: one class per picture, several labels, or numbers.

Legend: B batch, C classes or labels of the pictures, K those of the model, P pictures, T best classes of a picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from beit.data import ImageSource
from beit.evaluation.classification.class_evaluation import TOP, ClassEvaluation
from beit.evaluation.classification.classes import class_indices
from beit.evaluation.classification.evaluation import Evaluation
from beit.evaluation.classification.label_evaluation import LabelEvaluation
from beit.evaluation.classification.one_pass import PassOptions, PassResult, pass_over
from beit.evaluation.classification.problem_type import check_problem
from beit.evaluation.classification.value_evaluation import ValueEvaluation
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification

Tensors = tuple[Tensor, ...]


def evaluate_model(
    model: BeitForImageClassification,
    view: Preprocessing,
    source: ImageSource,
    options: PassOptions,
    indices: NDArray[np.int64] | None = None,
) -> Evaluation:
    """Return the evaluation of a model on every usable picture of a source.

    Args:
        model: The model; its config names the problem type.
        view: What it sees of a picture.
        source: The pictures.
        options: How they pass through it.
        indices: The model's index of every class or label of the source (C,); None matches them by name. Numbers have
            none.

    Raises:
        DataError: If the pictures have no labels or classes that the model does not have, or none is usable.
        CheckpointError: If the model's scores are not finite.
        ConfigError: If the pictures have labels of another kind than the model is for.
    """
    problem = check_problem(model.config, source)
    if problem == "regression":
        return _value_evaluation(model, view, source, options)
    indices_C = torch.from_numpy(class_indices(source, model.config.class_names)[0] if indices is None else indices)
    if problem == "multi_label_classification":
        return _label_evaluation(model, view, source, options, indices_C)
    return _class_evaluation(model, view, source, options, indices_C)


def _class_evaluation(
    model: BeitForImageClassification, view: Preprocessing, source: ImageSource, options: PassOptions, indices_C: Tensor
) -> ClassEvaluation:
    def keep(logits_BK: Tensor, labels: Tensor) -> Tensors:
        labels_B = indices_C[labels]
        losses_B = functional.cross_entropy(logits_BK, labels_B.to(logits_BK.device), reduction="none")
        best = logits_BK.softmax(dim=-1).topk(min(TOP, logits_BK.shape[-1]))
        return labels_B, best.indices.cpu(), best.values.cpu(), losses_B.double().cpu()

    passed = pass_over(model, view, source, options, keep)
    return ClassEvaluation(*_common(model, view, source, passed), *_joined(passed.kept))


def _label_evaluation(
    model: BeitForImageClassification, view: Preprocessing, source: ImageSource, options: PassOptions, indices_C: Tensor
) -> LabelEvaluation:
    def keep(logits_BK: Tensor, labels: Tensor) -> Tensors:
        targets_BK = torch.zeros(logits_BK.shape, dtype=torch.bool)
        targets_BK[:, indices_C] = labels > 0
        return targets_BK, logits_BK.cpu()

    passed = pass_over(model, view, source, options, keep)
    return LabelEvaluation(*_common(model, view, source, passed), *_joined(passed.kept))


def _value_evaluation(
    model: BeitForImageClassification, view: Preprocessing, source: ImageSource, options: PassOptions
) -> ValueEvaluation:
    passed = pass_over(model, view, source, options, lambda logits_BK, labels: (labels.float(), logits_BK.cpu()))
    return ValueEvaluation(*_common(model, view, source, passed), *_joined(passed.kept))


def _common(
    model: BeitForImageClassification, view: Preprocessing, source: ImageSource, passed: PassResult[Tensors]
) -> tuple[Any, ...]:
    """Return the first fields of every evaluation."""
    names, parameters = model.config.class_names, model.num_parameters()
    return source, view, names, passed.indices, passed.speed, parameters, passed.broken


def _joined(kept: list[Tensors]) -> tuple[Any, ...]:
    """Return the kept tensors of all batches as arrays over all pictures."""
    return tuple(torch.cat(parts).numpy() for parts in zip(*kept, strict=True))
