"""Bases of the three tokenizers and of their configs: sizes, and the files of a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from torch import Tensor, nn

from beit.config import CONFIG_NAME
from beit.errors import ConfigError, shortened
from beit.files import read_json, write_json
from beit.hub import included_folder
from beit.models_torch.loading import check_tensors, read_safetensors, write_safetensors
from beit.weights import WEIGHTS_NAME, Layout

_EXPECTED = f"the {CONFIG_NAME} of a tokenizer"
MOST = 2**20  # of any size: no tokenizer comes near, and a config.json from somewhere may say anything


def save_config(folder: str | Path, model_type: str, options: Mapping[str, Any]) -> None:
    """Write the options of a tokenizer into a folder, which is created if needed."""
    write_json(Path(folder) / CONFIG_NAME, {"model_type": model_type, **options})


def read_model_type(folder: str | Path) -> Any:
    """Return the model type in the `config.json` of a folder.

    Raises:
        ConfigError: If it is missing or no JSON object.
    """
    return read_json(_place(folder) / CONFIG_NAME, _EXPECTED).get("model_type")


def read_config(folder: str | Path, model_type: str, known: Collection[str]) -> dict[str, Any]:
    """Return the options in `config.json` of a tokenizer folder.

    Raises:
        ConfigError: If it is missing, damaged, of another kind of model, or has unknown options.
    """
    path = _place(folder) / CONFIG_NAME
    options = read_json(path, _EXPECTED)
    found = options.pop("model_type", None)
    if found != model_type:
        raise ConfigError(f"{path} describes a model of type {shortened(found)}; expected a tokenizer ({model_type!r})")
    if unknown := options.keys() - set(known):
        raise ConfigError(f"{path} has unknown keys {shortened(sorted(unknown))}; expected {list(known)}")
    return options


def _place(folder: str | Path) -> Path:
    """Return the folder of a tokenizer, which may be one that the package brings."""
    place = Path(folder)
    return place if place.exists() else included_folder(folder) or place


def save_tensors(folder: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `model.safetensors`, whole or not at all.

    Raises:
        StorageError: If the disk is full.
    """
    write_safetensors(Path(folder) / WEIGHTS_NAME, tensors)


def load_tensors(folder: str | Path, model: nn.Module, layout: Layout | None = None) -> None:
    """Load `model.safetensors` into a model that was built without values, in the types of the model.

    With a layout the file has the names of that. Names and shapes are compared before any memory is taken for the
    model, which an absurd `config.json` would like.

    Raises:
        CheckpointError: If the file is missing or damaged, or names or shapes differ.
    """
    path = _place(folder) / WEIGHTS_NAME
    found, own = read_safetensors(path), model.state_dict()
    if layout is not None:
        found = layout.to_canonical(found)
    check_tensors(str(path), found, own)
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in found.items()}, assign=True)


def check_side(side: int, stride: int, name: str = "image_size") -> None:
    """Refuse a side in pixels that no whole number of tokens covers.

    Raises:
        ConfigError: Naming the nearest sides that work.
    """
    if side < stride:
        raise ConfigError(f"{name} {side} is smaller than the {stride} pixels of one token; use {stride} or more")
    if side % stride:
        below = side // stride * stride
        raise ConfigError(
            f"{name} {side} is not a multiple of the {stride} pixels of a token; use {below} or {below + stride}"
        )


class TokenizerConfig:
    """Base of the configs, which are frozen dataclasses of whole numbers, and true or false.

    Attributes:
        vocab_size: Codebook size V.
        image_size: Side in pixels of what it was trained on; other multiples of the patch work too.
        model_type: The kind of tokenizer, in `config.json`.
        limits: Least and most of the sizes that may not be anything from 1 to `MOST`.
    """

    vocab_size: int
    image_size: int
    model_type: ClassVar[str]
    limits: ClassVar[Mapping[str, tuple[int, int]]] = {"vocab_size": (2, MOST)}

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for field in fields(self):  # type: ignore[arg-type]  # the children are dataclasses
            value = getattr(self, field.name)
            if isinstance(field.default, bool):
                if value not in (True, False):
                    raise ConfigError(f"tokenizer {field.name} is {value!r}; expected true or false")
                continue
            least, most = self.limits.get(field.name, (1, MOST))
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(
                    f"tokenizer {field.name} is {value!r}; expected a whole number of at least {least} and at most "
                    f"{most}"
                )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a folder, which is created if needed."""
        save_config(folder, self.model_type, asdict(self))  # type: ignore[call-overload]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read `config.json` of a tokenizer folder.

        Raises:
            ConfigError: If it is missing or describes something else.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        return cls(**read_config(folder, cls.model_type, known))


Config = TypeVar("Config", bound=TokenizerConfig)


class TokenizerBase(nn.Module, Generic[Config]):
    """Base of the tokenizers: their sizes are those of their config.

    Attributes:
        config: What the tokenizer was built from.
        stride: Pixels per token, along each side.
    """

    def __init__(self, config: Config, stride: int) -> None:
        super().__init__()
        self.config = config
        self.stride = stride

    @property
    def vocab_size(self) -> int:
        """Codebook size V."""
        return self.config.vocab_size

    @property
    def image_size(self) -> int:
        """Side in pixels of the pictures it was trained on."""
        return self.config.image_size

    def saved_tensors(self) -> dict[str, Tensor]:
        """Return the parameters and buffers under their names in a folder."""
        return {name: tensor.contiguous() for name, tensor in self.state_dict().items()}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder, which is created if needed."""
        save_tensors(folder, self.saved_tensors())
        self.config.save_pretrained(folder)
