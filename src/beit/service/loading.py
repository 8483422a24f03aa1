"""Loading of a service's models under the names that clients use."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from beit.catalog import PACKAGED_CLASSIFIER, PACKAGED_ENCODER, PACKAGED_SEGMENTER
from beit.errors import ConfigError
from beit.inference.predictor import Predictor
from beit.inference.runners.torch_runner import is_pretraining
from beit.settings.serve import ServeJob

logger = logging.getLogger("beit")


def named_models(models: Sequence[str]) -> dict[str, str]:
    """Return the paths of models by name: the part before `=`, or the last part of the path.

    Raises:
        ConfigError: If a name is empty, or two are the same.
    """
    named: dict[str, str] = {}
    for model in models:
        name, equals, place = model.partition("=")
        if not equals or Path(model).exists():
            name, place = Path(model).resolve().name, model
        place = os.path.expanduser(place) if place.startswith("~/") else place  # few shells do behind an equals sign
        if not name or not place:
            raise ConfigError(f"the model {model!r} has no name or no place; expected MODEL or NAME=MODEL")
        if name in named:
            raise ConfigError(f"two models are called {name!r}; name one of them, as in {name}2={place}")
        named[name] = place
    return named


def with_packaged(job: ServeJob) -> ServeJob:
    """Return a job with the models of the package where it names none, and say so in one line of the log."""
    if job.models:
        return job
    models = tuple(known.name for known in (PACKAGED_CLASSIFIER, PACKAGED_SEGMENTER, PACKAGED_ENCODER))
    logger.warning("no model is named: serving %s, %s and %s, small ones that the package brings", *models)
    return replace(job, models=models)


def load_predictors(job: ServeJob) -> dict[str, Predictor]:
    """Load models that share the processor's cores, for each computes in a thread of its own.

    Raises:
        BeitError: If one cannot be loaded, or a tokenizer is given and none is a pre-training model.
    """
    import torch

    job = with_packaged(job)
    places = named_models(job.models)
    torch.set_num_threads(max(1, torch.get_num_threads() // len(places)))
    predictors = {
        name: Predictor.from_pretrained(place, device=job.device, precision=job.precision)
        for name, place in places.items()
    }
    return predictors if job.tokenizer is None else _reconstructing(predictors, job.tokenizer)


def _reconstructing(predictors: Mapping[str, Predictor], place: str) -> dict[str, Predictor]:
    """Load a tokenizer into the predictors that can use it."""
    from beit.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(place)
    able = [name for name, one in predictors.items() if is_pretraining(one.runner)]
    if not able:
        raise ConfigError(
            f"a tokenizer is given, and none of {', '.join(predictors)} is a pre-training model; leave it out"
        )
    given = {name: predictors[name] for name in able}
    return {
        **predictors,
        **{
            name: Predictor(one.runner, one.preprocessing, one.scene, tokenizer, one.model.features_file)
            for name, one in given.items()
        },
    }
