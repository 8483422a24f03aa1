"""The names that Hugging Face transformers gives to the parameters of a BEiT.

4.x uses one set of names in memory and on disk; 5.x writes these too, and has names of its own that appear on disk only
on request.
"""

from __future__ import annotations

from beit.weights.rules import Layout, Rule

_LAYER = "{root}encoder.layer.{layer}"
_OURS = "{root}encoder.layers.{layer}"
_ATTENTION = _LAYER + ".attention.attention"
_NATIVE = "{root}layers.{layer}"

_EMBEDDINGS = (
    Rule("{root}embeddings.cls_token", "{root}embeddings.cls_token"),
    Rule("{root}embeddings.mask_token", "{root}embeddings.mask_token"),
    Rule("{root}embeddings.position_embeddings", "{root}embeddings.position"),
    Rule("{root}embeddings.patch_embeddings.projection.{param}", "{root}embeddings.patch.{param}"),
)
_ENDS = (
    Rule("{root}layernorm.{param}", "{root}norm.{param}"),
    Rule("{root}pooler.layernorm.{param}", "{root}pooler.norm.{param}"),
    Rule("lm_head.{param}", "lm_head.{param}"),
    Rule("classifier.{param}", "classifier.{param}"),
)
_SEGMENTATION = (
    Rule("fpn1.{index}.{state}", "pyramid.up4.{index}.{state}"),
    Rule("fpn2.0.{param}", "pyramid.up2.{param}"),
    Rule("{head}.{path}.{state}", "{head}.{path}.{state}"),
)
_NATIVE_SEGMENTATION = (
    Rule("fpn.fpn1.conv_transpose1.{param}", "pyramid.up4.0.{param}"),
    Rule("fpn.fpn1.normalization.{state}", "pyramid.up4.1.{state}"),
    Rule("fpn.fpn1.conv_transpose2.{param}", "pyramid.up4.3.{param}"),
    Rule("fpn.fpn2.{param}", "pyramid.up2.{param}"),
    Rule("{head}.psp_modules.blocks.{index}.conv.convolution.weight", "{head}.psp_modules.{index}.1.conv.weight"),
    Rule("{head}.psp_modules.blocks.{index}.conv.normalization.{state}", "{head}.psp_modules.{index}.1.bn.{state}"),
    Rule("{head}.psp_bottleneck.convolution.weight", "{head}.bottleneck.conv.weight"),
    Rule("{head}.psp_bottleneck.normalization.{state}", "{head}.bottleneck.bn.{state}"),
    Rule("{head}.{path}.convolution.weight", "{head}.{path}.conv.weight"),
    Rule("{head}.{path}.normalization.{state}", "{head}.{path}.bn.{state}"),
    Rule("{head}.classifier.{param}", "{head}.classifier.{param}"),
)
_IGNORED = (r".*relative_position_index",)  # old files store this constant

HUGGING_FACE = Layout(
    name="Hugging Face",
    rules=(
        *_EMBEDDINGS,
        Rule("{root}encoder.relative_position_bias.relative_position_bias_table", "{root}encoder.bias.table"),
        Rule(_LAYER + ".layernorm_before.{param}", _OURS + ".norm_attention.{param}"),
        Rule(
            (_ATTENTION + ".query.weight", _ATTENTION + ".key.weight", _ATTENTION + ".value.weight"),
            _OURS + ".attention.qkv.weight",
        ),
        Rule(_ATTENTION + ".query.bias", _OURS + ".attention.query_bias"),
        Rule(_ATTENTION + ".value.bias", _OURS + ".attention.value_bias"),
        Rule(_ATTENTION + ".relative_position_bias.relative_position_bias_table", _OURS + ".attention.bias.table"),
        Rule(_LAYER + ".attention.output.dense.{param}", _OURS + ".attention.output.{param}"),
        Rule(_LAYER + ".lambda_1", _OURS + ".scale_attention.gamma"),
        Rule(_LAYER + ".layernorm_after.{param}", _OURS + ".norm_feed_forward.{param}"),
        Rule(_LAYER + ".intermediate.dense.{param}", _OURS + ".feed_forward.expand.{param}"),
        Rule(_LAYER + ".output.dense.{param}", _OURS + ".feed_forward.contract.{param}"),
        Rule(_LAYER + ".lambda_2", _OURS + ".scale_feed_forward.gamma"),
        *_ENDS,
        *_SEGMENTATION,
    ),
    ignored=_IGNORED,
    marker=_ATTENTION + ".query.weight",
)

HUGGING_FACE_NATIVE = Layout(
    name="Hugging Face 5 native",
    rules=(
        *_EMBEDDINGS,
        Rule("{root}shared_position_bias.relative_position_bias_table", "{root}encoder.bias.table"),
        Rule(_NATIVE + ".layernorm_before.{param}", _OURS + ".norm_attention.{param}"),
        Rule(
            tuple(f"{_NATIVE}.attention.{part}_proj.weight" for part in "qkv"),
            _OURS + ".attention.qkv.weight",
        ),
        Rule(_NATIVE + ".attention.q_proj.bias", _OURS + ".attention.query_bias"),
        Rule(_NATIVE + ".attention.v_proj.bias", _OURS + ".attention.value_bias"),
        Rule(_NATIVE + ".relative_position_bias.relative_position_bias_table", _OURS + ".attention.bias.table"),
        Rule(_NATIVE + ".attention.o_proj.{param}", _OURS + ".attention.output.{param}"),
        Rule(_NATIVE + ".lambda_1", _OURS + ".scale_attention.gamma"),
        Rule(_NATIVE + ".layernorm_after.{param}", _OURS + ".norm_feed_forward.{param}"),
        Rule(_NATIVE + ".mlp.fc1.{param}", _OURS + ".feed_forward.expand.{param}"),
        Rule(_NATIVE + ".mlp.fc2.{param}", _OURS + ".feed_forward.contract.{param}"),
        Rule(_NATIVE + ".lambda_2", _OURS + ".scale_feed_forward.gamma"),
        *_ENDS,
        *_NATIVE_SEGMENTATION,
    ),
    ignored=_IGNORED,
    marker=_NATIVE + ".attention.q_proj.weight",
)
