"""Parameter names of Hugging Face transformers.

4.x uses one set of names in memory and on disk, the published ones, which are also those of this package; 5.x writes
these too, and has names of its own that appear on disk only on request.
"""

from __future__ import annotations

from beit.weights.rules import Layout, Rule

_LAYER = "{root}encoder.layer.{layer}"
_ATTENTION = _LAYER + ".attention.attention"
_TABLE = "relative_position_bias.relative_position_bias_table"
_NATIVE = "{root}layers.{layer}"


def _same(*names: str) -> tuple[Rule, ...]:
    return tuple(Rule(name, name) for name in names)


_EMBEDDINGS = _same(
    "{root}embeddings.cls_token",
    "{root}embeddings.mask_token",
    "{root}embeddings.position_embeddings",
    "{root}embeddings.patch_embeddings.projection.{param}",
)
_ENDS = _same(
    "{root}layernorm.{param}",
    "{root}pooler.layernorm.{param}",
    "lm_head.{param}",
    "classifier.{param}",
)
_LAYERS = _same(
    "{root}encoder." + _TABLE,
    _LAYER + ".layernorm_before.{param}",
    _ATTENTION + ".query.{param}",
    _ATTENTION + ".key.weight",
    _ATTENTION + ".value.{param}",
    f"{_ATTENTION}.{_TABLE}",
    _LAYER + ".attention.output.dense.{param}",
    _LAYER + ".lambda_1",
    _LAYER + ".layernorm_after.{param}",
    _LAYER + ".intermediate.dense.{param}",
    _LAYER + ".output.dense.{param}",
    _LAYER + ".lambda_2",
)
_SEGMENTATION = _same("fpn1.{index}.{state}", "fpn2.0.{param}", "{head}.{path}.{state}")
_NATIVE_SEGMENTATION = (
    Rule("fpn.fpn1.conv_transpose1.{param}", "fpn1.0.{param}"),
    Rule("fpn.fpn1.normalization.{state}", "fpn1.1.{state}"),
    Rule("fpn.fpn1.conv_transpose2.{param}", "fpn1.3.{param}"),
    Rule("fpn.fpn2.{param}", "fpn2.0.{param}"),
    Rule("{head}.psp_modules.blocks.{index}.conv.convolution.weight", "{head}.psp_modules.{index}.1.conv.weight"),
    Rule("{head}.psp_modules.blocks.{index}.conv.normalization.{state}", "{head}.psp_modules.{index}.1.bn.{state}"),
    Rule("{head}.psp_bottleneck.convolution.weight", "{head}.bottleneck.conv.weight"),
    Rule("{head}.psp_bottleneck.normalization.{state}", "{head}.bottleneck.bn.{state}"),
    Rule("{head}.{path}.convolution.weight", "{head}.{path}.conv.weight"),
    Rule("{head}.{path}.normalization.{state}", "{head}.{path}.bn.{state}"),
    *_same("{head}.classifier.{param}"),
)
_IGNORED = (r".*relative_position_index",)  # old files store this constant

HUGGING_FACE = Layout(
    name="Hugging Face",
    rules=(*_EMBEDDINGS, *_LAYERS, *_ENDS, *_SEGMENTATION),
    ignored=_IGNORED,
    marker=_ATTENTION + ".query.weight",
)

# data2vec models kept the published names of the encoder in 5.x, and have the new ones of the segmentation heads.
HUGGING_FACE_DATA2VEC = Layout(
    name="Hugging Face 5 data2vec segmentation",
    rules=(*_EMBEDDINGS, *_LAYERS, *_same("fpn1.{index}.{state}", "fpn2.0.{param}"), *_NATIVE_SEGMENTATION),
    ignored=_IGNORED,
    marker="{head}.psp_bottleneck.convolution.weight",
)

HUGGING_FACE_NATIVE = Layout(
    name="Hugging Face 5 native",
    rules=(
        *_EMBEDDINGS,
        Rule("{root}shared_position_bias.relative_position_bias_table", "{root}encoder." + _TABLE),
        Rule(_NATIVE + ".layernorm_before.{param}", _LAYER + ".layernorm_before.{param}"),
        Rule(_NATIVE + ".attention.q_proj.{param}", _ATTENTION + ".query.{param}"),
        Rule(_NATIVE + ".attention.k_proj.weight", _ATTENTION + ".key.weight"),
        Rule(_NATIVE + ".attention.v_proj.{param}", _ATTENTION + ".value.{param}"),
        Rule(f"{_NATIVE}.{_TABLE}", f"{_ATTENTION}.{_TABLE}"),
        Rule(_NATIVE + ".attention.o_proj.{param}", _LAYER + ".attention.output.dense.{param}"),
        Rule(_NATIVE + ".lambda_1", _LAYER + ".lambda_1"),
        Rule(_NATIVE + ".layernorm_after.{param}", _LAYER + ".layernorm_after.{param}"),
        Rule(_NATIVE + ".mlp.fc1.{param}", _LAYER + ".intermediate.dense.{param}"),
        Rule(_NATIVE + ".mlp.fc2.{param}", _LAYER + ".output.dense.{param}"),
        Rule(_NATIVE + ".lambda_2", _LAYER + ".lambda_2"),
        *_ENDS,
        *_NATIVE_SEGMENTATION,
    ),
    ignored=_IGNORED,
    marker=_NATIVE + ".attention.q_proj.weight",
)
