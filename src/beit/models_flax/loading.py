"""Transfer of an opened checkpoint into arrays under the published names, and back into files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from beit.config import CONFIG_NAME, BeitConfig
from beit.errors import warn
from beit.files import atomic_file, write_text
from beit.models_flax.tree import COUNT, as_leaf
from beit.weights import (
    FLAX,
    FLAX_FILE,
    HUGGING_FACE,
    WEIGHTS_NAME,
    Entry,
    check_heads,
    check_type,
    file_metadata,
    flax_tree,
    not_finite,
    write_msgpack,
)
from beit.weights.match import Shape
from beit.weights.rules import part_of_shape

_WHOLE = "num_batches_tracked"  # ends the only names of whole numbers


def canonical_shapes(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of a model, given under Flax's names, as PyTorch has them."""
    return FLAX.to_canonical(shapes, part_of_shape)


def flax_name(name: str, shape: Shape) -> str:
    """Return the name that Flax gives to a canonical tensor."""
    empty = np.broadcast_to(np.float32(0), shape)  # no memory
    return next(iter(FLAX.from_canonical({name: empty})))


def read_arrays(tensors: Mapping[str, Entry], dtype: Any, source: str, allow_nonfinite: bool) -> dict[str, Array]:
    """Read a checkpoint, tensor by tensor, into arrays of a type under the published names; None keeps the type.

    Raises:
        CheckpointError: If one is of another kind of number than the model's, or not finite, unless that is allowed.
    """
    arrays: dict[str, Array] = {}
    for name, entry in tensors.items():
        check_type(source, name, entry.dtype, floating=not name.endswith(_WHOLE))
        values = entry.read()
        if entry.read_dtype == "bfloat16":
            values = values.view(jnp.bfloat16)
        for published, array in FLAX.from_canonical({name: values}).items():
            arrays[published] = as_leaf(published, array, dtype)
            if not allow_nonfinite and not bool(jnp.isfinite(arrays[published]).all()):
                raise not_finite(source, name)
    return arrays


def as_stored(name: str, leaf: Any) -> NDArray[Any]:
    """Return a leaf as files have it."""
    return np.asarray(leaf, np.int64) if name.endswith(COUNT) else np.asarray(leaf, order="C")


def write_model(folder: Path, config: BeitConfig, leaves: Mapping[str, Any], safetensors: bool) -> None:
    """Write `config.json`, and weights in one of the two forms that the hub knows.

    A file of Flax that lies there beside new `model.safetensors` is left, with a warning: Flax models read it first.

    Args:
        folder: It is made if needed.
        config: All options.
        leaves: The parameters by their published names.
        safetensors: Write `model.safetensors`, under the names that PyTorch programs read, instead of
            `flax_model.msgpack`.

    Raises:
        ConfigError: If the head is for other classes than the config says.
        StorageError: If the disk is full; an earlier file of the same name is untouched.
    """
    stored = {name: as_stored(name, leaf) for name, leaf in leaves.items()}
    check_heads(_outputs(stored), config)
    dtype = next(array.dtype.name for name, array in stored.items() if name.endswith("embeddings.cls_token"))
    options = config.to_json_string(**file_metadata(dtype))  # first: it may fail
    if safetensors:
        canonical = FLAX.to_canonical(stored)
        tensors = {name: np.asarray(array, order="C") for name, array in HUGGING_FACE.from_canonical(canonical).items()}
        with atomic_file(folder / WEIGHTS_NAME) as temporary:
            try:
                save_file(tensors, temporary, metadata={"format": "pt"})
            except SafetensorError as error:
                raise OSError(str(error)) from error
    else:
        tree = flax_tree({name: _writable(array) for name, array in stored.items()})
        write_msgpack(folder / FLAX_FILE, tree)
    write_text(folder / CONFIG_NAME, options)
    if safetensors and (folder / FLAX_FILE).is_file():
        warn(
            f"{folder} holds {FLAX_FILE} of an earlier save too, which Flax models read first: remove it, or load the "
            f"new weights by from_pretrained(..., use_safetensors=True)"
        )


def _outputs(stored: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Return how many numbers each linear or convolutional layer gives, by its name."""
    return {name.removesuffix(".kernel"): leaf.shape[-1] for name, leaf in stored.items() if name.endswith(".kernel")}


def _writable(array: NDArray[Any]) -> Any:
    """Return an array as `write_msgpack` takes it; numpy itself has no bfloat16."""
    return (array.view(np.uint16), "bfloat16") if array.dtype == jnp.bfloat16 else array
