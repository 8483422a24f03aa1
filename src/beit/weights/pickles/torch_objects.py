"""Objects in a pickle of torch: storages, tensors that are views of them, whole modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from beit.weights.storage.lazy_tensor import ITEM_SIZES, LazyTensor, check_axes

# Storage classes of torch -> data type; None for plain bytes, where the tensor has the type.
STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.UntypedStorage": None,
    "torch.storage.UntypedStorage": None,
}


@dataclass(frozen=True)
class Storage:
    """Block of elements that tensors share, as a file describes it."""

    key: str
    dtype: str | None
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes of the block; plain bytes count as one each."""
        return self.count * ITEM_SIZES[self.dtype or "uint8"]


@dataclass(frozen=True)
class StridedTensor(LazyTensor):
    """Lazy tensor whose elements do not lie in row-major order.

    Attributes:
        strides: The step along each axis, in elements.

    Raises:
        ValueError: If a number is not one, is negative, or is beyond what an array can have.
    """

    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_axes("strides", self.strides)
        if len(self.strides) != len(self.shape):
            raise ValueError(f"{len(self.strides)} strides for {len(self.shape)} axes; expected one for each")

    @property
    def span(self) -> int:
        """Elements in the file from the first to the last; more or less than those of the tensor."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))

    @property
    def _row_step(self) -> int:
        return self.strides[0]

    @property
    def is_plain(self) -> bool:
        """False: the bytes in the file are not those of the array that `read()` returns."""
        return False

    def read(self) -> np.ndarray:
        """Return the tensor as a row-major array; bfloat16 comes as its bit patterns in uint16.

        Raises:
            CheckpointError: If the file is shorter than it must be.
        """
        block = self._elements(self.span)
        if 0 in self.shape:
            return block.reshape(self.shape)
        # The stride of an axis of size 1 has no effect and may be any number.
        steps = [stride * block.itemsize * (size > 1) for size, stride in zip(self.shape, self.strides, strict=True)]
        view = np.lib.stride_tricks.as_strided(block, self.shape, steps, writeable=False)
        return view.copy(order="C")


def is_row_major(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether strides, in elements, are those of elements in row-major order without gaps."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            return 0 in shape
        expected *= size
    return True


@dataclass(frozen=True)
class NumpyType:
    """Placeholder of the type of a numpy number, such as "f8"."""

    code: str


@dataclass(eq=False)
class PickledModule:
    """Torch module that was pickled whole: the name of its class, and its attributes; no class is ever loaded.

    Attributes:
        kind: The full name of its class.
        state: Its attributes, with tensors under `_parameters` and modules inside under `_modules`.
    """

    kind: str
    state: dict[str, Any] = field(default_factory=dict[str, Any])

    def tensors(self, prefix: str = "") -> dict[str, LazyTensor]:
        """Return the tensors by their names in `state_dict()`, joined by dots."""
        found: dict[str, LazyTensor] = {}
        for group in ("_parameters", "_buffers", "_modules"):
            members = self.state.get(group)
            for name, value in members.items() if isinstance(members, dict) else ():
                if isinstance(value, LazyTensor):
                    found[f"{prefix}{name}"] = value
                elif isinstance(value, PickledModule):
                    found |= value.tensors(f"{prefix}{name}.")
        return found
