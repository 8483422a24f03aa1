"""What all models share: their config, their starting values, loading and saving."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from beit.config import CONFIG_NAME, BeitConfig
from beit.errors import ConfigError
from beit.geometry import check_bias_resize
from beit.hub import HubOptions, push_folder
from beit.models_torch.loading import fill, fit, give_memory, state_of, torch_dtype
from beit.outputs import ModelOutput
from beit.weights import (
    HUGGING_FACE,
    WEIGHTS_NAME,
    Checkpoint,
    LoadReport,
    atomic_file,
    check_overrides,
    fitted,
    open_checkpoint,
)

logger = logging.getLogger("beit")
Output = TypeVar("Output", bound=ModelOutput)
HALF_PRECISION = (torch.float16, torch.bfloat16)
SMALLEST_HALF_EPS = 1e-7  # what float16 can still tell from 0


class BeitPreTrainedModel(nn.Module):
    """Base of all BEiT models.

    Attributes:
        config: All options.
        load_report: How the checkpoint that the model was loaded from differs from it; None for a new model.
    """

    config_class: ClassVar[type[BeitConfig]] = BeitConfig
    base_model_prefix: ClassVar[str] = "beit"
    main_input_name: ClassVar[str] = "pixel_values"
    supports_gradient_checkpointing: ClassVar[bool] = True

    def __init__(self, config: BeitConfig) -> None:
        super().__init__()
        self.config = config
        self.load_report: LoadReport | None = None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def base_model(self) -> nn.Module:
        """The encoder without a head."""
        return getattr(self, self.base_model_prefix, self)

    def get_input_embeddings(self) -> nn.Module:
        """Return the patch embedding."""
        return self.base_model.get_submodule("embeddings.patch")

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Count parameters.

        Args:
            only_trainable: Leave frozen ones out.
            exclude_embeddings: Leave the patch embedding out.
        """
        excluded = {id(p) for p in self.get_input_embeddings().parameters()} if exclude_embeddings else set[int]()
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if id(parameter) not in excluded and (parameter.requires_grad or not only_trainable)
        )

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether activations are computed again in the backward pass instead of kept."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Keep no activations inside layers in training; compute them again in the backward pass.

        Args:
            gradient_checkpointing_kwargs: Accepted for the published API; `use_reentrant` must not be true.

        Raises:
            ConfigError: If reentrant checkpointing is asked for, which loses gradients of the shared bias.
        """
        if (gradient_checkpointing_kwargs or {}).get("use_reentrant"):
            raise ConfigError("use_reentrant is True; expected False, the form that keeps every gradient")
        self._set_gradient_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep activations again."""
        self._set_gradient_checkpointing(False)

    def _set_gradient_checkpointing(self, value: bool) -> None:
        for module in self.modules():
            if hasattr(module, "gradient_checkpointing"):
                setattr(module, "gradient_checkpointing", value)  # noqa: B010  # for the type checker

    def initialise_weights(self, *modules: nn.Module) -> None:
        """Give the parameters of some modules (default: all) their starting values."""
        from beit.models_torch.initialisation import initialise  # it knows the layers, which know nothing of it

        for module in modules or (self,):
            initialise(module, self.config.initializer_range)

    def as_requested(self, output: Output, return_dict: bool | None) -> Output | tuple[Any, ...]:
        """Return the output object, or its tuple when `return_dict` (default: the config's) is False."""
        wanted = self.config.use_return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
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
        **overrides: Any,
    ) -> Any:
        """Load a model from a folder, a file, the Hugging Face hub, or by the name of a published checkpoint.

        Every layout is read: Hugging Face 4.x and 5.x, Flax, the original `.pth` files, timm. No pickle is executed.

        Args:
            pretrained_model_name_or_path: A folder, a file of weights, "owner/repository" on the hub, or a published
                name in any spelling (`beit models` lists them).
            config: Use this config (or that of this folder) instead of the checkpoint's own.
            dtype: Type of the parameters: float32 by default, "auto" for that of the checkpoint. `torch_dtype` means
                the same.
            device: Where the model goes; tensors are read straight to it.
            bias_resize: How relative position bias is resized if `image_size` differs from the checkpoint's: "cubic"
                (the authors' method), "linear" (timm's) or "bilinear" (as at run time).
            revision: Branch, tag or commit on the hub.
            token: Access token for the hub.
            cache_dir: Where downloads are kept; the ordinary cache of the hub by default.
            local_files_only: Use nothing but what is already downloaded.
            force_download: Download again.
            subfolder: Folder inside the folder or repository.
            output_loading_info: Return (model, info) instead of the model; info maps "missing_keys",
                "unexpected_keys" and "mismatched_keys" to canonical names.
            **overrides: Options that win over the checkpoint's config, such as `num_labels=10` or `image_size=384`, and
                `add_pooling_layer` of `BeitModel`.

        Returns:
            The model in evaluation mode. A head that the checkpoint has no values for is new; `load_report` and a log
            message say so. A shared relative position bias is copied into every layer if the config asks for one bias
            per layer.

        Raises:
            CheckpointError: If the checkpoint cannot be found, or a parameter is missing, unknown or of another shape.
            ConfigError: If the config or an option is missing or invalid.
        """
        check_bias_resize(bias_resize)
        dtype = overrides.pop("torch_dtype", dtype)
        overrides, arguments = _published_arguments(overrides)
        check_overrides(cls.config_class, overrides, given_config=config is not None)
        hub = HubOptions(revision, token, cache_dir, local_files_only, force_download, subfolder)
        if isinstance(config, str | Path):
            config = cls.config_class.from_pretrained(config)
        checkpoint = open_checkpoint(pretrained_model_name_or_path, hub, config, overrides)
        wanted = cls.config_class.from_dict(checkpoint.options, **overrides) if config is None else config
        new_head = config is not None or bool({"num_labels", "id2label", "vocab_size"} & overrides.keys())
        model = cls._built(wanted, arguments, checkpoint, bias_resize, torch.device(device), dtype, new_head)
        report = model.load_report or LoadReport()  # an empty report counts as nothing
        if report:
            logger.warning("%s: %s", checkpoint.source, report)
        model.eval()
        return (model, report.as_loading_info()) if output_loading_info else model

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
    ) -> Self:
        """Build the model without memory, check that everything fits, then give memory and values."""
        before = cls.config_class.from_dict(checkpoint.options)
        checkpoint.check_sizes(before, config)
        with torch.device("meta"):
            model = cls(config, **arguments)
        tensors, adapted, resized = fitted(checkpoint.tensors, before, config, bias_resize, model._is_rooted)
        report = fit(state_of(model), tensors, checkpoint.source, new_head=new_head)
        give_memory(model, device, torch_dtype(dtype, checkpoint.dtype))
        owners = {name.rpartition(".")[0] for name in report.new}
        if owners:
            model.initialise_weights(*(model.get_submodule(owner) for owner in sorted(owners)))
        fill(state_of(model), tensors, report)
        model.load_report = LoadReport(report.missing, report.unexpected, report.new, resized, adapted)
        model._warn_of_tiny_eps()
        return model

    @property
    def _is_rooted(self) -> bool:
        """Whether the encoder is under "beit."."""
        return hasattr(self, self.base_model_prefix)

    def load_weights(self, source: str | Path, strict: bool = False) -> None:
        """Fill the parameters from a checkpoint of this model; `strict` allows no difference at all.

        Raises:
            CheckpointError: If a parameter is missing, unknown or of another shape, or the file is damaged.
        """
        checkpoint = open_checkpoint(source, config=self.config)
        before = self.config_class.from_dict(checkpoint.options)
        tensors, adapted, resized = fitted(checkpoint.tensors, before, self.config, "cubic", self._is_rooted)
        own = state_of(self)
        report = fit(own, tensors, checkpoint.source, strict, new_head=True)
        fill(own, tensors, report)
        self.load_report = LoadReport(report.missing, report.unexpected, report.new, resized, adapted)

    def save_pretrained(self, save_directory: str | Path, *, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write `config.json` and `model.safetensors` in the layout that Hugging Face transformers reads.

        Args:
            save_directory: The folder; it is made if needed.
            push_to_hub: Also upload it, to `repo_id` or the name of the folder.
            **kwargs: Arguments of `push_to_hub`.

        Raises:
            StorageError: If the disk is full; an earlier file of the same name is untouched.
        """
        folder = Path(save_directory)
        if kwargs and not push_to_hub:
            raise ConfigError(f"save_pretrained does not know {sorted(kwargs)}; these belong to push_to_hub=True")
        self.config.architectures = [type(self).__name__]
        # fails, if it does, before anything is written
        options = self.config.to_json_string(torch_dtype=str(self.dtype).removeprefix("torch."))
        canonical = {name: tensor.detach() for name, tensor in state_of(self).items()}
        tensors = {name: tensor.contiguous() for name, tensor in HUGGING_FACE.from_canonical(canonical).items()}
        with atomic_file(folder / WEIGHTS_NAME) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
        with atomic_file(folder / CONFIG_NAME) as temporary:
            temporary.write_text(options, encoding="utf-8")
        if push_to_hub:
            push_folder(folder, kwargs.pop("repo_id", folder.name), **kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload model",
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload `config.json` and `model.safetensors` to the hub; the repository is created if needed.

        Returns:
            The address of the repository or pull request.

        Raises:
            CheckpointError: If the hub cannot be reached or refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push_folder(
                Path(folder),
                repo_id,
                token=token,
                private=private,
                revision=revision,
                commit_message=commit_message,
                create_pr=create_pr,
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # .half(), .to(), ...
        super()._apply(fn, recurse)
        self._warn_of_tiny_eps()
        return self

    def _warn_of_tiny_eps(self) -> None:
        """Say that an epsilon vanishes in half precision, where it no longer keeps a layer norm from dividing by 0."""
        if self.dtype in HALF_PRECISION and self.config.layer_norm_eps < SMALLEST_HALF_EPS:
            warnings.warn(
                f"layer_norm_eps {self.config.layer_norm_eps} is 0 in {self.dtype}; the original code uses 1e-6: load "
                "with layer_norm_eps=1e-6, or keep float32 parameters and use autocast",
                stacklevel=3,
            )


def _published_arguments(overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split what is given beyond our own arguments into options of the config and arguments of the class.

    Arguments of the published `from_pretrained` that ask for what happens here anyway are accepted and dropped.
    """
    granted = {
        "ignore_mismatched_sizes",  # a head for other classes is new, everything else must fit
        "low_cpu_mem_usage",  # always
        "use_safetensors",  # preferred
        "from_flax",
        "from_tf",
        "trust_remote_code",  # nothing remote is ever executed
        "attn_implementation",
    }
    arguments = {name: overrides[name] for name in ("add_pooling_layer",) if name in overrides}
    rest = {name: value for name, value in overrides.items() if name not in granted and name not in arguments}
    return rest, arguments
