"""Methods of the published base class that need no more than what a model has."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from beit.config import BeitConfig
from beit.errors import missing_extra, warn
from beit.models_torch.attention import Attention
from beit.models_torch.base import BeitBase
from beit.models_torch.loading import torch_dtype

_SAME_NUMBERS = ("eager", "sdpa")  # the kernels choose by themselves, and give the numbers of both


class PublishedMethods(BeitBase):
    """Base of models with the methods of the published base class."""

    is_parallelizable: ClassVar[bool] = False
    _auto_class: ClassVar[str | None] = None
    _keep_in_fp32_modules: ClassVar[list[str] | None] = None
    _supports_sdpa: ClassVar[bool] = True
    _tied_weights_keys: ClassVar[list[str] | None] = None

    @classmethod
    def _from_config(cls, config: BeitConfig, **options: Any) -> Self:
        """Return a model of random weights, as the Auto classes of transformers ask for it."""
        dtype = options.get("dtype", options.get("torch_dtype"))
        own = inspect.signature(cls.__init__).parameters.keys() & options.keys()
        model = cls(config, **{name: options[name] for name in own})
        return model if dtype is None else model.to(torch_dtype(dtype, "float32"))

    @property
    def num_labels(self) -> int:
        """Number of classes; setting it sets that of the config."""
        return self.config.num_labels

    @num_labels.setter
    def num_labels(self, value: int) -> None:
        if value != self.config.num_labels:  # else the names of the classes stay
            self.config.num_labels = value

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

    def prune_heads(self, heads_to_prune: Mapping[int, Sequence[int]]) -> None:
        """Take attention heads out of layers, {layer: [heads]}; `config.pruned_heads` and saved models remember them.

        Heads are counted as in the whole layer, also when some are gone. The parameters of these layers are new ones:
        make the optimiser afterwards.

        Raises:
            ConfigError: If a layer or head is not there, or a layer would be left without any; nothing is changed.
        """
        before = self.config.pruned_heads
        pruned = {
            layer: sorted({*before.get(layer, ()), *heads_to_prune.get(layer, ())})
            for layer in {*before, *heads_to_prune}
        }
        self.config.update({"pruned_heads": pruned})
        encoder = self.base_model.get_submodule("encoder.layer")
        for layer in heads_to_prune:
            attention = cast(Attention, encoder.get_submodule(f"{layer}.attention"))
            attention.prune_heads(set(heads_to_prune[layer]))

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Black pictures that the model takes: two, so that batch norms can be trained on them."""
        return {"pixel_values": torch.zeros(2, self.config.num_channels, *self.config.image_hw, device=self.device)}

    def add_memory_hooks(self) -> None:
        """Record by how much the memory of the process grows in every module: `module.mem_rss_diff`, in bytes.

        Raises:
            MissingExtraError: If psutil is not installed.
        """
        try:
            process = import_module("psutil").Process()
        except ModuleNotFoundError:
            raise missing_extra("psutil", "train") from None
        for module in self.modules():
            module.register_forward_pre_hook(partial(_note_memory, process))
            module.register_forward_hook(partial(_add_memory, process))
        self.reset_memory_hooks_state()

    def reset_memory_hooks_state(self) -> None:
        """Set what `add_memory_hooks` has recorded to 0."""
        for module in cast("Iterable[Any]", self.modules()):
            module.mem_rss_diff = module.mem_rss_pre_forward = module.mem_rss_post_forward = 0

    def enable_input_require_grads(self) -> None:
        """Let the patch embeddings require a gradient, as adapters on a frozen model with checkpointing need it."""
        self._input_hook = self.get_input_embeddings().register_forward_hook(_require_gradient)

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        self._input_hook.remove()

    def set_asked(self, dtype: Any, attention: Any) -> None:
        """Keep in the config which type and which attention a model was loaded with, if any was asked for."""
        if dtype is not None:
            self.config.torch_dtype = self.dtype
        if attention is not None:
            self.set_attn_implementation(attention)

    def set_attn_implementation(self, attn_implementation: str | Mapping[str, str]) -> None:
        """Accept "eager" and "sdpa", whose numbers the attention has whatever it computes by; others are warned of."""
        named = attn_implementation if isinstance(attn_implementation, str) else attn_implementation.get("")
        if named in _SAME_NUMBERS:
            self.config._attn_implementation = named  # pyright: ignore[reportPrivateUsage]
        else:
            warn(
                f"attn_implementation is {attn_implementation!r}, without effect; attention chooses the fastest way "
                f"with the numbers of {' and '.join(_SAME_NUMBERS)}",
            )


def _note_memory(process: Any, module: Any, inputs: Any) -> None:
    module.mem_rss_pre_forward = process.memory_info().rss


def _add_memory(process: Any, module: Any, inputs: Any, output: Any) -> None:
    module.mem_rss_post_forward = process.memory_info().rss
    module.mem_rss_diff += module.mem_rss_post_forward - module.mem_rss_pre_forward


def _require_gradient(module: nn.Module, inputs: Any, output: Any) -> None:
    output[0].requires_grad_(requires_grad=True)  # (patches, grid)
