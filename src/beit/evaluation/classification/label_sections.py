"""Report sections of the evaluation of a model of several labels per picture."""

from __future__ import annotations

import numpy as np

from beit.evaluation.classification.label_evaluation import LabelEvaluation
from beit.evaluation.classification.report_helpers import absent, mistakes_section, worst
from beit.reports.report import Section
from beit.reports.units import percent


def label_sections(evaluation: LabelEvaluation) -> list[Section]:
    """Return the labels and the pictures with the worst mistakes."""
    return [_labels_section(evaluation), _mistakes_section(evaluation)]


def _labels_section(evaluation: LabelEvaluation) -> Section:
    results = evaluation.per_label
    shown, which = worst(results, "labels")
    return Section(
        "Labels",
        f"{which}. Predicted: pictures with a probability above one half. Average precision: how far the pictures that "
        "have the label are ranked before the others; a random ranking has the share of pictures that have it. "
        f"F1: of what is predicted.{absent(evaluation, len(results), 'labels')}",
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


def _mistakes_section(evaluation: LabelEvaluation) -> Section:
    wrong = np.flatnonzero((evaluation.targets != evaluation.predicted).any(axis=1))
    order = wrong[np.argsort(-evaluation.losses[wrong], kind="stable")]

    def caption(place: int) -> str:
        truth, guess = (
            evaluation.names(of[place], ", ") or "nothing" for of in (evaluation.targets, evaluation.predicted)
        )
        return f"is {truth}, predicted {guess}"

    text = f"{len(wrong):,} of {len(evaluation.indices):,} have a label too many or too few; the largest losses first."
    return mistakes_section(evaluation, "Wrong predictions", text, order, caption)
