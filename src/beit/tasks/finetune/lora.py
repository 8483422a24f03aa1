"""Low-rank adaptation (arXiv 2106.09685): a frozen weight matrix plus a trained product of two thin ones.

The product is a parametrisation of the weight, so that the models need no code for it; merged into the weights, it
leaves an ordinary model.

Legend: I inputs, O outputs, R rank.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from beit.errors import CheckpointError
from beit.models_torch import BeitForImageClassification
from beit.models_torch.loading import check_tensors, read_safetensors, read_tensor, write_safetensors
from beit.settings.finetune import LoraSettings
from beit.weights import WEIGHTS_NAME, open_safetensors

FILE_NAME = "adapter.safetensors"
# the linear layers of an encoder layer
_ATTENTION = ("attention.attention.query", "attention.attention.key", "attention.attention.value",
              "attention.output.dense")  # fmt: skip
_FEED_FORWARD = ("intermediate.dense", "output.dense")


class LowRank(nn.Module):
    """weight + scale * up @ down; the product starts at zero.

    Args:
        weight: (O, I), what is adapted.
        rank: R.
        alpha: The scale is alpha / R.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.down_RI = nn.Parameter(torch.empty(rank, inputs))
        self.up_OR = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down_RI, a=5**0.5)  # as published with LoRA
        self._scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight (O, I)."""
        return weight + self._scale * (self.up_OR @ self.down_RI)


def adapt(model: BeitForImageClassification, settings: LoraSettings) -> None:
    """Freeze the encoder of a model and add trainable products to the weights of its layers; the head stays free."""
    assert settings.rank is not None  # noqa: S101  # for the type checker
    model.beit.requires_grad_(requires_grad=False)
    for layer in model.beit.encoder.layer:
        for name in _ATTENTION + (_FEED_FORWARD if settings.feed_forward else ()):
            linear = layer.get_submodule(name)
            low_rank = LowRank(linear.get_parameter("weight"), settings.rank, settings.alpha)
            parametrize.register_parametrization(linear, "weight", low_rank)


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters of an adapted model under the names of a plain one, the products added to the weights."""
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        owner, adapted, part = name.partition(".parametrizations.weight.")
        if not adapted:
            state[name] = tensor
        elif part == "original":
            with torch.no_grad():
                state[f"{owner}.weight"] = model.get_submodule(owner).weight  # type: ignore[assignment]
    return state


def save_adapter(model: nn.Module, folder: Path) -> None:
    """Write the trained parameters beside the merged model, so that a run continues from exactly the same state."""
    write_safetensors(folder / FILE_NAME, {name: value.detach().clone() for name, value in _trained(model).items()})


def load_adapter(model: nn.Module, folder: Path) -> None:
    """Load the trained parameters from a folder.

    Raises:
        CheckpointError: If it is missing or belongs to another model.
    """
    _check_frozen(model, folder)
    found: Any = read_safetensors(folder / FILE_NAME)
    own = _trained(model)
    check_tensors(str(folder / FILE_NAME), found, own)
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(found[name])


def _check_frozen(model: nn.Module, folder: Path) -> None:
    """Refuse a model whose frozen weights are not those that the products were trained beside.

    The merged model in the folder has those that nothing is added to as they were.

    Raises:
        CheckpointError: Naming what to do.
    """
    stored = open_safetensors(folder / WEIGHTS_NAME)
    for name, own in model.named_parameters():
        if own.requires_grad or name not in stored:  # of adapted weights there is the sum alone
            continue
        if not torch.equal(read_tensor(stored[name]), own.detach().cpu()):
            raise CheckpointError(
                f"{folder} was trained beside other weights than the checkpoint has now ({name} is not what it was); "
                "bring the former back, or start again in another run.output"
            )


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
