"""Report sections of any evaluation: its numbers, its details by class, label or value, and the model.

Legend: P pictures, K classes, or numbers per picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from beit.evaluation.classification.class_evaluation import ClassEvaluation
from beit.evaluation.classification.evaluation import EvaluatedModel, Evaluation
from beit.evaluation.classification.label_evaluation import LabelEvaluation
from beit.evaluation.classification.value_evaluation import ValueEvaluation
from beit.image import to_unit_array
from beit.reports.charts import MOST_NUMBERED_CLASSES, reliability_chart, scatter_chart
from beit.reports.report import Section, chart_figure, confusion_section, figure, numbers_table, showing
from beit.reports.units import percent

Result = TypeVar("Result")
_SHOWN_RESULTS = 50
_SHOWN_MISTAKES = 24
_SHOWN_PAIRS = 30
_MOST_CLASSES_IN_A_MATRIX = 120  # above, cells are smaller than a pixel of the page
_SHOWN_CHARTS = 12


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Return the numbers, then the scores of each class, label or number, and the worst mistakes."""
    numbers = Section("Held-out pictures", table=numbers_table(evaluation.numbers()))
    return [numbers, *_details(evaluation)]


def detailed_sections(evaluation: Evaluation, model: EvaluatedModel) -> list[Section]:
    """Return the same, with the model and its throughput."""
    numbers = Section("Result", table=numbers_table(evaluation.numbers()))
    if evaluation.broken:
        numbers.text = f"{len(evaluation.broken)} broken pictures were left out; first: {evaluation.broken[0].reason}"
    return [numbers, Section("Model", table=model.table(evaluation)), *_details(evaluation)]


def _details(evaluation: Evaluation) -> list[Section]:
    if isinstance(evaluation, ClassEvaluation):
        return _class_sections(evaluation)
    if isinstance(evaluation, LabelEvaluation):
        return _label_sections(evaluation)
    return _value_sections(evaluation) if isinstance(evaluation, ValueEvaluation) else []


def _worst(results: Sequence[Result], noun: str) -> tuple[Sequence[Result], str]:
    """Return the first of the results, sorted worst first, for a table, and a sentence on how many these are."""
    shown = results[:_SHOWN_RESULTS]
    return shown, f"The worst {len(shown)} of {len(results)} {noun}" if len(shown) < len(results) else "Worst first"


def _absent(evaluation: Evaluation, present: int, noun: str) -> str:
    """Return a sentence about the classes or labels that no picture has; nothing if all are present."""
    missing = len(evaluation.classes) - present
    return f" {missing} of the model's {len(evaluation.classes)} {noun} have no pictures." if missing else ""


def _mistakes_section(
    evaluation: Evaluation, title: str, text: str, order_P: NDArray[np.int64], caption: Callable[[int], str]
) -> Section:
    """Return the pictures of some mistakes, as the model saw them.

    Args:
        evaluation: The predictions.
        title: Of the section.
        text: Of the section.
        order_P: Places of the mistakes in the evaluation, the worst first.
        caption: What to write below a picture, from its place.
    """
    section = Section(title, text)
    with showing(section):
        for place in order_P[:_SHOWN_MISTAKES].tolist():
            picture = evaluation.view.crop(evaluation.source.load(evaluation.indices[place]))
            section.gallery.append([figure(to_unit_array(picture), caption(place))])
            section.names.append(Path(evaluation.source.name(evaluation.indices[place])).name)
    return section


def _class_sections(evaluation: ClassEvaluation) -> list[Section]:
    """Return the classes, the calibration, the confusion and the most confident mistakes."""
    return [
        _classes_section(evaluation),
        _calibration_section(evaluation),
        *_confusion_sections(evaluation),
        _wrong_classes(evaluation),
    ]


def _classes_section(evaluation: ClassEvaluation) -> Section:
    results = evaluation.per_class()
    shown, which = _worst(results, "classes")
    return Section(
        "Classes",
        f"{which}. Accuracy: the share of its pictures that is recognised. Precision: the share of the pictures taken "
        f"for it that is right.{_absent(evaluation, len(results), 'classes')}",
        columns=["class", "pictures", "accuracy", "precision", "most often taken for"],
        rows=[
            [
                result.name,
                f"{result.pictures:,}",
                percent(result.accuracy),
                "never predicted" if result.precision is None else percent(result.precision),
                result.taken_for or "",
            ]
            for result in shown
        ],
    )


def _calibration_section(evaluation: ClassEvaluation) -> Section:
    error, bins = evaluation.calibration_error(), evaluation.calibration()
    surer = np.average([each.confidence - each.accuracy for each in bins], weights=[each.pictures for each in bins])
    section = Section(
        "Calibration",
        f"Expected calibration error {percent(error, digits=2)} over {len(bins)} bin{'s' * (len(bins) != 1)} "
        "with pictures. The mean "
        f"confidence is {abs(float(surer)) * 100:.1f} points {'above' if surer > 0 else 'below'} the accuracy: the "
        f"model is {'too' if surer > 0 else 'not'} sure {'of itself' if surer > 0 else 'enough'}. A calibrated one is "
        "right as often as it is sure, and its bars end on the dashed line.",
    )
    section.charts.append(chart_figure(reliability_chart(bins), "Reliability diagram"))
    return section


