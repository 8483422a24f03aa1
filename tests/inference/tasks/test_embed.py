"""Embeddings of any layer: in Python, from the command line and over HTTP, beside the hidden states of the model."""

import csv
import io
import json
import shutil

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import load_file

from beit.cli.main import main
from beit.errors import ConfigError
from beit.inference.predictor import Predictor
from beit.service import create_app
from tests.conftest import GOLDEN
from tests.inference.conftest import classifier, pretrained, segmenter

__all__ = ["classifier", "pretrained", "segmenter"]
LAYERS, PATCHES = 2, 4  # layers of the models, and patches on each side of their pictures


def loaded(folder):
    return Predictor.from_pretrained(folder, device="cpu")


def noise(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hidden(predictor, pixels):
    """The hidden states of every layer, and the attention maps, straight from the model."""
    with torch.inference_mode():
        outputs = predictor.runner.model.base_model(
            torch.from_numpy(pixels), output_hidden_states=True, output_attentions=True
        )
    return [state.numpy() for state in outputs.hidden_states], [one.numpy() for one in outputs.attentions]


@pytest.fixture(scope="module")
def measured(pretrained, tmp_path_factory):
    """A pre-trained model whose monitor found its first layer best."""
    folder = shutil.copytree(pretrained, tmp_path_factory.mktemp("measured") / "model")
    (folder / "features.json").write_text(json.dumps({"best_layer": 1, "measure": "knn"}))
    return folder


@pytest.mark.parametrize("kind", ["classifier", "pretrained", "segmenter"])
def test_features_of_a_layer_are_its_hidden_states(kind, request):
    predictor = loaded(request.getfixturevalue(kind))
    pictures = [noise(seed=seed) for seed in range(3)]
    states, maps = hidden(predictor, np.stack([predictor.prepare(picture) for picture in pictures]))
    for layer in range(1, len(states)):
        tokens, weights = states[layer], maps[layer - 1].mean(1)[:, 0, 1:]
        expected = {
            "mean": tokens[:, 1:].mean(1),
            "attentive": np.einsum("bn,bnd->bd", weights / weights.sum(1, keepdims=True), tokens[:, 1:]),
            None: tokens[:, 1:].reshape(3, PATCHES, PATCHES, -1),
        }
        if layer < len(states) - 1:
            expected["cls"] = tokens[:, 0]
        for pooling, values in expected.items():
            found = predictor.embed(pictures, batch_size=2, layer=layer, pooling=pooling)
            assert [one.layers for one in found] == [(layer,)] * 3
            assert np.allclose(np.stack([one.vector for one in found]), values, atol=1e-5)
        (auto,) = predictor.embed(pictures[0], layer=layer - len(states))
        assert np.allclose(auto.vector, expected["mean"][0], atol=1e-5), "with a layer the mean, also from the end"


def test_several_layers_are_an_array_each(pretrained):
    predictor = loaded(pretrained)
    states, _ = hidden(predictor, predictor.prepare(noise())[None])
    (found,) = predictor.embed(noise(), layer=[2, 1], pooling="mean")
    assert found.layers == (2, 1)
    for array, layer in zip(found.arrays, found.layers, strict=True):
        assert np.allclose(array, states[layer][0, 1:].mean(0), atol=1e-5)
    assert np.array_equal(found.array, np.stack(found.arrays))
    with pytest.raises(ConfigError, match=r"has the layers \(2, 1\), and vector is of one; take arrays"):
        _ = found.vector
    for spelled in ("2,1", "[2, 1]", ("last", 1)):
        assert np.array_equal(predictor.ask("embed", noise(), layer=spelled)[0].array, found.array)


@pytest.mark.parametrize("hw", [(24, 56), (64, 16), (8, 8)])
@pytest.mark.parametrize("kind", ["classifier", "pretrained", "segmenter"])
def test_maps_of_pictures_of_any_size(kind, hw, request):
    """A picture of just that size is not resized."""
    predictor = loaded(request.getfixturevalue(kind))
    view, picture = predictor.preprocessing, noise(*hw)
    pixels = ((picture.transpose(2, 0, 1) / 255 - np.reshape(view.mean, (3, 1, 1))) / np.reshape(view.std, (3, 1, 1)))[
        None
    ].astype(np.float32)
    states, _ = hidden(predictor, pixels)
    grid = (hw[0] // 8, hw[1] // 8)
    (found,) = predictor.embed(picture, layer=1, pooling=None, size=hw)
    assert found.vector.shape == (*grid, 32)
    assert np.allclose(found.vector, states[1][0, 1:].reshape(*grid, 32), atol=1e-4)
    (of_pixels,) = predictor.embed_pixels(pixels, layer=1, pooling=None)
    assert np.allclose(of_pixels.vector, found.vector, atol=1e-4)
    assert predictor.embed(noise(90, 41), size=hw)[0].vector.shape == (32,)


def test_the_default_is_what_it_was(classifier, measured):
    """Also where a best layer was measured: a vector does not change with a file beside the model."""
    predictor = loaded(classifier)
    pixels = torch.from_numpy(predictor.prepare(noise()))[None]
    (found,) = predictor.embed(noise())
    assert found.layers == ()
    assert np.allclose(found.vector, predictor.runner.model.beit(pixels).pooler_output[0].detach(), atol=1e-6)
    predictor = loaded(measured)
    tokens = predictor.runner.model.beit(torch.from_numpy(predictor.prepare(noise()))[None]).last_hidden_state
    pooled = predictor.runner.model.layernorm(tokens)[0, 1:].mean(0).detach()
    assert np.allclose(predictor.embed(noise())[0].vector, pooled, atol=1e-6)


def test_the_best_layer_is_the_measured_one(measured, pretrained, classifier, tmp_path):
    predictor = loaded(measured)
    (best,) = predictor.embed(noise(), layer="best")
    assert best.layers == (1,)
    assert np.array_equal(best.vector, predictor.embed(noise(), layer=1)[0].vector)
    (both,) = predictor.embed(noise(), layer=["best", "last"])
    assert both.layers == (1, 2)
    file = loaded(measured / "model.safetensors")
    assert file.embed(noise(), layer="best")[0].layers == (1,), "also of a file in such a folder"
    with pytest.raises(
        ConfigError, match=r"no features.json lies beside the model; expected .*: name a layer by its number"
    ):
        loaded(classifier).embed(noise(), layer="best")
    with pytest.raises(ConfigError, match=r"no features\.json lies beside the model"):
        Predictor(predictor.runner, predictor.preprocessing).embed(noise(), layer="best")
    other = shutil.copytree(pretrained, tmp_path / "other")
    for content, message in (('{"best_layer": 9}', "best_layer 9; expected 1 to 2"), ("{", "is not readable JSON")):
        (other / "features.json").write_text(content)
        with pytest.raises(ConfigError, match=message):
            loaded(other).embed(noise(), layer="best")
        assert loaded(other).embed(noise())[0].vector.shape == (32,), "who does not ask for it does not need it"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 0}, "layer is 0; expected 1 to 2, -2 to -1 from the end, best or last"),
        ({"layer": 3}, "layer is 3; expected 1 to 2"),
        ({"layer": -3}, "layer is -3; expected 1 to 2"),
        ({"layer": "middle"}, "layer is 'middle'; expected a number from 1, best, last, or several"),
        ({"layer": 1.5}, "layer is 1.5; expected a number from 1"),
        ({"layer": []}, r"layer is \(\); expected a number from 1"),
        ({"pooling": "max"}, "pooling is 'max'; expected one of auto, mean, cls, attentive, none"),
        ({"pooling": "cls"}, "the head of this BeitForImageClassification reads the patches"),
        ({"size": (0, 32)}, r"size is \(0, 32\); expected two whole numbers above 0"),
        ({"size": (32,)}, "expected two whole numbers above 0"),
        ({"size": 32}, "size is 32; expected two whole numbers"),
        ({"size": (30, 32)}, "image height 30 is not a multiple of patch size 8"),
    ],
)
def test_wrong_options(classifier, options, message):
    with pytest.raises(ConfigError, match=message):
        loaded(classifier).embed(noise(), **options)


