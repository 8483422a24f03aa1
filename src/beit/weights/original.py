"""The names of the original implementation (microsoft/unilm) and of timm, which took them over.

The same short names mean different places in a pre-trained, a fine-tuned and a segmenting model, hence one table each.
"""

from __future__ import annotations

from beit.weights.rules import Layout, Rule

_IGNORED = (r".*relative_position_index", r".*k_bias")  # constants


def encoder_rules(root: str, ours_root: str = "beit.") -> tuple[Rule, ...]:
    """Return the rules of the encoder; `root` stands before every foreign name, `ours_root` before every canonical."""
    layer, ours = root + "blocks.{layer}", ours_root + "encoder.layers.{layer}"
    return (
        Rule(root + "cls_token", ours_root + "embeddings.cls_token"),
        Rule(root + "mask_token", ours_root + "embeddings.mask_token"),
        Rule(root + "pos_embed", ours_root + "embeddings.position"),
        Rule(root + "patch_embed.proj.{param}", ours_root + "embeddings.patch.{param}"),
        Rule(root + "rel_pos_bias.relative_position_bias_table", ours_root + "encoder.bias.table"),
        Rule(layer + ".norm1.{param}", ours + ".norm_attention.{param}"),
        Rule(layer + ".attn.qkv.weight", ours + ".attention.qkv.weight"),
        Rule(layer + ".attn.q_bias", ours + ".attention.query_bias"),
        Rule(layer + ".attn.v_bias", ours + ".attention.value_bias"),
        Rule(layer + ".attn.relative_position_bias_table", ours + ".attention.bias.table"),
        Rule(layer + ".attn.proj.{param}", ours + ".attention.output.{param}"),
        Rule(layer + ".gamma_1", ours + ".scale_attention.gamma"),
        Rule(layer + ".norm2.{param}", ours + ".norm_feed_forward.{param}"),
        Rule(layer + ".mlp.fc1.{param}", ours + ".feed_forward.expand.{param}"),
        Rule(layer + ".mlp.fc2.{param}", ours + ".feed_forward.contract.{param}"),
        Rule(layer + ".gamma_2", ours + ".scale_feed_forward.gamma"),
    )


_CLASSIFICATION = (
    *encoder_rules(""),
    Rule("norm.{param}", "beit.norm.{param}"),
    Rule("fc_norm.{param}", "beit.pooler.norm.{param}"),
    Rule("head.{param}", "classifier.{param}"),
)

ORIGINAL_PRETRAINING = Layout(
    name="original (pre-training)",
    rules=(*encoder_rules(""), Rule("norm.{param}", "norm.{param}"), Rule("lm_head.{param}", "lm_head.{param}")),
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
        Rule("backbone.fpn1.{index}.{state}", "pyramid.up4.{index}.{state}"),
        Rule("backbone.fpn2.0.{param}", "pyramid.up2.{param}"),
        Rule("{head}.conv_seg.{param}", "{head}.classifier.{param}"),
        Rule("{head}.{path}.{state}", "{head}.{path}.{state}"),
    ),
    ignored=_IGNORED,
    marker="backbone.blocks.{layer}.attn.qkv.weight",
)
TIMM = Layout(name="timm", rules=_CLASSIFICATION, ignored=_IGNORED, marker="blocks.{layer}.attn.qkv.weight")