def _confusion_sections(evaluation: ClassEvaluation) -> list[Section]:
    """Return the matrix where it can be seen, and the most confused pairs where its cells have no numbers."""
    pairs, classes = evaluation.confused_pairs(), evaluation.classes
    few = len(classes) <= _MOST_CLASSES_IN_A_MATRIX
    sections = [confusion_section(evaluation.confusion(), classes)] if few else []
    if pairs and len(classes) > MOST_NUMBERED_CLASSES:
        total = np.bincount(evaluation.labels, minlength=len(classes))
        rows = [
            [classes[label], classes[predicted], f"{count:,}", percent(count / total[label])]
            for label, predicted, count in pairs[:_SHOWN_PAIRS]
        ]
        columns = ["true class", "taken for", "pictures", "of the true class"]
        text = f"The {len(rows)} most frequent of {len(pairs):,} mistaken pairs." if len(rows) < len(pairs) else ""
        sections.append(Section("Most confused classes", text, columns=columns, rows=rows))
    return sections


def _wrong_classes(evaluation: ClassEvaluation) -> Section:
    wrong = np.flatnonzero(~evaluation.right)
    order = wrong[np.argsort(-evaluation.confidence[wrong], kind="stable")]

    def caption(place: int) -> str:
        truth, guess = evaluation.classes[evaluation.labels[place]], evaluation.classes[evaluation.predicted[place]]
        return f"is {truth}, predicted {guess} ({percent(float(evaluation.confidence[place]), digits=0)})"

    text = f"{len(wrong):,} of {len(evaluation.indices):,}; the most confident first."
    return _mistakes_section(evaluation, "Wrong predictions", text, order, caption)


def _label_sections(evaluation: LabelEvaluation) -> list[Section]:
    """Return the labels and the pictures with the worst mistakes."""
    return [_labels_section(evaluation), _wrong_labels(evaluation)]


def _labels_section(evaluation: LabelEvaluation) -> Section:
    results = evaluation.per_label
    shown, which = _worst(results, "labels")
    return Section(
        "Labels",
        f"{which}. Predicted: pictures with a probability above one half. Average precision: how far the pictures that "
        "have the label are ranked before the others; a random ranking has the share of pictures that have it. "
        f"F1: of what is predicted.{_absent(evaluation, len(results), 'labels')}",
        columns=["label", "pictures", "predicted", "average precision", "F1"],
        rows=[
            [
                result.name,
                f"{result.pictures:,}",
                f"{result.predicted:,}",
                percent(result.average_precision),
                percent(result.f1),
            ]
            for result in shown
        ],
    )


def _wrong_labels(evaluation: LabelEvaluation) -> Section:
    wrong = np.flatnonzero((evaluation.targets != evaluation.predicted).any(axis=1))
    order = wrong[np.argsort(-evaluation.losses[wrong], kind="stable")]

    def caption(place: int) -> str:
        truth, guess = (
            evaluation.names(of[place], ", ") or "nothing" for of in (evaluation.targets, evaluation.predicted)
        )
        return f"is {truth}, predicted {guess}"

    text = f"{len(wrong):,} of {len(evaluation.indices):,} have a label too many or too few; the largest losses first."
    return _mistakes_section(evaluation, "Wrong predictions", text, order, caption)


def _value_sections(evaluation: ValueEvaluation) -> list[Section]:
    """Return the errors of each number, and the pictures with the largest errors."""
    return [_values_section(evaluation), _largest_errors(evaluation)]


def _values_section(evaluation: ValueEvaluation) -> Section:
    results = evaluation.per_value()
    section = Section(
        "Numbers",
        "R2: the share of the variance that is explained; 0 is as good as always saying the mean. Dots on the dashed "
        "line are right.",
        columns=["number", "mean absolute error", "mean squared error", "R2"],
        rows=[
            [
                result.name,
                f"{result.mean_absolute_error:.4g}",
                f"{result.mean_squared_error:.4g}",
                "all pictures have the same" if result.r2 is None else f"{result.r2:.4g}",
            ]
            for result in results
        ],
    )
    for result in results[:_SHOWN_CHARTS]:
        k = result.index
        chart = scatter_chart(evaluation.targets[:, k], evaluation.values[:, k], result.name)
        section.charts.append(chart_figure(chart, f"{result.name}: true and predicted"))
    return section


def _largest_errors(evaluation: ValueEvaluation) -> Section:
    """Return the largest errors, of several numbers each in units of its own deviation."""
    deviation_K = evaluation.targets.std(axis=0, dtype=np.float64)
    relative_PK = np.abs(evaluation.errors) / np.where(deviation_K > 0, deviation_K, 1)
    order = np.argsort(-relative_PK.max(axis=1), kind="stable")

    def caption(place: int) -> str:
        worst = int(relative_PK[place].argmax())
        truth, guess = (float(of[place, worst]) for of in (evaluation.targets, evaluation.values))
        return f"{evaluation.classes[worst]} is {truth:.4g}, predicted {guess:.4g}"

    return _mistakes_section(evaluation, "Largest errors", "The largest first.", order, caption)
