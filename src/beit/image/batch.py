"""Output of a processor: named arrays of the framework that was asked for."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Self

import numpy as np

from beit.errors import ConfigError, DataError, MissingExtraError, missing_extra
from beit.image.input_types import Pixels

FRAMEWORKS = ("np", "pt", "jax", "tf")


class BatchFeature(UserDict[str, Any]):
    """The inputs of a model by name, also as attributes: `model(**batch)`, `batch["labels"]`, `batch.labels`.

    Keys: `pixel_values` (B, C, H, W); `labels` int64 (B, H, W) if label maps were given.

    Args:
        data: Arrays, or lists of them, by name.
        tensor_type: Make arrays of this framework of them, as `convert_to_tensors` does.
    """

    def __init__(self, data: Mapping[str, Any] | None = None, tensor_type: Any = None) -> None:
        super().__init__(data)
        self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("data", {})  # absent while an instance is being unpickled
        if name in values:
            return values[name]
        raise AttributeError(f"this batch has no {name!r}; it has {', '.join(map(repr, values)) or 'no arrays'}")

    def convert_to_tensors(self, tensor_type: Any = None, **_: Any) -> Self:
        """Make arrays of a framework of all values, "np", "pt", "jax" or "tf", in place; return the batch.

        Raises:
            ConfigError: If the framework is unknown.
            DataError: If pictures have several shapes.
            MissingExtraError: If the framework is not installed.
        """
        if (framework := parse_framework(tensor_type)) is not None:
            for name, value in self.data.items():
                if framework == "pt" and hasattr(value, "detach"):
                    continue  # it may lie on another device
                arrays = [np.asarray(part) for part in value]
                self.data[name] = to_framework(stack(arrays, name), framework)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move torch tensors to a device, and those of real numbers to a dtype, in place; return the batch.

        Args:
            *args: As for `torch.Tensor.to`.
            **kwargs: As for `torch.Tensor.to`.
        """
        whole_args = [value for value in args if type(value).__name__ != "dtype"]  # torch.dtype, without torch
        whole_kwargs = {name: value for name, value in kwargs.items() if name != "dtype"}
        for name, value in self.data.items():
            if not hasattr(value, "is_floating_point"):
                continue  # arrays of other libraries lie where they lie
            if value.is_floating_point():
                self.data[name] = value.to(*args, **kwargs)
            elif whole_args or whole_kwargs:
                self.data[name] = value.to(*whole_args, **whole_kwargs)
        return self


def parse_framework(return_tensors: Any) -> str | None:
    """Return the short name of a framework, which may also be an enumeration's member.

    Raises:
        ConfigError: If it is unknown.
    """
    name = getattr(return_tensors, "value", return_tensors)
    if name is not None and name not in FRAMEWORKS:
        raise ConfigError(f"return_tensors is {name!r}; expected None (a list of arrays) or one of {FRAMEWORKS}")
    return name


def common_shape(shapes: Sequence[tuple[int, ...]], kind: str) -> tuple[int, ...]:
    """Return the one shape of arrays that are to be stacked.

    Raises:
        DataError: If there are several.
    """
    different = list(dict.fromkeys(shapes))
    if len(different) > 1:
        raise DataError(
            f"{kind} come out in {len(different)} shapes ({different[0]}, {different[1]}...), which cannot be stacked; "
            "resize to a height and width, crop, or leave return_tensors unset for a list"
        )
    return different[0]


def to_framework(stacked: Pixels, framework: str) -> Any:
    """Return a numpy array as an array of a framework, which is imported only here.

    Raises:
        MissingExtraError: If the framework is not installed.
    """
    if framework == "np":
        return stacked
    if framework == "pt":
        return _library("torch").from_numpy(stacked)
    if framework == "jax":
        return _library("jax.numpy").asarray(stacked)
    return _library("tensorflow").convert_to_tensor(stacked)


def stack(arrays: Sequence[Pixels], kind: str) -> Pixels:
    """Return arrays of one shape as one array.

    Raises:
        DataError: If their shapes differ.
    """
    common_shape([array.shape for array in arrays], kind)
    return np.stack(arrays)


def _library(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        library = module.partition(".")[0]
        if library == "jax":
            raise missing_extra(library, "flax") from None
        raise MissingExtraError(
            f"the library '{library}' is not installed; run: pip install {library}, or ask for return_tensors='np'"
        ) from None
