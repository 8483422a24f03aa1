"""Functions and classes that a pickle may name, and the objects that the machine builds in their place.

No module is imported on behalf of a file: `CALLS` says which of our own functions stands for a call,
`torch_objects.STORAGES` which data type a storage of torch has. Every other name but torch's data types is refused.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np

from beit.errors import shortened
from beit.weights.pickles.torch_objects import NumpyType, PickledModule, Storage, StridedTensor, is_row_major
from beit.weights.storage.lazy_tensor import MAX_AXES, LazyTensor, WeightFile, is_count

MAX_STEPS = 200_000  # instructions and copied items; a large BEiT with its optimizer takes some 50,000

Locate = Callable[[Storage], int]  # -> where a storage starts in the file; it has been checked to lie inside


@dataclass
class Job:
    """One pickle that is being read.

    Attributes:
        file: The file that holds it.
        locate: Where each storage starts in that file; None where that is known only after the pickle.
        modules: Classes of torch modules that it may hold whole, by full name; most files may hold none.
        storages: The storages that it has referred to so far, by key.
        tensors: Those made so far, each with its storage.
        steps: The work done so far.
    """

    file: WeightFile
    locate: Locate | None
    modules: frozenset[str] = frozenset()
    storages: dict[str, Storage] = field(default_factory=dict[str, Storage])
    tensors: list[tuple[LazyTensor, Storage]] = field(default_factory=list[tuple[LazyTensor, Storage]])
    steps: int = 0

    def spend(self, steps: int) -> None:
        """Count work, so that a small file cannot cause much of it by repeated copies of what it built."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise ValueError(f"more than {MAX_STEPS} instructions")

    def place(self, starts: Mapping[str, int]) -> None:
        """Move the tensors to where their storages start; the containers that hold them are as they were."""
        for tensor, storage in self.tensors:
            object.__setattr__(tensor, "offset", tensor.offset + starts[storage.key])


def called(job: Job, name: str, arguments: tuple[Any, ...]) -> Any:
    """Return what stands for the result of a call to a function or class that may be called."""
    if name in job.modules:
        if arguments:
            raise ValueError(f"a {name} is made with arguments; its attributes were expected to follow")
        return PickledModule(name)
    return CALLS[name](job, *arguments)


def hashable(key: Any) -> Any:
    """Return a key that can be hashed in no time and without surprises."""
    if type(key) in (str, bytes, float, bool, type(None)) or (type(key) is int and key.bit_length() <= 64):
        return key
    raise ValueError(f"a {type(key).__name__} is used as a key; expected a string or a number")


def _copied(kind: type) -> Callable[..., Any]:
    def copy(job: Job, items: Any = ()) -> Any:
        if type(items) not in (list, tuple):
            raise ValueError(f"a {kind.__name__} is made of a {type(items).__name__}, not of a list")
        job.spend(len(items))
        return kind(map(hashable, items))

    return copy


def _empty(kind: type) -> Callable[..., Any]:
    def make(_: Job) -> Any:  # no further argument: items and attributes follow by instructions of their own
        return kind()

    return make


def _encoded(job: Job, text: Any = "", encoding: Any = "latin1") -> bytes:
    """Return bytes from the form in which protocol 2 writes them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError(f"bytes are written as {type(text).__name__} in {shortened(encoding)}")
    job.spend(len(text) // 64)
    return text.encode("latin1")


def _size(_: Job, sizes: Any) -> tuple[Any, ...]:
    if not isinstance(sizes, tuple) or len(cast("tuple[Any, ...]", sizes)) > MAX_AXES:
        raise ValueError(f"a torch.Size is made of {shortened(sizes)}")
    return cast("tuple[Any, ...]", sizes)


def _device(_: Job, kind: Any, index: Any = None) -> str:
    if not isinstance(kind, str) or len(kind) > 64 or not (index is None or is_count(index)):
        raise ValueError(f"a torch.device is made of {shortened(kind)} and {shortened(index)}")
    return kind if index is None else f"{kind}:{index}"


def _parameter(_: Job, tensor: Any, *rest: Any) -> LazyTensor:
    if not isinstance(tensor, LazyTensor):
        raise ValueError(f"a parameter is made of a {type(tensor).__name__}, not of a tensor")
    return tensor


def _numpy_type(_: Job, code: Any, *rest: Any) -> NumpyType:
    if code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        raise ValueError(f"numpy type {shortened(code)}; expected that of a number")
    return NumpyType(code)


def _numpy_number(_: Job, kind: Any, raw: Any) -> float | bool:
    if not isinstance(kind, NumpyType) or not isinstance(raw, bytes) or len(raw) != np.dtype(kind.code).itemsize:
        raise ValueError("a numpy number is not made of its type and its bytes")
    return np.frombuffer(raw, "<" + kind.code)[0].item()


def _tensor(job: Job, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> LazyTensor:
    """Return the tensor of `_rebuild_tensor_v2`; v3 has the data type in third place of the rest."""
    dtype = rest[2].removeprefix("torch.") if len(rest) > 2 and isinstance(rest[2], str) else None
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor is not made of storage, offset, shape and strides")
    shape, strides = cast("tuple[Any, ...]", shape), cast("tuple[Any, ...]", strides)
    dtype = dtype or storage.dtype or "uint8"
    view = StridedTensor(shape, dtype, job.file, offset, strides)  # its checks make the numbers usable
    begin, end = offset * view.item_size, (offset + view.span) * view.item_size
    if end > storage.nbytes or view.nbytes > storage.nbytes:
        raise ValueError(
            f"a tensor of shape {shape}, strides {strides} and offset {offset} is larger than its storage "
            f"{shortened(storage.key)} of {storage.nbytes} bytes"
        )
    start = begin + (0 if job.locate is None else job.locate(storage))
    row_major = is_row_major(shape, strides)
    tensor = (LazyTensor if row_major else partial(StridedTensor, strides=strides))(shape, dtype, job.file, start)
    job.tensors.append((tensor, storage))
    return tensor


# Functions and classes that a pickle may call -> what stands for them.
CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _empty(OrderedDict),
    "argparse.Namespace": _empty(argparse.Namespace),
    "builtins.set": _copied(set),
    "__builtin__.set": _copied(set),
    "builtins.frozenset": _copied(frozenset),
    "__builtin__.frozenset": _copied(frozenset),
    "_codecs.encode": _encoded,
    "__builtin__.bytes": _encoded,
    "torch.Size": _size,
    "torch.device": _device,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "numpy.dtype": _numpy_type,
    "numpy.core.multiarray.scalar": _numpy_number,
    "numpy._core.multiarray.scalar": _numpy_number,
}
