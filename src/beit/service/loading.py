"""Loading of a service's models under the names that clients use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beit.errors import ConfigError
from beit.inference.predictor import Predictor
from beit.inference.runners.torch_runner import is_pretraining


@dataclass(frozen=True)
class LoadOptions:
    """Options of loading models.

    Attributes:
        device: "cpu", "cuda", or "auto" for a GPU if there is one.
        precision: What they compute in: "fp32", "bf16", or on a GPU "fp16".
        tokenizer: Makes those of them that are pre-training models able to reconstruct: a folder, a file or a name.
    """

    device: str = "auto"
    precision: str = "fp32"
    tokenizer: str | None = None


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
        if not name or not place:
            raise ConfigError(f"the model {model!r} has no name or no place; expected MODEL or NAME=MODEL")
        if name in named:
            raise ConfigError(f"two models are called {name!r}; name one of them, as in {name}2={place}")
        named[name] = place
    return named


def load_predictors(places: Mapping[str, str], options: LoadOptions) -> dict[str, Predictor]:
    """Load models that share the processor's cores, for each computes in a thread of its own.

    Raises:
        BeitError: If one cannot be loaded, or a tokenizer is given and none is a pre-training model.
    """
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // len(places)))
    predictors = {
        name: Predictor.from_pretrained(place, device=options.device, precision=options.precision)
        for name, place in places.items()
    }
    return predictors if options.tokenizer is None else _reconstructing(predictors, options.tokenizer)


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
        **{name: Predictor(one.runner, one.preprocessing, one.scene, tokenizer) for name, one in given.items()},
    }
