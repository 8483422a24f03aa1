"""Problem type of a model, and the labels that it is measured by."""

from __future__ import annotations

from beit.config import BeitConfig, ProblemType, problem_of
from beit.data import ImageSource, LabelKind
from beit.errors import ConfigError, DataError

PROBLEMS: dict[LabelKind, ProblemType] = {
    "class": "single_label_classification",
    "labels": "multi_label_classification",
    "value": "regression",
}
_KINDS: dict[ProblemType, LabelKind] = {problem: kind for kind, problem in PROBLEMS.items()}
_WORDS: dict[LabelKind, str] = {"class": "one class", "labels": "several labels", "value": "a number"}
_PLACES: dict[LabelKind, str] = {
    "class": "put them into one folder per class, or name parquet or tar files with labels, or in data.labels a file "
    "with a column `label`",
    "labels": "name in data.labels a file with the columns `file_name` and `labels`",
    "value": "name in data.labels a file with the columns `file_name` and `value`",
}


def check_problem(config: BeitConfig, source: ImageSource) -> ProblemType:
    """Return the problem type of a model, after checking that the pictures have labels for it.

    Raises:
        DataError: If they have none.
        ConfigError: If they have others, or the model has too few classes or other numbers than they have.
    """
    problem = problem_of(config)
    needed = _KINDS[problem]
    if problem == "single_label_classification" and config.num_labels < 2:
        raise ConfigError(
            f"the model has {config.num_labels} classes; expected at least 2, name a fine-tuned classifier"
        )
    if source.labels is None or source.classes is None:
        raise DataError(f"the pictures to evaluate on have no labels; {_PLACES[needed]}")
    if source.label_kind != needed:
        said = f"is for {problem}"
        other = f"name a model for {PROBLEMS[source.label_kind]}"
        if config.problem_type is None:
            said = f"has no problem_type in its config.json and is taken for {problem}"
            other += f", or write {PROBLEMS[source.label_kind]} there if this is one"
        raise ConfigError(
            f"the model {said}, but the pictures have {_WORDS[source.label_kind]} each; expected {_WORDS[needed]}: "
            f"{_PLACES[needed]}, or {other}"
        )
    if problem == "regression" and source.labels.shape[1] != config.num_labels:
        raise ConfigError(
            f"the model gives {config.num_labels} numbers per picture, but the pictures have "
            f"{source.labels.shape[1]} each; expected as many: name a model that was trained for these labels"
        )
    return problem
