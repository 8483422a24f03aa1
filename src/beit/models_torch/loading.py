"""Transfer of an opened checkpoint into a model: device, type, memory and values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.files import atomic_file
from beit.models_torch.device import pick_device, ready_for_exactness
from beit.weights import (
    Entry,
    HeldTensor,
    LazyTensor,
    LoadReport,
    check_shapes,
    check_type,
    not_finite,
    open_safetensors,
)
from beit.weights.match import Shape

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}


def as_device(wanted: torch.device | str | int) -> torch.device:
    """Return a device from its name, such as "cpu", "cuda:1" or "auto", or its number.

    Raises:
        ConfigError: If there is no such device.
    """
    if wanted == "auto":
        return pick_device("auto")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"device is {wanted!r} ({reason}); expected cpu, cuda, cuda:N or auto") from None
    return ready_for_exactness(device) if device.type == "cuda" else device


def torch_dtype(wanted: torch.dtype | str | None, stored: str) -> torch.dtype:
    """Return the type that parameters get: float32 unless another is wanted; "auto" is that of the checkpoint.

    Raises:
        ConfigError: If it is no floating-point type.
    """
    if wanted is None:
        return torch.float32
    if isinstance(wanted, str):
        name = stored if wanted == "auto" else wanted.removeprefix("torch.")
        if name not in DTYPES:
            raise ConfigError(f"dtype is {wanted!r}; expected auto or one of {list(DTYPES)}")
        return DTYPES[name]
    if wanted not in DTYPES.values():
        raise ConfigError(f"dtype is {wanted}; expected auto or one of {list(DTYPES)}")
    return wanted


def give_memory(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Allocate the parameters and buffers of a model that was built on the meta device."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, device=device, dtype=dtype)
            module.register_parameter(name, nn.Parameter(empty, parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            kind = dtype if buffer.is_floating_point() else buffer.dtype
            setattr(module, name, torch.empty(buffer.shape, device=device, dtype=kind))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and the saved buffers of a model, by canonical name."""
    return model.state_dict(keep_vars=True)


def canonical_state(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Return `state_of` a model under canonical names, whatever it calls its encoder."""
    own = f"{prefix}."
    return {
        f"beit.{name.removeprefix(own)}" if name.startswith(own) else name: tensor
        for name, tensor in state_of(model).items()
    }


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return the shape of every tensor."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def outputs_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Return how many numbers each linear or convolutional layer gives, by its name."""
    weights = {name.removesuffix(".weight"): tensor for name, tensor in state.items() if name.endswith(".weight")}
    return {name: tensor.shape[0] for name, tensor in weights.items() if tensor.dim() > 1}


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a type as files have it, such as "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def fill(
    own: Mapping[str, Tensor],
    tensors: Mapping[str, Entry],
    report: LoadReport,
    source: str,
    allow_nonfinite: bool = False,
) -> None:
    """Copy the values of a checkpoint into a model, one tensor at a time; new parameters keep their values.

    Raises:
        CheckpointError: If a tensor is of another kind of number than the model's, or, unless allowed, not finite.
    """
    names = own.keys() & tensors.keys() - set(report.new)
    for name in sorted(names):
        check_type(source, name, tensors[name].dtype, own[name].is_floating_point())
    with torch.no_grad():
        # the largest first: while it lies in memory twice, little else lies there at all
        for name in sorted(names, key=lambda name: own[name].numel(), reverse=True):
            if _takes_bytes(own[name], tensors[name]):
                _read_into(own[name], tensors[name])
            else:
                own[name].copy_(read_tensor(tensors[name]))
            if not allow_nonfinite and not is_finite(own[name]):
                raise not_finite(source, name)


def check_tensors(source: str, found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse tensors of a file in the place of a model's own: of other names, shapes or kinds, or not finite.

    Raises:
        CheckpointError: Naming the first.
    """
    there, here = ({name: tuple(tensor.shape) for name, tensor in named.items()} for named in (found, own))
    check_shapes(source, there, here)
    for name, tensor in found.items():
        check_type(source, name, dtype_name(tensor.dtype), own[name].is_floating_point())
        if not is_finite(tensor):
            raise not_finite(source, name)


def is_finite(tensor: Tensor) -> bool:
    """Return whether all values are numbers; by the least and the largest, which NaN would be, in no memory.

    Of a tensor on the meta device there are none to look at.
    """
    if not tensor.is_floating_point() or tensor.numel() == 0 or tensor.is_meta:
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor.detach()))).all())


def _takes_bytes(tensor: Tensor, entry: Entry) -> bool:
    """Return whether the bytes of a file can be read straight into the memory of a tensor."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu" and tensor.is_contiguous()
    return plain and entry.is_plain and dtype_name(tensor.dtype) == entry.dtype and tensor.numel() > 0


def _read_into(tensor: Tensor, entry: Entry) -> None:
    memory = tensor.detach()
    entry.read_into((memory.view(torch.uint16) if entry.dtype == "bfloat16" else memory).numpy())
    torch.autograd.graph.increment_version(tensor)  # autograd did not see the change


def read_tensor(entry: Entry | LazyTensor) -> Tensor:
    """Read one tensor of a checkpoint in the type that it has there."""
    tensor = torch.from_numpy(entry.read())
    return tensor.view(torch.bfloat16) if entry.read_dtype == "bfloat16" else tensor


def held(state: Mapping[str, Tensor]) -> dict[str, HeldTensor]:
    """Return the tensors of a state dict as those of a checkpoint."""
    tensors: dict[str, HeldTensor] = {}
    for name, tensor in state.items():
        whole = tensor.detach().cpu().contiguous()
        bits = whole.view(torch.uint16) if whole.dtype == torch.bfloat16 else whole
        tensors[name] = HeldTensor(bits.numpy(), dtype_name(whole.dtype))
    return tensors


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file, under the names and in the types that they have there.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    return {name: read_tensor(stored) for name, stored in open_safetensors(path).items()}


def shared_names(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of tensors that lie where an earlier one does, as of layers that are one and the same."""
    first: dict[tuple[int, int, int], str] = {}
    for name, tensor in tensors.items():
        if tensor.numel() and not tensor.is_meta:
            first.setdefault(_place(tensor), name)
    return [name for name, tensor in tensors.items() if first.get(_place(tensor), name) != name]


def _place(tensor: Tensor) -> tuple[int, int, int]:
    return tensor.device.index or 0, tensor.data_ptr(), tensor.numel()


def write_safetensors(path: str | Path, tensors: Mapping[str, Tensor], kind: str | None = "pt") -> None:
    """Write a safetensors file, whole or not at all; what lies in one memory is written under each of its names.

    Args:
        path: The file.
        tensors: By name.
        kind: The "format" in the metadata of the file, as transformers asks for; None: no metadata.

    Raises:
        StorageError: If the disk is full; an earlier file is untouched.
    """
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    whole |= {name: whole[name].clone() for name in shared_names(whole)}
    with atomic_file(path) as temporary:
        try:
            save_file(whole, temporary, metadata=None if kind is None else {"format": kind})
        except SafetensorError as error:
            raise OSError(str(error)) from error
