"""Features that a benchmark keeps in its output folder, so that it computes them once per model and pictures.

A file holds `train.layer_1` and so on (P, D), `train.labels` and `train.pictures` (P,), the same of `val`, and `about`,
JSON in UTF-8 with the speed of the pass and the broken pictures. Its name is a hash of all that decides the features;
beside it lies a JSON of the same name with the scores of the attentive probe, which has a pass of its own.

Legend: P pictures or patches, D features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beit import __version__
from beit.data import BrokenPicture, ImageSource, fingerprint
from beit.errors import CheckpointError
from beit.evaluation.features.attentive import AttentiveScores
from beit.evaluation.features.checks import Labels
from beit.evaluation.features.frozen import Frozen
from beit.files import read_json, reading, write_json
from beit.models_torch.device import Precision
from beit.models_torch.loading import read_safetensors, write_safetensors

_ABOUT = "about"
_SCORES = "kept scores of an attentive probe"


@dataclass(frozen=True)
class SetFeatures:
    """Features of the usable pictures of a set, or of patches of them.

    Attributes:
        layers: Of every layer, from the first (P, D), float32.
        labels_P: Their classes (P,).
        pictures_P: Numbers of the pictures in the set (P,).
        broken: Pictures of the set that are not usable.
    """

    layers: list[NDArray[np.float32]]
    labels_P: Labels
    pictures_P: NDArray[np.int64]
    broken: list[BrokenPicture]


@dataclass(frozen=True)
class ModelFeatures:
    """Features of one model.

    Attributes:
        train: Of the training pictures.
        val: Of the validation pictures.
        speed: Pictures per second of the pass that computed them, with reading them.
    """

    train: SetFeatures
    val: SetFeatures
    speed: float


def features_key(frozen: Frozen, precision: Precision, pictures: str) -> str:
    """Return a hash of all that decides the features of a model.

    Args:
        frozen: The model.
        precision: That it computes in.
        pictures: See `pictures_identity`.
    """
    decisive = [__version__, frozen.content(), repr(frozen.view), frozen.grid_hw, precision, pictures]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:32]


def pictures_identity(*sources: ImageSource) -> str:
    """Return a hash that changes with the pictures of some sources, with their order and with their labels."""
    digest = hashlib.sha256()
    for source in sources:
        origins_P = np.array([source.origin(index) for index in range(len(source))], dtype=np.int64)
        digest.update(fingerprint(source).encode() + origins_P.tobytes())
        digest.update(b"" if source.labels is None else np.ascontiguousarray(source.labels).tobytes())
        digest.update(json.dumps(source.classes).encode())
    return digest.hexdigest()


def write_features(path: Path, features: ModelFeatures) -> None:
    """Write the features of a model.

    Raises:
        StorageError: If the disk is full; an earlier file is untouched.
    """
    broken = {name: [asdict(picture) for picture in part.broken] for name, part in _parts(features).items()}
    about = json.dumps({"speed": features.speed, "broken": broken}).encode()
    tensors = {_ABOUT: torch.frombuffer(bytearray(about), dtype=torch.uint8)}
    for name, part in _parts(features).items():
        arrays = {f"layer_{number}": layer_PD for number, layer_PD in enumerate(part.layers, start=1)}
        arrays |= {"labels": part.labels_P.astype(np.int64), "pictures": part.pictures_P}
        tensors |= {f"{name}.{key}": torch.from_numpy(array) for key, array in arrays.items()}
    write_safetensors(path, tensors)


def read_features(path: Path) -> ModelFeatures:
    """Return the features in a file.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    tensors = read_safetensors(path)
    with reading(path, "kept features of a benchmark"):
        about = json.loads(tensors[_ABOUT].numpy().tobytes())
        train, val = (_part(tensors, name, about["broken"][name]) for name in ("train", "val"))
        if [layer.shape[1] for layer in train.layers] != [layer.shape[1] for layer in val.layers]:
            raise ValueError("the layers of training and validation pictures differ")
        return ModelFeatures(train, val, float(about["speed"]))


def write_attentive(path: Path, asked: Mapping[str, int], scores: AttentiveScores) -> None:
    """Write the scores of an attentive probe, with the settings that decide them beside the features.

    Raises:
        StorageError: If the disk is full; an earlier file is untouched.
    """
    write_json(path, {"asked": dict(asked), "scores": asdict(scores)})


def read_attentive(path: Path, asked: Mapping[str, int]) -> AttentiveScores | None:
    """Return the scores in a file; None if they are of other settings.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    found = read_json(path, _SCORES, error=CheckpointError)
    with reading(path, _SCORES):
        return AttentiveScores(**found["scores"]) if found["asked"] == asked else None


def _parts(features: ModelFeatures) -> dict[str, SetFeatures]:
    return {"train": features.train, "val": features.val}


def _part(tensors: dict[str, Tensor], name: str, broken: list[dict[str, Any]]) -> SetFeatures:
    """Return the features of one set of pictures."""
    count = sum(key.startswith(f"{name}.layer_") for key in tensors)
    layers = [tensors[f"{name}.layer_{number}"].numpy() for number in range(1, count + 1)]
    labels_P, pictures_P = tensors[f"{name}.labels"].numpy(), tensors[f"{name}.pictures"].numpy()
    if not layers or any(layer_PD.ndim != 2 or len(layer_PD) != len(labels_P) for layer_PD in layers):
        raise ValueError(f"{count} layers do not fit {len(labels_P)} labels")
    if len(pictures_P) != len(labels_P):
        raise ValueError(f"{len(pictures_P)} pictures do not fit {len(labels_P)} labels")
    return SetFeatures(layers, labels_P, pictures_P, [BrokenPicture(some["name"], some["reason"]) for some in broken])
