"""Programs that users make of our models by themselves, as they do of those of transformers."""

import io

import numpy as np
import onnxruntime
import pytest
import torch

import beit
from tests.habits.pairs import OPTIONS, assert_close, made, pixels

pytestmark = pytest.mark.e2e


def values(output):
    return output.feature_maps[-1] if "feature_maps" in output else output[0]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_of_onnx_by_torch(tmp_path, name):
    """Of a model as it was loaded, whose parameters want gradients."""
    model = made(beit, name)
    if name == "BeitBackbone":
        model.out_indices = [4]
    torch.onnx.export(
        model, (pixels(),), tmp_path / "model.onnx", input_names=["pixel_values"], dynamo=True, verbose=False
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found, *_) = session.run(None, {"pixel_values": pixels().numpy()})
    np.testing.assert_allclose(found, values(model(pixels())).detach(), rtol=1e-4, atol=1e-5)


def test_a_batch_of_any_size(tmp_path):
    model, batch = made(beit), torch.export.Dim("batch", min=2, max=64)
    file, shapes = tmp_path / "model.onnx", {"pixel_values": {0: batch}}
    torch.onnx.export(model, (pixels(),), file, dynamo=True, verbose=False, dynamic_shapes=shapes)
    session = onnxruntime.InferenceSession(file)
    (found, *_) = session.run(None, {session.get_inputs()[0].name: pixels(3).numpy()})
    np.testing.assert_allclose(found, model(pixels(3)).logits.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grad", [True, False])
def test_an_exported_program(grad):
    model = made(beit).requires_grad_(grad)
    program = torch.export.export(model, (), {"pixel_values": pixels()}).run_decompositions()
    assert_close(program.module()(pixel_values=pixels()).logits, model(pixels()).logits)


def test_a_traced_model_is_saved():
    model = made(beit, torchscript=True)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(model, pixels()), file)
    file.seek(0)
    assert_close(torch.jit.load(file)(pixels())[0], model(pixels())[0])
