"""All known layouts, in the order in which a checkpoint is compared with them."""

from __future__ import annotations

from beit.weights.flax import FLAX
from beit.weights.huggingface import HUGGING_FACE, HUGGING_FACE_DATA2VEC, HUGGING_FACE_NATIVE
from beit.weights.original import ORIGINAL_CLASSIFICATION, ORIGINAL_PRETRAINING, ORIGINAL_SEGMENTATION

# timm's names are those of the original classification; a config distinguishes them.
# In order: a Flax or a Hugging Face model may have an lm_head too, which marks the original pre-trained ones.
LAYOUTS = (
    FLAX,
    HUGGING_FACE_NATIVE,
    HUGGING_FACE_DATA2VEC,  # before the published names, which it shares, and after 5.x, whose heads it shares
    HUGGING_FACE,
    ORIGINAL_SEGMENTATION,
    ORIGINAL_PRETRAINING,
    ORIGINAL_CLASSIFICATION,
)
