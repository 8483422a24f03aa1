import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beit.errors import CheckpointError
from beit.weights import HUGGING_FACE, Layout, Rule, shared_bias_to_layers, with_root

LAYOUT = Layout(
    "toy",
    (
        Rule("blocks.{layer}.norm.{param}", "layers.{layer}.norm.{param}"),
        Rule("blocks.{layer}.qk", ("layers.{layer}.q", "layers.{layer}.k")),
    ),
    ignored=(r".*\.index",),
)
TABLE = "relative_position_bias.relative_position_bias_table"


@given(st.sets(st.integers(0, 30), min_size=1, max_size=5), st.sampled_from([np.asarray, torch.as_tensor]))
def test_round_trip_is_the_identity(layers, kind):
    foreign = {}
    for layer in layers:
        foreign[f"blocks.{layer}.norm.weight"] = kind(np.full(3, layer))
        foreign[f"blocks.{layer}.qk"] = kind(np.arange(layer, layer + 12).reshape(4, 3))
    canonical = LAYOUT.to_canonical(foreign)
    for layer in layers:
        whole = foreign[f"blocks.{layer}.qk"]
        assert np.array_equal(canonical[f"layers.{layer}.q"], whole[:2])
        assert np.array_equal(canonical[f"layers.{layer}.k"], whole[2:])
    again = LAYOUT.from_canonical(canonical)
    assert again.keys() == foreign.keys()
    assert all(np.array_equal(again[name], foreign[name]) for name in foreign)


def test_ignored_and_unknown_names():
    canonical = LAYOUT.to_canonical({"blocks.0.index": np.zeros(1), "strange": np.ones(1)})
    assert list(canonical) == ["strange"]


def test_half_of_a_divided_tensor_is_an_error():
    with pytest.raises(CheckpointError, match=r"lacks \['layers.3.k'\] of which 'blocks.3.qk' is made"):
        LAYOUT.from_canonical({"layers.3.q": np.zeros((2, 2))})


@pytest.mark.parametrize("shape", [(), (3, 2)])
def test_what_cannot_be_divided_is_an_error(shape):
    with pytest.raises(CheckpointError, match=r"'blocks.3.qk' holds \('layers.3.q', 'layers.3.k'\), but a tensor of"):
        LAYOUT.to_canonical({"blocks.3.qk": np.zeros(shape)})


def test_one_place_is_not_filled_twice():
    with pytest.raises(CheckpointError, match="holds 'x' twice, the second time as 'b'"):
        Layout("toy", (Rule("a", "x"), Rule("b", "x"))).to_canonical({"a": np.zeros(1), "b": np.zeros(1)})
    with pytest.raises(CheckpointError, match="has only one place, 'x', for 'b' too"):
        Layout("toy", (Rule("x", "a"), Rule("x", "b"))).from_canonical({"a": np.zeros(1), "b": np.zeros(1)})


def test_a_name_that_the_layout_does_not_know():
    with pytest.raises(CheckpointError, match="no name for the parameter 'mystery'"):
        LAYOUT.from_canonical({"mystery": np.zeros(1)})


def test_old_hugging_face_files_hold_an_index_that_is_ignored():
    name = "beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_index"
    assert HUGGING_FACE.to_canonical({name: np.zeros(1)}) == {}


def test_roots():
    whole = {"beit.layernorm.weight": 1, "classifier.weight": 2}
    assert with_root(whole, wanted=True) == whole
    assert with_root(whole, wanted=False) == {"layernorm.weight": 1, "head:classifier.weight": 2}
    assert with_root({"layernorm.weight": 1}, wanted=True) == {"beit.layernorm.weight": 1}


def test_shared_bias_becomes_one_per_layer():
    adapted = shared_bias_to_layers({f"beit.encoder.{TABLE}": 7, "x": 1}, layers=2)
    assert adapted == {
        f"beit.encoder.layer.0.attention.attention.{TABLE}": 7,
        f"beit.encoder.layer.1.attention.attention.{TABLE}": 7,
        "x": 1,
    }
