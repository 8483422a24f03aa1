"""Report sections of the evaluation of a regression model.

Legend: P pictures, K numbers per picture.
"""

from __future__ import annotations

import numpy as np

from beit.evaluation.classification.report_helpers import mistakes_section
from beit.evaluation.classification.value_evaluation import ValueEvaluation
from beit.reports.charts import scatter_chart
from beit.reports.report import Section, chart_figure

_SHOWN_CHARTS = 12


def value_sections(evaluation: ValueEvaluation) -> list[Section]:
    """Return the errors of each number, and the pictures with the largest errors."""
    return [_values_section(evaluation), _mistakes_section(evaluation)]


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


def _mistakes_section(evaluation: ValueEvaluation) -> Section:
    """Return the largest errors, of several numbers each in units of its own deviation."""
    deviation_K = evaluation.targets.std(axis=0, dtype=np.float64)
    relative_PK = np.abs(evaluation.errors) / np.where(deviation_K > 0, deviation_K, 1)
    order = np.argsort(-relative_PK.max(axis=1), kind="stable")

    def caption(place: int) -> str:
        worst = int(relative_PK[place].argmax())
        truth, guess = (float(of[place, worst]) for of in (evaluation.targets, evaluation.values))
        return f"{evaluation.classes[worst]} is {truth:.4g}, predicted {guess:.4g}"

    return mistakes_section(evaluation, "Largest errors", "The largest first.", order, caption)
