"""Methods of the published base class that need no more than what a model has."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from beit.config import BeitConfig
from beit.models_torch.base import BeitBase

_SAME_NUMBERS = ("eager", "sdpa")  # the kernels choose by themselves, and give the numbers of both


class PublishedMethods(BeitBase):
    """Base of models with the methods of the published base class."""

    @classmethod
    def _from_config(cls, config: BeitConfig, dtype: torch.dtype | None = None, **_: Any) -> Self:
        return cls(config).to(dtype)

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return self.config.num_labels

    @property
    def framework(self) -> str:
        """Return "pt", PyTorch."""
        return "pt"

    @classmethod
    def can_generate(cls) -> bool:
        """Return False: no text is generated."""
        return False

    def get_output_embeddings(self) -> None:
        """Return None: no output shares the weights of an embedding."""

    def tie_weights(self, *_: Any, **__: Any) -> None:
        """Do nothing: no weights are shared."""

    def init_weights(self) -> None:
        """Draw all parameters anew."""
        self.initialise_weights()

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Return the bytes of the parameters, and of the buffers."""
        kept = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.nelement() * tensor.element_size() for tensor in kept)

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Return the values of the input, which is what the published method counts."""
        return input_dict[self.main_input_name].numel() if self.main_input_name in input_dict else 0

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """Return the published estimate of the operations of a training step: 6 per parameter and input value."""
        return 6 * self.estimate_tokens(input_dict) * self.num_parameters(exclude_embeddings=exclude_embeddings)

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """Return a mask of heads, (heads,) or (layers, heads), as (layers, 1, heads, 1, 1); [None, ...] without one."""
        if head_mask is None:
            return [None] * num_hidden_layers
        mask_LH = head_mask.expand(num_hidden_layers, -1).to(self.dtype)
        mask = mask_LH[:, None, :, None, None]
        return mask.unsqueeze(-1) if is_attention_chunked else mask

    def enable_input_require_grads(self) -> None:
        """Let the patch embeddings require a gradient, as adapters on a frozen model with checkpointing need it."""
        self._input_hook = self.get_input_embeddings().register_forward_hook(_require_gradient)

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        self._input_hook.remove()

    def set_attn_implementation(self, attn_implementation: str | Mapping[str, str]) -> None:
        """Accept "eager" and "sdpa", whose numbers the attention has whatever it computes by; others are warned of."""
        if attn_implementation not in _SAME_NUMBERS:
            warnings.warn(
                f"attn_implementation is {attn_implementation!r}, without effect; attention chooses the fastest way "
                f"with the numbers of {' and '.join(_SAME_NUMBERS)}",
                stacklevel=2,
            )


def _require_gradient(module: nn.Module, inputs: Any, output: Any) -> None:
    output[0].requires_grad_(requires_grad=True)  # (patches, grid)
