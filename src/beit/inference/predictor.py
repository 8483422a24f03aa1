"""Predictor: pictures in, class names and probabilities out.

Legend: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from beit.errors import ConfigError
from beit.image import Preprocessing, read_image
from beit.models_torch import BeitForImageClassification
from beit.models_torch.device import pick_device

Picture = Image.Image | str | Path | bytes


@dataclass(frozen=True)
class Prediction:
    """The most likely classes of a picture, best first.

    Attributes:
        labels: Class names.
        probabilities: Their probabilities, in [0, 1].
    """

    labels: list[str]
    probabilities: list[float]

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.labels[0]


class Predictor:
    """A classifier with its preprocessing.

    Args:
        folder: A model folder, as training and `save_pretrained` leave it.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.

    Raises:
        ConfigError: If a config is missing or invalid, or there is no such device.
        CheckpointError: If the weights are missing, damaged or do not fit.
    """

    def __init__(self, folder: str | Path, device: str = "auto") -> None:
        self.model = BeitForImageClassification.from_pretrained(folder).to(pick_device(device))
        if self.model.config.problem_type == "regression":
            raise ConfigError(
                f"{folder} gives numbers, not classes; expected a classifier: call BeitForImageClassification itself"
            )
        self.preprocessing = Preprocessing.from_pretrained(folder)

    @property
    def classes(self) -> list[str]:
        """Class names, by index."""
        return self.model.config.class_names

    @torch.inference_mode()
    def predict(self, pictures: Sequence[Picture], top_k: int = 5, batch_size: int = 32) -> list[Prediction]:
        """Return the `top_k` most likely classes of every picture.

        Raises:
            DataError: If a picture is missing or broken; nothing is predicted then.
            ConfigError: If `top_k` or `batch_size` is below 1.
        """
        if top_k < 1 or batch_size < 1:
            raise ConfigError(f"top_k is {top_k} and batch_size {batch_size}; expected at least 1")
        opened = [_rgb(picture) for picture in pictures]
        predictions: list[Prediction] = []
        for first in range(0, len(opened), batch_size):
            predictions += self._predict_batch(opened[first : first + batch_size], top_k)
        return predictions

    def _predict_batch(self, pictures: Iterable[Image.Image], top_k: int) -> list[Prediction]:
        pixels = np.stack([self.preprocessing(picture) for picture in pictures])
        logits_BK = self.model(torch.from_numpy(pixels).to(self.model.device), return_dict=True).logits
        several = self.model.config.problem_type == "multi_label_classification"
        probabilities_BK = logits_BK.float().sigmoid() if several else logits_BK.float().softmax(dim=-1)
        best = probabilities_BK.topk(min(top_k, logits_BK.shape[-1]))
        names = self.classes
        return [
            Prediction([names[index] for index in indices], probabilities)
            for indices, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]


def _rgb(picture: Picture) -> Image.Image:
    return picture.convert("RGB") if isinstance(picture, Image.Image) else read_image(picture)
