"""From an opened checkpoint into a model: memory, starting values for what is new, values for the rest."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.weights import Entry, LoadReport, check_fit

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}

# What a checkpoint of one task may lack when it is loaded into the model of another, or have too much, each as a whole.
PARTS = (
    "classifier.*",
    "lm_head.*",
    "norm.*",
    "decode_head.*",
    "auxiliary_head.*",
    "pyramid.*",
    "beit.norm.*",
    "*pooler.norm.*",
    "*embeddings.mask_token",
)
# What may be for other classes or another codebook, if the caller asks for it.
RESHAPED_ON_LOAD = ("classifier.*", "lm_head.*", "decode_head.classifier.*", "auxiliary_head.classifier.*")
# What never has a place: the heads of a model that is loaded without one, and the patch aggregation layers of BEiT v2,
# which only its pre-training uses.
LEFT_OUT_ON_LOAD = (*(f"head:{part}" for part in PARTS), "*cls_pt_layers.*")


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


def file_facts(dtype: torch.dtype) -> dict[str, str | None]:
    """Return what `config.json` says about the file beside it; other versions' words for it are dropped."""
    return {"torch_dtype": str(dtype).removeprefix("torch."), "dtype": None, "transformers_version": None}


def give_memory(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Give memory, not yet values, to the parameters and buffers of a model that was built on the meta device."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty_like(parameter, device=device, dtype=dtype)
            module.register_parameter(name, nn.Parameter(empty, parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            kind = dtype if buffer.is_floating_point() else buffer.dtype
            setattr(module, name, torch.empty_like(buffer, device=device, dtype=kind))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and the saved buffers of a model, by canonical name."""
    return model.state_dict(keep_vars=True)


def fit(
    own: Mapping[str, Tensor], tensors: Mapping[str, Entry], source: str, strict: bool = False, new_head: bool = False
) -> LoadReport:
    """Compare a checkpoint with a model, before anything is allocated, read or overwritten.

    A checkpoint of another task may lack a head or a pooler, and have one that the model does not.

    Args:
        own: The parameters and buffers of the model.
        tensors: The checkpoint.
        source: The checkpoint, for messages.
        strict: Refuse that too.
        new_head: Whether a head may be for other classes than the checkpoint's.

    Raises:
        CheckpointError: If a parameter is missing, unknown or of another shape.
    """
    found = {name: entry.shape for name, entry in tensors.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    if strict:
        return check_fit(source, found, expected)
    return check_fit(
        source,
        found,
        expected,
        may_be_new=[part for part in PARTS if not fnmatch.filter(found, part)],
        may_be_left_out=[*LEFT_OUT_ON_LOAD, *(part for part in PARTS if not fnmatch.filter(expected, part))],
        may_be_reshaped=RESHAPED_ON_LOAD if new_head else (),
    )


def fill(own: Mapping[str, Tensor], tensors: Mapping[str, Entry], report: LoadReport) -> None:
    """Copy the values of a checkpoint into a model, one tensor at a time; what is new keeps its values."""
    names = own.keys() & tensors.keys() - set(report.new)
    with torch.no_grad():
        # the largest first: while it lies in memory twice, little else lies there at all
        for name in sorted(names, key=lambda name: own[name].numel(), reverse=True):
            own[name].copy_(read_tensor(tensors[name]))


def read_tensor(entry: Entry) -> Tensor:
    """Read one tensor of a checkpoint in the type that it has there."""
    tensor = torch.from_numpy(entry.read())
    return tensor.view(torch.bfloat16) if entry.read_dtype == "bfloat16" else tensor
