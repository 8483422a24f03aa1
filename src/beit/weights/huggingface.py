"""The names that Hugging Face transformers gives to the parameters of a BEiT (4.x in memory, 4.x and 5.x on disk)."""

from __future__ import annotations

from beit.weights.rules import Layout, Rule

_LAYER = "{root}encoder.layer.{layer}"
_OURS = "{root}encoder.layers.{layer}"
_ATTENTION = _LAYER + ".attention.attention"

HUGGING_FACE = Layout(
    name="Hugging Face",
    rules=(
        Rule("{root}embeddings.cls_token", "{root}embeddings.cls_token"),
        Rule("{root}embeddings.mask_token", "{root}embeddings.mask_token"),
        Rule("{root}embeddings.position_embeddings", "{root}embeddings.position"),
        Rule("{root}embeddings.patch_embeddings.projection.{param}", "{root}embeddings.patch.{param}"),
        Rule("{root}encoder.relative_position_bias.relative_position_bias_table", "{root}encoder.bias.table"),
        Rule(_LAYER + ".layernorm_before.{param}", _OURS + ".norm_attention.{param}"),
        Rule(
            (_ATTENTION + ".query.weight", _ATTENTION + ".key.weight", _ATTENTION + ".value.weight"),
            _OURS + ".attention.qkv.weight",
        ),
        Rule(_ATTENTION + ".query.bias", _OURS + ".attention.query_bias"),
        Rule(_ATTENTION + ".value.bias", _OURS + ".attention.value_bias"),
        Rule(
            _ATTENTION + ".relative_position_bias.relative_position_bias_table",
            _OURS + ".attention.bias.table",
        ),
        Rule(_LAYER + ".attention.output.dense.{param}", _OURS + ".attention.output.{param}"),
        Rule(_LAYER + ".lambda_1", _OURS + ".scale_attention.gamma"),
        Rule(_LAYER + ".layernorm_after.{param}", _OURS + ".norm_feed_forward.{param}"),
        Rule(_LAYER + ".intermediate.dense.{param}", _OURS + ".feed_forward.expand.{param}"),
        Rule(_LAYER + ".output.dense.{param}", _OURS + ".feed_forward.contract.{param}"),
        Rule(_LAYER + ".lambda_2", _OURS + ".scale_feed_forward.gamma"),
        Rule("{root}layernorm.{param}", "{root}norm.{param}"),
        Rule("{root}pooler.layernorm.{param}", "{root}pooler.norm.{param}"),
        Rule("lm_head.{param}", "lm_head.{param}"),
        Rule("classifier.{param}", "classifier.{param}"),
    ),
    ignored=(r".*relative_position_index",),  # old files store this constant
)
