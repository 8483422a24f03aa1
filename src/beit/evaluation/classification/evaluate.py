"""Evaluation of a saved model on labelled pictures, with its files and report."""

from __future__ import annotations

import time
from pathlib import Path

from beit.data import BrokenPictures, ImageSource, loading_workers, spread
from beit.errors import CheckpointError, ConfigError
from beit.evaluation.checks import check_places, check_settings
from beit.evaluation.classification.classes import class_indices
from beit.evaluation.classification.evaluation import EvaluatedModel, Evaluation
from beit.evaluation.classification.measure import evaluate_model
from beit.evaluation.classification.one_pass import PassOptions
from beit.evaluation.classification.problem_type import check_problem
from beit.evaluation.classification.sections import detailed_sections
from beit.evaluation.result import write_predictions, write_result
from beit.image import COLOURS, Preprocessing
from beit.image.model_view import evaluation_view
from beit.models_torch import BeitForImageClassification
from beit.models_torch.device import busy_cpus, pick_device, pick_precision
from beit.reports.report import since, write_report
from beit.settings.base import resolved_recipe
from beit.settings.channels import check_channels, check_range
from beit.settings.evaluate import EvaluateJob
from beit.settings.inputs import open_pictures


def evaluate(job: EvaluateJob) -> Evaluation:
    """Evaluate a saved model on pictures, and write the files that are asked for.

    Raises:
        ConfigError: If the pictures have labels of another kind than the model is for, no pictures are named, or
            settings do not fit together.
        CheckpointError: If the model cannot be found or read.
        DataError: If the classes of model and pictures cannot be matched, or too many pictures are broken.
        StorageError: If a file cannot be written.
    """
    began = time.perf_counter()
    check_places(job)
    check_settings(job)
    source = open_pictures(job.data)
    device = pick_device(job.device)
    precision = pick_precision(job.precision, device)
    model = BeitForImageClassification.from_pretrained(job.model).to(device)
    _require_trained_head(model, job.model)
    check_channels(job.data, model.config.num_channels, job.model)
    numeric = check_problem(model.config, source) == "regression"  # regression outputs are matched by their order alone
    indices, matched = (None, "order") if numeric else class_indices(source, model.config.class_names, job.match)
    view, view_from = evaluation_view(job.model, model.config.image_hw, job.crop_share)
    _check_view(view, source, job.model)
    if job.limit is not None:
        source = spread(source, job.limit)
    workers = loading_workers(job.data.workers, busy_cpus(device))
    options = PassOptions(job.batch_size, workers, bool(job.flips), precision, bar=True)
    evaluation = evaluate_model(model, view, source, options, indices)
    BrokenPictures(None, len(source), job.data.max_broken).add(evaluation.broken)
    described = EvaluatedModel(job.model, matched, view_from, str(device), precision)
    if job.output is not None:
        write_result(Path(job.output), evaluation, described.to_json(evaluation), job)
    if job.predictions is not None:
        write_predictions(Path(job.predictions), evaluation)
    if job.report is not None:
        sections = detailed_sections(evaluation, described)
        write_report(Path(job.report), f"Evaluation of {job.model}", sections, resolved_recipe(job), since(began))
    return evaluation


def _check_view(view: Preprocessing, source: ImageSource, name: str) -> None:
    """Refuse pictures that are not read as those that the model has learnt from.

    Raises:
        ConfigError: Naming what differs.
    """
    channels = COLOURS if source.bands is None else source.bands.channels
    if len(view.mean) != channels:
        raise ConfigError(
            f"nothing says mean and deviation of the {channels} channels of {name}; expected a "
            "preprocessor_config.json with one number per channel beside it: put it there"
        )
    check_range(source.bands, name)


def _require_trained_head(model: BeitForImageClassification, name: str) -> None:
    """Refuse checkpoints without a classifier, which load with a random one."""
    if model.load_report is not None and model.load_report.new:
        raise CheckpointError(
            f"{name} holds no trained classifier, {', '.join(model.load_report.new)} would be random; expected a "
            "fine-tuned model: train one with beit finetune --checkpoint"
        )
