"""From an opened checkpoint into a model: memory, starting values for what is new, values for the rest."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.models_torch.encoder import Encoder
from beit.models_torch.relative_position import position_index
from beit.weights import Entry, LoadReport, check_fit

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}

# A checkpoint of one task loaded into the model of another: these may be new ...
_HEADS = ("classifier.*", "lm_head.*", "norm.*", "decode_head.*", "auxiliary_head.*", "pyramid.*")
_ENDS = ("beit.norm.*", "*pooler.norm.*", "*embeddings.mask_token")
NEW_ON_LOAD = (*_HEADS, *_ENDS)
# ... these may be for other classes or another codebook ...
RESHAPED_ON_LOAD = ("classifier.*", "lm_head.*", "decode_head.classifier.*", "auxiliary_head.classifier.*")
# ... and these may have no place; "head:" marks the heads of a model that is loaded without one, cls_pt_layers the
# patch aggregation layers of BEiT v2, which only its pre-training uses. Everything else must fit exactly.
LEFT_OUT_ON_LOAD = (*_HEADS, *_ENDS, *(f"head:{pattern}" for pattern in _HEADS), "*cls_pt_layers.*")


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
        if isinstance(module, Encoder) and module.index_SS is not None:
            module.index_SS = position_index(module.grid, device)  # the one buffer that no checkpoint holds


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
    return check_fit(
        source,
        {name: entry.shape for name, entry in tensors.items()},
        {name: tuple(tensor.shape) for name, tensor in own.items()},
        *(((), ()) if strict else (NEW_ON_LOAD, LEFT_OUT_ON_LOAD)),
        may_be_reshaped=RESHAPED_ON_LOAD if new_head and not strict else (),
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