def test_cls_of_a_model_whose_head_reads_it(tmp_path, classifier):
    folder = shutil.copytree(GOLDEN / "hf_v4/model_cls", tmp_path / "model")
    shutil.copy(classifier / "preprocessor_config.json", folder)
    predictor = loaded(folder)
    states, _ = hidden(predictor, predictor.prepare(noise())[None])
    assert np.allclose(predictor.embed(noise(), pooling="cls")[0].vector, states[-1][0, 0], atol=1e-5)


class Exported:
    """A runner that knows one output and no layers: what an exported file is."""

    task = "embed"

    def __init__(self, runner):
        self._runner, self.config, self.image_hw = runner, runner.config, runner.image_hw

    def __call__(self, pixels_BCHW):
        return self._runner.embed(pixels_BCHW)


def test_an_exported_model_has_its_own_embedding_alone(classifier):
    whole = loaded(classifier)
    exported = Predictor(Exported(whole.runner), whole.preprocessing)
    assert np.array_equal(exported.embed(noise())[0].vector, whole.embed(noise())[0].vector)
    for options in ({"layer": 1}, {"layer": "best"}, {"pooling": None}):
        with pytest.raises(ConfigError, match="the model is an exported file, which holds its own embedding"):
            exported.embed(noise(), **options)


