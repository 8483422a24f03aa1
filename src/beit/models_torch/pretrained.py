"""Loading of all models."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast, overload

import torch
from torch import Tensor

from beit.config import BeitConfig, require_config
from beit.errors import ConfigError
from beit.hub import HubOptions
from beit.models_torch.derived import own_names
from beit.models_torch.loading import (
    as_device,
    canonical_state,
    fill,
    give_memory,
    held,
    shapes_of,
    torch_dtype,
)
from beit.models_torch.placement import divided
from beit.models_torch.saving import SavedModel
from beit.weights import (
    Checkpoint,
    LoadReport,
    PublishedArguments,
    adapt_tensors,
    check_arguments,
    held_checkpoint,
    match_tensors,
    open_checkpoint,
)

logger = logging.getLogger("beit")


class BeitPreTrainedModel(SavedModel):
    """Base of all BEiT models, with loading and saving.

    Attributes:
        config: All options.
        load_report: How the checkpoint that the model was loaded from differs from it; None for a new model.
    """

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *,
        output_loading_info: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | None, *, output_loading_info: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, list[str]]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *,
        state_dict: Mapping[str, Tensor] | None = None,
        config: BeitConfig | str | Path | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str = "cpu",
        bias_resize: str = "cubic",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        output_loading_info: bool = False,
        allow_nonfinite: bool = False,
        **overrides: Any,
    ) -> Self | tuple[Self, dict[str, list[str]]]:
        """Load a model from a folder, a file, the Hugging Face hub, or by the name of a published checkpoint.

        Every layout is read: Hugging Face 4.x and 5.x, Flax, the original `.pth` files, timm. No pickle is executed.

        Args:
            pretrained_model_name_or_path: A folder, a file of weights, "owner/repository" on the hub, or a published
                name in any spelling (`beit models` lists them). None: there are `config` and `state_dict`.
            state_dict: Take these tensors, under the names of any layout, instead of stored ones.
            config: Use this config (or that of this folder) instead of the checkpoint's own.
            dtype: Type of the parameters: float32 by default, "auto" for that of the checkpoint. `torch_dtype` means
                the same.
            device: Device of the model; tensors are read straight to it.
            bias_resize: How relative position bias is resized if `image_size` differs from the checkpoint's: "cubic"
                (the authors' method), "linear" (timm's) or "bilinear" (as at run time).
            revision: Branch, tag or commit on the hub.
            token: Access token for the hub.
            cache_dir: Where downloads are kept; the ordinary cache of the hub by default.
            local_files_only: Use only files that are already downloaded.
            force_download: Download again.
            subfolder: Folder inside the folder or repository.
            output_loading_info: Return (model, info) instead of the model; info maps "missing_keys",
                "unexpected_keys" and "mismatched_keys" to canonical names.
            allow_nonfinite: Load NaN and infinity too, which are refused by default.
            **overrides: Options that win over the checkpoint's config, such as `num_labels=10` or `image_size=384`, and
                `add_pooling_layer` of `BeitModel`. Also the published `device_map` (a device, "auto", "balanced",
                "balanced_low_0", "sequential", or a mapping from modules to devices and "disk"), `max_memory` and
                `offload_folder`, `variant` and `use_safetensors`.

        Returns:
            The model in evaluation mode. A head that the checkpoint has no values for is new; `load_report` and a log
            message say so. A shared relative position bias is copied into every layer if the config asks for one bias
            per layer.

        Raises:
            CheckpointError: If the checkpoint cannot be found, or a parameter is missing, unknown or of another shape.
            ConfigError: If the config or an option is missing or invalid.
        """
        asked = PublishedArguments.taken_from(overrides)
        dtype = dtype if asked.torch_dtype is None else asked.torch_dtype
        token = token if asked.use_auth_token is None else asked.use_auth_token
        arguments = cls._own_arguments(overrides)
        check_arguments(cls.config_class, overrides, config is not None, bias_resize)
        hub = HubOptions(revision, token, cache_dir, local_files_only, force_download, subfolder)
        if isinstance(config, str | Path):
            config = cls.config_class.from_pretrained(config)
        elif config is not None:
            require_config(config)
        device = as_device(device if asked.device is None else asked.device)
        name = pretrained_model_name_or_path
        if state_dict is not None:
            checkpoint = held_checkpoint(held(state_dict), cls._options_of(name, config, hub))
        elif name is None:
            raise ConfigError("pretrained_model_name_or_path is None; expected a folder, a name, or a state_dict=...")
        else:
            checkpoint = open_checkpoint(name, hub, config, overrides, asked.weight_files)
        options = {"config": config, "dtype": dtype, "device": device, "bias_resize": bias_resize}
        overrides |= {**arguments, "allow_nonfinite": allow_nonfinite, "new_head": asked.ignore_mismatched_sizes}
        model = cls.from_checkpoint(checkpoint, **options, **overrides)
        model.set_asked(dtype, asked.attention)
        if asked.is_divided:
            model = divided(model, asked.device_map, asked.max_memory, asked.offload_folder)
        model.name_or_path = model.config.name_or_path = "" if name is None else str(name)
        report = cast(LoadReport, model.load_report)
        return (model, report.as_loading_info()) if output_loading_info else model

    @classmethod
    def _options_of(cls, name: str | Path | None, config: BeitConfig | None, hub: HubOptions) -> dict[str, Any]:
        """Return the options of the model of a state dict: those of its config, given or stored."""
        if config is not None:
            return config.to_dict()
        if name is None:
            raise ConfigError("state_dict was given without a config; pass config=BeitConfig(...) too")
        return cls.config_class.get_config_dict(name, **vars(hub))[0]

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        config: BeitConfig | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str = "cpu",
        bias_resize: str = "cubic",
        allow_nonfinite: bool = False,
        new_head: bool = False,
        **overrides: Any,
    ) -> Self:
        """Load a model from a checkpoint that is open already; see `from_pretrained`.

        Raises:
            CheckpointError: If a parameter is missing, unknown or of another shape.
            ConfigError: If the config or an option is invalid.
        """
        arguments = cls._own_arguments(overrides)
        check_arguments(cls.config_class, overrides, config is not None, bias_resize)
        wanted = cls.config_class.from_dict(checkpoint.options, **overrides) if config is None else config
        new_head = new_head or config is not None or bool({"num_labels", "id2label", "vocab_size"} & overrides.keys())
        model = cls._built(
            wanted, arguments, checkpoint, bias_resize, as_device(device), dtype, new_head, allow_nonfinite
        )
        if model.load_report is not None and not model.load_report.silent:
            logger.warning("%s: %s", checkpoint.source, model.load_report)
        return model.eval()

    @classmethod
    def _built(
        cls,
        config: BeitConfig,
        arguments: dict[str, Any],
        checkpoint: Checkpoint,
        bias_resize: str,
        device: torch.device,
        dtype: torch.dtype | str | None,
        new_head: bool,
        allow_nonfinite: bool,
    ) -> Self:
        """Build the model on the meta device, match it with the checkpoint, then allocate and fill it."""
        before = cls.config_class.from_dict(checkpoint.options)
        checkpoint.check_sizes(before, config)
        derived = cls._is_derived()
        if derived:  # its constructor may compute values that no file holds
            model = cls(config, **arguments)
        else:
            with torch.device("meta"):
                model = cls(config, **arguments)
        tensors, adapted, resized = adapt_tensors(checkpoint.tensors, before, config, bias_resize, model._is_rooted)
        shapes = shapes_of(canonical_state(model, cls.base_model_prefix))
        if derived:
            tensors = own_names(tensors, shapes)
        report = match_tensors(shapes, tensors, checkpoint.source, new_head=new_head, other_parts=derived)
        if derived:
            model.to(device, torch_dtype(dtype, checkpoint.dtype))
        else:
            give_memory(model, device, torch_dtype(dtype, checkpoint.dtype))
        owners = {name.rpartition(".")[0] for name in report.new}
        if owners and not derived:  # a derived class has initialised all in its constructor
            model.initialise_weights(*(model.get_submodule(owner) for owner in sorted(owners)))
        own = canonical_state(model, cls.base_model_prefix)
        fill(own, tensors, report, checkpoint.source, allow_nonfinite)
        done = [*checkpoint.changes, *adapted]
        report = LoadReport(report.missing, report.unexpected, report.new, resized, done)
        model.load_report = cls._without_ignored(report)
        model.warn_of_tiny_eps()
        return model

    @classmethod
    def resized_from(cls, model: Self, config: BeitConfig) -> Self:
        """Return a copy of a model for the picture size of a config, its tables of positions resampled."""
        checkpoint = held_checkpoint(held(model.state_dict()), model.config.to_dict())
        options: dict[str, Any] = {"config": config, "device": model.device, "dtype": model.dtype}
        if "add_pooling_layer" in inspect.signature(cls.__init__).parameters:
            options["add_pooling_layer"] = getattr(model, "pooler", None) is not None
        return cls.from_checkpoint(checkpoint, **options)

    @classmethod
    def _own_arguments(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        """Remove the constructor arguments of this class, beside its config, from the overrides and return them."""
        own = [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "config")]
        return {name: overrides.pop(name) for name in own if name in overrides}

    @property
    def _is_rooted(self) -> bool:
        """True if the encoder is under "beit."."""
        return hasattr(self, self.base_model_prefix)

    def load_weights(self, source: str | Path, strict: bool = False) -> None:
        """Fill the parameters from a checkpoint of this model; `strict` allows no difference at all.

        Raises:
            CheckpointError: If a parameter is missing, unknown or of another shape, or the file is damaged.
        """
        checkpoint = open_checkpoint(source, config=self.config)
        before = self.config_class.from_dict(checkpoint.options)
        tensors, adapted, resized = adapt_tensors(checkpoint.tensors, before, self.config, "cubic", self._is_rooted)
        own = canonical_state(self, self.base_model_prefix)
        report = match_tensors(shapes_of(own), tensors, checkpoint.source, strict, new_head=True)
        fill(own, tensors, report, checkpoint.source)
        self.load_report = LoadReport(report.missing, report.unexpected, report.new, resized, adapted)
