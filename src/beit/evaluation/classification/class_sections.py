"""Report sections of the evaluation of a classifier.

Legend: K classes.
"""

from __future__ import annotations

import numpy as np

from beit.evaluation.classification.class_evaluation import ClassEvaluation
from beit.evaluation.classification.report_helpers import absent, mistakes_section, worst
from beit.reports.charts import MOST_NUMBERED_CLASSES, reliability_chart
from beit.reports.report import Section, chart_figure, confusion_section
from beit.reports.units import percent

_SHOWN_PAIRS = 30
_MOST_CLASSES_IN_A_MATRIX = 120  # above, cells are smaller than a pixel of the page


def class_sections(evaluation: ClassEvaluation) -> list[Section]:
    """Return the classes, the calibration, the confusion and the most confident mistakes."""
    return [
        _classes_section(evaluation),
        _calibration_section(evaluation),
        *_confusion_sections(evaluation),
        _mistakes_section(evaluation),
    ]


def _classes_section(evaluation: ClassEvaluation) -> Section:
    results = evaluation.per_class()
    shown, which = worst(results, "classes")
    return Section(
        "Classes",
        f"{which}. Accuracy: the share of its pictures that is recognised. Precision: the share of the pictures taken "
        f"for it that is right.{absent(evaluation, len(results), 'classes')}",
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


def _mistakes_section(evaluation: ClassEvaluation) -> Section:
    wrong = np.flatnonzero(~evaluation.right)
    order = wrong[np.argsort(-evaluation.confidence[wrong], kind="stable")]

    def caption(place: int) -> str:
        truth, guess = evaluation.classes[evaluation.labels[place]], evaluation.classes[evaluation.predicted[place]]
        return f"is {truth}, predicted {guess} ({percent(float(evaluation.confidence[place]), digits=0)})"

    text = f"{len(wrong):,} of {len(evaluation.indices):,}; the most confident first."
    return mistakes_section(evaluation, "Wrong predictions", text, order, caption)
