"""Arrays of other libraries as arguments of models."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from beit.errors import ConfigError


class TakesArrays(nn.Module):
    """A module whose call takes numpy and jax arrays as tensors, as processors return them on request."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module with tensors in the place of arrays."""
        device = next((parameter.device for parameter in self.parameters()), None)
        return super().__call__(
            *(as_tensor(value, f"argument {place}", device) for place, value in enumerate(args)),
            **{name: as_tensor(value, name, device) for name, value in kwargs.items()},
        )


def as_tensor(value: Any, name: str, device: torch.device | None) -> Any:
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
