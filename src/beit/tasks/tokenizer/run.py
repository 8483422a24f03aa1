"""A tokenizer of any kind with its objective, for the loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beit.engine.optimiser import parameter_groups
from beit.tokenizer import Tokenizer


class TokenizerRun:
    """What the loop trains, saves and continues.

    Args:
        model: The tokenizer.
        module: Its objective, which holds it.
        weight_decay: Of its weight matrices.
    """

    def __init__(self, model: Tokenizer, module: nn.Module, weight_decay: float) -> None:
        self.model = model
        self.module = module
        self.groups = parameter_groups(model, weight_decay, layer_decay=1.0, layers=0)

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return the tensors of a batch as they are."""
        return tensors

    def weight(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of pictures."""
        return torch.tensor(float(len(tensors["tokenizer_pixels"])), device=tensors["tokenizer_pixels"].device)

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the tokenizer, or another such as its moving average, into a folder."""
        (model or self.model).save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Fill the tokenizer from a folder."""
        self.model.load_state_dict(type(self.model).from_pretrained(folder).state_dict())
