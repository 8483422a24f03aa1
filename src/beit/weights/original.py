"""Parameter names of the original implementation (microsoft/unilm) and of timm, which uses the same.

The same short names stand for different parameters in a pre-trained, a fine-tuned and a segmentation model, hence
one table each.
"""

from __future__ import annotations

from beit.weights.rules import Layout, Rule

_TABLE = "relative_position_bias.relative_position_bias_table"
_IGNORED = (r".*relative_position_index", r".*k_bias")  # constants


def encoder_rules(root: str, ours_root: str = "beit.") -> tuple[Rule, ...]:
    """Return the rules of the encoder; `root` stands before every foreign name, `ours_root` before every canonical."""
    layer, ours = root + "blocks.{layer}", ours_root + "encoder.layer.{layer}"
    attention = ours + ".attention.attention"
    return (
        Rule(root + "cls_token", ours_root + "embeddings.cls_token"),
        Rule(root + "mask_token", ours_root + "embeddings.mask_token"),
        Rule(root + "pos_embed", ours_root + "embeddings.position_embeddings"),
        Rule(root + "patch_embed.proj.{param}", ours_root + "embeddings.patch_embeddings.projection.{param}"),
        Rule(root + "rel_pos_bias.relative_position_bias_table", ours_root + "encoder." + _TABLE),
        Rule(layer + ".norm1.{param}", ours + ".layernorm_before.{param}"),
        Rule(layer + ".attn.qkv.weight", tuple(f"{attention}.{part}.weight" for part in ("query", "key", "value"))),
        Rule(layer + ".attn.q_bias", attention + ".query.bias"),
        Rule(layer + ".attn.v_bias", attention + ".value.bias"),
        Rule(layer + ".attn.relative_position_bias_table", f"{attention}.{_TABLE}"),
        Rule(layer + ".attn.proj.{param}", ours + ".attention.output.dense.{param}"),
        Rule(layer + ".gamma_1", ours + ".lambda_1"),
        Rule(layer + ".norm2.{param}", ours + ".layernorm_after.{param}"),
        Rule(layer + ".mlp.fc1.{param}", ours + ".intermediate.dense.{param}"),
        Rule(layer + ".mlp.fc2.{param}", ours + ".output.dense.{param}"),
        Rule(layer + ".gamma_2", ours + ".lambda_2"),
    )


_CLASSIFICATION = (
    *encoder_rules(""),
    Rule("norm.{param}", "beit.layernorm.{param}"),
    Rule("fc_norm.{param}", "beit.pooler.layernorm.{param}"),
    Rule("head.{param}", "classifier.{param}"),
)

ORIGINAL_PRETRAINING = Layout(
    name="original (pre-training)",
    rules=(*encoder_rules(""), Rule("norm.{param}", "layernorm.{param}"), Rule("lm_head.{param}", "lm_head.{param}")),
    ignored=_IGNORED,
    marker="lm_head.weight",
)
ORIGINAL_CLASSIFICATION = Layout(
    name="original (classification)",
    rules=_CLASSIFICATION,
    ignored=_IGNORED,
    marker="blocks.{layer}.attn.qkv.weight",
)
ORIGINAL_SEGMENTATION = Layout(
    name="original (segmentation)",
    rules=(
        *encoder_rules("backbone."),
        Rule("backbone.fpn1.{index}.{state}", "fpn1.{index}.{state}"),
        Rule("backbone.fpn2.0.{param}", "fpn2.0.{param}"),
        Rule("{head}.conv_seg.{param}", "{head}.classifier.{param}"),
        Rule("{head}.{path}.{state}", "{head}.{path}.{state}"),
    ),
    ignored=_IGNORED,
    marker="backbone.blocks.{layer}.attn.qkv.weight",
)
TIMM = Layout(name="timm", rules=_CLASSIFICATION, ignored=_IGNORED, marker="blocks.{layer}.attn.qkv.weight")
