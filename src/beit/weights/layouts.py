"""All known layouts, and which one a checkpoint has."""

from __future__ import annotations

from collections.abc import Sequence

from beit.errors import CheckpointError
from beit.weights.flax import FLAX
from beit.weights.huggingface import HUGGING_FACE, HUGGING_FACE_NATIVE
from beit.weights.original import ORIGINAL_CLASSIFICATION, ORIGINAL_PRETRAINING, ORIGINAL_SEGMENTATION
from beit.weights.rules import Layout

# timm's names are those of the original classification; a config tells them apart.
# In order: a Flax or a Hugging Face model may have an lm_head too, which marks the original pre-trained ones.
LAYOUTS = (
    FLAX,
    HUGGING_FACE,
    HUGGING_FACE_NATIVE,
    ORIGINAL_SEGMENTATION,
    ORIGINAL_PRETRAINING,
    ORIGINAL_CLASSIFICATION,
)


def layout_of(source: str, names: Sequence[str]) -> Layout:
    """Return the layout of a checkpoint with these names.

    Raises:
        CheckpointError: If no layout has them.
    """
    for layout in LAYOUTS:
        if layout.recognises(names):
            return layout
    raise CheckpointError(
        f"{source} holds {len(names)} tensors such as {sorted(names)[:3]}; expected a BEiT in one of the layouts "
        f"{[layout.name for layout in LAYOUTS]}"
    )
