"""Parameter names of the Flax models of Hugging Face transformers, joined by dots.

Flax keeps dense kernels as (in, out) and convolution kernels as (height, width, in, out); a transposed convolution is
kept as Flax's `transpose_kernel=True` wants it, (height, width, out, in). All else has the published names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beit.weights.rules import Layout, Rule

_DENSE, _CONVOLUTION = (1, 0), (3, 2, 0, 1)
_LAYER = "{root}encoder.layer.{layer}"
_ATTENTION = _LAYER + ".attention.attention"
_TABLE = "relative_position_bias.relative_position_bias_table"


def _same(name: str) -> Rule:
    return Rule(name, name)


def _dense(name: str) -> tuple[Rule, Rule]:
    return Rule(name + ".kernel", name + ".weight", _DENSE), _same(name + ".bias")


def _convolution(name: str) -> tuple[Rule, Rule]:
    return Rule(name + ".kernel", name + ".weight", _CONVOLUTION), _same(name + ".bias")


def _norm(name: str) -> tuple[Rule, Rule]:
    return Rule(name + ".scale", name + ".weight"), _same(name + ".bias")


def _batch_norm(name: str) -> tuple[Rule, ...]:
    statistics = (
        Rule(name + ".mean", name + ".running_mean"),
        Rule(name + ".var", name + ".running_var"),
        _same(name + ".num_batches_tracked"),
    )
    return (*_norm(name), *statistics)


FLAX = Layout(
    name="Flax",
    rules=(
        _same("{root}embeddings.cls_token"),
        _same("{root}embeddings.mask_token"),
        _same("{root}embeddings.position_embeddings"),
        *_convolution("{root}embeddings.patch_embeddings.projection"),
        _same("{root}encoder." + _TABLE),
        *_norm(_LAYER + ".layernorm_before"),
        *_dense(_ATTENTION + ".query"),
        _dense(_ATTENTION + ".key")[0],  # keys have no bias
        *_dense(_ATTENTION + ".value"),
        _same(f"{_ATTENTION}.{_TABLE}"),
        *_dense(_LAYER + ".attention.output.dense"),
        _same(_LAYER + ".lambda_1"),
        *_norm(_LAYER + ".layernorm_after"),
        *_dense(_LAYER + ".intermediate.dense"),
        *_dense(_LAYER + ".output.dense"),
        _same(_LAYER + ".lambda_2"),
        *_norm("{root}layernorm"),
        *_norm("{root}pooler.layernorm"),
        *_dense("lm_head"),
        *_dense("classifier"),
        # what the original Flax models never had
        *_convolution("fpn1.0"),
        *_batch_norm("fpn1.1"),
        *_convolution("fpn1.3"),
        *_convolution("fpn2.0"),
        Rule("{head}.{path}.conv.kernel", "{head}.{path}.conv.weight", _CONVOLUTION),
        *_batch_norm("{head}.{path}.bn"),
        *_convolution("{head}.classifier"),
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
