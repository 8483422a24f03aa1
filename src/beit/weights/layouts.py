"""All known layouts, in the order in which a checkpoint is compared with them."""

from __future__ import annotations

from beit.weights.flax import FLAX
from beit.weights.huggingface import HUGGING_FACE, HUGGING_FACE_NATIVE
from beit.weights.original import ORIGINAL_CLASSIFICATION, ORIGINAL_PRETRAINING, ORIGINAL_SEGMENTATION
from beit.weights.rules import Layout, Rule

# Our own names: the `state_dict()` of a model, as a training program saves it that does not know `save_pretrained`.
CANONICAL = Layout(
    name="state_dict",
    rules=(Rule("{path}", "{path}"),),
    marker="{root}encoder.layers.{layer}.attention.qkv.weight",
)

# timm's names are those of the original classification; a config tells them apart.
# In order: our own, a Flax or a Hugging Face model may have an lm_head too, which marks the original pre-trained ones.
LAYOUTS = (
    CANONICAL,
    FLAX,
    HUGGING_FACE,
    HUGGING_FACE_NATIVE,
    ORIGINAL_SEGMENTATION,
    ORIGINAL_PRETRAINING,
    ORIGINAL_CLASSIFICATION,
)
