"""The best layer of a model, as the quality monitor of its pre-training wrote it beside the weights."""

from __future__ import annotations

from pathlib import Path

from beit.config import FEATURES_NAME
from beit.errors import ConfigError
from beit.files import read_json

_REMEDY = "name a layer by its number, or measure the layers with beit benchmark"


def read_best_layer(file: Path | None, layers: int) -> int:
    """Return the best layer, counted from 1.

    Args:
        file: The `features.json` of the model; None where there is none.
        layers: Layers of the model.

    Raises:
        ConfigError: If no layer was measured, or the file is of another model.
    """
    if file is None:
        raise ConfigError(
            f"layer is 'best', and no {FEATURES_NAME} lies beside the model; expected what a quality monitor measured: "
            f"{_REMEDY}"
        )
    best = read_json(file, "the features.json of a pre-training", _REMEDY).get("best_layer")
    if not isinstance(best, int) or not 1 <= best <= layers:
        raise ConfigError(f"{file} has best_layer {best!r}; expected 1 to {layers}, a layer of the model: {_REMEDY}")
    return best
