"""Parts of a model on several devices, in main memory and on disk, by way of accelerate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import nn

from beit.errors import ConfigError, missing_extra

Model = TypeVar("Model", bound=nn.Module)


def divided(
    model: Model,
    device_map: str | Mapping[str, Any],
    max_memory: Mapping[int | str, int | str] | None = None,
    offload_folder: str | Path | None = None,
) -> Model:
    """Move the parts of a model to their places, and fetch them for every call that needs them.

    Args:
        model: On the CPU, with its values.
        device_map: Place of every module by its name ("" is all of them), or how they are spread: "auto" and
            "balanced", alike over all GPUs; "balanced_low_0", with room on the first; "sequential", one by one.
        max_memory: Most bytes of each device (0, 1, "cpu"), or texts such as "200MB"; what is beyond lies on disk.
            None: all that is free.
        offload_folder: Folder of the parts on disk.

    Raises:
        ConfigError: If a module has no place, or parts go to the disk without a folder.
        MissingExtraError: If accelerate is not installed.
    """
    try:
        from accelerate import dispatch_model
    except ImportError:
        raise missing_extra("accelerate", "train") from None
    places: dict[str, Any] = (
        dict(device_map) if isinstance(device_map, Mapping) else spread(model, device_map, max_memory)
    )
    if "disk" in places.values() and offload_folder is None:
        raise ConfigError("some modules are placed on disk, and offload_folder is None; pass offload_folder=...")
    try:
        return cast(Model, dispatch_model(model, places, offload_dir=offload_folder))
    except ValueError as error:
        raise ConfigError(
            f"device_map is {device_map!r} ({error}); expected a place for every module, such as {{'': 'cpu'}}"
        ) from error


def spread(model: nn.Module, how: str, max_memory: Mapping[int | str, int | str] | None) -> dict[str, Any]:
    """Return a place for every module, by its name, over all devices; see `divided`."""
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    keep: Any = getattr(model, "_no_split_modules", None)
    most: Any = None if max_memory is None else dict(max_memory)  # accelerate writes into it
    if how != "sequential":
        most = get_balanced_memory(model, most, keep, low_zero=how == "balanced_low_0")
    return dict(infer_auto_device_map(model, most, no_split_module_classes=keep))
