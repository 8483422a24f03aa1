"""Report sections of any evaluation: its numbers, its details, and the model."""

from __future__ import annotations

from beit.evaluation.classification.class_evaluation import ClassEvaluation
from beit.evaluation.classification.class_sections import class_sections
from beit.evaluation.classification.evaluation import EvaluatedModel, Evaluation
from beit.evaluation.classification.label_evaluation import LabelEvaluation
from beit.evaluation.classification.label_sections import label_sections
from beit.evaluation.classification.value_evaluation import ValueEvaluation
from beit.evaluation.classification.value_sections import value_sections
from beit.reports.report import Section, numbers_table

_NOUNS = {
    "single_label_classification": "classes",
    "multi_label_classification": "labels",
    "regression": "numbers per picture",
}


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Return the numbers, then the scores of each class, label or number, and the worst mistakes."""
    numbers = Section("Held-out pictures", table=numbers_table(evaluation.numbers()))
    return [numbers, *_details(evaluation)]


def detailed_sections(evaluation: Evaluation, model: EvaluatedModel) -> list[Section]:
    """Return the same, with the model and its throughput."""
    view = evaluation.view
    resize = view.resize if isinstance(view.resize, int) else f"{view.resize[0]} x {view.resize[1]}"
    to = "shorter side" if isinstance(view.resize, int) else "all"
    numbers = Section("Result", table=numbers_table(evaluation.numbers()))
    if evaluation.broken:
        numbers.text = f"{len(evaluation.broken)} broken pictures were left out; first: {evaluation.broken[0].reason}"
    used = Section(
        "Model",
        table=[
            ("model", model.name),
            ("parameters", f"{evaluation.parameters:,}"),
            (_NOUNS[evaluation.problem], f"{len(evaluation.classes):,}, matched by {model.matched}"),
            (
                "what it sees",
                f"{to} resized to {resize}, centre {view.image_hw[0]} x {view.image_hw[1]}, "
                f"{view.resample.name.lower()}; from {model.view_from}",
            ),
            ("computed on", f"{model.device}, {model.precision}"),
            ("pictures per second, model alone", f"{evaluation.speed.model:,.1f}"),
            ("pictures per second, with reading them", f"{evaluation.speed.whole:,.1f}"),
        ],
    )
    return [numbers, used, *_details(evaluation)]


def _details(evaluation: Evaluation) -> list[Section]:
    if isinstance(evaluation, ClassEvaluation):
        return class_sections(evaluation)
    if isinstance(evaluation, LabelEvaluation):
        return label_sections(evaluation)
    return value_sections(evaluation) if isinstance(evaluation, ValueEvaluation) else []
