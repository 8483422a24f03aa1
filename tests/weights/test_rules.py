import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beit.errors import CheckpointError
from beit.weights import HUGGING_FACE, Layout, Rule, shared_bias_to_layers, with_root

LAYOUT = Layout(
    "toy",
    (
        Rule("blocks.{layer}.norm.{param}", "layers.{layer}.norm.{param}"),
        Rule(("blocks.{layer}.q", "blocks.{layer}.k"), "layers.{layer}.qk"),
    ),
    ignored=(r".*\.index",),
)


@given(st.sets(st.integers(0, 30), min_size=1, max_size=5))
def test_round_trip_is_the_identity(layers):
    foreign = {}
    for layer in layers:
        foreign[f"blocks.{layer}.norm.weight"] = np.full(3, layer)
        foreign[f"blocks.{layer}.q"] = np.full((2, 3), layer)
        foreign[f"blocks.{layer}.k"] = np.full((2, 3), -layer)
    canonical = LAYOUT.to_canonical(foreign)
    assert {name for name in canonical if name.endswith("qk")} == {f"layers.{layer}.qk" for layer in layers}
    again = LAYOUT.from_canonical(canonical)
    assert again.keys() == foreign.keys()
    assert all(np.array_equal(again[name], foreign[name]) for name in foreign)


def test_ignored_and_unknown_names():
    canonical = LAYOUT.to_canonical({"blocks.0.index": np.zeros(1), "strange": np.ones(1)})
    assert list(canonical) == ["strange"]


def test_half_of_a_stacked_tensor_is_an_error():
    with pytest.raises(CheckpointError, match=r"lacks \['blocks.3.k'\] of which 'layers.3.qk' is made"):
        LAYOUT.to_canonical({"blocks.3.q": np.zeros((2, 2))})


def test_a_name_that_the_layout_does_not_know():
    with pytest.raises(CheckpointError, match="no name for the parameter 'mystery'"):
        LAYOUT.from_canonical({"mystery": np.zeros(1)})


def test_old_hugging_face_files_hold_an_index_that_is_ignored():
    name = "beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_index"
    assert HUGGING_FACE.to_canonical({name: np.zeros(1)}) == {}


def test_roots():
    whole = {"beit.norm.weight": 1, "classifier.weight": 2}
    assert with_root(whole, wanted=True) == whole
    assert with_root(whole, wanted=False) == {"norm.weight": 1, "head:classifier.weight": 2}
    assert with_root({"norm.weight": 1}, wanted=True) == {"beit.norm.weight": 1}


def test_shared_bias_becomes_one_per_layer():
    adapted = shared_bias_to_layers({"beit.encoder.bias.table": 7, "x": 1}, layers=2)
    assert adapted == {
        "beit.encoder.layers.0.attention.bias.table": 7,
        "beit.encoder.layers.1.attention.bias.table": 7,
        "x": 1,
    }
