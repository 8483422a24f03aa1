"""A model of a service: what it can do, and how its requests are computed together.

Legend: B batch, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beit.geometry import patch_grid
from beit.inference.predictor import Predictor
from beit.inference.results import Classification, Embedding
from beit.inference.service.batcher import Batcher
from beit.inference.service.errors import ServiceError
from beit.inference.service.schemas import ModelFacts, Place

Pixels = NDArray[np.float32]


class Served:
    """A predictor with its queue.

    Args:
        name: What clients call it.
        predictor: The model.
        batcher: Its queue and its thread.
    """

    def __init__(self, name: str, predictor: Predictor, batcher: Batcher) -> None:
        self.name = name
        self.predictor = predictor
        self.batcher = batcher

    async def classify(self, pixels_CHW: Pixels, top_k: int) -> Classification:
        """Return the most likely classes of a prepared picture."""
        return await self.batcher.submit(self._classify, (pixels_CHW, top_k))

    async def embed(self, pixels_CHW: Pixels) -> Embedding:
        """Return the embedding of a prepared picture."""
        return await self.batcher.submit(self._embed, pixels_CHW)

    def require(self, task: str) -> None:
        """Refuse what the model cannot do.

        Raises:
            ServiceError: Naming what it can.
        """
        if task not in self.predictor.tasks:
            possible = ", ".join(sorted(self.predictor.tasks)) or "nothing"
            raise ServiceError(422, f"the model {self.name!r} cannot {task}; expected one of: {possible}")

    def facts(self) -> ModelFacts:
        """Return what clients may know of it."""
        height, width = self.predictor.preprocessing.image_hw
        rows, cols = patch_grid((height, width), self.predictor.config.patch_size)
        return ModelFacts(
            name=self.name,
            tasks=sorted(self.predictor.tasks),
            classes=self.predictor.classes,
            image_height=height,
            image_width=width,
            patch_size=height // rows,
            rows=rows,
            cols=cols,
        )

    def mask(self, places: Sequence[Place]) -> NDArray[np.bool_]:
        """Return the mask (rows, cols) that hides some patches.

        Raises:
            ServiceError: If there is no such patch.
        """
        facts = self.facts()
        mask = np.zeros((facts.rows, facts.cols), bool)
        for row, col in places:
            if row >= facts.rows or col >= facts.cols:
                raise ServiceError(
                    422, f"mask has [{row}, {col}]; expected rows below {facts.rows} and columns below {facts.cols}"
                )
            mask[row, col] = True
        return mask

    def _classify(self, asked: Sequence[tuple[Pixels, int]]) -> list[Classification]:
        pixels_BCHW = np.stack([pixels_CHW for pixels_CHW, _ in asked])
        found = self.predictor.classify_pixels(pixels_BCHW, max(top_k for _, top_k in asked))
        return [
            Classification(one.labels[:top_k], one.probabilities[:top_k])
            for one, (_, top_k) in zip(found, asked, strict=True)
        ]

    def _embed(self, pixels: Sequence[Pixels]) -> list[Embedding]:
        return self.predictor.embed_pixels(np.stack(pixels))
