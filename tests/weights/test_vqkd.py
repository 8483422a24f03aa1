"""The names of the published VQ-KD files."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from beit.errors import CheckpointError
from beit.hub import HubOptions
from beit.weights import VQ_KD, locate_vqkd, open_vqkd, vqkd_options
from tests.tokenizer.small import SMALL
from tests.tokenizer.test_vq_kd_published import published_state

BESIDE = ("quantize.embedding.cluster_size", "quantize.embedding.embed_avg", "quantize.embedding.initted")


@pytest.fixture
def state():
    return {name: tensor.numpy() for name, tensor in published_state().items()}


def test_names_one_by_one(state):
    canonical = VQ_KD.to_canonical(state)
    for theirs, ours in {
        "encoder.cls_token": "encoder.embeddings.cls_token",
        "encoder.pos_embed": "encoder.embeddings.position_embeddings",
        "decoder.patch_embed.proj.bias": "decoder.embeddings.patch_embeddings.projection.bias",
        "decoder.blocks.0.attn.q_bias": "decoder.encoder.layer.0.attention.attention.query.bias",
        "encoder.blocks.0.attn.v_bias": "encoder.encoder.layer.0.attention.attention.value.bias",
        "decoder.blocks.0.mlp.fc2.weight": "decoder.encoder.layer.0.output.dense.weight",
        "encoder.fc_norm.weight": "encoder.pooler.layernorm.weight",
        "decoder.fc_norm.bias": "decoder.pooler.layernorm.bias",
        "encode_task_layer.0.weight": "to_code.0.weight",
        "decode_task_layer.2.bias": "to_features.2.bias",
        "quantize.embedding.weight": "quantiser.codebook",
        "quantize.cluster_size": "quantiser.cluster_size",
    }.items():
        assert canonical[ours] is state[theirs], theirs
    whole = state["encoder.blocks.1.attn.qkv.weight"]
    for part, name in zip(np.split(whole, 3), ("query", "key", "value"), strict=True):
        assert np.array_equal(canonical[f"encoder.encoder.layer.1.attention.attention.{name}.weight"], part)


def test_round_trip_is_the_identity(state):
    again = VQ_KD.from_canonical(VQ_KD.to_canonical(state))
    kept = {name for name in state if name not in BESIDE and not name.startswith(("teacher_model.", "scaling_layer."))}
    assert again.keys() == kept
    assert all(np.array_equal(again[name], state[name]) for name in kept)


def test_only_these_files_are_recognised(state):
    assert VQ_KD.recognises(list(state))
    assert not VQ_KD.recognises(["blocks.0.attn.qkv.weight", "lm_head.weight"])


def test_options_are_inferred_from_the_shapes(state):
    shapes = {name: array.shape for name, array in VQ_KD.to_canonical(state).items()}
    assert vqkd_options("here", shapes) == vars(SMALL)
    for name in ("quantiser.codebook", "to_features.2.weight", "encoder.embeddings.patch_embeddings.projection.weight"):
        with pytest.raises(CheckpointError, match="here lacks parts of a VQ-KD tokenizer; fetch the file again"):
            vqkd_options("here", {key: shape for key, shape in shapes.items() if key != name})
    odd = {**shapes, "encoder.encoder.layer.9" + "9" * 5000 + ".layernorm_before.weight": (64,)}
    with pytest.raises(CheckpointError, match="lacks parts"):
        vqkd_options("here", odd)


@pytest.mark.parametrize("wrapped", [lambda state: {"model": state, "epoch": 3}, lambda state: {"state_dict": state}])
def test_files_are_read_value_by_value(tmp_path, state, wrapped):
    torch.save(wrapped(published_state()), tmp_path / "file.pth")
    entries = open_vqkd(tmp_path / "file.pth")
    expected = VQ_KD.to_canonical(state)
    assert entries.keys() == expected.keys()
    assert all(np.array_equal(entries[name].read(), expected[name]) for name in expected)


def test_tensors_on_top_of_one_another_are_refused(tmp_path):
    whole = torch.zeros(1000)
    torch.save({"quantize.embedding.weight": whole, **{f"{n}.x": whole for n in range(9)}}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="lists 40000 bytes of tensors in a file of"):
        open_vqkd(tmp_path / "file.pth")


def test_sources(tmp_path):
    hub = HubOptions(cache_dir=tmp_path / "cache", local_files_only=True)
    assert locate_vqkd(tmp_path, hub) is None
    assert locate_vqkd("openai/DALL-E", hub) is None
    (tmp_path / "a.pth").touch()
    assert locate_vqkd(tmp_path, hub) == locate_vqkd(tmp_path / "a.pth", hub) == tmp_path / "a.pth"
    (tmp_path / "config.json").touch()  # a tokenizer of ours
    assert locate_vqkd(tmp_path, hub) is None
    with pytest.raises(CheckpointError, match=r"BEiT-v2/vqkd_encoder_base_decoder_1x768x12_clip-d93179da\.pth cannot"):
        locate_vqkd("vqkd_encoder_base_decoder_1x768x12_clip", hub)


@pytest.mark.e2e
def test_reading_needs_no_torch(tmp_path):
    torch.save({"model": published_state()}, tmp_path / "x.pth")
    code = "import sys; from beit.weights import open_vqkd; open_vqkd(sys.argv[1])['quantiser.codebook'].read(); "
    code += "assert not {'torch', 'jax', 'flax'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "x.pth"], timeout=60).returncode == 0
