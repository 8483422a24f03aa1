"""What of a checkpoint a model takes, and what its `config.json` says of the file beside it; for both frameworks."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from beit.weights.entry import Entry
from beit.weights.report import LoadReport, Shape, check_fit

# What a checkpoint of one task may lack when it is loaded into the model of another, or have too much, each as a whole.
PARTS = (
    "classifier.*",
    "lm_head.*",
    "layernorm.*",
    "decode_head.*",
    "auxiliary_head.*",
    "fpn[12].*",
    "beit.layernorm.*",
    "*pooler.layernorm.*",
    "*embeddings.mask_token",
)
# What may be for other classes or another codebook, if the caller asks for it.
RESHAPED_ON_LOAD = ("classifier.*", "lm_head.*", "decode_head.classifier.*", "auxiliary_head.classifier.*")
# What never has a place: the heads of a model that is loaded without one, and the patch aggregation layers of BEiT v2,
# which only its pre-training uses.
LEFT_OUT_ON_LOAD = (*(f"head:{part}" for part in PARTS), "*cls_pt_layers.*")


def fit(
    expected: Mapping[str, Shape],
    tensors: Mapping[str, Entry],
    source: str,
    strict: bool = False,
    new_head: bool = False,
) -> LoadReport:
    """Compare a checkpoint with a model, before anything is allocated, read or overwritten.

    A checkpoint of another task may lack a head or a pooler, and have one that the model does not.

    Args:
        expected: The shapes of the model, by canonical name.
        tensors: The checkpoint.
        source: The checkpoint, for messages.
        strict: Refuse that too.
        new_head: Whether a head may be for other classes than the checkpoint's.

    Raises:
        CheckpointError: If a parameter is missing, unknown or of another shape.
    """
    found = {name: entry.shape for name, entry in tensors.items()}
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


def file_facts(dtype: str) -> dict[str, str | None]:
    """Return what `config.json` says about the file beside it; other versions' words for it are dropped."""
    return {"torch_dtype": dtype, "dtype": None, "transformers_version": None}
