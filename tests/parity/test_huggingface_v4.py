"""Stage by stage against recorded outputs of Hugging Face transformers 4.37.2, at the tolerance of the recordings."""

import numpy as np
import pytest
import torch

import beit
from beit.weights import HUGGING_FACE

CASES = ["mim", "model_mean", "model_cls", "classify_single", "classify_multi", "classify_regression"]
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(params=CASES)
def recorded(request, golden):
    case = golden(f"hf_v4/{request.param}")
    case.model = getattr(beit, case.case["class"]).from_pretrained(case.folder)
    case.inputs = {name: torch.from_numpy(case.io[name]) for name in case.case["inputs"]}
    return case


def assert_close(ours, reference):
    np.testing.assert_allclose(ours.detach().numpy(), reference, **TOLERANCE)


@pytest.mark.parametrize("maps", [False, True], ids=["fused", "plain"])
def test_outputs(recorded, maps):
    with torch.no_grad():
        output = recorded.model(**recorded.inputs, output_hidden_states=True, output_attentions=maps)
    for name in {"loss", "logits", "last_hidden_state", "pooler_output"} & recorded.io.keys():
        assert_close(output[name], recorded.io[name])
    layers = recorded.model.config.num_hidden_layers
    assert len(output.hidden_states) == layers + 1
    for index, hidden in enumerate(output.hidden_states):
        assert_close(hidden, recorded.io[f"hidden_states_{index}"])
    if maps:
        assert len(output.attentions) == layers
        for index, attention in enumerate(output.attentions):
            assert_close(attention, recorded.io[f"attentions_{index}"])


def test_gradients(recorded):
    output = recorded.model(**recorded.inputs)
    target = recorded.case["gradient_of"]
    loss = output[target] if target == "loss" else (output[target] * torch.from_numpy(recorded.io["cotangent"])).sum()
    loss.backward()
    ours = HUGGING_FACE.from_canonical(
        {name: p.grad for name, p in recorded.model.named_parameters() if p.grad is not None}
    )
    names = [name for name in recorded.io if name.startswith("grad.")]
    assert len(names) > 5
    for name in names:
        reference = recorded.io[name]
        atol = TOLERANCE["atol"] * max(1.0, float(np.abs(reference).max()))
        np.testing.assert_allclose(ours[name[5:]].numpy(), reference, atol=atol, rtol=1e-4)


def test_head_mask(golden):
    case = golden("hf_v4/model_mean")
    model = beit.BeitModel.from_pretrained(case.folder)
    with torch.no_grad():
        output = model(torch.from_numpy(case.io["pixel_values"]), head_mask=torch.from_numpy(case.io["head_mask"]))
    assert_close(output.last_hidden_state, case.io["head_mask.last_hidden_state"])


def test_tuple_output(recorded):
    with torch.no_grad():
        as_object, as_tuple = recorded.model(**recorded.inputs), recorded.model(**recorded.inputs, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert len(as_tuple) == len(as_object)
    for one, other in zip(as_object.to_tuple(), as_tuple, strict=True):
        assert torch.equal(one, other)


def test_saved_again_it_is_the_same_file(recorded, tmp_path):
    from safetensors.numpy import load_file

    recorded.model.save_pretrained(tmp_path)
    before, after = load_file(recorded.folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert np.array_equal(tensor, after[name])
