"""The evaluation of a model of several labels as parts of a report."""

from __future__ import annotations

import numpy as np

from beit.image import to_unit_array
from beit.training.class_sections import SHOWN_CLASSES, SHOWN_MISTAKES
from beit.training.label_evaluation import LabelEvaluation
from beit.training.report import Section, figure


def label_sections(evaluation: LabelEvaluation) -> list[Section]:
    """Return the labels and the pictures with the worst mistakes."""
    return [_labels_section(evaluation), _mistakes_section(evaluation)]


def _labels_section(evaluation: LabelEvaluation) -> Section:
    results = evaluation.per_label
    shown = results[:SHOWN_CLASSES]
    which = f"The worst {len(shown)} of {len(results)} labels" if len(shown) < len(results) else "Worst first"
    absent = len(evaluation.classes) - len(results)
    without = f" {absent} of the model's {len(evaluation.classes)} labels have no pictures." if absent else ""
    return Section(
        "Labels",
        f"{which}. Predicted: pictures with a probability above one half. Average precision: how far the pictures that "
        "have the label are ranked before the others; a random ranking has the share of pictures that have it. "
        f"F1: of what is predicted.{without}",
        columns=["label", "pictures", "predicted", "average precision", "F1"],
        rows=[
            [
                result.name,
                f"{result.pictures:,}",
                f"{result.predicted:,}",
                f"{result.average_precision:.1%}",
                f"{result.f1:.1%}",
            ]
            for result in shown
        ],
    )


def _mistakes_section(evaluation: LabelEvaluation) -> Section:
    wrong = np.flatnonzero((evaluation.targets != evaluation.predicted).any(axis=1))
    order = wrong[np.argsort(-evaluation.losses[wrong], kind="stable")][:SHOWN_MISTAKES].tolist()
    section = Section(
        "Wrong predictions",
        f"{len(wrong):,} of {len(evaluation.indices):,} have a label too many or too few; the largest losses first.",
    )
    for place in order:
        picture = evaluation.view.crop(evaluation.source.load(evaluation.indices[place]))
        truth, guess = (
            evaluation.names(of[place], ", ") or "nothing" for of in (evaluation.targets, evaluation.predicted)
        )
        section.gallery.append([figure(to_unit_array(picture), f"is {truth}, predicted {guess}")])
    return section
