"""Evaluation of a model that chooses one class, by hand and beside torchmetrics."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from beit.evaluation.classification.class_evaluation import CalibrationBin, ClassEvaluation
from beit.evaluation.classification.sections import evaluation_sections
from beit.evaluation.result import Speed
from beit.image import Preprocessing

VIEW = Preprocessing((32, 32), 37)


class Named:
    """Pictures of which only the names are asked for."""

    def name(self, index):
        return f"picture {index}"


def evaluation(probabilities, labels, classes=None):
    """The evaluation of a model that gave these probabilities (P, K)."""
    probabilities = torch.tensor(probabilities, dtype=torch.float64)
    labels = np.array(labels)
    best = probabilities.topk(min(5, probabilities.shape[1]))
    losses = -probabilities[torch.arange(len(labels)), torch.from_numpy(labels)].log().numpy()
    names = classes or [chr(ord("a") + index) for index in range(probabilities.shape[1])]
    values = best.values.float().numpy()
    common = (Named(), VIEW, names, list(range(len(labels))), Speed(2.0, 1.0), 7, [])
    return ClassEvaluation(*common, labels, best.indices.numpy(), values, losses)


BY_HAND = ([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.7, 0.2]], [0, 1, 1, 0])


def test_numbers_by_hand():
    assert evaluation(*BY_HAND).numbers() == pytest.approx(
        {
            "accuracy": 0.5,
            "mean_class_accuracy": 0.5,
            "loss": -(np.log(0.9) + np.log(0.3) + np.log(0.7) + np.log(0.1)) / 4,
            # bins of a fifteenth: 0.9 right (|1 - 0.9|, a quarter of the pictures), 0.6 wrong (0.6, a quarter),
            # 0.7 once right and once wrong (|0.5 - 0.7|, a half)
            "calibration_error": 0.1 / 4 + 0.6 / 4 + 0.2 / 2,
            "pictures": 4,
        }
    )


def test_reliability_bins_by_hand():
    bins = evaluation(*BY_HAND).calibration()
    fifteenth = [(9, 1, 0.6, 0.0), (10, 2, 0.7, 0.5), (13, 1, 0.9, 1.0)]
    assert len(bins) == 3
    for found, (place, pictures, confidence, accuracy) in zip(bins, fifteenth, strict=True):
        expected = CalibrationBin(place / 15, (place + 1) / 15, pictures, confidence, accuracy)
        assert vars(found) == pytest.approx(vars(expected))


def test_a_saturated_softmax_belongs_to_the_last_bin():
    sure = evaluation([[1.0, 0.0], [1.0, 0.0], [0.95, 0.05], [0.05, 0.95]], [0, 1, 0, 0])
    (last,) = sure.calibration()
    assert (last.low, last.high, last.pictures) == pytest.approx((14 / 15, 1, 4))
    assert sure.calibration_error() == pytest.approx((1 + 1 + 0.95 + 0.95) / 4 - 0.5)


def test_per_class_worst_first():
    results = evaluation(
        [[0.8, 0.2, 0, 0], [0.6, 0.4, 0, 0], [0.3, 0.1, 0.6, 0], [0.1, 0.8, 0.1, 0], [0.9, 0.1, 0, 0]], [0, 1, 2, 1, 1]
    ).per_class()
    scores = [(r.name, r.pictures, r.accuracy, r.precision, r.taken_for) for r in results]
    assert scores == [
        ("b", 3, pytest.approx(1 / 3), 1.0, "a"),
        ("a", 1, 1.0, pytest.approx(1 / 3), None),
        ("c", 1, 1.0, 1.0, None),
    ]


def test_a_class_without_pictures_does_not_count():
    """torchmetrics would count a class that was only predicted as never recognised."""
    assert evaluation([[0.9, 0.1, 0.0], [0.1, 0.0, 0.9]], [0, 0]).numbers()["mean_class_accuracy"] == 0.5


def test_numbers_are_those_of_torchmetrics():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (600, 12)))
    probabilities, labels = logits.softmax(-1), torch.from_numpy(rng.integers(0, 12, 600))
    ours = evaluation(probabilities.tolist(), labels.tolist())
    numbers = ours.numbers()
    assert numbers["accuracy"] == pytest.approx(float(multiclass_accuracy(probabilities, labels, 12, average="micro")))
    top5 = multiclass_accuracy(probabilities, labels, 12, average="micro", top_k=5)
    assert numbers["top5_accuracy"] == pytest.approx(float(top5))
    assert numbers["mean_class_accuracy"] == pytest.approx(float(multiclass_accuracy(probabilities, labels, 12)))
    error = multiclass_calibration_error(probabilities, labels, 12, n_bins=15)
    assert numbers["calibration_error"] == pytest.approx(float(error), abs=1e-6)
    weighted = sum(each.pictures * abs(each.accuracy - each.confidence) for each in ours.calibration()) / 600
    assert numbers["calibration_error"] == pytest.approx(weighted, abs=1e-6), "the chart shows what the number says"
    expected = multiclass_confusion_matrix(probabilities, labels, 12).numpy()
    assert np.array_equal(ours.confusion(), expected)
    cells = np.zeros((12, 12), dtype=int)
    for label, predicted, count in ours.confusion_counts():
        cells[label, predicted] = count
    assert np.array_equal(cells, expected)


@pytest.mark.e2e
def test_few_classes_have_a_matrix_and_many_a_table():
    def titles(classes):
        rng = np.random.default_rng(0)
        probabilities = rng.dirichlet(np.full(classes, 0.1), 40)
        result = evaluation(
            probabilities.tolist(), rng.integers(0, classes, 40).tolist(), list(map(str, range(classes)))
        )
        result.source.load = lambda _: Image.new("RGB", (9, 9))
        return [section.title for section in evaluation_sections(result)]

    matrix, table = "Confusion matrix", "Most confused classes"
    assert matrix in titles(10)
    assert table not in titles(10)
    assert {matrix, table} <= set(titles(100))
    assert table in titles(1000)
    assert matrix not in titles(1000)


def test_a_flawless_model_has_a_report():
    sections = evaluation_sections(evaluation([[0.9, 0.1], [0.2, 0.8]], [0, 1]))
    assert sections[-1].text == "0 of 2; the most confident first."
