"""Report helpers of the evaluations: the results that are shown, and the pictures of the worst mistakes.

Legend: P pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from beit.evaluation.classification.evaluation import Evaluation
from beit.image import to_unit_array
from beit.reports.report import Section, figure

Result = TypeVar("Result")
_SHOWN_RESULTS = 50
_SHOWN_MISTAKES = 24


def worst(results: Sequence[Result], noun: str) -> tuple[Sequence[Result], str]:
    """Return the first of the results, sorted worst first, for a table, and a sentence on how many these are."""
    shown = results[:_SHOWN_RESULTS]
    return shown, f"The worst {len(shown)} of {len(results)} {noun}" if len(shown) < len(results) else "Worst first"


def absent(evaluation: Evaluation, present: int, noun: str) -> str:
    """Return a sentence about the classes or labels that no picture has; nothing if all are present."""
    missing = len(evaluation.classes) - present
    return f" {missing} of the model's {len(evaluation.classes)} {noun} have no pictures." if missing else ""


def mistakes_section(
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
    for place in order_P[:_SHOWN_MISTAKES].tolist():
        picture = evaluation.view.crop(evaluation.source.load(evaluation.indices[place]))
        section.gallery.append([figure(to_unit_array(picture), caption(place))])
        section.names.append(Path(evaluation.source.name(evaluation.indices[place])).name)
    return section
