"""Base class of all models: config, initialisation, device, size and activation checkpointing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from beit.config import BeitConfig, require_config
from beit.errors import ConfigError, warn
from beit.outputs import ModelOutput
from beit.weights import LoadReport

Output = TypeVar("Output", bound=ModelOutput)
HALF_PRECISION = (torch.float16, torch.bfloat16)
SMALLEST_HALF_EPS = 1e-7  # the smallest that float16 does not round to 0


class BeitBase(nn.Module):
    """A module with a config, whose call takes arrays of numpy and jax as tensors."""

    config_class: ClassVar[type[BeitConfig]] = BeitConfig
    base_model_prefix: ClassVar[str] = "beit"
    main_input_name: ClassVar[str] = "pixel_values"
    input_modalities: ClassVar[tuple[str, ...]] = ("image",)  # which a pipeline prints
    supports_gradient_checkpointing: ClassVar[bool] = True
    _no_split_modules: ClassVar[list[str]] = ["EncoderLayer"]  # accelerate leaves each on one device
    # Trainer of transformers asks for it where a checkpoint lacks parameters: no name may be missing
    _keys_to_ignore_on_save: ClassVar[list[str] | None] = None

    def __init__(self, config: BeitConfig) -> None:
        require_config(config)
        super().__init__()
        self.config = config
        self.name_or_path = config.name_or_path  # an attribute, where peft looks for the base of an adapter
        self.load_report: LoadReport | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module with tensors in the place of arrays."""
        _keep_outputs_in_pipelines()
        device = next((parameter.device for parameter in self.parameters()), None)
        return super().__call__(
            *(_as_tensor(value, f"argument {place}", device) for place, value in enumerate(args)),
            **{name: _as_tensor(value, name, device) for name, value in kwargs.items()},
        )

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def base_model(self) -> nn.Module:
        """The encoder without a head."""
        return getattr(self, self.base_model_prefix, self)

    def get_input_embeddings(self) -> nn.Module:
        """Return the patch embedding."""
        return self.base_model.get_submodule("embeddings.patch_embeddings")

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Count parameters.

        Args:
            only_trainable: Leave frozen ones out.
            exclude_embeddings: Leave the tables of `nn.Embedding` out, as published; BEiT has none, patches being
                projected.
        """
        tables = {module.weight for module in self.modules() if isinstance(module, nn.Embedding)}
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if (parameter.requires_grad or not only_trainable) and not (exclude_embeddings and parameter in tables)
        )

    @property
    def is_gradient_checkpointing(self) -> bool:
        """True if activations are computed again in the backward pass instead of kept."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    @property
    def is_activation_checkpointing(self) -> bool:
        """The newer name of `is_gradient_checkpointing`."""
        return self.is_gradient_checkpointing

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Keep no activations inside layers in training; compute them again in the backward pass.

        Args:
            activation_checkpointing_kwargs: Accepted for the published API, and warned of if `use_reentrant` is true:
                the other form has the same numbers, and no gradient is lost.
            every_n_layers: Do so in the first of every so many layers; the others keep theirs.
            offload: Must be false: what is kept stays on the device.

        Raises:
            ConfigError: If offloading is asked for, or `every_n_layers` is below 1.
        """
        if (activation_checkpointing_kwargs or {}).get("use_reentrant"):
            warn(
                "use_reentrant is True, without effect: checkpoints are not reentrant, which has the same numbers and "
                "keeps every gradient",
            )
        if every_n_layers < 1:
            raise ConfigError(f"every_n_layers is {every_n_layers}; expected at least 1, every layer")
        if offload:
            raise ConfigError("offload is True; expected False: wrap the step in torch.autograd.graph.save_on_cpu()")
        self._set_gradient_checkpointing(True, every_n_layers)

    def activation_checkpointing_disable(self) -> None:
        """Keep activations again."""
        self._set_gradient_checkpointing(False)

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """The older name of `activation_checkpointing_enable`."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, every_n_layers, offload)

    def gradient_checkpointing_disable(self) -> None:
        """The older name of `activation_checkpointing_disable`."""
        self._set_gradient_checkpointing(False)

    def _set_gradient_checkpointing(self, value: bool, every: int = 1) -> None:
        for module in self.modules():
            if hasattr(module, "gradient_checkpointing"):
                setattr(module, "gradient_checkpointing", value)  # noqa: B010  # for the type checker
                setattr(module, "checkpoint_every", every)  # noqa: B010

    def initialise_weights(self, *modules: nn.Module) -> None:
        """Initialise the parameters of some modules (default: all)."""
        if any(parameter.is_meta for parameter in self.parameters()):
            return  # there is no memory yet: the values come from a file, and what it lacks is initialised then
        self._initialise(modules or (self,))

    def _initialise(self, modules: Sequence[nn.Module]) -> None:
        from beit.models_torch.initialisation import initialise  # it imports the layers, which must not import it

        for module in modules:
            initialise(module, self.config.initializer_range)

    def as_requested(self, output: Output, return_dict: bool | None) -> Output | tuple[Any, ...]:
        """Return the output object, or its tuple when `return_dict` (default: the config's) is False."""
        wanted = self.config.use_return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation."""
        _complete_trainer()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # .half(), .to(), ...
        _complete_trainer()
        super()._apply(fn, recurse)
        self.warn_of_tiny_eps()
        return self

    def warn_of_tiny_eps(self) -> None:
        """Warn of an epsilon that is 0 in half precision, where a layer norm may then divide by 0."""
        if self.dtype in HALF_PRECISION and self.config.layer_norm_eps < SMALLEST_HALF_EPS:
            warn(
                f"layer_norm_eps {self.config.layer_norm_eps} is 0 in {self.dtype}; the original code uses 1e-6: load "
                "with layer_norm_eps=1e-6, or keep float32 parameters and use autocast",
            )


def _complete_trainer() -> None:
    """Have a `Trainer` of transformers that is around save our models whole; it moves a model before it saves it."""
    module = sys.modules.get("transformers.trainer")
    if module is not None:
        from beit.models_torch.with_transformers import (
            complete_trainer_folders,  # never imported where there is no Trainer
        )

        complete_trainer_folders(module)


def _keep_outputs_in_pipelines() -> None:
    """Have a `Pipeline` of transformers that is around keep our outputs whole; it may call this model."""
    if torch.compiler.is_compiling():  # whose programs cannot look at what is imported
        return
    module = sys.modules.get("transformers.pipelines.base")
    if module is not None:
        from beit.models_torch.with_transformers import keep_outputs  # never imported where there is no Pipeline

        keep_outputs(module)


def _as_tensor(value: Any, name: str, device: torch.device | None) -> Any:
    """Return an array as a tensor on a device, anything else as it is.

    Raises:
        ConfigError: If it is a list, as processors return without `return_tensors`.
    """
    if isinstance(value, Tensor) or not (hasattr(value, "__array__") or isinstance(value, list)):
        return value
    if isinstance(value, list):
        raise ConfigError(
            f"{name} is a list of {len(cast(list[Any], value))}; expected one tensor or array, such as a processor "
            "returns with return_tensors='pt'"
        )
    return torch.tensor(np.asarray(value), device=device)
