"""A classifier with its objective, for the loop: what is trained of it, how it is saved and continued.

Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beit.engine.optimiser import parameter_groups
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.settings.finetune import FinetuneJob
from beit.tasks.finetune.lora import adapt, load_adapter, merged_state, save_adapter
from beit.tasks.finetune.loss import FinetuneObjective, Targets


class FinetuneRun:
    """What the loop trains.

    Args:
        model: The classifier; freezing and adaptation happen here.
        view: Its preprocessing, saved with it.
        job: The settings.
        targets: Makes the targets of a batch.
        class_weights: (K,) factors on the loss of each class, or None.
    """

    def __init__(
        self,
        model: BeitForImageClassification,
        view: Preprocessing,
        job: FinetuneJob,
        targets: Targets,
        class_weights: Tensor | None = None,
    ) -> None:
        self.model = model
        self._view, self._targets = view, targets
        self._adapted = job.lora.rank is not None
        if self._adapted:
            adapt(model, job.lora)
        elif job.freeze == "encoder":
            model.beit.requires_grad_(requires_grad=False)
        self.module: nn.Module = FinetuneObjective(model, class_weights, frozen=job.freeze == "encoder")
        layers = model.config.num_hidden_layers
        self.groups = parameter_groups(model, job.optim.weight_decay, job.optim.layer_decay, layers)

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return the pictures of a step, mixed, with their targets."""
        return self._targets(tensors, step)

    def weight(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of pictures."""
        return torch.tensor(float(len(tensors["targets"])), device=tensors["targets"].device)

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another such as its moving average, and its preprocessing into a folder."""
        model = self.model if model is None else model
        model.save_pretrained(folder, state_dict=merged_state(model) if self._adapted else None)
        self._view.save_pretrained(folder)
        if self._adapted:
            save_adapter(model, folder)

    def load(self, folder: Path) -> None:
        """Fill the model from a folder."""
        if self._adapted:
            load_adapter(self.model, folder)
        else:
            self.model.load_weights(folder, strict=True)
