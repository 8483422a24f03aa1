"""Published VQ-KD tokenizers of BEiT v2: one `.pth` file each, read without executing it.

Source: the names of microsoft/unilm, `beit2/modeling_vqkd.py` and `beit2/norm_ema_quantizer.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path

from beit.catalog import VQKD_TOKENIZERS
from beit.config import CONFIG_NAME
from beit.errors import CheckpointError
from beit.hub import HubOptions, fetch_url
from beit.weights.arguments import WEIGHTS_NAME
from beit.weights.checkpoint import check_total, open_file
from beit.weights.original import encoder_rules
from beit.weights.rules import Entry, Layout, Rule, entry_of
from beit.weights.state_dict import without_wrappers

_SUFFIX = ".pth"
_SUFFIXES = (_SUFFIX, ".pt", ".bin")
_HEAD_SIZE = 64  # channels of one attention head in every published model, which no tensor shows

VQ_KD = Layout(
    name="original (VQ-KD)",
    rules=(
        *encoder_rules("{coder}.", "{coder}."),  # the decoder is an encoder of codes
        Rule("{coder}.fc_norm.{param}", "{coder}.pooler.layernorm.{param}"),
        Rule("encode_task_layer.{index}.{param}", "to_code.{index}.{param}"),
        Rule("decode_task_layer.{index}.{param}", "to_features.{index}.{param}"),
        Rule("quantize.embedding.weight", "quantiser.codebook"),
        Rule("quantize.cluster_size", "quantiser.cluster_size"),
    ),
    # what the published training keeps beside the model: unused averages, the teacher, and how it sees pictures
    ignored=(
        r"quantize\.embedding\.(cluster_size|embed_avg|initted)",
        r"(teacher_model|scaling_layer|loss)\..*",
    ),
    marker="quantize.embedding.weight",
)

_LAYER, _SAVED = "{coder}.encoder.layer.{layer}", "{coder}.encoder.layers.{layer}"
# The names in a folder of ours, of which there were some before the models had the published names.
VQ_KD_FOLDER = Layout(
    name="VQ-KD",
    rules=(
        Rule("{coder}.embeddings.cls_token", "{coder}.embeddings.cls_token"),
        Rule("{coder}.embeddings.position", "{coder}.embeddings.position_embeddings"),
        Rule("{coder}.embeddings.patch.{param}", "{coder}.embeddings.patch_embeddings.projection.{param}"),
        Rule(_SAVED + ".norm_attention.{param}", _LAYER + ".layernorm_before.{param}"),
        Rule(
            _SAVED + ".attention.qkv.weight",
            tuple(f"{_LAYER}.attention.attention.{part}.weight" for part in ("query", "key", "value")),
        ),
        Rule(_SAVED + ".attention.query_bias", _LAYER + ".attention.attention.query.bias"),
        Rule(_SAVED + ".attention.value_bias", _LAYER + ".attention.attention.value.bias"),
        Rule(_SAVED + ".attention.output.{param}", _LAYER + ".attention.output.dense.{param}"),
        Rule(_SAVED + ".norm_feed_forward.{param}", _LAYER + ".layernorm_after.{param}"),
        Rule(_SAVED + ".feed_forward.expand.{param}", _LAYER + ".intermediate.dense.{param}"),
        Rule(_SAVED + ".feed_forward.contract.{param}", _LAYER + ".output.dense.{param}"),
        Rule("{coder}.pooler.norm.{param}", "{coder}.pooler.layernorm.{param}"),
        Rule("to_code.{index}.{param}", "to_code.{index}.{param}"),
        Rule("to_features.{index}.{param}", "to_features.{index}.{param}"),
        Rule("quantiser.{path}", "quantiser.{path}"),
    ),
    marker="quantiser.codebook",
)


def locate_vqkd(source: str | Path, hub: HubOptions) -> Path | None:
    """Return the path of a published file; None for any other source.

    Args:
        source: The file, a folder with it and no tokenizer of ours, or the name of a published tokenizer, which is
            downloaded into the cache.
        hub: Cache folder and network options of that download.

    Raises:
        CheckpointError: If the file does not exist or cannot be downloaded, or the folder holds several.
    """
    path = Path(source)
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise CheckpointError(
                f"{source} is no published VQ-KD file; name the folder of a tokenizer, not a file in it"
            )
        return path
    if path.is_dir():
        return _in_folder(path)
    for tokenizer in VQKD_TOKENIZERS:
        if str(source) == tokenizer.name:
            return fetch_url(tokenizer.urls[0], hub)
    if path.suffix == _SUFFIX:
        raise CheckpointError(f"{source} does not exist; expected a published VQ-KD file; check its name")
    return None


def open_vqkd(path: str | Path) -> dict[str, Entry]:
    """Return the tensors of a published file, under the names of `VQKD`.

    Raises:
        CheckpointError: If it is damaged, unsafe, or no VQ-KD tokenizer.
    """
    stored, _ = without_wrappers(open_file(Path(path))[0])
    if not VQ_KD.recognises(list(stored)):
        raise CheckpointError(
            f"{path} holds {len(stored)} tensors such as {sorted(stored)[:3]}; expected a VQ-KD tokenizer, which has "
            f"{VQ_KD.marker!r}"
        )
    tensors = VQ_KD.to_canonical(stored, entry_of)
    check_total(str(path), tensors)
    return tensors


def vqkd_options(source: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the options of `VQKDConfig` inferred from the shapes of its tensors.

    Args:
        source: The file, for messages.
        shapes: Shapes by canonical name.

    Raises:
        CheckpointError: If they are not those of an encoder, a decoder and a codebook.
    """
    try:
        hidden, channels, patch, _ = shapes["encoder.embeddings.patch_embeddings.projection.weight"]
        side = isqrt(shapes["encoder.embeddings.position_embeddings"][1] - 1)
        vocab, code = shapes["quantiser.codebook"]
        return {
            "vocab_size": vocab,
            "code_size": code,
            "image_size": side * patch,
            "patch_size": patch,
            "hidden_size": hidden,
            "num_hidden_layers": _layers(shapes, "encoder"),
            "num_attention_heads": _heads(source, hidden),
            "intermediate_size": shapes["encoder.encoder.layer.0.intermediate.dense.weight"][0],
            "decoder_layers": _layers(shapes, "decoder"),
            "teacher_size": shapes["to_features.2.weight"][0],
            "channels": channels,
        }
    except (KeyError, ValueError, IndexError):
        raise CheckpointError(f"{source} lacks parts of a VQ-KD tokenizer; fetch the file again") from None


def _in_folder(folder: Path) -> Path | None:
    if (folder / CONFIG_NAME).exists() or (folder / WEIGHTS_NAME).exists():
        return None
    files = sorted(folder.glob(f"*{_SUFFIX}"))
    if len(files) > 1:
        raise CheckpointError(
            f"{folder} holds {len(files)} {_SUFFIX} files, {files[0].name} the first; pass the path of one"
        )
    return files[0] if files else None


def _heads(source: str, hidden: int) -> int:
    if hidden < _HEAD_SIZE or hidden % _HEAD_SIZE:
        raise CheckpointError(
            f"{source} holds a tokenizer {hidden} wide; expected a multiple of {_HEAD_SIZE}, the width of a head"
        )
    return hidden // _HEAD_SIZE


def _layers(shapes: Mapping[str, tuple[int, ...]], coder: str) -> int:
    numbers = [re.match(coder + r"\.encoder\.layer\.(\d+)\.", name) for name in shapes]
    return max(int(number[1]) for number in numbers if number) + 1
