"""The names of the Flax models of Hugging Face transformers, joined by dots.

Flax keeps dense kernels as (in, out) and convolution kernels as (height, width, in, out); a transposed convolution is
kept as Flax's `transpose_kernel=True` wants it, (height, width, out, in).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beit.weights.rules import Layout, Rule

_DENSE, _CONVOLUTION = (1, 0), (3, 2, 0, 1)
_LAYER = "{root}encoder.layer.{layer}"
_OURS = "{root}encoder.layers.{layer}"
_ATTENTION = _LAYER + ".attention.attention"


def _dense(foreign: str, canonical: str) -> tuple[Rule, Rule]:
    return Rule(foreign + ".kernel", canonical + ".weight", _DENSE), Rule(foreign + ".bias", canonical + ".bias")


def _convolution(foreign: str, canonical: str) -> tuple[Rule, Rule]:
    return Rule(foreign + ".kernel", canonical + ".weight", _CONVOLUTION), Rule(foreign + ".bias", canonical + ".bias")


def _norm(foreign: str, canonical: str) -> tuple[Rule, Rule]:
    return Rule(foreign + ".scale", canonical + ".weight"), Rule(foreign + ".bias", canonical + ".bias")


def _batch_norm(foreign: str, canonical: str) -> tuple[Rule, ...]:
    statistics = (
        Rule(foreign + ".mean", canonical + ".running_mean"),
        Rule(foreign + ".var", canonical + ".running_var"),
        Rule(foreign + ".num_batches_tracked", canonical + ".num_batches_tracked"),
    )
    return (*_norm(foreign, canonical), *statistics)


FLAX = Layout(
    name="Flax",
    rules=(
        Rule("{root}embeddings.cls_token", "{root}embeddings.cls_token"),
        Rule("{root}embeddings.mask_token", "{root}embeddings.mask_token"),
        Rule("{root}embeddings.position_embeddings", "{root}embeddings.position"),
        *_convolution("{root}embeddings.patch_embeddings.projection", "{root}embeddings.patch"),
        Rule("{root}encoder.relative_position_bias.relative_position_bias_table", "{root}encoder.bias.table"),
        *_norm(_LAYER + ".layernorm_before", _OURS + ".norm_attention"),
        Rule(
            (_ATTENTION + ".query.kernel", _ATTENTION + ".key.kernel", _ATTENTION + ".value.kernel"),
            _OURS + ".attention.qkv.weight",
            _DENSE,
        ),
        Rule(_ATTENTION + ".query.bias", _OURS + ".attention.query_bias"),
        Rule(_ATTENTION + ".value.bias", _OURS + ".attention.value_bias"),
        Rule(_ATTENTION + ".relative_position_bias.relative_position_bias_table", _OURS + ".attention.bias.table"),
        *_dense(_LAYER + ".attention.output.dense", _OURS + ".attention.output"),
        Rule(_LAYER + ".lambda_1", _OURS + ".scale_attention.gamma"),
        *_norm(_LAYER + ".layernorm_after", _OURS + ".norm_feed_forward"),
        *_dense(_LAYER + ".intermediate.dense", _OURS + ".feed_forward.expand"),
        *_dense(_LAYER + ".output.dense", _OURS + ".feed_forward.contract"),
        Rule(_LAYER + ".lambda_2", _OURS + ".scale_feed_forward.gamma"),
        *_norm("{root}layernorm", "{root}norm"),
        *_norm("{root}pooler.layernorm", "{root}pooler.norm"),
        *_dense("lm_head", "lm_head"),
        *_dense("classifier", "classifier"),
        # what the original Flax models never had
        *_convolution("fpn1.0", "pyramid.up4.0"),
        *_batch_norm("fpn1.1", "pyramid.up4.1"),
        *_convolution("fpn1.3", "pyramid.up4.3"),
        *_convolution("fpn2.0", "pyramid.up2"),
        Rule("{head}.{path}.conv.kernel", "{head}.{path}.conv.weight", _CONVOLUTION),
        *_batch_norm("{head}.{path}.bn", "{head}.{path}.bn"),
        *_convolution("{head}.classifier", "{head}.classifier"),
    ),
    ignored=(r".*relative_position_index",),
    marker=_ATTENTION + ".query.kernel",
)


def flax_tree(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Nest names that are joined by dots, as Flax keeps them."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *branches, last = name.split(".")
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
        node[last] = leaf
    return tree