def predict(model, pictures, output, *options):
    return main(["predict", str(model), str(pictures), "--task=embed", f"--output={output}", "--device=cpu", *options])


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], {}),
        (["--layer=best"], {"layer": "best"}),
        (["--layer=1,2", "--pooling=attentive"], {"layer": (1, 2), "pooling": "attentive"}),
        (["--pooling=none", "--size=[16, 24]"], {"pooling": None, "size": (16, 24)}),
        (["--layer=[1, last]", "--pooling=none"], {"layer": (1, 2), "pooling": None}),
        (["--layer=1,best,2"], {"layer": (1, 1, 2)}),
    ],
)
def test_every_file_holds_what_python_says(measured, pictures, tmp_path, options, asked):
    expected = loaded(measured).embed(pictures, batch_size=5, **asked)
    arrays = np.stack([one.array for one in expected])
    paths = [str(path) for path in sorted(pictures.rglob("*.png"))]
    options = [*options, "--batch_size=5"]
    for ending in ("jsonl", "parquet", "npy", "safetensors"):
        assert predict(measured, pictures, tmp_path / f"a.{ending}", *options) == 0
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["picture"] for row in rows] == paths
    assert np.array_equal(np.array([row["embedding"] for row in rows], np.float32), arrays)
    assert [row.get("layers", []) for row in rows] == [list(one.layers) for one in expected]
    stored = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert np.array_equal(np.array([row["embedding"] for row in stored], np.float32), arrays)
    assert [row.get("layers", []) for row in stored] == [list(one.layers) for one in expected]
    assert np.array_equal(np.load(tmp_path / "a.npy"), arrays)
    layers = expected[0].layers
    names = ["layer_1", "layer_1_2", "layer_2"] if len(layers) > 2 else [f"layer_{layer}" for layer in layers]
    names = names or ["embedding"]
    tensors = load_file(tmp_path / "a.safetensors")
    assert list(tensors) == names
    for place, name in enumerate(names):
        assert np.array_equal(tensors[name], np.stack([one.arrays[place] for one in expected]))
    for ending in ("npy", "safetensors"):
        beside = json.loads((tmp_path / f"a.{ending}.pictures.json").read_text())
        assert beside == {"arrays": names, "pictures": paths}


def test_a_table_has_one_vector_per_picture(measured, pictures, tmp_path, capsys):
    assert predict(measured, pictures, tmp_path / "a.csv", "--layer=best") == 0
    table = list(csv.reader((tmp_path / "a.csv").open()))
    vectors = [one.vector for one in loaded(measured).embed(pictures, layer=1)]
    assert np.allclose(np.array([line[1:] for line in table[1:]], np.float32), vectors, atol=1e-6)
    for option in ("--layer=1,2", "--pooling=none"):
        assert predict(measured, pictures, tmp_path / "b.csv", option) == 1
        assert "of embed cannot be written as csv; expected jsonl or parquet or npy" in capsys.readouterr().err
    assert predict(measured, pictures, tmp_path / "c.npy", "--layer=3") == 1
    assert "layer is 3; expected 1 to 2" in capsys.readouterr().err
    assert predict(measured, pictures, tmp_path / "c.npy", "--pooling=max") == 1
    assert (
        "pooling: expected one of ['auto', 'mean', 'cls', 'attentive', 'none'] or null, got max"
        in capsys.readouterr().err
    )


def test_without_a_result_an_array_has_no_shape(measured, tmp_path, capsys):
    (tmp_path / "broken.png").write_text("no picture")
    assert predict(measured, tmp_path / "broken.png", tmp_path / "a.npy") == 1
    assert "no picture has a result" in capsys.readouterr().err
    assert not (tmp_path / "a.npy").exists()


@pytest.fixture(scope="module")
def client(measured):
    return TestClient(create_app({"mim": loaded(measured)}), base_url="http://localhost")


def ask(client, **fields):
    buffer = io.BytesIO()
    Image.fromarray(noise()).save(buffer, "PNG")
    return client.post("/v1/embed", files={"file": buffer.getvalue()}, data=fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"layer": "best"},
        {"layer": "1,last", "pooling": "attentive"},
        {"pooling": "none"},
        {"layer": "1,2", "pooling": "none"},
    ],
)
def test_the_service_says_what_python_says(client, measured, fields):
    (expected,) = loaded(measured).ask("embed", noise(), **fields)
    answer = ask(client, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"model": "mim", **json.loads(json.dumps(expected.to_json()))}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layer": "3"}, "layer is 3; expected 1 to 2"),
        ({"layer": "middle"}, "layer is 'middle': string should match pattern"),
        ({"pooling": "max"}, "pooling is 'max': input should be 'auto', 'mean'"),
        ({"size": "512,512"}, "there is no field 'size'"),
    ],
)
def test_the_service_refuses_what_is_wrong(client, fields, message):
    answer = ask(client, **fields)
    assert answer.status_code == 422
    assert message in answer.json()["error"]["message"]
