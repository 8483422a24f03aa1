"""What all models share: their config, their starting values, loading and saving."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from safetensors.torch import save_file
from torch import nn

from beit.config import CONFIG_NAME, BeitConfig
from beit.errors import ConfigError
from beit.outputs import ModelOutput
from beit.weights import (
    HUGGING_FACE,
    WEIGHTS_NAME,
    LoadReport,
    atomic_file,
    check_fit,
    read_safetensors,
    shared_bias_to_layers,
    with_root,
)

logger = logging.getLogger("beit")
Output = TypeVar("Output", bound=ModelOutput)

# A checkpoint of one task loaded into the model of another: these may be new ...
NEW_ON_LOAD = ("classifier.*", "lm_head.*", "norm.*", "beit.norm.*", "*pooler.norm.*", "*embeddings.mask_token")
RESHAPED_ON_LOAD = ("classifier.*", "lm_head.*")  # ... these may be for other classes or another codebook ...
# ... and these may have no place. Everything else must fit exactly.
LEFT_OUT_ON_LOAD = ("head:*", "classifier.*", "lm_head.*", "norm.*", "beit.norm.*", "*pooler.norm.*",
                    "*embeddings.mask_token")  # fmt: skip


class BeitPreTrainedModel(nn.Module):
    """Base of all BEiT models.

    Attributes:
        config: All options.
        load_report: How the checkpoint that the model was loaded from differs from it; None for a new model.
    """

    config_class: ClassVar[type[BeitConfig]] = BeitConfig
    base_model_prefix: ClassVar[str] = "beit"
    main_input_name: ClassVar[str] = "pixel_values"

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
    def from_pretrained(cls, folder: str | Path, *, config: BeitConfig | None = None, **overrides: Any) -> Self:
        """Load a model folder: `config.json` and `model.safetensors` in the Hugging Face layout.

        Args:
            folder: The model folder.
            config: Use this instead of the folder's `config.json`.
            **overrides: Options that win over the folder's config, such as `num_labels=10`.

        Returns:
            The model in evaluation mode. A head that the checkpoint has no values for is new; `load_report` and a log
            message say so. A shared relative position bias is copied into every layer if the config asks for one bias
            per layer.

        Raises:
            CheckpointError: If a parameter is missing, unknown or of another shape, or a file is damaged.
            ConfigError: If the config is missing or invalid.
        """
        if config is not None and overrides:
            raise ConfigError(f"config was given and {sorted(overrides)} beside it; change the config instead")
        config = cls.config_class.from_pretrained(folder, **overrides) if config is None else config
        model = cls(config)
        model.load_weights(folder)
        if model.load_report:
            logger.warning("%s: %s", folder, model.load_report)
        return model.eval()

    def load_weights(self, folder: str | Path, strict: bool = False) -> None:
        """Fill the parameters from the `model.safetensors` of a folder; `strict` allows no difference at all.

        Raises:
            CheckpointError: If a parameter is missing, unknown or of another shape, or the file is damaged.
        """
        path = Path(folder) / WEIGHTS_NAME
        self.load_canonical(HUGGING_FACE.to_canonical(read_safetensors(path), torch.cat), str(path), strict)

    def load_canonical(self, tensors: dict[str, torch.Tensor], source: str, strict: bool = False) -> None:
        """Fill the parameters from tensors under canonical names; `source` names them in messages.

        A checkpoint of another task may lack a head or a pooler, and have one that the model does not; `strict` refuses
        that too.

        Raises:
            CheckpointError: If a parameter is missing, unknown or of another shape.
        """
        own = dict(self.named_parameters())
        tensors = with_root(tensors, wanted=any(name.startswith("beit.") for name in own))
        adapted: list[str] = []
        if self.config.use_relative_position_bias and not self.config.use_shared_relative_position_bias:
            before = len(tensors)
            tensors = shared_bias_to_layers(tensors, self.config.num_hidden_layers)
            if len(tensors) != before:
                adapted.append("the shared relative position bias was copied into every layer")
        report = check_fit(
            source,
            {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            {name: tuple(parameter.shape) for name, parameter in own.items()},
            *(((), (), ()) if strict else (NEW_ON_LOAD, LEFT_OUT_ON_LOAD, RESHAPED_ON_LOAD)),
        )
        with torch.no_grad():
            for name in own.keys() & tensors.keys() - set(report.new):
                own[name].copy_(tensors[name])
        self.load_report = LoadReport(report.new, report.left_out, adapted)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` in the layout that Hugging Face transformers reads.

        Raises:
            StorageError: If the disk is full; an earlier file of the same name is untouched.
        """
        folder = Path(folder)
        self.config.architectures = [type(self).__name__]
        options = self.config.to_json_string()  # fails, if it does, before anything is written
        canonical = {name: parameter.detach() for name, parameter in self.named_parameters()}
        tensors = {name: tensor.contiguous() for name, tensor in HUGGING_FACE.from_canonical(canonical).items()}
        with atomic_file(folder / WEIGHTS_NAME) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
        with atomic_file(folder / CONFIG_NAME) as temporary:
            temporary.write_text(options, encoding="utf-8")
